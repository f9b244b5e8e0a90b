"""Mutations: of bytes, and of data as JSON and TOML have them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator

INTERESTING = (0, 1, 2, 0xFF, 0x7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000, 3, 64)
_NUMBERS = (0, -1, 1, 2, 3, 16, 64, 255, 4096, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 33, 1 << 63)
_TEXTS = (
    "", " ", "x" * 300, "a\x00b", "../x", "/etc/passwd", "*/ int x; /*", "\\", "a\nb", "\x1b[31mred", "[bold]b[/bold]",
    "[/]", "$(shell touch pwned)", "`touch pwned`", "%s%n", "é", "\u202e", "int", "main", "none", "sram", "flash", "#",
)  # fmt: skip


def flip(rng: Rng, data: bytearray) -> None:
    """One to 32 bits."""
    for _ in range(int(2 ** rng.choice([0, 0, 0, 1, 2, 5]))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def number(rng: Rng, data: bytearray) -> None:
    """One to three words of 32 bits."""
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) // 4)) * 4
        value = int(rng.choice((*INTERESTING, len(data)))) if rng.integers(4) else int(rng.integers(1 << 32))
        data[at : at + 4] = value.to_bytes(4, "little")


def truncate(rng: Rng, data: bytearray) -> None:
    """All from some byte on."""
    del data[int(rng.integers(len(data))) :]


def move(rng: Rng, data: bytearray) -> None:
    """Some words, copied over others."""
    size = int(2 ** rng.integers(1, 7)) * 4
    source, target = (int(rng.integers(max(len(data) - size, 1))) // 4 * 4 for _ in range(2))
    data[target : target + size] = data[source : source + size]


def delete(rng: Rng, data: bytearray) -> None:
    """A few bytes."""
    at = int(rng.integers(len(data)))
    del data[at : at + int(2 ** rng.integers(0, 6))]


def splice(rng: Rng, data: bytearray, pool: Sequence[bytes]) -> None:
    """A piece of another file."""
    other = pool[int(rng.integers(len(pool)))]
    start, length = int(rng.integers(len(other))), int(2 ** rng.integers(2, 9))
    at = int(rng.integers(len(data)))
    data[at : at + length] = other[start : start + length]


_BYTES: tuple[Callable[[Rng, bytearray], None], ...] = (flip, flip, number, number, move, truncate, delete)


def mutated_bytes(rng: Rng, original: bytes, pool: Sequence[bytes]) -> bytes:
    """``original`` with one or two mutations."""
    data = bytearray(original)
    for _ in range(int(rng.integers(1, 3))):
        if len(data) > 16:
            which = int(rng.integers(len(_BYTES) + 1))
            if which == len(_BYTES):
                splice(rng, data, pool)
            else:
                _BYTES[which](rng, data)
    return bytes(data)


class Spot:
    """A place in a tree of dicts and lists."""

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder = holder
        self.key = key

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    @value.setter
    def value(self, new: Any) -> None:
        self.holder[self.key] = new

    def remove(self) -> None:
        del self.holder[self.key]


def spots(tree: Any) -> list[Spot]:
    """Every place in the tree but its root."""
    found: list[Spot] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found.append(Spot(tree, key))
        found += spots(value)
    return found


def _descend(rng: Rng, tree: Any) -> Spot:
    """A place, each child as likely as its siblings, so that a long list does not take all."""
    spot = None
    node = tree
    while isinstance(node, (dict, list)) and node and (spot is None or rng.integers(6)):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        spot = Spot(node, keys[int(rng.integers(len(keys)))])
        node = spot.value
    assert spot is not None
    return spot


def _other(rng: Rng, tree: Any, kind: type) -> Any:
    """Another value of that type from the tree."""
    values = [spot.value for spot in spots(tree) if type(spot.value) is kind]
    return copy.deepcopy(values[int(rng.integers(len(values)))]) if values else None


def _scalar(rng: Rng, tree: Any, old: Any) -> Any:
    """Something in place of a number, a text, a truth value or nothing."""
    style = int(rng.integers(12))
    if isinstance(old, bool):
        return (not old, not old, not old, int(old), str(old).lower(), None)[style % 6]
    if isinstance(old, (int, float)):
        if style < 5:
            return old + (int(rng.choice([-1, 1, -2, 2, -16, 16])) if isinstance(old, int) else float(rng.normal()))
        if style < 7:
            return old * 2 if rng.integers(2) else old // 2
        if style < 9:
            return _other(rng, tree, type(old))
        if style < 11:
            return int(_NUMBERS[int(rng.integers(len(_NUMBERS)))])
        return (str(old), float(old), bool(old), None, [old], -old, 10**30, 1e300)[int(rng.integers(8))]
    if isinstance(old, str):
        if style < 6:
            return _other(rng, tree, str)
        if style < 10:
            return _TEXTS[int(rng.integers(len(_TEXTS)))]
        return (None, 1, [old], old + " ", old.upper(), old[:-1])[int(rng.integers(6))]
    return (0, 1, "", "x", [], {}, False)[int(rng.integers(7))]


def _container(rng: Rng, tree: Any, spot: Spot) -> None:
    """Change a list or a dict."""
    node = spot.value
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    style = int(rng.integers(7))
    if not keys or style == 0:
        spot.value = (None, {}, [], 0, "x")[int(rng.integers(5))]
        return
    some = keys[int(rng.integers(len(keys)))]
    other = keys[int(rng.integers(len(keys)))]
    if style == 1:
        del node[some]
    elif style == 2:
        node[some], node[other] = node[other], node[some]
    elif style == 3 and isinstance(node, dict):
        node[f"{some}x" if rng.integers(2) else "extra"] = copy.deepcopy(node[some])
    elif style == 3:
        node.insert(int(some), copy.deepcopy(node[other]))
    elif style == 4 and isinstance(node, list):
        node.reverse()
    elif style == 5 and isinstance(node, list):
        node.append(_other(rng, tree, type(node[0])))
    else:
        node[some] = copy.deepcopy(node[other])


def _everywhere(rng: Rng, tree: Any, spot: Spot) -> None:
    """A consistent lie: the value, wherever it is, becomes another."""
    old, new = spot.value, _scalar(rng, tree, spot.value)
    for place in spots(tree):
        if type(place.value) is type(old) and place.value == old:
            place.value = new


def mutated_tree(rng: Rng, original: Any, pool: Sequence[Any]) -> Any:
    """``original`` with one to three places changed. ``pool``: others of the same kind, to take parts from."""
    tree = copy.deepcopy(original)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        found = spots(tree)
        if not found:
            return tree
        spot = _descend(rng, tree) if rng.integers(2) else found[int(rng.integers(len(found)))]
        style = int(rng.integers(12))
        if style == 0:
            spot.remove()
        elif style == 1:
            spot.value = copy.deepcopy(found[int(rng.integers(len(found)))].value)
        elif style in (2, 3):
            _crossed(rng, tree, pool)
        elif isinstance(spot.value, (dict, list)):
            _container(rng, tree, spot)
        elif style == 4:
            _everywhere(rng, tree, spot)
        else:
            spot.value = _scalar(rng, tree, spot.value)
    return json.loads(json.dumps(tree))


def _crossed(rng: Rng, tree: Any, pool: Sequence[Any]) -> None:
    """A part of another of the same kind in the same place, as far as that is there."""
    here, there = tree, pool[int(rng.integers(len(pool)))]
    for _ in range(8):
        if isinstance(here, dict) and isinstance(there, dict):
            shared: list[Any] = [key for key in here if key in there]
        elif isinstance(here, list) and isinstance(there, list):
            shared = list(range(min(len(here), len(there))))
        else:
            return
        if not shared:
            return
        key = shared[int(rng.integers(len(shared)))]
        if not isinstance(here[key], (dict, list)) or rng.integers(3) == 0:
            here[key] = copy.deepcopy(there[key])
            return
        here, there = here[key], there[key]


def toml(data: dict[str, Any]) -> str:
    """A tree as TOML; tables are written in one line, nothing (null) as an empty text."""
    return "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in data.items())


def _key(key: str) -> str:
    return json.dumps(str(key))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(repr(value), repr(value))
    return json.dumps("" if value is None else value)
