"""JSON Schema to a fast yes or no. It never explains and never errs: what it can't decide, it says so (`Unsure`).

`core/schemas/validate.py` asks jsonschema whenever the answer here is not yes, so jsonschema stays the authority for
every complaint, and a file without errors never pays for importing it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from reconciler.model import Json, Secret, Unknown

Check: TypeAlias = Callable[[Json], bool]


class Unsure(Exception):
    """A keyword or value that only jsonschema can judge."""


_TYPES: Mapping[str, Check] = {
    "string": lambda v: v.__class__ is str,
    "integer": lambda v: v.__class__ is int or (v.__class__ is float and v.is_integer()),
    "number": lambda v: v.__class__ is int or v.__class__ is float,
    "boolean": lambda v: v.__class__ is bool,
    "object": lambda v: v.__class__ is dict,
    "array": lambda v: v.__class__ is list,
    "null": lambda v: v is None,
}
_SCALARS = (str, int, float, bool, type(None))
_UNDECIDED = frozenset(
    ("contains", "prefixItems", "unevaluatedProperties", "unevaluatedItems", "dependentSchemas", "$dynamicRef")
)


def compile_check(schema: Json, root: Mapping[str, Json] | None = None, *, templates: bool = False) -> Check:
    """A function that says whether a value tree fits `schema`; `$ref` is looked up in `root` (default: the schema).

    Unknown leaves fit everywhere, Secret leaves are judged by their value; with `templates`, texts that hold a `${` fit
    everywhere too. The function may raise Unsure.
    """
    return _Compiler(root if root is not None else schema, templates).node(schema, exact=False)


def _always(_: Json) -> bool:
    return True


def _never(_: Json) -> bool:
    return False


def _all(checks: Sequence[Check]) -> Check:
    """All of them, in their order; without a loop where a schema is short, as most are."""
    if len(checks) == 1:
        return checks[0]
    if len(checks) == 2:
        first, second = checks
        return lambda v: first(v) and second(v)

    def judge(value: Json) -> bool:
        for check in checks:  # noqa: SIM110 - twice as fast as all()
            if not check(value):
                return False
        return True

    return judge


def _numeric(v: Json) -> bool:
    return v.__class__ is int or v.__class__ is float


class _Compiler:
    def __init__(self, root: Mapping[str, Json], templates: bool) -> None:
        self.root, self.templates = root, templates
        self.known: dict[tuple[str, bool], Check] = {}

    def node(self, schema: Json, *, exact: bool) -> Check:
        """The check of one schema. Where `exact`, a leaf that is not known yet makes it Unsure instead of fitting."""
        if schema is True or schema == {}:
            return _always
        if schema is False:
            return _never
        made = (self.keyword(word, value, schema, exact) for word, value in schema.items())
        checks: list[Check] = [check for check in made if check is not None]
        if not checks:
            return _always
        judge, templates = _all(checks), self.templates
        fitting: set[str] = set()  # texts that were judged before: thousands of deployments share a few

        def check(value: Json) -> bool:
            kind = value.__class__
            if kind is str:
                if value in fitting:
                    return True
                if not templates or "${" not in value:
                    if judge(value):
                        fitting.add(value)
                        return True
                    return False
            elif kind is Secret:
                return check(value.value)
            elif kind is not Unknown:
                return judge(value)
            if exact:
                raise Unsure
            return True

        return check

    def keyword(self, word: str, value: Json, schema: Mapping[str, Json], exact: bool) -> Check | None:
        """The check of one keyword; None for annotations and for keywords that a neighbour covers."""
        maker = _SIMPLE.get(word)
        if maker is not None:
            return maker(value)
        if word in _UNDECIDED:
            return _raise_unsure
        if word == "$ref":
            return self.reference(value, exact)
        if word in ("properties", "additionalProperties", "patternProperties"):
            first = next(k for k in schema if k in ("properties", "additionalProperties", "patternProperties"))
            return self.members(schema, exact) if word == first else None
        if word == "propertyNames":
            names = self.node(value, exact=True)
            return lambda v: v.__class__ is not dict or all(names(name) for name in v)
        if word == "items":
            item = self.node(value, exact=exact)
            return lambda v: v.__class__ is not list or all(item(one) for one in v)
        if word == "allOf":
            parts = [self.node(part, exact=exact) for part in value]
            return lambda v: all(part(v) for part in parts)
        if word in ("anyOf", "oneOf"):
            choices = [self.node(part, exact=exact or word == "oneOf") for part in value]
            if word == "anyOf":
                return lambda v: any(choice(v) for choice in choices)
            return lambda v: sum([choice(v) for choice in choices]) == 1
        if word == "not":
            denied = self.node(value, exact=True)
            return lambda v: not denied(v)
        if word == "if":
            return self.condition(value, schema.get("then", True), schema.get("else", True), exact)
        return None

    def reference(self, target: str, exact: bool) -> Check:
        """A local `$ref`, compiled when first used: schemas may be recursive."""

        def check(value: Json) -> bool:
            found = self.known.get((target, exact))
            if found is None:
                found = self.known[target, exact] = self.node(resolve_ref(self.root, target), exact=exact)
            return found(value)

        return check

    def condition(self, test: Json, then: Json, other: Json, exact: bool) -> Check:
        test_check = self.node(test, exact=True)
        then_check, else_check = self.node(then, exact=exact), self.node(other, exact=exact)
        return lambda v: then_check(v) if test_check(v) else else_check(v)

    def members(self, schema: Mapping[str, Json], exact: bool) -> Check:
        """`properties`, `patternProperties` and `additionalProperties` in one loop over the object's keys."""
        named = {name: self.node(part, exact=exact) for name, part in schema.get("properties", {}).items()}
        check_of = named.get
        patterns = [
            (re.compile(pattern), self.node(part, exact=exact))
            for pattern, part in schema.get("patternProperties", {}).items()
        ]
        other = self.node(schema.get("additionalProperties", True), exact=exact)

        def plain(value: Json) -> bool:
            if value.__class__ is not dict:
                return True
            for name, member in value.items():  # noqa: SIM110 - twice as fast as all()
                if not check_of(name, other)(member):
                    return False
            return True

        def patterned(value: Json) -> bool:
            if value.__class__ is not dict:
                return True
            for name, member in value.items():
                checks = [check for pattern, check in patterns if pattern.search(name)]
                if name in named:
                    checks.append(named[name])
                if not all(check(member) for check in checks or (other,)):
                    return False
            return True

        return patterned if patterns else plain


