"""A convolution in blocks of output channels: a block's constants are staged, all positions computed, then the next.

Where all constants fit the SRAM beside what is alive, staging them whole gathers each patch once. Where they do not, a
layer that streams reads them once for each tile of positions; in blocks they cross once, and patches, which are in
SRAM, are gathered once for each block. Fewer blocks are never dearer, so the largest that fits is the best.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
_BLOCK = Compiled(64, 30)  # a turn of the loop over blocks
_STACK = 40  # more of it than without (GCC 12.2 -O3: 24 in tests/kernels/test_frames.py)


def sizes(channels: int, step: int) -> tuple[int, ...]:
    """Channels in a block, multiples of ``step``, the most first; the last block of a layer has ``step`` at least."""
    tiles = -(-channels // step)
    found = {step * -(-tiles // count) for count in _COUNTS if count <= tiles}
    return tuple(size for size in sorted(found, reverse=True) if size < channels and not 0 < channels % size < step)


def in_blocks(
    layer: Conv, plan: Plan, kernel: ChainedChannelsKernel, grid: strips.Grid, channels: int
) -> Iterator[Plan]:
    """The plan that streams, in blocks of so many channels, with constants as they are, packed, and packed with what
    channels take apart."""
    whole, last = divmod(kernel.m, channels)
    parts = [(channels, whole), *([(last, 1)] if last else [])]
    rows, count = plan.option("strip"), whole + bool(last)
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
    bodies = [
        Staged(
            tiles_code(layer, kernel.call(sum(runs) / len(runs), part), kernel.n, rows, len(runs))[
                len(around.entry()) :
            ]
        )
        for part, _ in parts
    ]
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
            promise=Promise(
                (read,),
                output,
                loads(words, 4),
                scratch + stores(records * kernel.words, 4) + again,
                stack,
                loads(stay, 4),
            ),
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
