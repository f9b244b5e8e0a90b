"""A row for each operator, for people to see the graph without compiling it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator, Weighted, Windowed
from memaopt.networks.reading import Reading, Unread
from memaopt.networks.refusals import told

Quantization = Literal["per tensor", "per channel", "none"]


class OperatorRow(BaseModel, frozen=True):
    """One operator. ``kernel``, ``stride``, ``padding`` are None where there is no window; bytes of constants.

    One that is not ``supported`` has its kind and tensors only.
    """

    index: int
    location: int
    kind: str
    inputs: tuple[str, ...]
    output: str
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    dilation: tuple[int, int] | None = None
    padding: tuple[int, int, int, int] | None = None
    activation: str = "none"
    macs: int = 0
    weight_bytes: int = 0
    activation_bytes: int = 0
    quantization: Quantization = "none"
    detail: str = ""
    supported: bool = True


class Summary(BaseModel, frozen=True):
    """The network: its ends, a row for each operator, totals, a line for each node that is not computed exactly as the
    file's format says, and one for each thing that is not supported."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[OperatorRow, ...]
    macs: int
    weight_bytes: int
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def summarize(graph: Graph) -> Summary:
    """The rows of a whole network."""
    return summarize_reading(Reading(graph, graph.inputs, graph.outputs, unread=(), refusals=()))


def summarize_reading(reading: Reading) -> Summary:
    """Rows in execution order. Weight bytes count each constant once for each operator that reads it; the total
    counts it once. Totals are of what is supported."""
    graph, refused = reading.graph, {refusal.location for refusal in reading.refusals}
    operators: list[Operator | Unread] = [*graph.operators, *reading.unread]
    rows = tuple(
        _bare(graph, index, op) if isinstance(op, Unread) or op.location in refused else _row(graph, index, op)
        for index, op in enumerate(sorted(operators, key=lambda op: op.location))
    )
    return Summary(
        name=graph.name,
        inputs=tuple(_end(graph, t) for t in reading.inputs),
        outputs=tuple(_end(graph, t) for t in reading.outputs),
        rows=rows,
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(graph.tensors[t].nbytes for t in graph.constants),
        notes=reading.notes,
        refusals=tuple(told(reading.refusals)),
    )


def _end(graph: Graph, index: int) -> str:
    """``input int8[1,49,10,1] scale 0.5847 zero point 83``."""
    tensor = graph.tensors[index]
    scale = f" scale {tensor.scale:.6g} zero point {tensor.zero_point}" if len(tensor.scales) == 1 else ""
    return f"{tensor.name} {tensor.describe()}{scale}"


def _bare(graph: Graph, index: int, op: Operator | Unread) -> OperatorRow:
    return OperatorRow(
        index=index,
        location=op.location,
        kind=op.kind,
        inputs=_activations(graph, op.inputs),
        output=" + ".join(graph.tensors[t].describe() for t in op.outputs if t >= 0),
        supported=False,
    )


def _activations(graph: Graph, tensors: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(graph.tensors[t].describe() for t in tensors if t >= 0 and not graph.tensors[t].is_constant)


def _row(graph: Graph, index: int, op: Operator) -> OperatorRow:
    constants = [graph.tensors[t] for t in op.inputs if graph.tensors[t].is_constant]
    window = op.window(graph) if isinstance(op, Windowed) else None
    return OperatorRow(
        index=index,
        location=op.location,
        kind=op.kind,
        inputs=_activations(graph, op.inputs),
        output=graph.output_of(op).describe(),
        kernel=window and tuple(window.kernel),
        stride=window and tuple(window.stride),
        dilation=window and tuple(window.dilation),
        padding=window and tuple(window.padding),
        activation=str(getattr(op, "activation", "none")),
        macs=op.macs(graph),
        weight_bytes=sum(t.nbytes for t in constants),
        activation_bytes=graph.output_of(op).nbytes,
        quantization=_quantization(graph, op),
        detail=" ".join(op.words(graph)),
    )


def _quantization(graph: Graph, op: Operator) -> Quantization:
    tensors = [graph.tensors[t] for t in (*op.inputs, *op.outputs)]
    if isinstance(op, Weighted):
        return "per channel" if graph.tensors[op.weights].is_per_channel else "per tensor"
    return "per tensor" if any(len(t.scales) for t in tensors) else "none"
