"""Kept rows and new ones that lie in the state together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memaopt.networks.graph import DType, Graph, State, Tensor
from memaopt.networks.operators import Concatenation, DepthwiseConv2D, Operator, Reshape, Slice, StridedSlice
from memaopt.networks.reference import runs
from memaopt.networks.together import kept_together


def _graph(new: int = 2, start: int = 2, *, apart: bool = False, copies: int = 1) -> Graph:
    """Three kept rows and ``new`` ones behind them; their last ones from ``start`` on are kept, and all of them given;
    or rows in reverse order, with what is kept joined behind (``apart``)."""
    shapes = [(1, new, 1, 4), (1, 3, 1, 4), (1, 3 + new, 1, 4), (1, 3, 1, 4), (1, 3 + new, 1, 4)]
    tensors = [Tensor(f"t{i}", shape, DType.INT8, np.float32([1]), np.int64([0])) for i, shape in enumerate(shapes)]
    join = Concatenation(inputs=(0, 1) if apart else (1, 0), outputs=(2,), axis=1)
    rows = [Slice(0, 1, 1), Slice(start, 1, 3), Slice(0, 1, 1), Slice(0, 1, 4)]
    given = [Slice(0, 1, size) for size in shapes[4]]
    operators: list[Operator] = [
        join,
        StridedSlice(inputs=(2,), outputs=(3,), slices=tuple(rows)),
        StridedSlice(inputs=(2,), outputs=(4,), slices=tuple(given)),
    ]
    state = State(1, 3, np.arange(12, dtype=np.int8).reshape(shapes[1]), copies)
    return Graph("kept", tuple(tensors), tuple(operators), (0, 1), (4, 3), (state,))


def _read_again() -> Graph:
    """The same, where an operator reads what is kept next."""
    graph = _graph()
    whole = tuple(Slice(0, 1, size) for size in graph.tensors[3].shape)
    again = StridedSlice(inputs=(3,), outputs=(5,), slices=whole)
    tensors = (*graph.tensors, replace(graph.tensors[3], name="again"))
    return replace(graph, tensors=tensors, operators=(*graph.operators, again), outputs=(4, 5, 3))


def _given_flat() -> Graph:
    """The same, where the caller is given the joined rows, flat."""
    graph = _graph()
    tensors = (*graph.tensors[:4], replace(graph.tensors[4], shape=(1, 20)))
    return replace(graph, tensors=tensors, operators=(*graph.operators[:2], Reshape(inputs=(2,), outputs=(4,))))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("new", [1, 2, 4])
def test_rows_are_joined_in_the_state(new: int, copies: int) -> None:
    """Catches rows that move up too far, a first run that finds something else, or a copy out of turn."""
    graph = _graph(new, new, copies=copies)
    made = kept_together(graph)
    assert [op.kind for op in made.operators] == ["LATER_ROWS", "STRIDED_SLICE"]
    assert made.after == {0: ()}
    rng = np.random.default_rng(1)
    given = [[rng.integers(-128, 128, (1, new, 1, 4)).astype(np.int8)] for _ in range(9)]
    for (_, wanted), (_, found) in zip(runs(graph, given), runs(made, given), strict=True):
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1][:, new:], wanted[1])


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(_graph(start=1), id="what is kept is not the last of them"),
        pytest.param(_graph(apart=True), id="new rows come first"),
        pytest.param(replace(_graph(), outputs=(4, 3, 2)), id="somebody else gets the joined rows"),
        pytest.param(replace(_graph(), operators=_graph().operators[:2], outputs=(3,)), id="nobody reads them"),
        pytest.param(_read_again(), id="what is kept is read besides"),
        pytest.param(_given_flat(), id="somebody else gets the joined rows in another shape"),
    ],
)
def test_other_rows_are_not(graph: Graph) -> None:
    """Catches a state of rows that are not those which the next run joins, or that somebody else is given."""
    assert kept_together(graph).operators == graph.operators


def test_those_of_a_depthwise_convolution_are_read_where_they_lie() -> None:
    """Catches rows that move twice for a kernel that moves them as it reads."""
    graph = _graph()
    weights = [
        Tensor("w", (1, 5, 1, 4), DType.INT8, np.float32([1]), np.int64([0]), data=np.ones((1, 5, 1, 4), np.int8)),
        Tensor("out", (1, 1, 1, 4), DType.INT8, np.float32([1]), np.int64([0])),
    ]
    read = DepthwiseConv2D(inputs=(2, 5), outputs=(6,))
    whole = replace(graph, tensors=(*graph.tensors, *weights), operators=(*graph.operators[:2], read), outputs=(6, 3))
    assert kept_together(whole).operators == whole.operators
