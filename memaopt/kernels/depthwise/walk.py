"""3x3 on planes (family "depthwise walk"): the walk goes down a column with its nine weights in registers.

A row of taps is SMLAD and SMLABx where the column starts a word, SMLATx and SMLAD where it starts in the middle of one.
The bias and the rounding constant are in the initial accumulator, so SMMUL needs no addend and 13 registers do.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from memaopt.access import Access, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import blocks
from memaopt.kernels.code import Staged
from memaopt.kernels.depthwise.depthwise import SCALE, OnPlanes, Walked, pairs_of, prove_multiply
from memaopt.kernels.depthwise.descent import Column, walk_of
from memaopt.kernels.depthwise.kernels import Geometry, WalkKernel, geometry
from memaopt.kernels.plan import Plan
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.staging import copying
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Depthwise


class DepthwiseWalk(OnPlanes):
    """3x3 without dilation."""

    name = "depthwise walk"

    def _options(self, layer: Depthwise) -> list[dict[str, int]]:
        if layer.window.kernel != (3, 3) or layer.window.dilation != (1, 1):
            return []
        height = layer.output.height
        bands = sorted({b for b in (0, 16, 8) if b < height})
        most = [g for g in (4, 2) if g <= layer.shape.channels] or [1]
        unrolls = [0] if height <= 12 else [0, 8]
        formats = (0, 1) if layer.shape.channels % 2 == 0 else (0,)
        return [
            {"band": band, "group": group, "unroll": unroll, "raw": raw}
            for band in bands
            for group in most
            for unroll in unrolls
            for raw in formats
        ]

    def _choose(self, layer: Depthwise, options: dict[str, int]) -> Walked | None:
        band = options["band"]
        return walk_for(layer, geometry(layer, band, zero_rows=bool(band)), band, options["unroll"])

    def in_parts(self, layer: Depthwise, plan: Plan) -> Iterator[Plan]:
        """A plan's layer with its constants packed and staged in equal blocks of channels, what channels take apart or
        not: all groups of a block, then the next, so that nothing else is done twice. In groups of the most channels:
        smaller ones save too little memory beside the constants.
        """
        options, channels = dict(plan.options), layer.shape.channels
        walked, size = self._choose(layer, options), options["group"]
        if walked is None or layer.multiplier > 1 or size < 4:
            return
        kernel, promise = walked.kernel, plan.promise
        for of in blocks.sizes(channels, size):
            if channels % of[0]:
                continue
            words, count = of[0] * kernel.words, len(of)
            scratch = promise.scratch + stores(count * words, 4) + promise.parameters
            work = blocks.BlockWork(
                blocks.alike(of),
                plan.cycles + count * blocks.BLOCK.cycles,
                promise._replace(scratch=scratch, parameters=Access()),
                (Staged(self._groups(layer, kernel, options, plan.input_format, of[0])),),
            )
            for apart in (False, True):
                whole, one = (kernel.packing(many)._replace(apart=apart) for many in (channels, of[0]))
                made = blocks.in_blocks(plan, work, (copying(words, one),), words, (whole,))
                # Channels are computed in the same order.
                yield replace(made, lead=plan.lead)

    def _parameters(self, layer: Depthwise, options: dict[str, int]) -> Int64Array:
        walked = self._choose(layer, options)
        assert walked is not None
        return walk_parameters(layer, walked)


_PAIR_SPAN = 8  # bytes from a row's first word to its third


def walk_for(layer: Depthwise, shape: Geometry, band: int, unroll: int) -> Walked | None:
    """The walk over planes of that shape, ``band`` rows of outputs high (0: all, without rows of zeros)."""
    proven = prove_multiply(layer)
    if proven is None:
        return None
    window = layer.window
    column = Column(
        rows=shape.plane.rows,
        above=0 if band else window.padding.top,
        stride=window.stride.height,
        outputs=band or layer.output.height,
        pitch=shape.plane.pitch,
        out_pitch=layer.output.width * layer.output.channels,
    )
    kernel = _walk_kernel(shape, column, unroll, Output.of(proven, layer.requantization))
    return None if kernel is None else Walked(kernel, proven)


@lru_cache(maxsize=1024)
def _walk_kernel(shape: Geometry, column: Column, unroll: int, output: Output) -> WalkKernel | None:
    """The kernel, None if there is no walk; plans that share it price it once."""
    walk = walk_of(column, unroll)
    if walk is None:
        return None
    if not walk.turns and _pairs(shape, column):
        return WalkKernel(shape, column._replace(span=_PAIR_SPAN), 0, output, paired=True)
    return WalkKernel(shape, column, unroll if walk.turns else 0, output)


def _pairs(shape: Geometry, column: Column) -> bool:
    """Whether two columns go at once: they share a word of a row, each has one accumulator, and both outputs are in
    reach."""
    if column.live > 1 or any(each.x_step != 4 or each.columns % 2 for each in shape.sets):
        return False
    walk = walk_of(column._replace(span=_PAIR_SPAN), 0)
    stored = [tap.y for step in walk.code for tap in step.taps if tap.y is not None] if walk else []
    return bool(stored) and max(stored) + shape.sets[0].y_step <= REACH


def walk_parameters(layer: Depthwise, walked: Walked) -> Int64Array:
    """What the walk reads of each channel, [channels, words]."""
    kernel, proven = walked
    w = SCALE * layer.weights.astype(np.int64).transpose(2, 0, 1)
    w[proven.constant] = 0
    start = np.where(proven.constant, 0, SCALE * layer.bias) + proven.start
    blocks = []
    for number, columns in enumerate(kernel.geometry.sets):
        pair = pairs_of(w[..., 1], w[..., 2]) if columns.odd else pairs_of(w[..., 0], w[..., 1])
        alone = w[..., 0] if columns.odd else w[..., 2]
        alone = np.concatenate([alone, np.zeros_like(alone[:, :1])], axis=1)
        blocks += [pair, pairs_of(alone[:, ::2], alone[:, 1::2])]
        if number == 0:
            blocks += [proven.multiplier[:, None], start[:, None]]
    return np.concatenate(blocks, axis=1)


FAMILIES = (DepthwiseWalk(),)
