"""Operators that read rows which were kept from run to run, and the new ones behind them, where both lie.

No file has them. They stand for a CONCATENATION of both, whose output then lies nowhere, and what read it: a depthwise
convolution at one position, and slices of its rows, of which one is what is kept next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from pydantic import SerializeAsAny

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered, Operator
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Array, Shape
from memaopt.problems import movement
from memaopt.problems.joined import JoinedDepthwise
from memaopt.problems.layers import Depthwise


class JoinedDepthwiseConv2D(Unfiled):
    """``depthwise`` reads a tensor that is nowhere; inputs are the rows of that (kept ones, new ones), then its weights
    and its bias."""

    kind: ClassVar[str] = "JOINED_DEPTHWISE_CONV_2D"
    arity: ClassVar[tuple[int, int]] = (3, 4)

    depthwise: SerializeAsAny[ops.DepthwiseConv2D]
    moves: bool = False
    """Whether it leaves the later rows where kept ones were; :class:`MovedRows` are these."""

    def output_shape(self, graph: Graph) -> Shape:
        return self.depthwise.output_shape(graph)

    def check_operands(self, graph: Graph) -> None:
        self.depthwise.check_operands(graph)

    def check_arithmetic(self, graph: Graph) -> None:
        self.depthwise.check_arithmetic(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        rows = np.concatenate(arguments[:2], axis=1)
        return self.depthwise.evaluate(graph, [rows, *arguments[2:]])

    def lower(self, graph: Graph) -> Lowered | None:
        whole = self.depthwise.lower(graph)
        if whole is None or not isinstance(whole.layer, Depthwise):
            return whole
        return Lowered(JoinedDepthwise(whole.layer, graph.tensor_of(self).shape[1], self.moves), self.inputs[:2])

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*self.depthwise.words(graph), *(["kept rows move up"] if self.moves else []))

    def macs(self, graph: Graph) -> int:
        return self.depthwise.macs(graph)


class LaterRows(Unfiled, Moving):
    """Of the rows of two tensors, one behind the other, as many as the output has, from ``first`` on, which is one of
    the first tensor's."""

    kind: ClassVar[str] = "LATER_ROWS"
    arity: ClassVar[tuple[int, int]] = (2, 2)
    counts_scale: ClassVar[bool] = False

    first: int

    def output_shape(self, graph: Graph) -> Shape:
        return graph.output_of(self).shape

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        rows = graph.output_of(self).shape[1]
        return np.concatenate(arguments, axis=1)[:, self.first : self.first + rows]

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        """The older rows come first: what is kept next may lie where it was kept, and moves up."""
        kept, new = (graph.tensors[t].shape for t in self.inputs)
        output, older = graph.output_of(self).shape, kept[1] - self.first
        return [
            movement.box(0, kept, output, shape=_rows(kept, older), input_start=_start(self.first)),
            movement.box(1, new, output, shape=_rows(new, output[1] - older), output_start=_start(older)),
        ]

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"from row {self.first}",)


class MovedRows(LaterRows):
    """They are where kept rows were before: the depthwise convolution that reads these leaves them there."""

    kind: ClassVar[str] = "MOVED_ROWS"
    alias: ClassVar[bool] = True

    def lower(self, graph: Graph) -> Lowered | None:
        return None


def _rows(shape: Shape, rows: int) -> Shape:
    return (shape[0], rows, *shape[2:])


def _start(row: int) -> Shape:
    return (0, row, 0, 0)


