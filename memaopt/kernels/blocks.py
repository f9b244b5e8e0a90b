"""A layer in blocks of output channels: a block's constants are staged, all positions computed, then the next.

Where all constants fit the SRAM beside what is alive, staging them whole gathers each patch once. Where they do not, a
layer that streams reads them once for each tile of positions; in blocks they cross once, and patches, which are in
SRAM, are gathered (or transformed) once for each block. Fewer blocks are never dearer, so the largest that fits is the
best; where a DMA copies the next block meanwhile, the first is waited for, and is a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from memaopt.access import loads
from memaopt.alignment import align
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Loop, Staged
from memaopt.kernels.packing import Packing
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.staging import APART, STAGES, CopyCost
from memaopt.kernels.text.c import words_bytes

#: Numbers of blocks that are offered: each at most 1.5 times the one before.
_COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: Of the blocks behind a first one that a DMA has copied.
_COUNTS_BY_DMA = (1, 2, 4, 8, 16, 32)
BLOCK = Compiled(64, 30)  # a turn of the loop over blocks
#: A call of dma_start and one of dma_wait that need not wait, with their calls and the next block.
_BY_DMA = (Compiled(104, 44), Compiled(60, 26))
_STACK = 40  # more of it than without (GCC 12.2 -O3: 24 in tests/kernels/test_frames.py)


Parts = tuple[int, ...]
#: The channels of the blocks that are offered, for so many in multiples of a step.
Offered = Callable[[int, int], Iterable[Parts]]


def _split(channels: int, block: int, first: int = 0) -> Parts:
    """The channels of each block: ``first`` of them, if any, then so many at a time."""
    whole, last = divmod(channels - first, block)
    return (*([first] if first else []), *(block,) * whole, *([last] if last else []))


def parts_of(channels: int, plan: Plan) -> Parts:
    """The channels of each block of a plan, in their order; none if it has no blocks."""
    return _split(channels, plan.block, dict(plan.options).get("first", 0)) if plan.block else ()


def sizes(channels: int, step: int) -> Iterator[Parts]:
    """Blocks of equal channels, multiples of ``step``, the most first; a layer's last block has ``step`` at least."""
    tiles = -(-channels // step)
    found = {step * -(-tiles // count) for count in _COUNTS if count <= tiles}
    for size in sorted(found, reverse=True):
        if size < channels and not 0 < channels % size < step:
            yield _split(channels, size)


def sizes_by_dma(channels: int, step: int) -> Iterator[Parts]:
    """A first block that is short, for it is waited for, and then longer ones."""
    first = step
    while 2 * first <= channels:
        tiles = -(-(channels - first) // step)
        found = {step * -(-tiles // count) for count in _COUNTS_BY_DMA if count <= tiles}
        for size in sorted(found, reverse=True):
            if first <= size and not 0 < (channels - first) % size < step:
                yield _split(channels, size, first)
        first *= 2


def alike(of: Parts) -> tuple[tuple[int, int], ...]:
    """Blocks of so many channels each as those of a size in a row: channels, how many such."""
    return tuple((part, len(list(same))) for part, same in groupby(of))


class BlockWork(NamedTuple):
    """What a layer does in blocks besides copying them: the blocks (:func:`alike`), its cycles, its accesses but for
    loads of constants where they lie, and the code of a block of each size."""

    parts: tuple[tuple[int, int], ...]
    cycles: float
    promise: Promise
    bodies: tuple[Staged, ...]


def in_blocks(
    plan: Plan, work: BlockWork, copies: Sequence[CopyCost], block_words: int, packings: tuple[Packing | None, ...] = ()
) -> Plan:
    """The plan that streams, in the blocks of ``work``, whose largest takes ``block_words`` as kernels read it; with
    the copy of a block of each size, and the layer's ``packings``, if constants lie packed."""
    channels, apart, packed = work.parts[0][0], any(copy.channel_words for copy in copies), any(packings)
    code = around.entry() + tuple(
        Loop((around.piece(BLOCK), *copy.code, body), times)
        for copy, body, (_, times) in zip(copies, work.bodies, work.parts, strict=True)
    )
    copied = sum(copy.cycles * times for copy, (_, times) in zip(copies, work.parts, strict=True))
    words = sum(copy.words * times for copy, (_, times) in zip(copies, work.parts, strict=True))
    stay = sum(copy.channel_words * times for copy, (_, times) in zip(copies, work.parts, strict=True))
    return replace(
        plan,
        tile=f"{plan.tile}, blocks of {channels}{' packed' * packed}{APART * apart}",
        cycles=round(work.cycles + copied),
        promise=work.promise._replace(parameters=loads(words, 4), channels=loads(stay, 4)),
        data_bytes=words_bytes(words) if apart else 4 * words,
        channel_bytes=words_bytes(stay) if apart else 0,
        code_bytes=plan.code_bytes + BLOCK.size + STAGES[packed],
        code=code,
        scratch_bytes=align(plan.scratch_bytes, 4) + 4 * block_words,
        stack_bytes=plan.stack_bytes + _STACK,
        lead=None,
        options=(*plan.options, ("block", channels), ("expanded", packed + apart)),
        streams=plan,
        packings=packings or plan.packings,
        packed=packed,
        block=channels,
    )


def by_dma(plan: Plan, work: BlockWork, of: Parts, words: Parts) -> Plan:
    """The plan that streams, in blocks of so many channels each, of so many ``words`` of constants, that a DMA copies
    as they are, two in turn."""
    code = around.entry() + tuple(
        Loop((around.piece(BLOCK), *map(around.piece, _BY_DMA), body), times)
        for body, (_, times) in zip(work.bodies, work.parts, strict=True)
    )
    return replace(
        plan,
        tile=f"{plan.tile}, {of[0]} channels, then {of[1]} at a time by DMA",
        cycles=round(work.cycles + len(of) * sum(each.cycles for each in _BY_DMA)),
        promise=work.promise._replace(parameters=loads(sum(words), 4)),
        data_bytes=4 * sum(words),
        code_bytes=plan.code_bytes + BLOCK.size + sum(each.size for each in _BY_DMA),
        code=code,
        scratch_bytes=align(plan.scratch_bytes, 4) + 4 * (max(words[::2]) + max(words[1::2])),
        stack_bytes=plan.stack_bytes + _STACK,
        lead=None,
        options=(*plan.options, ("first", of[0]), ("block", of[1]), ("dma", 1)),
        streams=plan,
        block=of[1],
        dma=words,
    )
