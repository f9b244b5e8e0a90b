"""CONV_2D of four channels out or more: tiles of 32 sums, for the fewest bytes to and from registers.

See kernel.py. Preconditions, checked offline: 256 |acc| < 2^31 for every input, and the requantisation is proven.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.kernels import around, strips
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.patches import patch_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.raw_pairs.raw_pairs import strip_heights
from memaopt.kernels.rounding.bytes_of import byte_rounding
from memaopt.kernels.rounding.output import channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.kernels.wide_tiles.kernel import CHANNELS, LEAST_RUN, MOST, SCALE, WideTilesKernel, WindowRuns
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

_FRAME, _STRIP_FRAME = around.Frame(72, 24), around.Frame(560, 96)
#: Of the C around kernels: a row of outputs, what is before strips, a strip (as of the rows of halfwords).
_ROW, _BEFORE, _STRIP = around.Compiled(32, 12), around.Compiled(40, 44), around.Compiled(32, 14)


class _Chosen(NamedTuple):
    """The kernel, its positions, the strip in which they are, if any, and how it requantises."""

    kernel: WideTilesKernel
    grid: strips.Grid
    strip: strips.Strip | None
    proven: Proven

    @property
    def calls(self) -> list[int]:
        """The tiles of each call for a row; the last tile may compute positions of the one before once more."""
        tiles, rest = divmod(self.grid.width, self.kernel.n)
        return [tiles, *([1] if rest else [])]


class WideTiles:
    """Any window whose rows are four bytes or more, not dilated along them; any stride and padding."""

    name = "wide tiles"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        heights = strip_heights(layer)
        # In a strip of all rows each of the input is read once.
        tried = sorted({*heights, layer.output.height} if any(heights) else heights)
        return pareto(plan for rows in tried if (plan := self._plan(layer, rows)) is not None)

    def _plan(self, layer: Conv, rows: int) -> Plan | None:
        chosen = _choose(layer, rows)
        if chosen is None:
            return None
        kernel, grid, strip, proven = chosen
        source, output, parameters, stack = kernel.accesses(
            sum(chosen.calls) * grid.rows, len(chosen.calls) * grid.rows
        )
        calling = [node for tiles in chosen.calls for node in (around.piece(around.CALL), kernel.call(tiles))]
        code: tuple[Node, ...] = around.entry()
        if strip is None:
            code += (Loop((around.piece(_ROW), *calling), grid.rows),) if grid.rows > 1 else tuple(calling)
            promise = Promise((source,), output, parameters, stack=stack)
        else:
            work = strips.strip_work(layer, strip)
            per = len(work.heights)
            of_rows = Loop((around.piece(_ROW), *calling), grid.rows / per)
            code += (around.piece(_BEFORE), around.fill_words(strip.bytes // 4))
            code += (Loop((around.piece(_STRIP), strips.filling(layer, strip, per), of_rows), per),)
            promise = Promise((work.input,), output, parameters, work.scratch + source, stack)
        frame = _FRAME if strip is None else _STRIP_FRAME
        return Plan(
            family=self.name,
            tile=kernel.tile + (f", strips of {rows}" if rows else ""),
            cycles=round(cycles_of(code) + _unaligned(chosen)),
            promise=promise,
            data_bytes=words_bytes(kernel.words),
            code_bytes=kernel.code_bytes + frame.code,
            scratch_bytes=0 if strip is None else strip.bytes,
            stack_bytes=kernel.stack_bytes + frame.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            lead=None if strip is None else strips.strip_lead(layer, strip),
            alignment=4,
            requantization=proven.describe(),
            fpu=True,
            options=(("strip", rows),),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = _choose(layer, plan.option("strip"))
        assert chosen is not None
        kernel, grid, strip, proven = chosen
        comment = "of each four channels: starts, weights, where outputs begin, output stage"
        w = np.where(proven.constant[:, None, None, None], 0, layer.weights.astype(np.int64))
        w = w.reshape(kernel.m, kernel.runs.rows, kernel.runs.bytes)
        folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=(1, 2)))
        stream = kernel.parameters(w, SCALE * folded + proven.start, channel_parameters(proven))
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/wide_tiles/wide_tiles_layer.c.j2",
            arrays=[Array("int32_t", f"{name}_weights", stream, comment).in_lines()],
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            n=kernel.n,
            rows=grid.rows,
            width=grid.width,
            row_step=grid.row_step,
            step=grid.step,
            outputs=kernel.m,
            strip=strip,
        )


@lru_cache(maxsize=256)
def _choose(layer: Conv, rows: int) -> _Chosen | None:
    """With strips of so many rows, or none; None where a precondition fails."""
    m = len(layer.weights)
    pitch, start = strips.pitch_and_start(layer, rows)
    patch = patch_of(layer, pitch, start)
    if layer.groups > 1 or m < CHANNELS or patch.taps > 1 or patch.run < LEAST_RUN:
        return None
    step = layer.window.stride.width * layer.shape.channels
    # As many positions as offsets reach, in tiles of equal size.
    most = min(MOST, 1 + (REACH - CHANNELS) // max(step, m))
    rounding = byte_rounding(layer.requantization, layer.range, SCALE) if most > 0 else None
    if rounding is None:
        return None
    width = strips.grid_of(layer, 1, pitch, rows > 0).width
    grid = strips.grid_of(layer, -(-width // -(-width // most)), pitch, rows > 0)
    runs = WindowRuns(patch.rows, patch.run, patch.pitch, step)
    kernel = interned(WideTilesKernel(grid.n, runs, m, rounding.output))
    return _Chosen(kernel, grid, strips.strip_of(layer, rows) if rows else None, rounding.proven)


def _unaligned(chosen: _Chosen) -> int:
    """Cycles of loads at no multiple of 4."""
    kernel, grid, strip, _ = chosen
    runs, start = kernel.runs, 0 if strip is None else strip.start
    tiles = np.arange(0, grid.width - kernel.n + 1, kernel.n)
    tiles = np.append(tiles, grid.width - kernel.n) if grid.width % kernel.n else tiles
    words = start + runs.step * (tiles[:, None, None] + np.arange(kernel.n)[:, None]) + kernel.at
    lines = grid.row_step * np.arange(grid.rows)[:, None] + runs.pitch * np.arange(runs.rows)
    often = np.bincount(lines.ravel() % 4, minlength=4)
    slow = sum(int(times) * around.unaligned_words(words + at) for at, times in enumerate(often) if times)
    return len(kernel.channels) * slow


FAMILIES = (WideTiles(),)
