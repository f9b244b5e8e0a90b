"""Constants staged: copied out of slow memory when a layer starts, or expanded, then read from scratch.

A kernel reads its weights once for every tile of positions. Streamed from flash each word waits each time; a copy waits
once for each word and takes RAM only while the layer runs. Any plan that reads its constants in words can be staged:
its kernels stay as they are and get another pointer.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around
from memaopt.kernels.code import Node, Staged
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.packing import Packing
from memaopt.kernels.plan import Plan
from memaopt.kernels.text.c import Array, words_bytes

_CODE = 24  # bytes of a copy's call
#: Bytes of code of a copy, and of one that expands: its function (82 or 180 by GCC 12.2 at -O3) and the call.
STAGES = (_CODE, 208)
#: What the tile of a plan says whose channels' constants stay on the chip.
APART = ", channels apart"
_STACK = 16  # more of it where copies expand (GCC 12.2 -O3: 8 in tests/kernels/test_frames.py)


class CopyCost(NamedTuple):
    """What a copy of constants is: the words that are read, its cycles and code, the bytes of that in flash, and the
    words that are read besides from what stays on the chip."""

    words: int
    cycles: float
    code: tuple[Node, ...]
    code_bytes: int
    channel_words: int = 0

    @property
    def data_bytes(self) -> int:
        """The bytes of the array that is copied."""
        return words_bytes(self.words) if self.channel_words else 4 * self.words

    @property
    def channel_bytes(self) -> int:
        """The bytes of the array that stays, if there is one."""
        return words_bytes(self.channel_words) if self.channel_words else 0


@lru_cache(maxsize=1 << 12)
def copying(words: int, packing: Packing | None) -> CopyCost:
    """The copy of so many words of constants, as kernels read them or packed."""
    if packing is not None:
        cycles = cycles_of(packing.code())
        return CopyCost(packing.packed_words, cycles, packing.code(), STAGES[True], packing.channel_words)
    return CopyCost(words, around.ROW_OF_WORDS.cycles(words), around.copy_constants(words), STAGES[False])


def copies_of(plan: Plan) -> list[CopyCost]:
    """The copies of all constants of a plan that streams, packed as far as they can be; none unless it reads them in
    words."""
    again, words = plan.promise.parameters, plan.data_bytes // 4
    if not plan.words or words == 0 or again != loads(again.loads, 4):
        return []
    packings = [packing for packing in plan.packings if packing is not None]
    others = words - sum(packing.words for packing in packings)
    return [*(copying(each.words, each) for each in packings), *([copying(others, None)] if others else [])]


def staged(plan: Plan) -> Plan | None:
    """The plan with its constants copied into scratch first; None if it does not read them again and again in words."""
    promise, words = plan.promise, plan.data_bytes // 4
    again = promise.parameters
    if not plan.words or words == 0 or again != loads(again.loads, 4) or again.loads <= words:
        return None
    return replace(
        plan,
        tile=f"{plan.tile}, staged" if plan.tile else "staged",
        cycles=plan.cycles + round(around.ROW_OF_WORDS.cycles(words)),
        promise=promise._replace(parameters=loads(words, 4), scratch=promise.scratch + stores(words, 4) + again),
        code_bytes=plan.code_bytes + _CODE,
        code=(*around.copy_constants(words), Staged(plan.code)),
        scratch_bytes=align(plan.scratch_bytes, 4) + 4 * words,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1)),
        streams=plan,
    )


def packed(plan: Plan, apart: bool = False) -> Plan | None:
    """The plan with its constants packed, which expand into scratch, and the others copied; None if none can be. What
    channels take may be ``apart``, so that it can stay on the chip."""
    plan = _parted(plan) if apart else plan
    copies, words = copies_of(plan), plan.data_bytes // 4
    if not copies or not any(plan.packings):
        return None
    read, promise, again = sum(copy.words for copy in copies), plan.promise, plan.promise.parameters
    stay = sum(copy.channel_words for copy in copies)
    scratch = promise.scratch + stores(words, 4) + again
    return replace(
        plan,
        tile=f"{plan.tile}, packed and staged" + APART * apart,
        cycles=plan.cycles + round(sum(copy.cycles for copy in copies)),
        promise=promise._replace(parameters=loads(read, 4), scratch=scratch, channels=loads(stay, 4)),
        data_bytes=sum(copy.data_bytes for copy in copies),
        channel_bytes=sum(copy.channel_bytes for copy in copies),
        code_bytes=plan.code_bytes + sum(copy.code_bytes for copy in copies),
        code=(*(node for copy in copies for node in copy.code), Staged(plan.code)),
        scratch_bytes=align(plan.scratch_bytes, 4) + 4 * words,
        stack_bytes=plan.stack_bytes + _STACK,
        alignment=max(plan.alignment, 4),
        options=(*plan.options, ("staged", 1), ("expanded", 1 + apart)),
        streams=plan,
        packed=True,
    )


def _parted(plan: Plan) -> Plan:
    """The plan with its constants packed so that what channels take is apart."""
    return replace(plan, packings=tuple(each and each.parted() for each in plan.packings))


def least_words(plan: Plan) -> int:
    """The words that cross if the constants of a plan that streams are copied once; 0 if they cannot be."""
    return sum(copy.words for copy in copies_of(_parted(plan)))


def kept(plan: Plan, at: int = 0, apart: bool = False) -> Plan:
    """A plan that streams, with its constants copied by somebody else before, as :func:`copies_of` says; to ``at``
    words from the start of its scratch memory. ``apart`` as in :func:`packed`."""
    plan = _parted(plan) if apart else plan
    promise, copies = plan.promise, copies_of(plan)
    return replace(
        plan,
        tile=f"{plan.tile}, constants kept" if plan.tile else "constants kept",
        promise=promise._replace(parameters=Access(), scratch=promise.scratch + promise.parameters),
        data_bytes=sum(copy.data_bytes for copy in copies),
        channel_bytes=sum(copy.channel_bytes for copy in copies),
        code=(Staged(plan.code),),
        streams=plan,
        packed=any(plan.packings),
        kept=at,
    )


def fetched(plan: Plan, size: int) -> Plan | None:
    """The plan with its input, of so many bytes, copied into scratch first, so that each crosses once; None where that
    is no less than it reads."""
    words, rest = divmod(size, 4)
    again = plan.promise.inputs[0]
    if rest or len(plan.promise.inputs) > 1 or again.bytes <= size:
        return None
    at = align(plan.scratch_bytes, 4)
    promise = plan.promise
    return replace(
        plan,
        tile=f"{plan.tile}, input fetched" if plan.tile else "input fetched",
        cycles=plan.cycles + round(around.ROW_OF_WORDS.cycles(words)),
        promise=promise._replace(inputs=(loads(words, 4),), scratch=promise.scratch + stores(words, 4) + again),
        code_bytes=plan.code_bytes + _CODE,
        code=(around.copy_words(words), *plan.code),
        scratch_bytes=at + size,
        alignment=max(plan.alignment, 4),
        lead=None,
        in_place=False,
        options=(*plan.options, ("fetched", 1)),
        fetched=at,
    )


def fetch(plan: Plan, name: str = "in") -> str:
    """The statements that a layer's function begins with if its input is fetched."""
    if plan.fetched is None:
        return ""
    place = f"(int8_t *)scratch + {plan.fetched}" if plan.fetched else "scratch"
    words = (plan.scratch_bytes - plan.fetched) // 4
    return (
        f"    /* The input out of slow memory: it is read again and again. */\n"
        f"    copy_words({place}, {name}, {words});\n"
        f"    {name} = (const void *)({place});\n"
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
        return "", places
    at = align(plan.streams.scratch_bytes, 4) // 4 if plan.kept is None else plan.kept
    why = "they are read again for every tile" if plan.kept is None else "whoever calls this has copied them"
    text = f"    /* Constants out of slow memory: {why}. */\n"
    for array, packing in zip(arrays, _packings(plan, arrays), strict=True):
        local = places[array.name]
        begin = f" {'-' if at < 0 else '+'} {abs(at)}" if at else ""
        text += f"    {'' if plan.kept is None else 'const '}int32_t *{local} = (int32_t *)scratch{begin};\n"
        text += f"    {_copy(local, array, packing)}\n" if plan.kept is None else ""
        at += array.length
    return text, places


def kept_copies(plan: Plan, arrays: Sequence[Array], to: str, at: int) -> list[str]:
    """The statements that copy the constants (``arrays``, as they lie) of a plan that :func:`kept` made, from ``at``
    words behind the pointer ``to`` on."""
    made, copied = [], [array for array in arrays if not array.stays]
    for array, packing in zip(copied, _packings(plan, copied), strict=True):
        made.append(_copy(f"{to} + {at}" if at else to, array, packing))
        at += array.length if packing is None else packing.words
    return made


def _copy(to: str, array: Array, packing: Packing | None) -> str:
    """A statement that copies an array of constants, or expands it."""
    if packing is None:
        return f"copy_words({to}, {array.name}, {array.length});"
    return packing.call(to, array.name, channels_of(array.name))


def channels_of(name: str) -> str:
    """What stays on the chip of an array of constants of this name."""
    return f"{name}_channels"


def as_they_lie(plan: Plan, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """A layer's constants as memory has them: packed, if they are, and what channels take apart."""
    made: list[Array] = []
    for array, packing in zip(arrays, _packings(plan, arrays), strict=True):
        if packing is None:
            made.append(array)
            continue
        only = "weights alone, a byte each" if packing.apart else "weights in a byte each"
        made.append(array._replace(values=packing.packed(array.values), comment=f"{array.comment}; {only}"))
        if packing.apart:
            stays, values = f"{array.comment}; all but weights", packing.beside(array.values)
            made.append(array._replace(name=channels_of(array.name), values=values, comment=stays, stays=True))
    return tuple(made)


def _packings(plan: Plan, arrays: Sequence[Array]) -> tuple[Packing | None, ...]:
    """How each of a layer's arrays is packed."""
    packings = plan.packings if plan.packed else ()
    return packings + (None,) * (len(arrays) - len(packings))
