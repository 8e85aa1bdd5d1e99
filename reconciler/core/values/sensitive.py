"""Which values are sensitive by the name beside them, and the walk that marks them in a spec.

Texts alone can be secrets: numbers, booleans, null and short digits are not (`max_tokens: 4096` is no secret).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from reconciler.core.values.paths import join
from reconciler.model import Json, Secret, Unknown

SensitiveAt = Callable[[str, str], bool]  # (attribute path, flag or key beside it) -> sensitive?

_WORDS = "token|key|secret|password"
_NAME = re.compile(_WORDS, re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[0-9]{1,12}(?:\.[0-9]{1,12})?\Z", re.ASCII)
_ASSIGNED = re.compile(rf"(-{{0,2}}[\w.-]*(?:{_WORDS})[\w.-]*)=(.*)\Z", re.IGNORECASE | re.DOTALL)
_INLINE = re.compile(rf"(?:^|\s)(--?[\w.-]*(?:{_WORDS})[\w.-]*)(?:=|\s+)(?!-)(\S+)", re.IGNORECASE)
_NO_TEXT = frozenset((int, float, bool, type(None)))
_NAMING = ("name", "key", "flag", "env")  # {name: HF_TOKEN, value: …}


def is_sensitive_name(name: str) -> bool:
    """Whether a flag or key name has token, key, secret or password in it."""
    return _NAME.search(name) is not None


def can_be_secret(value: Json) -> bool:
    """Whether a leaf beside such a name is a secret: a text that is not empty and no short number."""
    return isinstance(value, str) and value != "" and _NUMBER.match(value) is None


def names_secret(text: str) -> bool:
    """Whether one text holds a flag or assignment with a secret in it: `--hf-token=x`, `serve --api-key x`."""
    if "=" not in text and " -" not in text and not text.startswith("-"):
        return False
    assigned = _ASSIGNED.match(text)
    if assigned is not None and can_be_secret(assigned[2]):
        return True
    return any(can_be_secret(match[2]) for match in _INLINE.finditer(text))


def may_hide(value: Json, names: dict[str, bool], near: bool = False) -> bool:
    """A quick look: False means that no name in or beside the tree makes a text in it sensitive.

    `names` remembers what was found about each key name; the caller keeps it for one run. `near`: the name above is
    a sensitive one.
    """
    kind = value.__class__
    if kind is str:
        return near or "=" in value or " -" in value
    if kind is dict:
        for key, member in value.items():
            if member.__class__ in _NO_TEXT:
                continue
            hit = names.get(key)
            if hit is None:
                hit = names[key] = is_sensitive_name(key)
            if (key == "value" and any(word in value for word in _NAMING)) or may_hide(member, names, near or hit):
                return True
        return False
    if kind is list:
        for member in value:
            if member.__class__ is str and member.startswith("-"):
                hit = names.get(member)
                if hit is None:
                    hit = names[member] = is_sensitive_name(member)
                if hit:
                    return True
            if may_hide(member, names, near):
                return True
        return False
    return kind is Unknown and near


def mark_sensitive(value: Json, path: tuple[str | int, ...], sensitive: SensitiveAt, name: str = "") -> Json:
    """The value tree with every sensitive leaf as Secret (Unknown leaves: flagged); the same object if there is none.

    `sensitive` is asked with the attribute path and the name beside the value (`ProviderSchema.sensitive`).
    """
    if isinstance(value, dict):
        return _mapping(value, path, sensitive, name)
    if isinstance(value, list):
        return _sequence(value, path, sensitive, name)
    if isinstance(value, Unknown):
        hidden = value.sensitive or sensitive(join(path), name)
        return Unknown(value.template, True) if hidden and not value.sensitive else value
    if isinstance(value, Secret) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and can_be_secret(value):
        hidden = sensitive(join(path), name) or names_secret(value)
        return Secret(value) if hidden else value
    return Secret(value) if sensitive(join(path), "") else value


def _mapping(value: dict[str, Json], path: tuple[str | int, ...], sensitive: SensitiveAt, name: str) -> Json:
    beside = next((value[word] for word in _NAMING if isinstance(value.get(word), str)), "") if "value" in value else ""
    marked = {}
    changed = False
    for key, member in value.items():
        # the name above a nested container reaches down to its texts: secrets: {a: x}
        near = key if is_sensitive_name(key) else name
        if key == "value" and beside:
            near = beside
        elif beside and value.get(key) is beside and key in _NAMING:
            near = ""  # it is the name, not the secret
        found = mark_sensitive(member, (*path, key), sensitive, near)
        changed = changed or found is not member
        marked[key] = found
    return marked if changed else value


def _sequence(value: list[Json], path: tuple[str | int, ...], sensitive: SensitiveAt, name: str) -> Json:
    marked: list[Json] = []
    changed = False
    flag = ""
    for number, member in enumerate(value):
        if isinstance(member, str) and member.startswith("-"):
            found = mark_sensitive(member, (*path, number), sensitive, "")
            flag = member if is_sensitive_name(member) and "=" not in member and " " not in member else ""
        else:
            found = mark_sensitive(member, (*path, number), sensitive, flag or name)
            flag = ""
        changed = changed or found is not member
        marked.append(found)
    return marked if changed else value


def hides_secret(value: Json) -> bool:
    """Whether a value tree has a Secret or a sensitive Unknown anywhere in it."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, Unknown):
        return value.sensitive
    if isinstance(value, Mapping):
        return any(hides_secret(member) for member in value.values())
    if isinstance(value, list):
        return any(hides_secret(member) for member in value)
    return False
