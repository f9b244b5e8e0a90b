"""CONV_2D, with groups."""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.convolution import Convolution, taps
from memaopt.networks.operators.form import ACTIVATION, PADDING, Field, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, Shape
from memaopt.networks.operators.weighted import Mask, Mixing
from memaopt.problems import layers

_CHUNK = 1 << 21
"""Elements of a patch matrix held at a time."""


class Conv2D(Convolution, Mixing):
    """Input NHWC, weights OHWI. A channel count I below the input's means groups = C / I."""

    kind: ClassVar[str] = "CONV_2D"
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options(
        "Conv2DOptions", 1,
        (PADDING, Field("strideW", 4), Field("strideH", 4), ACTIVATION, Field("dilationWFactor", 4, default=1),
         Field("dilationHFactor", 4, default=1), Field("quantizedBiasType", 1, "TensorType")),
    )  # fmt: skip

    def write(self, graph: Graph) -> Form:
        return Form(options=self.convolution_options(graph))

    def output_shape(self, graph: Graph) -> Shape:
        weights = graph.tensors[self.weights].shape
        groups, rest = divmod(graph.tensor_of(self).shape[3], weights[3])
        return self.channels_of(graph, rest == 0 and groups > 0 and weights[0] % groups == 0)

    def groups(self, graph: Graph) -> int:
        return graph.tensor_of(self).shape[3] // graph.tensors[self.weights].shape[3]

    def accumulators(self, graph: Graph, value: Array) -> Int64Array:
        """Rows of output at a time as a matrix product of gathered patches and weights."""
        weights, groups = graph.tensors[self.weights].values, self.groups(graph)
        images, window = self.padded(graph, value), self.window(graph)
        accumulators = np.empty(graph.output_of(self).shape, np.int64)
        _, rows, columns, outputs = accumulators.shape
        depth = weights.shape[3]
        per_group = outputs // groups
        k = weights.shape[1] * weights.shape[2] * depth
        columns_at_once = max(1, min(columns, _CHUNK // k))
        rows_at_once = max(1, _CHUNK // (k * columns_at_once))
        for group in range(groups):
            channels = slice(group * depth, (group + 1) * depth)
            kernels = slice(group * per_group, (group + 1) * per_group)
            matrix = weights[kernels].reshape(per_group, k).astype(np.float64).T
            for image, result in zip(images, accumulators, strict=True):
                for top, left in itertools.product(range(0, rows, rows_at_once), range(0, columns, columns_at_once)):
                    band = range(top, min(top + rows_at_once, rows))
                    strip = range(left, min(left + columns_at_once, columns))
                    patches = np.stack([np.stack([*taps(window, image, y, strip, channels)], axis=1) for y in band])
                    flat = patches.reshape(len(band), len(strip), k).astype(np.float64)
                    result[top : band.stop, left : strip.stop, kernels] = flat @ matrix
        accumulators += self.bias_values(graph)
        return accumulators

    def contribution(self, graph: Graph, value: Array) -> tuple[Mask, Int64Array]:
        weights = graph.tensors[self.weights].values.astype(np.int64)
        window = self.window(graph)
        _, height, width, _ = graph.output_of(self).shape
        image = self.padded(graph, value).astype(np.int64)
        same = np.ones(value.shape[3], bool)
        added = np.zeros((weights.shape[0], value.shape[3]), np.int64)
        for ky in range(window.kernel.height):
            for kx in range(window.kernel.width):
                y, x = ky * window.dilation.height, kx * window.dilation.width
                rows = slice(y, y + (height - 1) * window.stride.height + 1, window.stride.height)
                columns = slice(x, x + (width - 1) * window.stride.width + 1, window.stride.width)
                tap = image[:, rows, columns].reshape(-1, value.shape[3])
                weight = weights[:, ky, kx]
                same &= (tap == tap[0]).all(axis=0) | ~weight.any(axis=0)
                added += weight * tap[0]
        return same, added

    def lower(self, graph: Graph) -> Lowered | None:
        weights = graph.tensors[self.weights].values
        parts = self.parts(graph, weights.reshape(len(weights), -1))
        layer = layers.Conv(**parts, weights=weights, groups=self.groups(graph))
        return Lowered(layer, (self.input,), graph.tensor_of(self).shape[0])

    def words(self, graph: Graph) -> tuple[str, ...]:
        groups = self.groups(graph)
        return (*self.window_words(graph), *([f"groups {groups}"] if groups > 1 else []), *self.clamp_words())
