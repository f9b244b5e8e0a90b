"""DEPTHWISE_CONV_2D."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.convolution import Convolution, taps
from memaopt.networks.operators.form import ACTIVATION, PADDING, Field, Form, Options
from memaopt.networks.operators.operator import Array, Links, Lowered, Shape
from memaopt.problems import layers


class DepthwiseConv2D(Convolution):
    """Input NHWC, weights 1HWO, O = C * depth multiplier; output channel o reads input channel o // multiplier."""

    kind: ClassVar[str] = "DEPTHWISE_CONV_2D"
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options(
        "DepthwiseConv2DOptions", 2,
        (PADDING, Field("strideW", 4), Field("strideH", 4), Field("depthMultiplier", 4), ACTIVATION,
         Field("dilationWFactor", 4, default=1), Field("dilationHFactor", 4, default=1)),
    )  # fmt: skip
    channel_axis: ClassVar[int] = 3
    slowness: ClassVar[int] = 40
    sums: ClassVar[type[np.signedinteger[Any]]] = np.int32
    """What holds every sum, as the checks have it."""

    def write(self, graph: Graph) -> Form:
        return Form(options={**self.convolution_options(graph), "depthMultiplier": self.multiplier(graph)})

    def output_shape(self, graph: Graph) -> Shape:
        weights = graph.tensors[self.weights].shape
        return self.channels_of(graph, weights[0] == 1 and weights[3] % graph.tensor_of(self).shape[3] == 0)

    def multiplier(self, graph: Graph) -> int:
        return graph.output_of(self).shape[3] // graph.tensor_of(self).shape[3]

    def accumulators(self, graph: Graph, value: Array) -> Int64Array:
        """One kernel position at a time over whole planes."""
        weights = graph.tensors[self.weights].values[0].astype(self.sums)
        images, window = self.padded(graph, value), self.window(graph)
        batch, rows, columns, outputs = graph.output_of(self).shape
        depth = value.shape[3]
        accumulators = np.zeros((batch, rows, columns, depth, outputs // depth), self.sums)
        for image, result in zip(images, accumulators, strict=True):
            for y in range(rows):
                each = taps(window, image, y, range(columns), slice(None))
                for tap, weight in zip(each, weights.reshape(-1, depth, outputs // depth), strict=True):
                    result[y] += tap[..., None] * weight
        return accumulators.reshape(batch, rows, columns, outputs) + self.bias_values(graph)

    def links(self, graph: Graph) -> Links | None:
        outputs = graph.output_of(self).shape[3]
        return {self.input: np.arange(outputs) // (outputs // graph.tensor_of(self).shape[3])}

    def narrowed_weights(self, graph: Graph, outputs: Array, inputs: Array) -> Array:
        return graph.tensors[self.weights].values[..., outputs]

    def lower(self, graph: Graph) -> Lowered | None:
        weights = graph.tensors[self.weights].values[0]
        parts = self.parts(graph, weights.reshape(-1, weights.shape[2]).T)
        return Lowered(layers.Depthwise(**parts, weights=weights), (self.input,), graph.tensor_of(self).shape[0])

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*self.window_words(graph), *self.clamp_words())
