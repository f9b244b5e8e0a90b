"""Floats that an int8 decides: DEQUANTIZE, what computes one float from another, and QUANTIZE are one table of 256."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Operator
from memaopt.networks.operators.detection_postprocess import DetectionPostprocess
from memaopt.networks.operators.float_lookup import FloatLookup
from memaopt.networks.operators.floating import Floating, Floats

Report = Callable[[str], None]


class _Decided(NamedTuple):
    """Floats by the int8 tensor that decides them, and what computed them."""

    x: int
    values: Floats
    of: str


def _detecting(op: DetectionPostprocess, known: Mapping[int, _Decided]) -> DetectionPostprocess:
    """The operator on the int8 that decide its floats, which then nobody keeps."""
    inputs, bits = list(op.inputs), {}
    for position, field in enumerate(("box_bits", "score_bits")):
        before = known.get(inputs[position])
        if before is not None:
            inputs[position] = before.x
            bits[field] = tuple(before.values.view(np.uint32).tolist())
    return op.model_copy(update={"inputs": tuple(inputs), **bits})


def fold_floats(graph: Graph, report: Report) -> Graph:
    """Each operator on such floats becomes a table of the int8 that decides them; those before it may then go."""
    operators: list[Operator] = []
    known: dict[int, _Decided] = {}
    for op in graph.operators:
        before = known.get(op.input)
        if isinstance(op, ops.Dequantize):
            known[op.output] = _Decided(op.input, op.on_every_byte(graph).astype(np.float32), op.kind)
        elif before is not None and isinstance(op, Floating):
            values = op.reals(before.values)
            if not np.isfinite(values).all():
                raise op.refuse(graph, f"some of {graph.tensor_of(op).name!r} gives an infinity, or no number")
            known[op.output] = _Decided(before.x, values, f"{before.of}, {op.kind}")
            bits = tuple(values.view(np.uint32).tolist())
            operators.append(
                FloatLookup(
                    inputs=(before.x,), outputs=op.outputs, location=op.location, bits=bits, of=known[op.output].of
                )
            )
            report(f"{graph.place(op)}: a table of {graph.tensors[before.x].name!r}")
            continue
        elif before is not None and isinstance(op, ops.Quantize) and graph.output_of(op).dtype is DType.INT8:
            table = tuple(op.evaluate(graph, [before.values]).tolist())
            common = {"inputs": (before.x,), "outputs": op.outputs, "location": op.location}
            operators.append(ops.Lookup(**common, values=table, of=f"{before.of}, {op.kind}"))
            report(f"{graph.place(op)}: a table of {graph.tensors[before.x].name!r}")
            continue
        elif isinstance(op, DetectionPostprocess) and not known.keys().isdisjoint(op.inputs):
            operators.append(_detecting(op, known))
            report(f"{graph.place(op)}: reads the int8 that decide its floats")
            continue
        operators.append(op)
    return graph.replace(operators=operators)
