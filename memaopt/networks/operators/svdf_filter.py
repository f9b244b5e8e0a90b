"""SVDF_FILTER: what an SVDF whose state is int16 computes of the steps that it keeps."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.quantization import rescale
from memaopt.problems.svdf import SvdfFilter as Layer


class SvdfFilter(Unfiled, Layered):
    """Inputs are (features [batch, steps, 1, filters], weights [steps, filters][, bias])."""

    kind: ClassVar[str] = "SVDF_FILTER"
    arity: ClassVar[tuple[int, int]] = (2, 3)

    rank: int

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.inputs[0], "state", DType.INT16)
        self.expect(graph, self.inputs[1], "weights", DType.INT16)
        for index in self.inputs[2:]:
            self.expect(graph, index, "bias", DType.INT32)
        self.expect(graph, self.output, "output", DType.INT8)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, ())
        for tensor in (graph.tensors[t] for t in operands[:2]):
            if len(tensor.scales) != 1 or tensor.zero_point or not 0 < tensor.scale < np.inf:
                raise self.refuse(graph, f"int16 {tensor.name!r} needs one positive scale and the zero point 0")

    def output_shape(self, graph: Graph) -> Shape:
        x, weights = graph.tensor_of(self).shape, graph.tensor_of(self, 1).shape
        units = weights[-1] // self.rank
        if len(x) != 4 or (x[1], x[3]) != weights or weights[1] % self.rank:
            raise self.refuse(graph, f"weights {list(weights)} of rank {self.rank} do not go with {list(x)}")
        if any(graph.tensors[t].elements != units or not graph.tensors[t].is_constant for t in self.inputs[2:]):
            raise self.refuse(graph, f"its bias is not {units} constants")
        return (x[0], 1, 1, units)

    def check_arithmetic(self, graph: Graph) -> None:
        self.layer(graph)

    def layer(self, graph: Graph) -> Layer:
        """Scales are multiplied in float."""
        x, weights, y = graph.tensor_of(self), graph.tensor_of(self, 1), graph.output_of(self)
        with np.errstate(over="ignore", under="ignore"):
            factor = rescale(graph, self, float(x.scale * weights.scale / y.scale), below_one=True)
        bias = np.zeros(weights.shape[1] // self.rank, np.int64)
        for index in self.inputs[2:]:
            bias = graph.tensors[index].values.astype(np.int64).reshape(-1)
        return Layer(x.shape[0], self.rank, weights.values, bias, factor, y.zero_point)

    def macs(self, graph: Graph) -> int:
        return self.layer(graph).macs

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"{graph.tensor_of(self).shape[1]} steps, rank {self.rank}",)
