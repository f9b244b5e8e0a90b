"""Operators on one int8 tensor of any shape, each element by itself: whatever they compute is a table of 256."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.alike import Alike
from memaopt.networks.operators.elementwise import Elementwise, Int8Table
from memaopt.networks.operators.operator import EVERY_INT8, Array, Links, Lowered, depth
from memaopt.networks.operators.quantization import SAFE
from memaopt.problems import layers


class Unary(Alike, Elementwise):
    """A table. What is left to a subclass: :meth:`table`, and what its arithmetic demands of scales."""

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        found: Array = self.table(graph)[arguments[0].astype(np.int8).astype(np.int64) + 128]
        return found

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(layers.Lookup(graph.output_of(self).elements, self.table(graph)), (self.input,))

    def links(self, graph: Graph) -> Links | None:
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def is_identity(self, graph: Graph) -> bool:
        both = graph.tensor_of(self).dtype is graph.output_of(self).dtype is DType.INT8
        return both and np.array_equal(self.table(graph), EVERY_INT8)


def centred(graph: Graph, op: Unary) -> fixedpoint.Int64Array:
    """Every byte of the input, as what it means, less its zero point."""
    x = graph.tensor_of(op)
    return EVERY_INT8.view(x.dtype.value).astype(np.int64) - x.zero_point


def float_table(graph: Graph, op: Unary, function: Callable[[np.float32], np.float32]) -> Int8Table:
    """round(function(dequantised) / scale) + zero point for every int8, all in float (LUTPopulate).

    UnsupportedModelError if one does not fit 32 bits on the way.
    """
    output = graph.output_of(op)
    inverse = np.float32(1) / output.scale
    with np.errstate(over="ignore", invalid="ignore"):
        reals = graph.tensor_of(op).scale * centred(graph, op).astype(np.float32)
        results = np.array([function(real) for real in reals], np.float32) * inverse
    check_steps(graph, op, results)
    rounded = fixedpoint.round_half_away_from_zero(results).astype(np.float32) + np.float32(output.zero_point)
    table: Int8Table = np.clip(np.trunc(rounded), -128, 127).astype(np.int8)
    return table


def check_output_scale(graph: Graph, op: Unary) -> None:
    """UnsupportedModelError unless what is computed in float, at most 1, fits 32 bits in steps of the output."""
    if not float(np.float32(1) / graph.output_of(op).scale) < SAFE:
        raise op.refuse(graph, f"output scale {graph.output_of(op).scale:g} is too small")


def check_steps(graph: Graph, op: Unary, steps: npt.NDArray[np.float32]) -> None:
    """UnsupportedModelError unless outputs in steps of the output's scale fit 32 bits."""
    widest = float(np.abs(steps).max())
    if not widest < SAFE:
        raise op.refuse(graph, f"an output is {widest:g} steps of the output's scale; 2^31 is supported")


def check_no_negatives(graph: Graph, op: Unary) -> None:
    """UnsupportedModelError unless every int8 means 0 or more: TFLite stops at a root of anything less."""
    if graph.tensor_of(op).zero_point != -128:
        raise op.refuse(
            graph,
            f"input zero point {graph.tensor_of(op).zero_point} allows inputs below 0, which have no root; "
            "-128 is supported",
        )
