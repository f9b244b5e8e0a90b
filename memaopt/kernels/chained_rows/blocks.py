"""A convolution by chained channels in blocks of them (memaopt/kernels/blocks.py): what a block does, and its copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from memaopt.access import Access, stores
from memaopt.kernels import around, blocks, strips
from memaopt.kernels.blocks import BLOCK, BlockWork, Parts
from memaopt.kernels.chained_rows.channels_kernel import ChainedChannelsKernel
from memaopt.kernels.code import Staged
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.raw_pairs.raw_pairs import LAYER_CYCLES, tiles_code
from memaopt.kernels.staging import copying
from memaopt.problems.layers import Conv

#: The plans with blocks of so many channels each.
Made = Callable[[Conv, Plan, ChainedChannelsKernel, strips.Grid, Parts], Iterator[Plan]]


def _work(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> BlockWork:
    """What the plan that streams does in blocks of so many channels each; the promise has no load of constants."""
    parts = blocks.alike(of)
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
        cycles += times * (sum(runs) * kernel.tile_cycles_of(part) + calls + BLOCK.cycles)
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
    return BlockWork(parts, cycles, Promise((read,), output, Access(), scratch, stack), bodies)


def in_blocks(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> Iterator[Plan]:
    """The plan that streams, in blocks of so many channels, with constants as they are, packed, and packed with what
    channels take apart."""
    work, words = _work(layer, plan, kernel, grid, of), kernel.tiles_of(of[0]) * kernel.words
    whole = kernel.packing(sum(map(kernel.tiles_of, of)))
    for packed, apart in ((False, False), (True, False), (True, True)):
        of_blocks = [kernel.packing(kernel.tiles_of(part))._replace(apart=apart) for part, _ in work.parts]
        copies = [copying(each.words, each if packed else None) for each in of_blocks]
        yield blocks.in_blocks(plan, work, copies, words, (whole._replace(apart=apart),) if packed else ())


def by_dma(layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, of: Parts) -> Iterator[Plan]:
    """The plan that streams, in blocks of so many channels each that a DMA copies as they are, two in turn."""
    words = tuple(kernel.tiles_of(part) * kernel.words for part in of)
    yield blocks.by_dma(plan, _work(layer, plan, kernel, grid, of), of, words)
