"""Element-wise operators fused: tables into tables, clamps into what computes their input.

An operator that maps each int8 element by itself is a table of 256 outputs, whatever its arithmetic: so are a sum or
a product with one constant, and a chain of such operators. A table that only shifts and clamps what its producer can
give goes into the producer's zero point and clamp. Both are decided by trying all 256 values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from memaopt.networks import quantization, reference
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Activation, Bounded, Bounds, Operator
from memaopt.networks.quantization import INT8_MAX, INT8_MIN

Int8Table = npt.NDArray[np.int8]
Report = Callable[[str], None]

EVERY_INT8 = np.arange(INT8_MIN, INT8_MAX + 1).astype(np.int8)

_ADDS_ZERO_POINT = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected, ops.Add, ops.Sub, ops.Mul, ops.Mean)
"""Operators that compute clamp(zero point + what is independent of it)."""
_POOLS = (ops.AveragePool2D, ops.MaxPool2D)


def unary_input(graph: Graph, op: Operator) -> int | None:
    """The one activation of the output's shape that decides each int8 output element by itself, or None."""
    if not isinstance(op, ops.ELEMENTWISE):
        return None
    data = {i for i in op.inputs if not graph.tensors[i].is_constant}
    constants = [graph.tensors[i].values for i in op.inputs if graph.tensors[i].is_constant]
    if len(data) != 1 or any(values.size == 0 or (values != values.flat[0]).any() for values in constants):
        return None
    x = graph.tensors[min(data)]
    int8 = x.dtype is DType.INT8 and graph.output_of(op).dtype is DType.INT8
    return min(data) if int8 and x.shape == graph.output_of(op).shape else None


def table(graph: Graph, op: Operator) -> Int8Table:
    """The outputs for every int8 from -128 up, by the reference kernel. The operator has a :func:`unary_input`, or is
    unary and reads a constant."""
    data = tuple(dict.fromkeys(i for i in op.inputs if not graph.tensors[i].is_constant)) or (op.input,)
    tensors = list(graph.tensors)
    for index in (*op.inputs, op.output):
        tensor = tensors[index]
        if index in data or index == op.output:
            tensors[index] = dataclasses.replace(tensor, shape=EVERY_INT8.shape, data=None)
        else:
            tensors[index] = dataclasses.replace(tensor, shape=(1,), data=tensor.values.reshape(-1)[:1])
    small = Graph(graph.name, tuple(tensors), (op,), data, (op.output,))
    outputs: Int8Table = reference.run(small, [EVERY_INT8])[0].astype(np.int8)
    return outputs


def fuse_tables(graph: Graph, report: Report) -> Graph:
    """Sums and products of one activation with a constant (or itself) become tables; a table that alone reads
    another becomes their composition."""
    operators: list[Operator] = []
    at: dict[int, int] = {}  # the position in `operators` of the table that writes a tensor
    for op in graph.operators:
        x = unary_input(graph, op)
        if x is None:
            operators.append(op)
            continue
        before = at.pop(x) if x in at and _read_once(graph, x) else None
        if before is not None:
            first = operators.pop(before)
            at = {tensor: i - (i > before) for tensor, i in at.items()}
            values = table(graph, op)[table(graph, first).astype(np.int64) + 128]
            names = f"{_names(first)}, {_names(op)}"
            report(f"{graph.place(op)}: one table with {graph.place(graph.operators[graph.producers[x]])}")
            fused: Operator = _lookup(op, _unary_source(graph, first), values, names)
        elif isinstance(op, ops.Add | ops.Sub | ops.Mul):
            fused = _lookup(op, x, table(graph, op), _names(op))
            report(f"{graph.place(op)}: a table, it depends on one element alone")
        else:
            fused = op
        at[op.output] = len(operators)
        operators.append(fused)
    return graph.replace(operators=operators)


def _unary_source(graph: Graph, op: Operator) -> int:
    source = unary_input(graph, op)
    assert source is not None
    return source


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
    graph: Graph, fold: Callable[[Graph, Operator, Operator], Operator | None], report: Callable[[str, str], None]
) -> Graph:
    """The graph where ``fold`` makes one operator of a producer and the table that alone reads its output."""
    operators: list[Operator] = []
    at: dict[int, int] = {}
    for op in graph.operators:
        x = unary_input(graph, op)
        producer = operators[at[x]] if x is not None and x in at and _read_once(graph, x) else None
        folded = None if producer is None else fold(graph, producer, op)
        if folded is None or x is None:
            at[op.output] = len(operators)
            operators.append(op)
        else:
            report(graph.place(op), graph.place(folded))
            at[op.output] = at[x]
            operators[at[x]] = folded
    return graph.replace(operators=operators)


def _through_table(graph: Graph, producer: Operator, op: Operator) -> Operator | None:
    if not isinstance(producer, ops.Add | ops.Sub) or producer.table:
        return None
    values = tuple(int(v) for v in table(graph, op))
    update = {"outputs": op.outputs, "table": values, "then": _names(op), "sum": producer.output}
    return producer.model_copy(update=update)


def _clamped(graph: Graph, producer: Operator, op: Operator) -> Operator | None:
    """The producer with the operator's output, where that is exact for each value that it can give; else None.

    The output is clamp(zero point + r) with r independent of both; so a table that adds d within the clamp and
    clamps needs the scale that r is computed for, and the zero point + d.
    """
    if not isinstance(producer, Bounded) or (isinstance(producer, ops.Add | ops.Sub) and producer.table):
        return None
    activation = getattr(producer, "activation", Activation.NONE)
    low, high = quantization.clamp(graph, producer, activation)
    values = table(graph, op).astype(np.int64)[low + 128 : high + 129]
    before, after = graph.output_of(producer), graph.output_of(op)
    if isinstance(producer, _POOLS):
        shift = 0
    elif isinstance(producer, _ADDS_ZERO_POINT) and np.array_equal(before.scales, after.scales):
        shift = after.zero_point - before.zero_point
    else:
        return None
    if values[0] > values[-1]:
        return None
    bounds = Bounds(int(values[0]), int(values[-1]))
    if not np.array_equal(values, np.clip(np.arange(low, high + 1) + shift, *bounds)):
        return None
    return _with_bounds(graph, producer.model_copy(update={"outputs": op.outputs}), bounds)


def _with_bounds(graph: Graph, op: Bounded, bounds: Bounds) -> Operator:
    """The operator with a fused activation that makes these bounds, or else with the bounds themselves."""
    free = op.model_copy(update={"bounds": None})
    if isinstance(op, ops.Mean):
        return op.model_copy(update={"bounds": None if tuple(bounds) == (INT8_MIN, INT8_MAX) else bounds})
    for activation in Activation:
        if tuple(quantization.clamp(graph, free, activation)) == tuple(bounds):
            return free.model_copy(update={"activation": activation})
    return op.model_copy(update={"activation": Activation.NONE, "bounds": bounds})
