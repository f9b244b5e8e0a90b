"""SVDF_FEATURES: what an SVDF whose state is int16 computes of each step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Shape, depth
from memaopt.networks.operators.quantization import checked_left_shift, rescale
from memaopt.problems.svdf import SvdfFeatures as Layer


class SvdfFeatures(Unfiled, Layered):
    """Inputs are (input, weights [filters, inputs]); outputs are int16 [batch, 1, 1, filters]."""

    kind: ClassVar[str] = "SVDF_FEATURES"
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", DType.INT8)
        self.expect(graph, self.output, "output", DType.INT16)

    def output_shape(self, graph: Graph) -> Shape:
        x, weights = graph.tensor_of(self), graph.tensor_of(self, 1)
        if len(weights.shape) != 2 or depth(x) != weights.shape[1]:
            raise self.refuse(graph, f"weights {list(weights.shape)} do not go with input {list(x.shape)}")
        return (x.elements // depth(x), 1, 1, weights.shape[0])

    def check_arithmetic(self, graph: Graph) -> None:
        layer = self.layer(graph)
        if graph.tensor_of(self, 1).zero_point:
            raise self.refuse(graph, "weights have a zero point; 0 is supported")
        sums = np.abs(layer.weights.astype(np.int64)).sum(axis=1) * (128 + abs(layer.input_zero_point))
        checked_left_shift(graph, self, layer.result, int(sums.max()))

    def layer(self, graph: Graph) -> Layer:
        """Scales are multiplied in float."""
        x, weights = graph.tensor_of(self), graph.tensor_of(self, 1)
        with np.errstate(over="ignore", under="ignore"):
            factor = rescale(graph, self, float(x.scale * weights.scale / graph.output_of(self).scale))
        return Layer(x.elements // depth(x), weights.values, x.zero_point, factor)

    def macs(self, graph: Graph) -> int:
        return self.layer(graph).macs
