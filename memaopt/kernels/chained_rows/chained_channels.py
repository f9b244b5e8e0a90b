"""CONV_2D by chained rows (chains.py): four output channels are three sums, at up to three positions.

Two inputs of three positions take three words of x, three of weights and nine SMLAD for 24 multiply-accumulates: 18
cycles where raw pairs take 23. Patches lie as halfwords in a tile on the stack. Preconditions, checked offline: those
of chained_rows.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.kernels import blocks, strips
from memaopt.kernels.chained_rows import chains
from memaopt.kernels.chained_rows.blocks import Made, by_dma, in_blocks
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.channels_kernel import TILE, ChainedChannelsKernel, PatchForm, most_positions, padded
from memaopt.kernels.chained_rows.outputs import PASSED
from memaopt.kernels.chained_rows.patches import runs_of
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import pareto
from memaopt.kernels.fully_connected.fully_connected import first_rows
from memaopt.kernels.patches import Patch, joined, patch_of
from memaopt.kernels.plan import Plan
from memaopt.kernels.raw_pairs.kernel import PlaneRows
from memaopt.kernels.raw_pairs.raw_pairs import emitted_patches, patch_plan, slid, strip_heights, strip_parts
from memaopt.kernels.rounding import cleared, requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

_MOST_UNROLLED = 8  # words of a patch; so a loop over channels stays below 1 KiB
_WORD, _TURN = 18, 6  # cycles of two inputs at three positions, and of a turn besides


def weight_stream(
    layer: Conv, kernel: ChainedChannelsKernel, proven: Proven, parts: tuple[int, ...] = ()
) -> Int64Array:
    """The kernel's parameters in the order in which it reads them, as int32 words; group after group, or block after
    block of so many channels each."""
    w = _weights(layer, proven)
    folded = np.where(proven.constant, 0, layer.bias - layer.input_zero_point * w.sum(axis=1))
    rows = chains_of(layer, parts)
    begins = np.cumsum((0, *parts)) if parts else np.arange(0, len(w) + 1, kernel.m)
    within = rows[:, :1] - begins[np.searchsorted(begins, rows[:, :1], "right") - 1]
    parameters = channel_parameters(proven)[rows[:, ::-1]].reshape(len(rows), -1)
    starts = SCALE * folded + proven.start
    if kernel.fine:
        before = np.zeros((len(rows), PASSED + 1), np.int64)
        before[:, -1] = chains.correction(starts[rows])
        parameters = np.concatenate([before, parameters], axis=1)
    return np.concatenate([tile_words(kernel, w, starts, rows, within), parameters], axis=1)


def tile_words(
    kernel: ChainedChannelsKernel, w: Int64Array, starts: Int64Array, rows: Int64Array, within: Int64Array
) -> Int64Array:
    """Starts (times 256), weights [M, bytes of a patch] and places of the chains of these channels: [chains, words].
    ``within``: the number of each chain's first channel in its group or block."""
    order = kernel.order
    order = np.concatenate([order, np.full(2 * kernel.pairs - len(order), -1)])
    halves = np.where(order < 0, 0, w[:, order])
    words = chains.words(halves[rows], False).transpose(0, 2, 1)
    if kernel.unroll and not kernel.climbs:
        # Turns of the loop go from the last words to the first.
        words = words.reshape(len(rows), -1, kernel.unroll, words.shape[-1])[:, ::-1]
    return np.concatenate(
        [
            chains.starts(starts[rows]),
            words.reshape(len(rows), -1),
            -kernel.channel_step * within,
        ],
        axis=1,
    )


def _weights(layer: Conv, proven: Proven) -> Int64Array:
    """[M, bytes of a patch]; none in channels whose output no input changes."""
    w = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
    return np.where(proven.constant[:, None], 0, w)


def fits(layer: Conv, proven: Proven) -> bool:
    """Whether chains of the layer's weights fit 16 bits."""
    return chains.fits(_weights(layer, proven)[chains_of(layer)], packed=False)


def in_one_piece(layer: Conv) -> bool:
    """Whether a tile has room for a patch, and 32 bits for 256 times each accumulator."""
    patch = patch_of(layer, layer.shape.width * layer.shape.channels)
    return most_positions(runs_of(patch).pairs, loops=False) > 0 and _rounding(layer, unsigned=False) is not None


