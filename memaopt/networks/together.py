"""Rows that are kept from run to run lie in the state together with those behind them.

A CONCATENATION of kept rows and new ones, of which a slice is what is kept next, moves all of these rows twice: out of
the state and back. Where the state is the joined rows themselves, those that stay move up in it once, the new ones go
behind them, and whoever reads the joined rows reads them in the state. It has room for the new rows besides.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph, State
from memaopt.networks.joined import LaterRows, is_box_of_rows, joins_for_depthwise
from memaopt.networks.operators import Operator


def kept_together(graph: Graph) -> Graph:
    """The network with the joined rows as states, wherever kept rows are read for nothing but that they are joined and
    somebody reads them all; but for a depthwise convolution, which can read both where they lie."""
    tensors, operators, states = list(graph.tensors), list[Operator | None](graph.operators), list(graph.states)
    for number, state in enumerate(graph.states):
        join = _join_of(graph, state)
        if join is None:
            continue
        writer = graph.producers[state.written]
        joined, new = graph.output_of(join), graph.tensors[join.inputs[1]].shape[1]
        tensors.append(dataclasses.replace(joined, name=graph.tensors[state.read].name))
        read = len(tensors) - 1
        operators[graph.producers[join.output]] = LaterRows(
            inputs=(read, join.inputs[1]), outputs=join.outputs, location=join.location, first=new
        )
        operators[writer] = None
        initial = np.concatenate([state.initial[:, :1].repeat(new, axis=1), state.initial], axis=1)
        states[number] = State(read, join.output, initial, state.copies)
    before = {old.read: made.read for old, made in zip(graph.states, states, strict=True)}
    after = {old.written: made.written for old, made in zip(graph.states, states, strict=True)}
    return dataclasses.replace(
        graph,
        tensors=tuple(tensors),
        operators=tuple(op for op in operators if op is not None),
        inputs=tuple(before.get(t, t) for t in graph.inputs),
        outputs=tuple(after.get(t, t) for t in graph.outputs),
        states=tuple(states),
    )


def _join_of(graph: Graph, state: State) -> ops.Concatenation | None:
    """The operator that alone reads a state, to join new rows behind it, of which the last ones are kept next."""
    readers, writer = graph.consumers.get(state.read, ()), graph.operators[graph.producers[state.written]]
    join = graph.operators[readers[0]] if len(readers) == 1 else None
    if not isinstance(join, ops.Concatenation) or join.axis != 1 or len(join.inputs) != 2:
        return None
    shape, kept = graph.output_of(join).shape, graph.tensors[state.read].shape
    behind = join.inputs[0] == state.read != join.inputs[1] and len(shape) == 4 and shape[0] == 1
    views = {join.output}
    for op in graph.operators:
        if op.alias and op.input in views:
            views.add(op.output)
    given = not views.isdisjoint(graph.outputs)  # of the state there would be no copy for the caller
    if not behind or given or join.output in graph.outside or joins_for_depthwise(graph, join):
        return None
    if not isinstance(writer, ops.StridedSlice) or writer.input != join.output or state.written in graph.consumers:
        return None
    rows = writer.slices[1]
    last = is_box_of_rows(writer, shape) and (rows.start, rows.length) == (shape[1] - kept[1], kept[1])
    return join if last and len(graph.consumers[join.output]) > 1 else None