def resolve_ref(root: Mapping[str, Json], target: str) -> Json:
    """The schema that a local `$ref` (`#/$defs/x`) names. Raises Unsure for any other reference."""
    node: Json = root
    if not target.startswith("#"):
        raise Unsure
    for part in target.removeprefix("#").strip("/").split("/") if target != "#" else ():
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or key not in node:
            raise Unsure
        node = node[key]
    return node


def _raise_unsure(_: Json) -> bool:
    raise Unsure


def _type(names: str | list[str]) -> Check:
    if isinstance(names, str):
        return _TYPES[names]
    checks = [_TYPES[name] for name in names]
    return lambda v: any(check(v) for check in checks)


def _enum(values: list[Json]) -> Check:
    if all(value.__class__ is str for value in values):
        texts = frozenset(values)
        return lambda v: v.__class__ is str and v in texts
    if not all(isinstance(value, _SCALARS) for value in values):
        return _raise_unsure
    return lambda v: any(v == value and (v.__class__ is bool) == (value.__class__ is bool) for value in values)


def _pattern(text: str) -> Check:
    search = re.compile(text).search
    return lambda v: v.__class__ is not str or search(v) is not None


def _multiple(of: float) -> Check:
    def check(value: Json) -> bool:
        if not _numeric(value):
            return True
        if value.__class__ is int and of.__class__ is int:
            return bool(value % of == 0)
        raise Unsure

    return check


def _unique(wanted: bool) -> Check:
    def check(value: Json) -> bool:
        if not wanted or value.__class__ is not list or len(value) < 2:
            return True
        if all(item.__class__ is str for item in value):
            return len(set(value)) == len(value)
        raise Unsure

    return check


def _required(names: list[str]) -> Check:
    needed = frozenset(names)
    return lambda v: v.__class__ is not dict or v.keys() >= needed


def _dependent(rules: Mapping[str, list[str]]) -> Check:
    def check(value: Json) -> bool:
        if value.__class__ is not dict:
            return True
        return all(name in value for trigger, names in rules.items() if trigger in value for name in names)

    return check


_SIMPLE: Mapping[str, Callable[[Any], Check]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda value: _enum([value]),
    "pattern": _pattern,
    "minLength": lambda n: lambda v: v.__class__ is not str or len(v) >= n,
    "maxLength": lambda n: lambda v: v.__class__ is not str or len(v) <= n,
    "minimum": lambda n: lambda v: not _numeric(v) or v >= n,
    "maximum": lambda n: lambda v: not _numeric(v) or v <= n,
    "exclusiveMinimum": lambda n: lambda v: not _numeric(v) or v > n,
    "exclusiveMaximum": lambda n: lambda v: not _numeric(v) or v < n,
    "multipleOf": _multiple,
    "minItems": lambda n: lambda v: v.__class__ is not list or len(v) >= n,
    "maxItems": lambda n: lambda v: v.__class__ is not list or len(v) <= n,
    "uniqueItems": _unique,
    "minProperties": lambda n: lambda v: v.__class__ is not dict or len(v) >= n,
    "maxProperties": lambda n: lambda v: v.__class__ is not dict or len(v) <= n,
    "required": _required,
    "dependentRequired": _dependent,
}
