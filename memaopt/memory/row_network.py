"""A network as stacks of rows: which rows of its inputs each row of a tensor needs, and when they are done with.

Tensors are images of one batch; a tensor without rows is one row. A sum over all rows of an image (averages, MEAN, a
fully connected layer that reads the image flattened) may take them one at a time into sums of four bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.memory.liveness import roots_of
from memaopt.networks.graph import Graph
from memaopt.networks.operators import FullyConnected, Operator
from memaopt.problems.bands import Reach, rows_of
from memaopt.problems.layers import Layer, Mean, Pool, PoolKind
from memaopt.problems.movement import Movement

Table = npt.NDArray[np.int64]
_SUM_BYTES = 4


class RowTensor(NamedTuple):
    """``rows`` of ``row_bytes`` each; with ``sums`` (bytes), it is that while some of ``rows`` parts are added, and
    ``row_bytes`` in all when they all are."""

    rows: int
    row_bytes: int
    sums: int = 0


class RowRead(NamedTuple):
    """How an operator reads a tensor: of p rows of output, ``need[p]`` rows must have been there, and those below
    ``low[p]`` are done with; p from 0 to all."""

    tensor: int
    need: Table
    low: Table


class RowOperator(NamedTuple):
    """The operator at ``position`` of the graph."""

    position: int
    output: int
    reads: tuple[RowRead, ...]


@dataclass(frozen=True)
class RowNetwork:
    """Tensors by the first of each alias class, operators in the graph's order without aliases."""

    tensors: dict[int, RowTensor]
    operators: tuple[RowOperator, ...]
    inputs: frozenset[int]
    outputs: frozenset[int]


def of(graph: Graph, summed: frozenset[int] = frozenset()) -> RowNetwork:
    """The network as rows; operators at the positions ``summed`` (of :func:`sums`) add rows one at a time. An input
    that comes by rows is no input: its rows are there when they are needed, and take bytes from then on."""
    roots = roots_of(graph.replace(by_rows=False))
    tensors = {root: _tensor(graph, root, roots) for root in roots.values()}
    operators = []
    for position, op in enumerate(graph.operators):
        if op.alias or roots.get(op.output) != op.output:
            continue
        data = [t for t in dict.fromkeys(op.inputs) if t in roots]
        if position in summed:
            rows = tensors[roots[op.input]].rows
            size = graph.tensors[op.output].nbytes
            tensors[op.output] = RowTensor(rows, size, _SUM_BYTES * graph.tensors[op.output].elements)
        reads = [
            RowRead(roots[t], *_tables(graph, op, t, tensors[roots[t]], tensors[op.output], position in summed))
            for t in data
        ]
        operators.append(RowOperator(position, op.output, tuple(reads)))
    return RowNetwork(
        tensors,
        tuple(operators),
        frozenset(roots[t] for t in graph.inputs if t in roots and t not in graph.nowhere),
        frozenset(roots[t] for t in graph.outputs if t in roots),
    )


def sums(graph: Graph) -> tuple[int, ...]:
    """The positions of operators whose outputs are sums over all rows of an image."""
    roots = roots_of(graph)
    found = []
    for position, op in enumerate(graph.operators):
        low = None if op.alias else op.lower(graph)
        if low is None or roots.get(op.input) is None:
            continue
        rows = _tensor(graph, roots[op.input], roots).rows
        if rows > 1 and low.batch == 1 and _sums(graph, op, low.layer, rows):
            found.append(position)
    return tuple(found)


def _sums(graph: Graph, op: Operator, layer: Layer, rows: int) -> bool:
    if isinstance(layer, Pool):
        window = layer.window
        whole = window.kernel.height == rows == layer.shape.height and layer.output.height == 1
        return whole and layer.kind is PoolKind.AVERAGE and window.padding.top == 0
    if isinstance(layer, Mean):
        return len(layer.shape) == 4 and layer.shape[1] == rows and 1 in layer.axes
    return isinstance(op, FullyConnected) and graph.output_of(op).elements == graph.tensors[op.weights].shape[0]


def _tensor(graph: Graph, root: int, roots: dict[int, int]) -> RowTensor:
    """The rows of an alias class: of its view that has most."""
    images = [graph.tensors[t].shape for t, r in roots.items() if r == root]
    rows = max((shape[1] for shape in images if len(shape) == 4 and shape[0] == 1), default=1)
    return RowTensor(rows, graph.tensors[root].nbytes // rows)


def _tables(
    graph: Graph, op: Operator, tensor: int, source: RowTensor, target: RowTensor, summed: bool
) -> tuple[Table, Table]:
    """``need`` and ``low`` of :class:`RowRead`."""
    rows, outputs = source.rows, target.rows
    if source.sums:
        return _whole(rows, outputs)
    if summed:
        return np.arange(rows + 1), np.arange(rows + 1)
    low = op.lower(graph)
    if low is None or low.batch != 1:
        return _whole(rows, outputs)
    if isinstance(low.layer, Movement):
        return _moved(low.layer, low.inputs.index(tensor), source, outputs)
    banded = rows_of(low.layer, outputs)
    image = graph.tensors[tensor].shape
    if banded is not None and len(image) == 4 and image[1] == rows:
        return _windows(banded.reaches[0], rows, outputs)
    return _whole(rows, outputs)


def _windows(reach: Reach, rows: int, outputs: int) -> tuple[Table, Table]:
    firsts = np.arange(outputs, dtype=np.int64) * reach.stride - reach.above
    return _of_rows(np.maximum(firsts, 0), np.minimum(firsts + reach.extent, rows), rows)


def _of_rows(firsts: Table, ends: Table, rows: int) -> tuple[Table, Table]:
    """The tables where output row r reads the input rows [firsts[r], ends[r])."""
    need = np.concatenate([[0], np.maximum.accumulate(np.maximum(ends, 0))])
    later = np.minimum.accumulate(np.minimum(firsts, rows)[::-1])[::-1]
    return need, np.concatenate([later, [rows]])


def _whole(rows: int, outputs: int) -> tuple[Table, Table]:
    """Every output needs every row."""
    return np.array([0] + [rows] * outputs), np.array([0] * outputs + [rows])


def _moved(layer: Movement, source: int, read: RowTensor, outputs: int) -> tuple[Table, Table]:
    """Which rows move into which, by the tables of the layer."""
    firsts, ends = np.full(outputs, read.rows), np.zeros(outputs, np.int64)
    for piece in (piece for piece in layer.pieces if piece.source == source):
        target = _summed(piece.output_tables, piece.output_offset) * outputs // layer.elements
        moved = _summed(piece.input_tables, piece.input_offset) // read.row_bytes
        np.minimum.at(firsts, target, moved)
        np.maximum.at(ends, target, moved + 1)
    return _of_rows(firsts, ends, read.rows)


def _summed(tables: Sequence[Table], offset: int) -> Table:
    total = np.full((1,) * len(tables), offset)
    for axis, table in enumerate(tables):
        total = total + table.reshape([-1 if i == axis else 1 for i in range(len(tables))])
    assert total.size == math.prod(len(t) for t in tables)
    return total.ravel()
