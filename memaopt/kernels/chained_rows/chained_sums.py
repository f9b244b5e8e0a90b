"""CONV_2D with patches longer than a tile has room for, or with accumulators that 256 times leave 32 bits.

Patches come in parts of equal size: rows of the window, or pieces of a row that lies in one run. The accumulators of
each part, by chained rows (chains.py), are stored as words for a row of positions at a time; then they are added, and
rounded as the reference does it. Preconditions, checked offline: the chains fit 16 bits, 256 |acc| < 2^31 in each part.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows import chained_channels, chains
from memaopt.kernels.chained_rows.chained_channels import chains_of, tile_words, unroll_of
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.channels_kernel import ChainedChannelsKernel, most_positions
from memaopt.kernels.chained_rows.patches import runs_of
from memaopt.kernels.code import Loop, Node, compiled, cycles_of
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.generic.generic import reference_rounding
from memaopt.kernels.patches import Patch, patch_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv, Layer
from memaopt.problems.step_functions import accumulator_range

_MOST_PIECES = 8  # of a row of the window
#: The output of a position and a channel, without its sums; a sum.
_OUTPUT, _SUM = Compiled(96, 40), Compiled(8, 3)


class _Parts(NamedTuple):
    """Parts of a patch: ``rows`` of the window each, or one of ``pieces`` of a row."""

    rows: int
    pieces: int

    def patch(self, whole: Patch) -> Patch:
        """Of a part."""
        if self.pieces > 1:
            return Patch(1, 1, whole.taps * whole.run // self.pieces, 0, 0)
        return whole._replace(rows=self.rows, pitch=whole.pitch if self.rows > 1 else 0)

    def offsets(self, whole: Patch) -> list[int]:
        """Where each part begins in the input, in bytes from the patch."""
        piece = whole.taps * whole.run // self.pieces
        starts = range(0, whole.rows, self.rows)
        return [row * whole.pitch + number * piece for row in starts for number in range(self.pieces)]

    def weights(self, layer: Conv) -> Int64Array:
        """[parts, M, bytes of a part]."""
        m, height = len(layer.weights), layer.window.kernel.height
        apart = layer.weights.reshape(m, height // self.rows, self.pieces, -1).astype(np.int64)
        return apart.transpose(1, 2, 0, 3).reshape(-1, m, apart.shape[-1])


def _parts_of(layer: Conv, whole: Patch) -> Iterator[_Parts]:
    """Ways to cut a patch, the fewest parts first."""
    yield from (_Parts(rows, 1) for rows in range(whole.rows - 1, 0, -1) if whole.rows % rows == 0)
    if whole.taps == 1:
        aligned = [n for n in range(2, _MOST_PIECES + 1) if whole.run % (4 * n) == 0]
        yield from (_Parts(1, pieces) for pieces in aligned)


def _fits(layer: Conv, parts: _Parts) -> bool:
    none = np.zeros_like(layer.bias)
    spans = [accumulator_range(w.T, none, layer.input_zero_point) for w in parts.weights(layer)]
    return max(int(np.abs(end).max()) for span in spans for end in span.ends) * SCALE <= INT32_MAX


class _Chosen(NamedTuple):
    kernel: ChainedChannelsKernel
    grid: strips.Grid
    strip: strips.Strip | None
    parts: _Parts
    offsets: list[int]


class ChainedSums:
    """CONV_2D without groups, of four channels or more, that chained channels do not take in one piece."""

    name = "chained sums"
    computes = Conv

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Conv)
        if layer.groups != 1 or len(layer.weights) < ROWS or chained_channels.in_one_piece(layer):
            return ()
        if not chains.fits(layer.weights.reshape(len(layer.weights), -1).astype(np.int64)[chains_of(layer)], False):
            return ()
        made = (self._plan(layer, looped) for looped in (False, True))
        return tuple(plan for plan in made if plan is not None)

    def _choose(self, layer: Conv, looped: bool) -> _Chosen | None:
        """The fewest parts with the most positions."""
        channels, m = layer.shape.channels, len(layer.weights)
        strip = strips.strip_of(layer, 1) if strips.pads(layer) else None
        pitch = strip.pitch if strip else layer.shape.width * channels
        whole, best = patch_of(layer, pitch), None
        for parts in _parts_of(layer, whole):
            patch = parts.patch(whole)
            n, unroll = min(layer.output.width, most_positions(runs_of(patch).pairs, looped)), unroll_of(patch, looped)
            if n < 1 or unroll is None or (best is not None and n <= best.kernel.n) or not _fits(layer, parts):
                continue
            step = layer.window.stride.width * channels
            aligned = channels % 4 == 0 and patch.run % 4 == 0
            kernel = interned(ChainedChannelsKernel(n, m, unroll, patch, n * step, aligned, None, m))
            grid = strips.Grid(n, 1, layer.output.width, 0, step, 4 * m)
            best = _Chosen(kernel, grid, strip, parts, parts.offsets(whole))
        return best

    def _plan(self, layer: Conv, looped: bool) -> Plan | None:
        chosen = self._choose(layer, looped)
        if chosen is None:
            return None
        kernel, grid, strip, _, offsets = chosen
        count, (height, width, m) = len(offsets), layer.output
        runs = grid.runs(1)
        calls = count * height
        source, stored, parameters, stack = kernel.accesses(sum(runs) * calls, len(runs) * calls)
        parameters += loads(3 * height * width * m, 4)
        scratch = stored + loads(count * height * width * m, 4)
        row: tuple[Node, ...] = around.run_tiles(len(runs) * count, kernel.call(sum(runs) / len(runs)))
        sums = Compiled(_OUTPUT.size + count * _SUM.size, _OUTPUT.cycles + count * _SUM.cycles)
        row += (Loop((compiled(*sums, 3),), width * m),)
        code: tuple[Node, ...] = around.entry()
        source_cycles = kernel.n * kernel.copy.waits * sum(runs) * calls
        read, scratch_bytes = source, 4 * count * width * m
        if strip is not None:
            work = strips.strip_work(layer, strip)
            read, scratch, scratch_bytes = work.input, scratch + work.scratch + source, scratch_bytes + strip.bytes
            row = (strips.filling(layer, strip, height), *row)
            code = (*code, around.fill_words(strip.bytes // 4))
        code = (*code, Loop(row, height))
        return Plan(
            family=self.name,
            tile=f"{count} of 4x{kernel.n}{f' by {kernel.unroll}' if looped else ''}",
            cycles=round(cycles_of(code) + source_cycles),
            promise=Promise((read,), stores(height * width * m, 1), parameters, scratch, stack),
            data_bytes=data_bytes(_arrays(layer, chosen, "")),
            code_bytes=kernel.code_bytes + 400,
            scratch_bytes=scratch_bytes,
            stack_bytes=kernel.stack_bytes + 140,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            words=layer.requantization.scales is None,
            alignment=4,
            requantization="the reference's own arithmetic",
            options=(("loop", int(looped)),),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Conv)
        chosen = self._choose(layer, bool(plan.option("loop")))
        assert chosen is not None
        kernel, grid, strip, _, offsets = chosen
        title = f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        return emitted(
            unary(name),
            plan,
            title,
            "kernels/chained_rows/chained_sums_layer.c.j2",
            arrays=_arrays(layer, chosen, name),
            kernels=(kernel,),
            layer=layer,
            kernel=kernel.name,
            grid=grid,
            strip=strip,
            row_step=layer.window.stride.height * layer.shape.width * layer.shape.channels,
            offsets=offsets,
            step=kernel.channel_tiles * kernel.words,
            sums=layer.output.width * len(layer.weights),
        )


def _arrays(layer: Conv, chosen: _Chosen, name: str) -> list[Array]:
    kernel = chosen.kernel
    streams = [
        tile_words(kernel, w, -layer.input_zero_point * w.sum(axis=1), chains_of(layer))
        for w in chosen.parts.weights(layer)
    ]
    comment = "part by part, four channels at a time: starts, chained weights, where the first channel's sum is"
    return [
        Array("int32_t", f"{name}_weights", np.concatenate(streams), comment),
        *reference_rounding(layer, name),
    ]


FAMILIES = (ChainedSums(),)
