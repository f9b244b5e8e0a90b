"""Constants staged: copied out of slow memory when a layer starts, or expanded, then read from scratch.

A kernel reads its weights once for every tile of positions. Streamed from flash each word waits each time; a copy waits
once for each word and takes RAM only while the layer runs. Any plan that reads its constants in words can be staged:
its kernels stay as they are and get another pointer.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Node, Staged
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.packing import Packing
from memaopt.kernels.plan import Plan
from memaopt.kernels.text.c import Array

_CODE = 24  # bytes of a copy's call
#: Bytes of code of a copy, and of one that expands: expand_chains and its call.
STAGES = (_CODE, 120)


class CopyCost(NamedTuple):
    """What a copy of constants is: the words that are read, its cycles and code."""

    words: int
    cycles: float
    code: tuple[Node, ...]


def crossing(packing: Packing, packed: bool) -> CopyCost:
    """The copy of these records, as kernels read them or packed."""
    words = packing.records * packing.record_words
    if packed:
        return CopyCost(words - packing.saved, cycles_of(packing.code()), packing.code())
    return CopyCost(words, around.ROW_OF_WORDS.cycles(words), around.copy_constants(words))


def staged(plan: Plan) -> Plan | None:
    """The plan with its constants copied into scratch first; None if it does not read them again and again in words."""
    promise, words = plan.promise, plan.data_bytes // 4
    again = promise.parameters
    if not plan.words or words == 0 or again != loads(again.loads, 4) or again.loads <= words:
        return None
    return dataclasses.replace(
        plan,
        tile=f"{plan.tile}, staged" if plan.tile else "staged",
        cycles=plan.cycles + round(around.ROW_OF_WORDS.cycles(words)),
        promise=promise._replace(parameters=loads(words, 4), scratch=promise.scratch + stores(words, 4) + again),
        code_bytes=plan.code_bytes + _CODE,
        code=(*around.copy_constants(words), Staged(plan.code)),
        scratch_bytes=aligned(plan.scratch_bytes) + 4 * words,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1)),
        streams=plan,
    )


def packed(plan: Plan) -> Plan | None:
    """The plan with its chained weights in a byte each, expanded into scratch, and its other constants copied; None if
    it has none.
    """
    again, words = plan.promise.parameters, plan.data_bytes // 4
    if plan.packing is None or again != loads(again.loads, 4):
        return None
    rest, promise = words - plan.packing.records * plan.packing.record_words, plan.promise
    code = (*plan.packing.code(), *(around.copy_constants(rest) if rest else ()))
    read = words - plan.packing.saved
    return dataclasses.replace(
        plan,
        tile=f"{plan.tile}, packed and staged",
        cycles=plan.cycles + round(cycles_of(code)),
        promise=promise._replace(parameters=loads(read, 4), scratch=promise.scratch + stores(words, 4) + again),
        data_bytes=4 * read,
        code_bytes=plan.code_bytes + _CODE + STAGES[True],
        code=(*code, Staged(plan.code)),
        scratch_bytes=aligned(plan.scratch_bytes) + 4 * words,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1), ("expanded", 1)),
        streams=plan,
        packed=True,
    )


def prefix(plan: Plan, name: str) -> str:
    """What the names of a layer's constants begin with where its function reads them."""
    return name if plan.streams is None or plan.block else "staged"


def copies(plan: Plan, name: str, arrays: Sequence[Array]) -> tuple[str, dict[str, str]]:
    """Statements that a layer's function begins with, and where it reads each of its constants: the copies that the
    statements make if the plan is staged, else the arrays themselves.
    """
    places = {array.name: f"{prefix(plan, name)}{array.name.removeprefix(name)}" for array in arrays}
    if plan.streams is None or plan.block:
        return "", {array.name: array.name for array in arrays}
    at = aligned(plan.streams.scratch_bytes) // 4
    text = "    /* Constants out of slow memory: they are read again for every tile. */\n"
    for number, array in enumerate(arrays):
        local = places[array.name]
        text += f"    int32_t *{local} = (int32_t *)scratch{f' + {at}' if at else ''};\n"
        if plan.packed and plan.packing is not None and number == 0:
            text += f"    expand_chains({local}, {array.name}, {', '.join(map(str, plan.packing))});\n"
        else:
            text += f"    copy_words({local}, {array.name}, {array.length});\n"
        at += array.length
    return text, places


def as_they_lie(plan: Plan, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """A layer's constants as memory has them: the first one packed, if it is."""
    if not plan.packed or plan.packing is None:
        return tuple(arrays)
    first = arrays[0]
    values = plan.packing.packed(first.values)
    return (first._replace(values=values, comment=f"{first.comment}; weights in a byte each"), *arrays[1:])


def aligned(size: int) -> int:
    """As many bytes in whole words."""
    return -(-size // 4) * 4
