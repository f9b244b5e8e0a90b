"""Constants staged: copied out of slow memory when a layer starts, then read from scratch.

A kernel reads its weights once for every tile of positions. Streamed from flash each word waits each time; a copy waits
once for each word and takes RAM only while the layer runs. Any plan that reads its constants in words can be staged:
its kernels stay as they are and get another pointer.
"""

import dataclasses
from collections.abc import Sequence

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Staged
from memaopt.kernels.plan import Plan
from memaopt.kernels.text.c import Array

_CODE = 24  # bytes of a copy's call


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
        scratch_bytes=_aligned(plan.scratch_bytes) + 4 * words,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1)),
        streams=plan,
    )


def prefix(plan: Plan, name: str) -> str:
    """What the names of a layer's constants begin with where its function reads them."""
    return name if plan.streams is None else "staged"


def copies(plan: Plan, name: str, arrays: Sequence[Array]) -> tuple[str, dict[str, str]]:
    """Statements that a layer's function begins with, and where it reads each of its constants: the copies that the
    statements make if the plan is staged, else the arrays themselves.
    """
    places = {array.name: f"{prefix(plan, name)}{array.name.removeprefix(name)}" for array in arrays}
    if plan.streams is None:
        return "", places
    at = _aligned(plan.streams.scratch_bytes) // 4
    text = "    /* Constants out of slow memory: they are read again for every tile. */\n"
    for array in arrays:
        local = places[array.name]
        text += f"    int32_t *{local} = (int32_t *)scratch{f' + {at}' if at else ''};\n"
        text += f"    copy_words({local}, {array.name}, {array.length});\n"
        at += array.length
    return text, places


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
