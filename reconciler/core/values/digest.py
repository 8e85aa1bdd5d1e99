"""Digests of sensitive values: how a state knows that a secret changed without knowing the secret.

Pure. A digest is HMAC-SHA-256 with the state's own random key over canonical JSON; the key never leaves the state.
"""

from __future__ import annotations

import json
from typing import Final

from reconciler.model import Json, Secret, Unknown

DIGEST_KEY: Final = "$digest"
PREFIX: Final = "hmac-sha256:"


def canonical(value: Json) -> str:
    """One text for equal JSON values: sorted keys, no spaces, `1.0` as `1` (JSON does not tell them apart).

    Raises ValueError for NaN and infinities, TypeError for anything that is not JSON.
    """
    return json.dumps(_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _numbers(value: Json) -> Json:
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() else value
    if kind is dict:
        return {key: _numbers(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_numbers(item) for item in value]
    return value


def digest(key_hex: str, value: Json) -> str:
    """`hmac-sha256:<hex>` of a JSON value under the state's key (64 hex digits)."""
    import hmac  # most runs have no secret to compare

    mac = hmac.new(bytes.fromhex(key_hex), canonical(value).encode("utf-8", "surrogatepass"), "sha256")
    return PREFIX + mac.hexdigest()


def seal(tree: Json, key_hex: str) -> Json:
    """The tree as a state may hold it: every Secret becomes `{"$digest": …}`; the rest is not copied where unchanged.

    Raises TypeError for an Unknown leaf: what is not resolved can't be recorded.
    """
    if isinstance(tree, Secret):
        return {DIGEST_KEY: digest(key_hex, tree.value)}
    if isinstance(tree, Unknown):
        raise TypeError(f"an unresolved value can't be recorded: {tree.template}")
    if isinstance(tree, dict):
        return {key: seal(item, key_hex) for key, item in tree.items()}
    if isinstance(tree, list):
        return [seal(item, key_hex) for item in tree]
    return tree


class Sealer:
    """`seal` for many trees under one key: equal texts are digested once. One object a plan, thrown away with it."""

    def __init__(self, key_hex: str) -> None:
        self._key = key_hex
        self._known: dict[str, str] = {}

    def __call__(self, tree: Json) -> Json:
        """As `seal`; raises TypeError for an Unknown leaf."""
        if isinstance(tree, Secret):
            value = tree.value
            if not isinstance(value, str):
                return seal(tree, self._key)
            known = self._known.get(value)
            if known is None:
                known = self._known[value] = digest(self._key, value)
            return {DIGEST_KEY: known}
        if tree.__class__ is dict:
            return {key: self(item) for key, item in tree.items()}
        if tree.__class__ is list:
            return [self(item) for item in tree]
        return seal(tree, self._key)


def holds_digest(tree: Json) -> bool:
    """Whether a digest stands in a sensitive value's place anywhere in it."""
    if isinstance(tree, dict):
        return is_sealed(tree) or any(map(holds_digest, tree.values()))
    return isinstance(tree, list) and any(map(holds_digest, tree))


def is_sealed(value: Json) -> bool:
    """Whether this is a digest in a sensitive value's place."""
    return isinstance(value, dict) and len(value) == 1 and DIGEST_KEY in value
