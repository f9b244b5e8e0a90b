"""DEPTHWISE_CONV_2D of an image of one channel: every output channel reads it, so it is a CONV_2D, whose kernels gather
a position's patch once for all channels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from memaopt.kernels.chained_rows.chained_channels import ChainedChannels
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import Family
from memaopt.kernels.plan import Plan
from memaopt.kernels.raw_pairs.raw_pairs import RawPairs
from memaopt.problems.layers import Conv, Depthwise


class OneChannel:
    """A family of convolutions for the depthwise ones that are such."""

    computes = Depthwise

    def __init__(self, family: Family) -> None:
        self.name = family.name
        self._family = family

    def plans(self, layer: Depthwise) -> tuple[Plan, ...]:
        return self._family.plans(as_convolution(layer)) if layer.shape.channels == 1 else ()

    def emit(self, layer: Depthwise, plan: Plan, name: str) -> Emitted:
        return self._family.emit(as_convolution(layer), plan, name)


@lru_cache(maxsize=256)
def as_convolution(layer: Depthwise) -> Conv:
    """The convolution of one input channel that it is: weights HWO become OHW1."""
    weights = np.ascontiguousarray(layer.weights.transpose(2, 0, 1)[..., None])
    parts = layer.bias, layer.window, layer.input_zero_point, layer.requantization
    return Conv(layer.shape, layer.output, weights, *parts)


FAMILIES = (OneChannel(RawPairs()), OneChannel(ChainedChannels()))