def chains_of(layer: Conv, parts: tuple[int, ...] = ()) -> Int64Array:
    """The channels of each chain, group by group or in blocks of so many channels each: [chains, ROWS]."""
    m = len(layer.weights) // layer.groups
    if parts:
        begins = np.cumsum((0, *parts))
        first = np.concatenate([at + first_rows(part, ROWS) for at, part in zip(begins, parts, strict=False)])
    else:
        first = np.arange(layer.groups)[:, None] * m + first_rows(m, ROWS)
    rows: Int64Array = first.reshape(-1, 1) + np.arange(ROWS)
    return rows


def unroll_of(patch: Patch, looped: bool) -> int | None:
    """Words of a patch in a turn of the kernel's loop, 0 for straight code; None where a loop would turn once.

    The fewest cycles, of words that fill the last turn too: a prime number of them is no reason for turns of one.
    """
    if not looped:
        return 0
    pairs = runs_of(patch).pairs
    unroll = min(range(1, _MOST_UNROLLED + 1), key=lambda u: padded(pairs, u) * (_WORD + _TURN / u))
    return None if unroll >= pairs else unroll


class ChainedChannels:
    """CONV_2D of any window, stride, dilation and padding, of four channels or more."""

    name = "chained channels"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        layer = joined(layer, ROWS)
        whole = [self._plan(layer, rows, form, 1) for rows in strip_heights(layer) for form in PatchForm]
        parts = [self._plan(layer, 1, form, parts) for parts in strip_parts(layer) for form in PatchForm]
        best = pareto(plan for plan in whole if plan is not None)
        # Those by whole rows move fewer bytes, slide, and go in blocks, so no part of a row replaces one.
        less = pareto(plan for plan in (*best, *parts) if plan is not None)
        return (*best, *(plan for plan in less if plan not in best))

    def _kernel(
        self, layer: Conv, rows: int, form: PatchForm, parts: int = 1
    ) -> tuple[ChainedChannelsKernel, strips.Grid, Proven] | None:
        """``rows`` is the height of a strip, 0 if there is none; ``parts``: it is one of so many of a row."""
        pitch, start = strips.pitch_and_start(layer, rows, parts)
        height, width = (1, layer.output.width // parts) if parts > 1 else layer.output[:2]
        positions = (min(rows, height % rows or rows) if rows else height) * width
        made = kernel_of(layer, positions, form, pitch, start=start)
        if made is None:
            return None
        kernel, proven = made
        grid = strips.grid_of(layer, kernel.n, pitch, rows > 0)
        return kernel, grid._replace(width=grid.width // parts), proven

    def _plan(self, layer: Conv, rows: int, form: PatchForm, parts: int) -> Plan | None:
        chosen = self._kernel(layer, rows, form, parts)
        if chosen is None:
            return None
        kernel, grid, proven = chosen
        group_words = kernel.channel_tiles * kernel.words
        return replace(
            patch_plan(self.name, layer, kernel, grid, rows, proven, group_words, parts),
            fpu=kernel.fpu,
            packings=(kernel.packing(layer.groups * kernel.channel_tiles),),
            options=(("form", form), ("strip", rows), *([("parts", parts)] if parts > 1 else [])),
        )

    def slid(self, layer: Conv, plan: Plan) -> Plan | None:
        return slid(joined(layer, ROWS), plan)

    def in_parts(self, layer: Conv, plan: Plan) -> Iterator[Plan]:
        """A plan's layer with its constants staged in blocks of channels, as they are and packed: all positions for a
        block, then the next. Each word of constants crosses once and scratch has those of a block, while patches are
        gathered again for each. None where a strip is a part of a row: that is for memory that is short.
        """
        yield from self._in_blocks(layer, plan, blocks.sizes, in_blocks)

    def by_dma(self, layer: Conv, plan: Plan) -> Iterator[Plan]:
        """The same in two places in turn: a DMA copies a block while the core computes with the one before."""
        yield from self._in_blocks(layer, plan, blocks.sizes_by_dma, by_dma)

    def _in_blocks(self, layer: Conv, plan: Plan, sizes: blocks.Offered, made: Made) -> Iterator[Plan]:
        """What is ``made`` of a plan with each of the ``sizes``."""
        whole = layer.groups == 1 and "parts" not in dict(plan.options)
        chosen = self._kernel(layer, plan.option("strip"), PatchForm(plan.option("form"))) if whole else None
        if chosen is None:
            return
        kernel, grid, proven = chosen
        for parts in sizes(kernel.m, ROWS):
            chains_fit = kernel.m % ROWS == 0 or chains.fits(_weights(layer, proven)[chains_of(layer, parts)], False)
            if chains_fit:
                yield from made(layer, plan, kernel, grid, parts)

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        layer = joined(layer, ROWS)
        rows, of_row = plan.option("strip"), dict(plan.options).get("parts", 1)
        chosen = self._kernel(layer, rows, PatchForm(plan.option("form")), of_row)
        assert chosen is not None
        kernel, grid, proven = chosen
        parts = blocks.parts_of(kernel.m, plan)
        stream = weight_stream(layer, kernel, proven, parts)
        comment = "four channels at a time: starts, chained weights, output stage"
        words = kernel.tiles_of(plan.block) * kernel.words
        return emitted_patches(layer, plan, name, kernel, grid, stream, comment, words)


def kernel_of(
    layer: Conv,
    positions: int,
    form: PatchForm,
    pitch: int,
    planes: Callable[[int], PlaneRows] | None = None,
    start: int = 0,
) -> tuple[ChainedChannelsKernel, Proven] | None:
    """The kernel for rows of so many positions, with input rows ``pitch`` bytes apart, the first window from ``start``;
    it writes bytes, or ``planes`` of its number of positions. None where a precondition fails.
    """
    m, depth = len(layer.weights) // layer.groups, layer.weights.shape[-1]
    rounding = _rounding(layer, planes is not None) if m >= ROWS else None
    if rounding is None or not fits(layer, rounding[0]):
        return None
    proven, output = rounding
    patch, channels = patch_of(layer, pitch, start), layer.shape.channels
    unroll = unroll_of(patch, form is PatchForm.LOOPED)
    n = min(positions, most_positions(padded(runs_of(patch).pairs, unroll or 0), form is PatchForm.LOOPED))
    if n == TILE and positions == TILE + 1 and planes is None:
        # Two tiles of two, where the second of three would compute two of the first once more.
        n = 2
    # What is held is loaded for each tile, so that it does not pay for the channels of one chain.
    holds = n == TILE and m > ROWS
    if n < 1 or unroll is None or (form is PatchForm.HELD and not holds):
        return None
    kernel = ChainedChannelsKernel(
        n,
        m,
        unroll,
        patch,
        n * layer.window.stride.width * channels,
        depth % 4 == 0,
        output,
        len(layer.weights),
        None if planes is None else planes(n),
        form is PatchForm.HELD,
        None if form is PatchForm.LOOPED else True if form is PatchForm.HELD else False if holds else None,
    )
    return interned(kernel), proven


@lru_cache(maxsize=256)
def _rounding(layer: Conv, unsigned: bool) -> tuple[Proven, Output] | None:
    """The requantisation, None if not found; ``unsigned``: outputs are x + 128. With two clamps it gives distances to
    the lower one, if that is found. Without an addend, or with bits of it by sign, accumulators start at any number."""
    q = layer.requantization

    def prove(offset: int) -> Proven | None:
        added = np.full(len(layer.weights), offset) if offset else None
        bare = requantize.prove_multiply(q, layer.range, SCALE, added)
        if bare is not None:
            return bare
        fine = cleared.prove_multiply_add(q, layer.range, SCALE, added)
        if fine is not None and fine.cleared:
            return fine
        return requantize.prove_multiply_add(q, layer.range, SCALE, added, step=SCALE)

    proven = prove(128 if unsigned else 0)
    if proven is None:
        return None
    if not unsigned and proven.clamp_low and proven.clamp_high and (distances := prove(-q.minimum)) is not None:
        return distances, Output.distances(distances, q)
    return proven, Output.of(proven, q)


FAMILIES = (ChainedChannels(),)
