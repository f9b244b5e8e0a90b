"""Convolutions: windows with weights, whose accumulators are rescaled twice.

Products are summed in float64 or int32, which is exact: the checks bound every partial sum by 2^31.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from memaopt import fixedpoint
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators.attributes import ONE, Rounding, Size2D
from memaopt.networks.operators.form import ACTIVATION
from memaopt.networks.operators.operator import Array, Shape, check_rank
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.weighted import Weighted, settled
from memaopt.networks.operators.window import SlidingWindow, Windowed, read_padding
from memaopt.problems import geometry, step_functions


class Accumulating(Weighted):
    """What is left to a subclass: the accumulators, which are rescaled twice, and its layer."""

    def multipliers(self, graph: Graph) -> tuple[fixedpoint.Int64Array, fixedpoint.Int64Array]:
        """Multipliers and shifts of each output channel; checks that nothing overflows."""
        scales = self.weight_scales(graph)
        if not np.isfinite(scales).all() or scales.max() >= 2.0**30:
            raise self.refuse(graph, f"the ratio of scales {scales.max():g} is out of range; 2^30 is supported")
        multipliers, shifts = fixedpoint.quantize_multipliers(scales)
        ends = self.accumulator_range(graph).ends
        for end in ends:
            if np.abs(end << np.maximum(shifts, 0)).max() > SAFE:
                raise self.refuse(graph, "an accumulator shifted left to be rescaled does not fit 32 bits")
        return multipliers, shifts

    def requantization(self, graph: Graph) -> step_functions.Requantization:
        """How accumulators become outputs; checks that nothing overflows."""
        if self.rounding is not Rounding.TFLITE:
            return self.rounded_once(graph)
        multipliers, shifts = self.multipliers(graph)
        zero_point = graph.output_of(self).zero_point
        return step_functions.Requantization(zero_point, *self.clamp(graph), multipliers=multipliers, shifts=shifts)

    def check_arithmetic(self, graph: Graph) -> None:
        self.requantization(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.requantization(graph).apply(self.accumulators(graph, arguments[0]))


class Convolution(Windowed, Accumulating):
    """Input NHWC. What is left to a subclass: its weights' channels, the accumulators, and its layer."""

    dilation: Size2D = ONE

    @classmethod
    def read(cls, source: Source) -> Self:
        common = cls.operands(source)
        assert cls.options is not None
        options = source.required(cls.options.name)
        weights = source.tensor(1).shape
        check_rank(source.place, weights, 4)
        stride = Size2D(options["strideH"], options["strideW"])
        dilation = Size2D(options["dilationHFactor"], options["dilationWFactor"])
        padding = read_padding(source, options, Size2D(weights[1], weights[2]), stride, dilation)
        activation = source.activation(options)
        return cls(**common, stride=stride, dilation=dilation, padding=padding, activation=activation)

    def convolution_options(self, graph: Graph) -> dict[str, Any]:
        return {
            **self.window_options(graph),
            "dilationHFactor": self.dilation.height,
            "dilationWFactor": self.dilation.width,
            ACTIVATION.name: self.activation.name,
        }

    def window(self, graph: Graph) -> SlidingWindow:
        weights = graph.tensors[self.weights].shape
        return SlidingWindow(Size2D(weights[1], weights[2]), self.stride, self.dilation, self.padding)

    def channels_of(self, graph: Graph, fits: bool) -> Shape:
        """The output's shape if the weights' channels go with the input's."""
        shape, weights = graph.tensor_of(self).shape, graph.tensors[self.weights].shape
        if not fits:
            raise self.refuse(graph, f"weights {list(weights)} do not go with input {list(shape)}")
        return self.image_shape(graph, weights[self.channel_axis])

    def padded(self, graph: Graph, image: Array) -> Array:
        """The image less its zero point, int16, with zeros around it."""
        top, bottom, left, right = self.padding
        centred = image.astype(np.int16) - np.int16(graph.tensor_of(self).zero_point)
        return np.pad(centred, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def parts(self, graph: Graph, weights: Array) -> dict[str, Any]:
        """What the layers of all convolutions have; ``weights`` is [M, taps]."""
        x, y = graph.tensor_of(self), graph.output_of(self)
        bias, q = settled(self.bias_values(graph), self.requantization(graph), weights)
        return {
            "shape": image_of(x),
            "output": image_of(y),
            "bias": bias,
            "window": self.window(graph).layer(),
            "input_zero_point": x.zero_point,
            "requantization": q,
        }


def image_of(tensor: Tensor) -> geometry.Image:
    """One image of an NHWC tensor."""
    return geometry.Image(*tensor.shape[1:])


def taps(window: SlidingWindow, image: Array, y: int, columns: range, channels: slice) -> Iterator[Array]:
    """For each kernel position, what it reads for those columns of output row ``y``: [len(columns), channels]."""
    for ky in range(window.kernel.height):
        row = image[y * window.stride.height + ky * window.dilation.height]
        for kx in range(window.kernel.width):
            first = columns[0] * window.stride.width + kx * window.dilation.width
            last = first + (len(columns) - 1) * window.stride.width + 1
            yield row[first : last : window.stride.width, channels]