def read_where_they_lie(graph: Graph, computes: Callable[[JoinedDepthwise], bool]) -> tuple[Graph, tuple[str, ...]]:
    """The network in which depthwise convolutions read kept rows where they lie, as far as there is a way that
    ``computes`` such a layer; a line for each."""
    operators: list[Operator | None] = list(graph.operators)
    steps = []
    for position, op in enumerate(graph.operators):
        readers = _readers(graph, op)
        if not readers:
            continue
        first, *slices = readers
        depthwise = graph.operators[first]
        assert isinstance(depthwise, ops.DepthwiseConv2D)
        made = next(
            filter(None, (_joined(graph, op, depthwise, m, computes) for m in _moving(graph, op, slices))), None
        )
        if made is None:
            continue
        operators[position], operators[first] = made, None
        later = MovedRows if made.moves else LaterRows
        for at in slices:
            read = graph.operators[at]
            assert isinstance(read, ops.StridedSlice)
            start = read.slices[1].start
            operators[at] = later(inputs=op.inputs, outputs=read.outputs, location=read.location, first=start)
        steps.append(f"{graph.place(depthwise)}: reads kept rows, and new ones, where they lie")
    return graph.replace(operators=[op for op in operators if op is not None]), tuple(steps)


def _joined(
    graph: Graph,
    op: Operator,
    depthwise: ops.DepthwiseConv2D,
    moves: bool,
    computes: Callable[[JoinedDepthwise], bool],
) -> JoinedDepthwiseConv2D | None:
    """A depthwise convolution of the rows that an operator joins; None where there is no way to compute it."""
    inputs = (*op.inputs, *depthwise.inputs[1:])
    made = JoinedDepthwiseConv2D(
        inputs=inputs, outputs=depthwise.outputs, location=depthwise.location, depthwise=depthwise, moves=moves
    )
    low = made.lower(graph)
    there = low is not None and low.batch == 1 and isinstance(low.layer, JoinedDepthwise) and computes(low.layer)
    return made if there else None


def _moving(graph: Graph, op: Operator, slices: Sequence[int]) -> tuple[bool, ...]:
    """Whether kept rows may move up as they are read, and then whether not: if the one slice is what is kept next, each
    row is one of it later on, and nobody else reads the kept ones."""
    kept = op.input
    alone = len(slices) == 1 and len(graph.consumers[kept]) == 1
    written = [state.written for state in graph.states if state.read == kept]
    return (True, False) if alone and [graph.operators[at].output for at in slices] == written else (False,)


def _readers(graph: Graph, op: Operator) -> list[int]:
    """Of an operator that joins kept rows and new ones, the positions of the depthwise convolution and of the slices
    that alone read all of them; none of any other operator."""
    if not isinstance(op, ops.Concatenation) or op.axis != 1 or len(op.inputs) != 2 or op.output in graph.outputs:
        return []
    shape, kept = graph.output_of(op).shape, graph.tensor_of(op).shape
    if len(shape) != 4 or shape[0] != 1 or op.inputs[0] not in graph.outside or op.inputs[1] in graph.outside:
        return []
    depthwise, slices = list[int](), list[int]()
    for at in graph.consumers.get(op.output, ()):
        read = graph.operators[at]
        if isinstance(read, ops.DepthwiseConv2D):
            depthwise.append(at)
        elif isinstance(read, ops.StridedSlice) and _later(read, shape, kept[1]):
            slices.append(at)
        else:
            return []
    return [*depthwise, *slices] if len(depthwise) == 1 else []


def _later(op: ops.StridedSlice, shape: Shape, kept: int) -> bool:
    """Whether it takes rows in a row, whole ones, of which some are kept ones and some are new."""
    rows = op.slices[1]
    return is_box_of_rows(op, shape) and rows.start < kept < rows.start + rows.length


def is_box_of_rows(op: ops.StridedSlice, shape: Shape) -> bool:
    """Whether a slice of an image takes whole rows in a row."""
    _, rows, *others = op.slices
    whole = all(s.start == 0 and s.step == 1 and s.length == size for s, size in zip(others, shape[2:], strict=True))
    return whole and rows.step == 1


def joins_for_depthwise(graph: Graph, op: Operator) -> bool:
    """Whether an operator joins kept rows and new ones for a depthwise convolution that might read them apart, which
    takes one position."""
    readers = _readers(graph, op)
    return bool(readers) and graph.output_of(graph.operators[readers[0]]).shape[1] == 1
