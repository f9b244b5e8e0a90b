"""Schedules as other tools write them: Timeloop's list of directives, ZigZag's loops for each operand.

Timeloop v3 (timeloop.csail.mit.edu, input formats, mapping): ``permutation`` is inner to outer; the factors of all
levels multiply to the problem's size. ZigZag's temporal mapping: for each of W, I and O a list of loops for each
memory level, innermost level and innermost loop first; a fully connected layer is O[B,K] += W[K,C] I[B,C].
"""

from __future__ import annotations

import re
from typing import Any

from memaopt.errors import InputError
from memaopt.kernels.mapping import Mapping, TiledLoop
from memaopt.problems.gemm import DIMS, Dim, Operand

#: What levels are called, by what is part of their names, from the registers outwards.
_LEVELS = {
    "registers": ("reg", "rf", "accumulator"),
    "external": ("dram", "external", "main", "offchip", "off_chip", "flash", "qspi", "fmc", "psram"),
    "sram": ("sram", "buffer", "glb", "scratch", "spm", "tcm", "l1", "l2", "cache"),
}
#: Timeloop's problems name the dimensions and data spaces as they like; these are the usual names of a product's.
_DIMS: dict[str, Dim] = {"M": "m", "K": "k", "N": "n"}
_SPACES: dict[str, Operand] = {
    **dict.fromkeys(("a", "weights", "inputa", "matrixa"), "A"),
    **dict.fromkeys(("b", "inputs", "inputb", "matrixb"), "B"),
    **dict.fromkeys(("c", "z", "outputs", "output", "matrixc"), "C"),
}
_ZIGZAG_DIMS: dict[str, Dim] = {"K": "m", "C": "k", "B": "n"}
_ZIGZAG_OPERANDS: dict[str, Operand] = {"W": "A", "I": "B", "O": "C"}
_FACTOR = re.compile(r"([A-Za-z]+)\s*=?\s*(\d{1,10})")


def is_timeloop(data: Any) -> bool:
    """Whether it is Timeloop's: directives under ``mapping``."""
    return isinstance(data, dict) and isinstance(data.get("mapping"), list)


def is_zigzag(data: Any) -> bool:
    """Whether it is ZigZag's: loops for each operand."""
    return isinstance(data, dict) and set(data) == set(_ZIGZAG_OPERANDS)


def timeloop(data: dict[str, Any], where: str) -> Mapping:
    """Timeloop's directives as a mapping; InputError names the one at fault."""
    loops: dict[str, list[TiledLoop]] = {level: [] for level in _LEVELS}
    streamed: list[Operand] = []
    for number, directive in enumerate(data["mapping"], 1):
        at = f"{where}: directive {number}"
        if not isinstance(directive, dict) or "target" not in directive:
            raise InputError(f"{at}: a target, a type and factors are needed")
        level, kind = _level(directive["target"], at), directive.get("type")
        if kind in ("bypass", "datatype", "dataspace"):
            if level == "sram":
                names = directive.get("bypass") or []
                if not isinstance(names, list):
                    raise InputError(f"{at}: bypass {str(names)[:40]!r}: a list of data spaces is expected")
                streamed += [_space(name, at) for name in names]
            continue
        found = _factors(directive, at)
        if kind == "spatial" and any(loop.trips > 1 for loop in found):
            raise InputError(f"{at}: spatial loops need more than the one core that a microcontroller has")
        if kind not in ("temporal", "spatial"):
            raise InputError(f"{at}: type {str(kind)[:40]!r}: there are temporal, spatial and bypass")
        if any(loop.trips > 1 for loop in loops[level]) and any(loop.trips > 1 for loop in found):
            raise InputError(f"{at}: {level} has loops already: a core has one such level")
        loops[level] += found
    return Mapping.checked({**loops, "streamed": streamed}, where)


def zigzag(data: dict[str, Any], where: str) -> Mapping:
    """ZigZag's temporal mapping as a mapping; InputError if the operands' levels are not those of one block."""
    levels = {}
    for name, operand in _ZIGZAG_OPERANDS.items():
        parts = data[name]
        if not isinstance(parts, list) or len(parts) not in (2, 3):
            raise InputError(
                f"{where}: {name} needs loops for registers, SRAM and external memory, or for the last two"
            )
        levels[operand] = [
            _zigzag_loops(part, f"{where}: {name}") for part in ([[], *parts] if len(parts) == 2 else parts)
        ]
    nests = [tuple(loop for part in reversed(parts) for loop in part) for parts in levels.values()]
    inside = {tuple(parts[0]) for parts in levels.values()}
    if len({*nests}) != 1 or len(inside) != 1:
        raise InputError(f"{where}: W, I and O have other loops, or other register tiles: give them the same")
    # One nest: whoever has the most of it outside SRAM has the block, the others' tiles are held meanwhile.
    registers, sram, external = max(levels.values(), key=lambda parts: len(parts[2]))
    outside = tuple(len(levels[x][2]) for x in _ZIGZAG_OPERANDS.values())
    return Mapping.checked({"external": external, "sram": sram, "registers": registers, "outside": outside}, where)


def _zigzag_loops(part: Any, where: str) -> list[TiledLoop]:
    """The loops of one level, outermost first."""
    found = []
    for entry in part if isinstance(part, list) else [None]:
        pair = tuple(entry) if isinstance(entry, list | tuple) else ()
        if len(pair) != 2 or type(pair[1]) is not int or pair[1] < 1 or str(pair[0]) not in _ZIGZAG_DIMS:
            raise InputError(f"{where}: {str(entry)[:40]!r} is no loop along {', '.join(_ZIGZAG_DIMS)}, as in ['K', 4]")
        found.append(TiledLoop(_ZIGZAG_DIMS[str(pair[0])], pair[1]))
    return found[::-1]


def _level(name: Any, where: str) -> str:
    lowered = str(name).lower()
    for level, parts in _LEVELS.items():
        if any(part in lowered for part in parts):
            return level
    raise InputError(f"{where}: level {str(name)[:40]!r} is none that is known: call it external, sram or registers")


def _space(name: Any, where: str) -> Operand:
    found = _SPACES.get(str(name).lower().replace("_", ""))
    if found is None:
        raise InputError(f"{where}: data space {str(name)[:40]!r} is none of a product's: call it A, B or C")
    return found


def _factors(directive: dict[str, Any], where: str) -> list[TiledLoop]:
    """The loops of a directive, outermost first."""
    given = directive.get("factors", ())
    words = given if isinstance(given, list) else re.split(r"[\s,]+", str(given).strip()) if given else []
    trips: dict[Dim, int] = {}
    for word in words:
        match = _FACTOR.fullmatch(str(word).strip())
        if match is None or match[1].upper() not in _DIMS or not int(match[2]):
            raise InputError(f"{where}: factor {str(word)[:40]!r}: write M, K or N and what divides it, as in M=4")
        trips[_DIMS[match[1].upper()]] = int(match[2])
    permutation = directive.get("permutation", "")
    names = permutation if isinstance(permutation, list) else re.findall(r"[A-Za-z]", str(permutation))
    inwards = [_DIMS[str(name).upper()] for name in reversed(names) if str(name).upper() in _DIMS]
    order = [*inwards, *(d for d in DIMS if d not in inwards)]
    if len(order) != len(DIMS) or (len(inwards) < 2 and sum(count > 1 for count in trips.values()) > 1):
        raise InputError(f"{where}: permutation {str(permutation)[:40]!r}: each of M, K and N once, innermost first")
    return [TiledLoop(d, trips.get(d, 1)) for d in order]
