"""FULLY_CONNECTED: a matrix product, rounded once in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Rounding
from memaopt.networks.operators.form import ACTIVATION, Field, Form, Options
from memaopt.networks.operators.operator import Array, Lowered, Shape, check_rank
from memaopt.networks.operators.quantization import SAFE
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.weighted import Mask, Mixing, settled
from memaopt.problems import layers, step_functions


class FullyConnected(Mixing):
    """Input [batch..., K] flattened to rows of K, weights [M, K]."""

    kind: ClassVar[str] = "FULLY_CONNECTED"
    version: ClassVar[int] = 4
    options: ClassVar[Options | None] = Options(
        "FullyConnectedOptions", 8,
        (ACTIVATION, Field("weightsFormat", 1), Field("keepNumDims", 1), Field("asymmetricQuantizeInputs", 1),
         Field("quantizedBiasType", 1, "TensorType")),
    )  # fmt: skip
    weights_rank: ClassVar[int] = 2

    @classmethod
    def read(cls, source: Source) -> Self:
        common = cls.operands(source)
        options = source.options()
        if options.get("weightsFormat", 0) != 0:
            raise source.refuse("shuffled weights; the default format is supported")
        return cls(**common, activation=source.activation(options))

    def write(self, graph: Graph) -> Form:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        keep = len(output) == len(shape) and shape[:-1] == output[:-1]
        return Form(options={"keepNumDims": keep, ACTIVATION.name: self.activation.name})

    def output_shape(self, graph: Graph) -> Shape:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        weights = graph.tensors[self.weights].shape
        check_rank(graph.place(self), weights, 2)
        units, depth = weights
        if math.prod(shape) % depth:
            raise self.refuse(graph, f"weights {list(weights)} do not go with input {list(shape)}")
        if len(output) == len(shape) and shape[-1:] == (depth,):
            return (*shape[:-1], units)  # keep_num_dims
        return (math.prod(shape) // depth, units)

    def scales(self, graph: Graph) -> npt.NDArray[np.float64]:
        """The double factors (see fixedpoint.requantize_in_double)."""
        scales = self.weight_scales(graph)
        ends = np.abs(np.stack(self.accumulator_range(graph).ends)).max(axis=0) * scales
        if not np.isfinite(scales).all() or ends.max() > SAFE:
            raise self.refuse(graph, f"a rescaled accumulator can reach {ends.max():g}, which does not fit 32 bits")
        return scales

    def requantization(self, graph: Graph) -> step_functions.Requantization:
        """How accumulators become outputs."""
        if self.rounding is not Rounding.TFLITE:
            return self.rounded_once(graph)
        zero_point = graph.output_of(self).zero_point
        return step_functions.Requantization(zero_point, *self.clamp(graph), scales=self.scales(graph))

    def check_arithmetic(self, graph: Graph) -> None:
        self.requantization(graph)

    def accumulators(self, graph: Graph, value: Array) -> Int64Array:
        """[rows, units]."""
        weights = graph.tensors[self.weights].values
        centred = value.reshape(-1, weights.shape[1]).astype(np.float64) - graph.tensor_of(self).zero_point
        accumulators: Int64Array = (centred @ weights.astype(np.float64).T).astype(np.int64)
        accumulators += self.bias_values(graph)
        return accumulators

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.requantization(graph).apply(self.accumulators(graph, arguments[0]))

    def one_group(self, graph: Graph) -> bool:
        return True

    def contribution(self, graph: Graph, value: Array) -> tuple[Mask, Int64Array]:
        weights = graph.tensors[self.weights].values.astype(np.int64)
        batch = value.reshape(-1, weights.shape[1]).astype(np.int64) - graph.tensor_of(self).zero_point
        return (batch == batch[0]).all(axis=0) | ~weights.any(axis=0), weights * batch[0]

    def lower(self, graph: Graph) -> Lowered | None:
        x, weights = graph.tensor_of(self), graph.tensors[self.weights].values
        bias, q = settled(self.bias_values(graph), self.requantization(graph), weights)
        rows = x.elements // weights.shape[1]
        return Lowered(layers.FullyConnected(rows, weights, bias, x.zero_point, q), (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return self.clamp_words()
