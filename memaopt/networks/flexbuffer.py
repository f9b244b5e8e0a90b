"""FlexBuffers, as options of custom operators are written: a map of numbers by name. Nothing else of them is read."""

from __future__ import annotations

import struct

from memaopt.errors import UnsupportedModelError

_MAP = 9
#: Types by how they are stored: in the value itself, or where the value says (``indirect``).
_SIGNED, _UNSIGNED, _FLOAT, _BOOL = (1, 6), (2, 7), (3, 8), (26,)
_INDIRECT = (6, 7, 8)
_INTEGERS, _REALS = {1: "b", 2: "h", 4: "i", 8: "q"}, {2: "e", 4: "f", 8: "d"}
_MOST = 256
_NO_MAP = "its options are no FlexBuffer with a map of numbers"


def numbers(data: bytes) -> dict[str, float]:
    """The numbers of the map that is the whole, by name; what is no number is left out.

    UnsupportedModelError for bytes that are no such map.
    """
    try:
        return _numbers(data)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError):
        raise UnsupportedModelError(_NO_MAP) from None


def _numbers(data: bytes) -> dict[str, float]:
    width, packed = data[-1], data[-2]
    if packed >> 2 != _MAP:
        raise UnsupportedModelError(_NO_MAP)
    root = len(data) - 2 - width
    inner = 1 << (packed & 3)
    start = _back(data, root, width)
    count = _unsigned(data, start - inner, inner)
    keys, key_width = _back(data, start - 3 * inner, inner), _unsigned(data, start - 2 * inner, inner)
    if count > _MOST:
        raise UnsupportedModelError(_NO_MAP)
    found = {}
    for i in range(count):
        name_at = _back(data, keys + i * key_width, key_width)
        name = data[name_at : data.index(0, name_at) if 0 in data[name_at:] else len(data)].decode()
        value = _number(data, start + i * inner, inner, data[start + count * inner + i])
        if value is not None:
            found[name] = value
    return found


def _number(data: bytes, at: int, width: int, packed: int) -> float | None:
    kind = packed >> 2
    if kind in _INDIRECT:
        at, width = _back(data, at, width), 1 << (packed & 3)
    if kind in _SIGNED:
        return int(_read(data, at, _INTEGERS[width]))
    if kind in (*_UNSIGNED, *_BOOL):
        return _unsigned(data, at, width)
    return float(_read(data, at, _REALS[width])) if kind in _FLOAT else None


def _back(data: bytes, at: int, width: int) -> int:
    """The place that an offset, which counts backwards, is of."""
    place = at - _unsigned(data, at, width)
    if place < 0:
        raise IndexError(place)
    return place


def _unsigned(data: bytes, at: int, width: int) -> int:
    return int(_read(data, at, _INTEGERS[width].upper()))


def _read(data: bytes, at: int, form: str) -> float:
    if at < 0:
        raise IndexError(at)
    found: float = struct.unpack_from(f"<{form}", data, at)[0]
    return found
