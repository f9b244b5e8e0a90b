"""TRANSPOSE_CONV: each input position adds its products to a window of the output."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import ONE, Size2D
from memaopt.networks.operators.convolution import Accumulating
from memaopt.networks.operators.form import ACTIVATION, PADDING, Field, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, Shape, check_rank
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.window import same_padding


class TransposeConv(Accumulating):
    """Input NHWC, weights OHWI. Input row y adds to the output's rows from y * stride - before on, which
    is as SAME says or, without it, 0; or ``cropped``, which no .tflite file can say.

    It has no layer: simplification makes a convolution of it, whose outputs are interleaved.
    """

    kind: ClassVar[str] = "TRANSPOSE_CONV"
    version: ClassVar[int] = 4
    options: ClassVar[Options | None] = Options(
        "TransposeConvOptions", 49, (PADDING, Field("strideW", 4), Field("strideH", 4), ACTIVATION)
    )

    stride: Size2D = ONE
    same: bool = False
    cropped: Size2D | None = None

    @property
    def fused(self) -> bool:
        return self.cropped is not None or super().fused

    @classmethod
    def read(cls, source: Source) -> Self:
        if len(source.inputs) not in (3, 4) or len(source.outputs) != 1:
            raise source.refuse(f"{len(source.inputs)} inputs; 3 or 4 are supported")
        options, shape = source.required("TransposeConvOptions"), source.output().shape
        check_rank(source.place, shape, 4)
        check_rank(source.place, source.tensor(1).shape, 4)
        if source.integers(0, "shape")[1:] != shape[1:]:
            raise source.refuse(f"shape {list(source.integers(0, 'shape'))} is not that of the output")
        stride = Size2D(options["strideH"], options["strideW"])
        if not all(0 < step < 1 << 15 for step in stride):
            raise source.refuse(f"stride {list(stride)} must be positive")
        bias = tuple(index for index in source.inputs[3:] if index >= 0)
        return cls(
            **source.common((source.inputs[2], source.inputs[1], *bias)),
            stride=stride,
            same=options[PADDING.name] == "SAME",
            activation=source.activation(options),
        )

    def write(self, graph: Graph) -> Form:
        output = graph.output_of(self).shape
        options = {
            ACTIVATION.name: self.activation.name,
            PADDING.name: "SAME" if self.same else "VALID",
            "strideH": self.stride.height,
            "strideW": self.stride.width,
        }
        return Form({"shape": output}, options, (len(self.inputs), 1, 0, *range(2, len(self.inputs))))

    def output_shape(self, graph: Graph) -> Shape:
        """Rows and columns are as the file says, if a convolution of them would have the input's."""
        x, weights, y = graph.tensor_of(self).shape, graph.tensors[self.weights].shape, graph.output_of(self).shape
        check_rank(graph.place(self), x, 4)
        check_rank(graph.place(self), y, 4)
        if weights[3] != x[3]:
            raise self.refuse(graph, f"weights {list(weights)} do not go with input {list(x)}")
        if self.cropped is not None:
            return (x[0], *y[1:3], weights[0])
        taken = [1, 1] if self.same else weights[1:3]
        steps = zip(y[1:3], taken, self.stride, strict=True)
        if any(-(-(size - taps + 1) // step) != n for n, (size, taps, step) in zip(x[1:3], steps, strict=True)):
            raise self.refuse(graph, f"an output {list(y)} of an input {list(x)}")
        return (x[0], *y[1:3], weights[0])

    def before(self, graph: Graph) -> Size2D:
        """Rows and columns of the windows that lie before the output."""
        _, rows, columns, _ = graph.output_of(self).shape
        if self.cropped is not None:
            return self.cropped
        if not self.same:
            return Size2D(0, 0)
        kernel = Size2D(*graph.tensors[self.weights].shape[1:3])
        padding = same_padding(rows, columns, kernel, self.stride, ONE)
        return Size2D(padding.top, padding.left)

    def macs(self, graph: Graph) -> int:
        weights = graph.tensors[self.weights]
        return graph.tensor_of(self).elements * (weights.elements // weights.shape[3])

    def accumulators(self, graph: Graph, value: Array) -> Int64Array:
        """Products are exact in float64: the checks bound their sums by 2^31."""
        weights, (batch, rows, columns, outputs) = graph.tensors[self.weights].values, graph.output_of(self).shape
        centred = value.astype(np.float64) - graph.tensor_of(self).zero_point
        _, height, width, _ = value.shape
        (down, across), (top, left) = self.stride, self.before(graph)
        tall, wide = (height - 1) * down + weights.shape[1], (width - 1) * across + weights.shape[2]
        whole = np.zeros((batch, max(tall, top + rows), max(wide, left + columns), outputs))
        for y in range(weights.shape[1]):
            for x in range(weights.shape[2]):
                taps = whole[:, y : y + (height - 1) * down + 1 : down, x : x + (width - 1) * across + 1 : across]
                taps += centred @ weights[:, y, x].T.astype(np.float64)
        kept = whole[:, top : top + rows, left : left + columns]
        return kept.astype(np.int64) + self.bias_values(graph)

    def narrowed_weights(self, graph: Graph, outputs: Array, inputs: Array) -> Array:
        chosen: Array = graph.tensors[self.weights].values[outputs][..., inputs]
        return chosen

    def lower(self, graph: Graph) -> Lowered | None:
        raise self.refuse(graph, "it has no layer of its own; simplify the network")

    def words(self, graph: Graph) -> tuple[str, ...]:
        weights = graph.tensors[self.weights].shape
        steps = "x".join(map(str, dict.fromkeys(self.stride)))
        return (f"{weights[1]}x{weights[2]}", f"/{steps}", *self.clamp_words())
