"""Element-wise operators fused: tables into tables, clamps into what computes their input.

An operator that maps each int8 element by itself is a table of 256 outputs, whatever its arithmetic: so are a sum or
a product with one constant, and a chain of such operators. A table that only shifts and clamps what its producer can
give goes into the producer's zero point and clamp. Both are decided by trying all 256 values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Addition, Bounded, Bounds, Elementwise, Operator, Pairwise
from memaopt.networks.operators.elementwise import Int8Table

Report = Callable[[str], None]


class _Table(NamedTuple):
    """An operator that is a table of one activation, ``x``."""

    op: Elementwise
    x: int
    values: Int8Table


def _decided(graph: Graph, op: Operator) -> _Table | None:
    """The operator as a table, if it is one."""
    if not isinstance(op, Elementwise) or (x := op.decider(graph)) is None:
        return None
    return _Table(op, x, op.table(graph))


def fuse_tables(graph: Graph, report: Report) -> Graph:
    """Sums and products of one activation with a constant (or itself) become tables; a table that alone reads
    another becomes their composition."""
    operators: list[Operator] = []
    at: dict[int, int] = {}  # the position in `operators` of the table that writes a tensor
    for op in graph.operators:
        table = _decided(graph, op)
        if table is None:
            operators.append(op)
            continue
        x = table.x
        before = at.pop(x) if x in at and _read_once(graph, x) else None
        if before is not None:
            first = _decided(graph, operators.pop(before))
            assert first is not None
            at = {tensor: i - (i > before) for tensor, i in at.items()}
            values = table.values[first.values.astype(np.int64) + 128]
            names = f"{_names(first.op)}, {_names(op)}"
            report(f"{graph.place(op)}: one table with {graph.place(graph.operators[graph.producers[x]])}")
            fused: Operator = _lookup(op, first.x, values, names)
        elif isinstance(op, Pairwise):
            fused = _lookup(op, x, table.values, _names(op))
            report(f"{graph.place(op)}: a table, it depends on one element alone")
        else:
            fused = op
        at[op.output] = len(operators)
        operators.append(fused)
    return graph.replace(operators=operators)


def _lookup(op: Operator, x: int, values: Int8Table, names: str) -> ops.Lookup:
    given = tuple(int(v) for v in values)
    return ops.Lookup(inputs=(x,), outputs=op.outputs, location=op.location, values=given, of=names)


def _names(op: Operator) -> str:
    return op.of if isinstance(op, ops.Lookup) else op.kind


def _read_once(graph: Graph, tensor: int) -> bool:
    return len(graph.consumers.get(tensor, ())) == 1 and tensor not in graph.outputs


def fold_clamps(graph: Graph, report: Report) -> Graph:
    """A table that shifts and clamps what its producer can give goes into the producer."""
    return _folded(graph, _clamped, lambda op, into: report(f"{op}: folded into the clamp of {into}"))


def fold_tables(graph: Graph, report: Report) -> Graph:
    """A table that alone reads a sum of two tensors goes into the sum, which then writes the table's outputs."""
    return _folded(graph, _through_table, lambda op, into: report(f"{op}: a table that {into} goes through"))


def _folded(
    graph: Graph, fold: Callable[[Graph, Operator, _Table], Operator | None], report: Callable[[str, str], None]
) -> Graph:
    """The graph where ``fold`` makes one operator of a producer and the table that alone reads its output."""
    operators: list[Operator] = []
    at: dict[int, int] = {}
    for op in graph.operators:
        table = _decided(graph, op)
        folded = None
        int8 = graph.output_of(op).dtype is DType.INT8  # what computes clamps an int8
        if int8 and table is not None and table.x in at and _read_once(graph, table.x):
            folded = fold(graph, operators[at[table.x]], table)
        if folded is None or table is None:
            at[op.output] = len(operators)
            operators.append(op)
        else:
            report(graph.place(op), graph.place(folded))
            at[op.output] = at[table.x]
            operators[at[table.x]] = folded
    return graph.replace(operators=operators)


def _through_table(graph: Graph, producer: Operator, table: _Table) -> Operator | None:
    if not isinstance(producer, Addition) or producer.through:
        return None
    values = tuple(int(v) for v in table.values)
    update = {"outputs": table.op.outputs, "through": values, "then": _names(table.op), "sum": producer.output}
    return producer.model_copy(update=update)


def _clamped(graph: Graph, producer: Operator, table: _Table) -> Operator | None:
    """The producer with the operator's output, where that is exact for each value that it can give; else None.

    The output is clamp(zero point + r) with r independent of both; so a table that adds d within the clamp and
    clamps needs the scale that r is computed for, and the zero point + d.
    """
    if not isinstance(producer, Bounded) or (isinstance(producer, Addition) and producer.through):
        return None
    low, high = producer.clamp(graph)
    values = table.values.astype(np.int64)[low + 128 : high + 129]
    before, after = graph.output_of(producer), graph.output_of(table.op)
    if producer.adds_zero_point and not np.array_equal(before.scales, after.scales):
        return None
    shift = after.zero_point - before.zero_point if producer.adds_zero_point else 0
    if values[0] > values[-1]:
        return None
    bounds = Bounds(int(values[0]), int(values[-1]))
    if not np.array_equal(values, np.clip(np.arange(low, high + 1) + shift, *bounds)):
        return None
    moved = producer.model_copy(update={"outputs": table.op.outputs})
    return moved.clamped_to(graph, bounds)
