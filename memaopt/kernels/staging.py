"""Constants staged: copied out of slow memory when a layer starts, then read from scratch.

A kernel reads its weights once for every tile of positions. Streamed from flash each word waits each time; a copy waits
once for each word and takes RAM only while the layer runs. Any plan that reads its constants in words can be staged:
its kernels stay as they are and get another pointer.
"""

import dataclasses
import re

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Staged
from memaopt.kernels.family import facts
from memaopt.kernels.plan import Emitted, Plan
from memaopt.kernels.strips import copy_cycles

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
        cycles=plan.cycles + round(copy_cycles(words)),
        promise=promise._replace(parameters=loads(words, 4), scratch=promise.scratch + stores(words, 4) + again),
        code_bytes=plan.code_bytes + _CODE,
        code=(*around.copy_constants(words), Staged(plan.code)),
        scratch_bytes=_aligned(plan.scratch_bytes) + 4 * words,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1)),
        streams=plan,
    )


def stage(layer: Emitted, plan: Plan) -> Emitted:
    """The C text of a staged ``plan``, given that of the plan that it ``streams``."""
    assert plan.streams is not None
    head, body = layer.source.split(f"\nvoid {layer.name}(", 1)
    head = head.replace("\n * ".join(facts(plan.streams)), "\n * ".join(facts(plan)))
    signature, body = body.split("\n{\n", 1)
    at, lines = _aligned(plan.streams.scratch_bytes) // 4, []
    for symbol in layer.parameters:
        array = re.search(rf"^static const int32_t {symbol}\[(\d+)\]", head, re.MULTILINE)
        assert array is not None
        local, words = f"staged{symbol.removeprefix(layer.name)}", int(array[1])
        body = re.sub(rf"\b{symbol}\b", local, body)
        lines.append(f"    int32_t *{local} = (int32_t *)scratch{f' + {at}' if at else ''};\n")
        lines.append(f"    copy_words({local}, {symbol}, {words});\n")
        at += words
    comment = "    /* Constants out of slow memory: they are read again for every tile. */\n"
    source = f"{head}\nvoid {layer.name}({signature}\n{{\n{comment}{''.join(lines)}{body}"
    return dataclasses.replace(layer, source=source, plan=plan)


def _aligned(size: int) -> int:
    return -(-size // 4) * 4
