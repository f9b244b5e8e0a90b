"""A convolution in blocks of output channels: a block's constants are staged, all positions computed, then the next.

Where all constants fit the SRAM beside what is alive, staging them whole gathers each patch once. Where they do not, a
layer that streams reads them once for each tile of positions; in blocks they cross once, and patches, which are in
SRAM, are gathered once for each block. Fewer blocks are never dearer, so the largest that fits is the best; where a
DMA copies the next block meanwhile, the first is waited for, and is a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around, strips
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows.channels_kernel import ChainedChannelsKernel
from memaopt.kernels.code import Loop, Staged
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.raw_pairs.raw_pairs import LAYER_CYCLES, tiles_code
from memaopt.kernels.staging import APART, STAGES, copying
from memaopt.kernels.text.c import words_bytes
from memaopt.problems.layers import Conv

#: Numbers of blocks that are offered: each at most 1.5 times the one before.
_COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: Of the blocks behind a first one that a DMA has copied.
_COUNTS_BY_DMA = (1, 2, 4, 8, 16, 32)
_BLOCK = Compiled(64, 30)  # a turn of the loop over blocks
#: A call of dma_start and one of dma_wait that need not wait, with their calls and the next block.
_BY_DMA = (Compiled(104, 44), Compiled(60, 26))
_STACK = 40  # more of it than without (GCC 12.2 -O3: 24 in tests/kernels/test_frames.py)


Parts = tuple[int, ...]
#: The channels of the blocks that are offered, for so many in multiples of a step; and the plans with such blocks.
Offered = Callable[[int, int], Iterable[Parts]]
Made = Callable[[Conv, Plan, ChainedChannelsKernel, strips.Grid, Parts], Iterator[Plan]]


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


class _Work(NamedTuple):
    """What a layer does in blocks besides copying them: the blocks (channels, how many such), its cycles and accesses,
    the tiles of channels of all of them, and the code of a block of each size."""

    parts: tuple[tuple[int, int], ...]
    cycles: float
    promise: Promise
    records: int
    bodies: tuple[Staged, ...]


def _work(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> _Work:
    """What the plan that streams does in blocks of so many channels each; the promise has no load of constants."""
    parts = tuple((part, len(list(alike))) for part, alike in groupby(of))
    rows, count = plan.option("strip"), len(of)
    runs, read, scratch, cycles = grid.runs(grid.rows), Access(), Access(), float(LAYER_CYCLES)
    if rows:
        work = strips.strip_work(layer, strips.strip_of(layer, rows), slides=plan.slides)
        runs = [run for height in work.heights for run in grid.runs(height)]
        read, scratch, cycles = work.input.times(count), work.scratch.times(count), cycles + count * work.cycles
    source, output, again, stack = Access(), Access(), Access(), Access()
    for part, times in parts:
        accesses = kernel.accesses(sum(runs), len(runs), part)
        source, output, again, stack = (
            total + each.times(times) for total, each in zip((source, output, again, stack), accesses, strict=True)
        )
        calls = len(runs) * (kernel.call_cycles + around.run_cycles(kernel.n))
        cycles += times * (sum(runs) * kernel.tile_cycles_of(part) + calls + _BLOCK.cycles)
    read, scratch = (read, scratch + source) if rows else (source, scratch)
    records = sum(kernel.tiles_of(part) * times for part, times in parts)
    scratch += stores(records * kernel.words, 4) + again
    bodies = tuple(
        Staged(
            tiles_code(layer, kernel.call(sum(runs) / len(runs), part), kernel.n, rows, len(runs))[
                len(around.entry()) :
            ]
        )
        for part, _ in parts
    )
    return _Work(parts, cycles, Promise((read,), output, Access(), scratch, stack), records, bodies)


def in_blocks(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> Iterator[Plan]:
    """The plan that streams, in blocks of so many channels, with constants as they are, packed, and packed with what
    channels take apart."""
    channels = of[0]
    parts, cycles, promise, records, bodies = _work(layer, plan, kernel, grid, of)
    for packed, apart in ((False, False), (True, False), (True, True)):
        records_of = [kernel.packing(kernel.tiles_of(part))._replace(apart=apart) for part, _ in parts]
        copies = [copying(each.words, each if packed else None) for each in records_of]
        code = around.entry() + tuple(
            Loop((around.piece(_BLOCK), *copy.code, body), times)
            for copy, body, (_, times) in zip(copies, bodies, parts, strict=True)
        )
        copied = sum(copy.cycles * times for copy, (_, times) in zip(copies, parts, strict=True))
        words = sum(copy.words * times for copy, (_, times) in zip(copies, parts, strict=True))
        stay = sum(copy.channel_words * times for copy, (_, times) in zip(copies, parts, strict=True))
        yield replace(
            plan,
            tile=f"{plan.tile}, blocks of {channels}{' packed' * packed}{APART * apart}",
            cycles=round(cycles + copied),
            promise=promise._replace(parameters=loads(words, 4), channels=loads(stay, 4)),
            data_bytes=words_bytes(words) if apart else 4 * words,
            channel_bytes=words_bytes(stay) if apart else 0,
            code_bytes=plan.code_bytes + _BLOCK.size + STAGES[packed],
            code=code,
            scratch_bytes=align(plan.scratch_bytes, 4) + 4 * kernel.tiles_of(channels) * kernel.words,
            stack_bytes=plan.stack_bytes + _STACK,
            lead=None,
            options=(*plan.options, ("block", channels), ("expanded", packed + apart)),
            streams=plan,
            packings=(kernel.packing(records)._replace(apart=apart),),
            packed=packed,
            block=channels,
        )


def by_dma(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> Iterator[Plan]:
    """The plan that streams, in blocks of so many channels each that a DMA copies as they are, two in turn."""
    parts, cycles, promise, records, bodies = _work(layer, plan, kernel, grid, of)
    copied = tuple(kernel.tiles_of(part) * kernel.words for part in of)
    code = around.entry() + tuple(
        Loop((around.piece(_BLOCK), *map(around.piece, _BY_DMA), body), times)
        for body, (_, times) in zip(bodies, parts, strict=True)
    )
    words = records * kernel.words
    yield replace(
        plan,
        tile=f"{plan.tile}, {of[0]} channels, then {of[1]} at a time by DMA",
        cycles=round(cycles + len(of) * sum(each.cycles for each in _BY_DMA)),
        promise=promise._replace(parameters=loads(words, 4)),
        data_bytes=4 * words,
        code_bytes=plan.code_bytes + _BLOCK.size + sum(each.size for each in _BY_DMA),
        code=code,
        scratch_bytes=align(plan.scratch_bytes, 4) + 4 * (max(copied[::2]) + max(copied[1::2])),
        stack_bytes=plan.stack_bytes + _STACK,
        lead=None,
        options=(*plan.options, ("first", of[0]), ("block", of[1]), ("dma", 1)),
        streams=plan,
        block=of[1],
        dma=copied,
    )
