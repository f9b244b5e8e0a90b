"""CONV_2D with patches longer than a tile has room for, with accumulators that 256 times leave 32 bits, or with weights
of -128 whose chains leave 16.

Patches come in parts of equal size: rows of the window, or pieces of a row that lies in one run. The accumulators of
each part, by chained rows (chains.py), are stored as words for a row of positions at a time; then they are added and
rounded (sum_rounding.py). Weights of -128 that would not fit are -127 in the chains, and their inputs are taken
off the sums once more. Precondition, checked offline: 256 |acc| < 2^31 in each part.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows import chained_channels, chains
from memaopt.kernels.chained_rows.chained_channels import chains_of, tile_words, unroll_of
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.channels_kernel import ChainedChannelsKernel, most_positions, padded
from memaopt.kernels.chained_rows.patches import runs_of
from memaopt.kernels.chained_rows.sum_rounding import sum_rounding
from memaopt.kernels.code import Loop, Node, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.patches import Patch, patch_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv
from memaopt.problems.step_functions import accumulator_range

_FRAME = around.Frame(904, 232)
_MOST_PIECES = 8  # of a row of the window
_SUM = Compiled(8, 3)  # one more that is added to an output's
_POSITION = Compiled(24, 16)  # a turn of the loop over the outputs, or the raised weights, of a position
_TAKEN_OFF = Compiled(44, 20)  # an input, off a sum


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
    yield from (_Parts(rows, 1) for rows in range(whole.rows, 0, -1) if whole.rows % rows == 0)
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
    taken: Int64Array  # [weights raised, (channel, bytes from the patch)]


class ChainedSums:
    """CONV_2D without groups, of four channels or more, that chained channels do not take in one piece."""

    name = "chained sums"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        if layer.groups != 1 or len(layer.weights) < ROWS:
            return ()
        if chained_channels.in_one_piece(layer) and chains.fits(_matrix(layer)[chains_of(layer)], packed=False):
            return ()
        made = (self._plan(layer, looped) for looped in (False, True))
        return tuple(plan for plan in made if plan is not None)

    def _choose(self, layer: Conv, looped: bool) -> _Chosen | None:
        """The fewest parts with the most positions."""
        channels, m = layer.shape.channels, len(layer.weights)
        strip = strips.strip_of(layer, 1) if strips.pads(layer) else None
        pitch = strip.pitch if strip else layer.shape.width * channels
        whole, best = patch_of(layer, pitch), None
        chained, at = _raised(layer)
        for parts in _parts_of(layer, whole):
            patch = parts.patch(whole)
            unroll = unroll_of(patch, looped)
            n = min(layer.output.width, most_positions(padded(runs_of(patch).pairs, unroll or 0), looped))
            if n < 1 or unroll is None or (best is not None and n <= best.kernel.n) or not _fits(chained, parts):
                continue
            step = layer.window.stride.width * channels
            aligned = channels % 4 == 0 and patch.run % 4 == 0
            kernel = interned(ChainedChannelsKernel(n, m, unroll, patch, n * step, aligned, None, m))
            grid = strips.Grid(n, 1, layer.output.width, 0, step, 4 * m)
            best = _Chosen(kernel, grid, strip, parts, parts.offsets(whole), _taken(at, whole))
        return best

    def _plan(self, layer: Conv, looped: bool) -> Plan | None:
        chosen = self._choose(layer, looped)
        if chosen is None:
            return None
        kernel, grid, strip, _, offsets, taken = chosen
        rounding = sum_rounding(layer)
        count, (height, width, m) = len(offsets), layer.output
        runs = grid.runs(1)
        calls = count * height
        source, stored, parameters, stack = kernel.accesses(sum(runs) * calls, len(runs) * calls)
        parameters += loads(rounding.words * height * width * m, 4)
        scratch = stored + loads(count * height * width * m, 4)
        again = len(taken) * height * width
        parameters += loads(2 * again, 4)
        scratch += loads(again, 4) + stores(again, 4)
        source += loads(again, 1)
        part = around.run_tiles(len(runs), kernel.call(sum(runs) / len(runs)), kernel.n)
        row: tuple[Node, ...] = (Loop(part, count, kernel.words * kernel.channel_tiles),)
        sums = Compiled(rounding.code.size + (count - 1) * _SUM.size, rounding.code.cycles + (count - 1) * _SUM.cycles)
        if again:
            row += (Loop((around.piece(_POSITION), Loop((compiled(*_TAKEN_OFF, 2),), len(taken))), width),)
        row += (Loop((around.piece(_POSITION), Loop((compiled(*sums, rounding.words),), m)), width),)
        code: tuple[Node, ...] = around.entry()
        source_cycles = kernel.n * kernel.copy.waits * sum(runs) * calls
        read, scratch_bytes = source, 4 * count * width * m
        if strip is not None:
            work = strips.strip_work(layer, strip)
            read, scratch, scratch_bytes = work.input, scratch + work.scratch + source, scratch_bytes + strip.bytes
            row = (strips.filling(layer, strip, height), *row)
            code = (*code, around.fill_words(strip.bytes // 4))
        code = (*code, Loop(row, height, -count * kernel.words * kernel.channel_tiles))
        return Plan(
            family=self.name,
            tile=f"{count} of 4x{kernel.n}{f' by {kernel.unroll}' if looped else ''}",
            cycles=round(cycles_of(code) + source_cycles),
            promise=Promise((read,), stores(height * width * m, 1), parameters, scratch, stack),
            data_bytes=data_bytes(_arrays(layer, chosen, "")),
            code_bytes=kernel.code_bytes + _FRAME.code,
            scratch_bytes=scratch_bytes,
            stack_bytes=kernel.stack_bytes + _FRAME.stack,
            kernels=(kernel.name,),
            shared_bytes=kernel.code_bytes,
            code=code,
            words=rounding.whole,
            alignment=4,
            requantization=rounding.describe(),
            packings=(kernel.packing(count * kernel.channel_tiles),),
            options=(("loop", int(looped)),),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = self._choose(layer, bool(plan.option("loop")))
        assert chosen is not None
        kernel, grid, strip, _, offsets, taken = chosen
        rounding, sums = sum_rounding(layer), layer.output.width * len(layer.weights)
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
            taken=len(taken),
            step=kernel.channel_tiles * kernel.words,
            sums=sums,
            places=[f"sum[{number * sums}]" for number in range(len(offsets))],
            q=rounding.output(layer),
            shift=rounding.shift,
        )


def _matrix(layer: Conv) -> Int64Array:
    """[M, bytes of a patch]."""
    return layer.weights.reshape(len(layer.weights), -1).astype(np.int64)


@lru_cache(maxsize=256)
def _raised(layer: Conv) -> tuple[Conv, Int64Array]:
    """The layer with the weights that chains take, and which of them are raised: [channel, byte of the patch] each."""
    w = np.where(sum_rounding(layer).constant[:, None], 0, _matrix(layer))
    raised = chains.raised(w, chains_of(layer))
    return replace(layer, weights=raised.weights.reshape(layer.weights.shape).astype(np.int8)), raised.at


def _taken(at: Int64Array, patch: Patch) -> Int64Array:
    """Channels, and bytes of a patch as bytes from where it begins in the input."""
    bytes_at = [np.arange(size) + source for source, _, size in patch.runs()]
    return np.stack([at[:, 0], np.concatenate(bytes_at)[at[:, 1]]], axis=1)


def _arrays(layer: Conv, chosen: _Chosen, name: str) -> list[Array]:
    kernel, (chained, _), rows = chosen.kernel, _raised(layer), chains_of(layer)
    streams = [
        tile_words(kernel, w, -SCALE * layer.input_zero_point * w.sum(axis=1), rows, rows[:, :1] % kernel.m)
        for w in chosen.parts.weights(chained)
    ]
    comment = "part by part, four channels at a time: starts, chained weights, where the first channel's sum is"
    return [
        Array("int32_t", f"{name}_weights", np.concatenate(streams), comment),
        *([Array("int32_t", f"{name}_raised", chosen.taken, chains.RAISED)] if len(chosen.taken) else ()),
        *sum_rounding(layer).arrays(layer, name),
    ]


FAMILIES = (ChainedSums(),)
