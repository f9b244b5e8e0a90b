"""Operators that average a window as it slides, from sums that are kept from run to run; no file has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import SerializeAsAny

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Lowered, Operator
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Array, Shape
from memaopt.networks.operators.summed import Summed
from memaopt.problems.layers import Mean, Pool
from memaopt.problems.running import RunningMean


class _Running(Unfiled, Layered):
    """Inputs are sums of int32, the rows that leave the window, the new ones; ``mean`` reads the whole window, a tensor
    that is nowhere."""

    arity: ClassVar[tuple[int, int]] = (3, 3)

    mean: SerializeAsAny[Operator]

    def check_operands(self, graph: Graph) -> None:
        self.mean.check_operands(graph)

    def check_arithmetic(self, graph: Graph) -> None:
        self.mean.check_arithmetic(graph)

    def layer(self, graph: Graph) -> RunningMean:
        low = self.mean.lower(graph)
        assert low is not None
        assert isinstance(low.layer, Pool | Mean)
        return RunningMean(low.layer, graph.tensor_of(self, 2).elements // low.layer.shape[-1])

    def words(self, graph: Graph) -> tuple[str, ...]:
        return self.mean.words(graph)


class MeanOverTime(_Running):
    """The average; it leaves what the sums become where they were, which is :class:`MovedSums`."""

    kind: ClassVar[str] = "RUNNING_MEAN"

    def output_shape(self, graph: Graph) -> Shape:
        return self.mean.output_shape(graph)

    def work(self, graph: Graph) -> int:
        return 2 * graph.tensor_of(self, 2).elements


class MovedSums(_Running):
    """What the sums become, where they are."""

    kind: ClassVar[str] = "MOVED_SUMS"
    alias: ClassVar[bool] = True

    def output_shape(self, graph: Graph) -> Shape:
        return graph.tensor_of(self).shape

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.layer(graph).after(*arguments)

    def lower(self, graph: Graph) -> Lowered | None:
        return None


def averages_all(graph: Graph, op: Operator) -> bool:
    """Whether an operator averages all positions of one image of int8, channel by channel."""
    shape = graph.tensor_of(op).shape
    if shape[:1] != (1,) or graph.tensor_of(op).dtype is not DType.INT8:
        return False
    if isinstance(op, ops.AveragePool2D):
        return tuple(op.kernel) == shape[1:3] and not any(op.padding) and graph.output_of(op).elements == shape[3]
    kept = [size for axis, size in enumerate(shape[:-1]) if not isinstance(op, Summed) or axis not in op.axes]
    return isinstance(op, Summed) and len(shape) - 1 not in op.axes and all(size == 1 for size in kept)
