"""Every leaf of a certificate changed, one at a time, with a digest that fits."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from memaopt.certificates import envelope

Path = tuple[str | int, ...]


def leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf, empty lists and objects among them."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    if not items:
        yield path, data
    for key, value in items:
        yield from leaves(value, (*path, key))


def values(value: Any) -> list[Any]:
    """Other values for a leaf: of its type, and of types that a lax reader would take for it."""
    match value:
        case bool():
            return [not value, int(value), "yes"]
        case int():
            return [value + 1, value - 16, 0 if value else 7, str(value), float(value), value > 0, None]
        case float():
            return [value * 2 + 1, str(value), None]
        case str():
            return [value + "x", value[:-1], "", 7, None]
        case None:
            return [1, 4096, "", False]
    return [[7], {"x": 1}, None]


def changed(data: Any, path: Path, value: Any) -> dict[str, Any]:
    """A copy with another value at a path, signed."""
    made = copy.deepcopy(data)
    at = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return signed(made)


def signed(data: dict[str, Any]) -> dict[str, Any]:
    """With the digest that its content has."""
    return {**data, "sha256": envelope.digest(data)}


def structures(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies with a field more or less in some object, or with an element more or less in some list, signed."""

    def inside(at: Any, path: Path) -> Iterator[tuple[Path, Any]]:
        if isinstance(at, (dict, list)):
            yield path, at
            for key, value in at.items() if isinstance(at, dict) else enumerate(at):
                yield from inside(value, (*path, key))

    for path, at in inside(data, ()):
        name = ".".join(map(str, path))
        if isinstance(at, dict):
            if path:
                yield f"{name} with a field more", changed(data, path, {**at, "extra": 1})
            else:
                yield "a field more", signed({**data, "extra": 1})
            for key in at:
                if path and key != "sha256":
                    less = {k: v for k, v in at.items() if k != key}
                    yield f"{name} without {key}", changed(data, path, less)
        elif at:
            yield f"{name} without its last", changed(data, path, at[:-1])
            yield f"{name} with its last twice", changed(data, path, [*at, at[-1]])
