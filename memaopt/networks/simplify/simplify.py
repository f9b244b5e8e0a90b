"""Exact simplification: the network computes the same bytes with less work.

Each rewrite is exact by construction: constants are computed by the reference kernels, an operator goes only if
its table over all inputs is the identity, padding moves only where it adds zeros, and element-wise work is fused
(:mod:`.tables`) where all 256 values come out the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from memaopt.networks import checks, limits, reference
from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator, Padding2D
from memaopt.networks.simplify import channels, dilation, floats, tables, transposed, wide


@dataclass(frozen=True, eq=False)
class Simplified:
    """The simpler network and what was done, one line for each rewrite.

    Tensors keep their indices. ``kept`` has, for each activation that lost channels, the original channels that
    its last axis has now, in order.
    """

    graph: Graph
    steps: tuple[str, ...]
    kept: dict[int, tuple[int, ...]] = field(default_factory=dict)


def simplify(graph: Graph, *, drop_channels: bool = True, multiple: int = 1) -> Simplified:
    """Apply every rewrite. ``multiple``: kept channels stay a multiple of it where channels are dropped."""
    graph, found = _rewritten(graph)
    steps = list(found)
    kept: dict[int, tuple[int, ...]] = {}
    if drop_channels:
        graph, kept = channels.drop_channels(graph, steps.append, multiple=multiple)
    checks.check(graph)
    return Simplified(graph, tuple(steps), kept)


@lru_cache(maxsize=1)
def _rewritten(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The network after every rewrite but for dropped channels, and the lines of these."""
    steps: list[str] = []
    for rewrite in (
        fold_constants,
        floats.fold_floats,
        tables.fuse_tables,
        drop_identities,
        tables.fold_clamps,
        tables.fold_tables,
        transposed.convolve_transposed,
        dilation.fold_dilation,
        fold_padding,
        wide.split_wide,
        drop_dead_code,
    ):
        graph = rewrite(graph, steps.append)
    return graph, tuple(steps)


Report = Callable[[str], None]


def fold_constants(graph: Graph, report: Report) -> Graph:
    """Compute operators all of whose inputs are constants."""
    tensors = list(graph.tensors)
    remaining: list[Operator] = []
    for op in graph.operators:
        small = op.macs(graph) <= limits.MAX_FOLDED_MACS
        if small and op.output not in graph.outputs and all(tensors[i].is_constant for i in op.inputs):
            value = reference.evaluate(graph, op, [tensors[i].values for i in op.inputs])
            tensors[op.output] = dataclasses.replace(tensors[op.output], data=value)
            report(f"{graph.place(op)}: computed once, its inputs are constants")
        else:
            remaining.append(op)
    return graph.replace(tensors=tensors, operators=remaining)


def drop_identities(graph: Graph, report: Report) -> Graph:
    """Operators that change no byte become reshapes, which cost nothing; what is kept in a state is copied there."""
    operators: list[Operator] = []
    for op in graph.operators:
        if op.is_identity(graph) and op.output not in graph.outside:
            report(f"{graph.place(op)}: dropped, it changes nothing")
            operators.append(ops.Reshape(inputs=(op.input,), outputs=op.outputs, location=op.location))
        else:
            operators.append(op)
    return graph.replace(operators=operators)


def fold_padding(graph: Graph, report: Report) -> Graph:
    """PAD of rows and columns goes into the convolutions that read it: both add the zero point, which counts 0."""
    operators = list(graph.operators)
    for pad in graph.operators:
        if not isinstance(pad, ops.Pad) or len(pad.paddings) != 4:
            continue
        (batch, rows, columns, depth) = pad.paddings
        x, alike = graph.tensor_of(pad), graph.tensor_of(pad).same_quantization(graph.output_of(pad))
        if (batch, depth) != ((0, 0), (0, 0)) or pad.fill(graph) != x.zero_point or not alike:
            continue
        for position in graph.consumers.get(pad.output, ()):
            op = operators[position]
            if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D)):
                top, bottom, left, right = op.padding
                padding = Padding2D(top + rows[0], bottom + rows[1], left + columns[0], right + columns[1])
                inputs = (pad.input, *op.inputs[1:])
                operators[position] = op.model_copy(update={"inputs": inputs, "padding": padding})
                report(f"{graph.place(pad)}: folded into {graph.place(op)}")
    return graph.replace(operators=operators)


def drop_dead_code(graph: Graph, report: Report) -> Graph:
    """Operators whose output nobody reads."""
    needed = set(graph.outputs)
    operators: list[Operator] = []
    for op in reversed(graph.operators):
        if op.output in needed:
            needed.update(op.inputs)
            operators.append(op)
        else:
            report(f"{graph.place(op)}: dropped, nobody reads its output")
    return graph.replace(operators=operators[::-1])
