"""Layers of one input channel, which are convolutions and depthwise ones alike: each by the other's kernels.

What walks a column or a line of one channel has each input once in registers for all the outputs that it feeds, where
a patch has it once for each; and many output channels of a large window share a patch.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from memaopt.kernels.chained_rows.chained_channels import ChainedChannels
from memaopt.kernels.depthwise.direct import DepthwiseDirect
from memaopt.kernels.depthwise.line import DepthwiseLine
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import Family
from memaopt.kernels.plan import Plan
from memaopt.kernels.raw_pairs.raw_pairs import RawPairs
from memaopt.problems.layers import Conv, Depthwise


class OneChannel:
    """A family of one kind of convolutions for those of the other kind that have one input channel; ``other`` makes
    the layer that it plans."""

    def __init__(self, family: Family, computes: type, other: Callable[..., Conv | Depthwise]) -> None:
        self.name, self.computes = family.name, computes
        self._family, self._other = family, other

    def plans(self, layer: Conv | Depthwise) -> tuple[Plan, ...]:
        return self._family.plans(self._other(layer)) if layer.shape.channels == 1 else ()

    def emit(self, layer: Conv | Depthwise, plan: Plan, name: str) -> Emitted:
        return self._family.emit(self._other(layer), plan, name)


@lru_cache(maxsize=256)
def as_convolution(layer: Depthwise) -> Conv:
    """The convolution of one input channel that it is: weights HWO become OHW1."""
    weights = np.ascontiguousarray(layer.weights.transpose(2, 0, 1)[..., None])
    parts = layer.bias, layer.window, layer.input_zero_point, layer.requantization
    return Conv(layer.shape, layer.output, weights, *parts)


@lru_cache(maxsize=256)
def as_depthwise(layer: Conv) -> Depthwise:
    """The depthwise convolution that one of one input channel is: weights OHW1 become HWO."""
    weights = np.ascontiguousarray(layer.weights[..., 0].transpose(1, 2, 0))
    parts = layer.bias, layer.window, layer.input_zero_point, layer.requantization
    return Depthwise(layer.shape, layer.output, weights, *parts)


FAMILIES = (
    *(OneChannel(family, Depthwise, as_convolution) for family in (RawPairs(), ChainedChannels())),
    *(OneChannel(family, Conv, as_depthwise) for family in (DepthwiseDirect(), DepthwiseLine())),
)
