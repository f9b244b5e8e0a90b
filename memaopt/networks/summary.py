"""A row for each operator, for people to see the graph without compiling it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from memaopt.networks import shapes
from memaopt.networks.graph import Graph
from memaopt.networks.operators import operator as ops
from memaopt.networks.operators.operator import Operator, Padding2D

Quantization = Literal["per tensor", "per channel", "none"]


class OperatorRow(BaseModel):
    """One operator. ``kernel``, ``stride``, ``padding`` are None where there is no window; bytes of constants."""

    model_config = ConfigDict(frozen=True)

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
    macs: int
    weight_bytes: int
    activation_bytes: int
    quantization: Quantization
    detail: str = ""


class Summary(BaseModel):
    """The network: its ends, a row for each operator, and totals."""

    model_config = ConfigDict(frozen=True)

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[OperatorRow, ...]
    macs: int
    weight_bytes: int


def summarize(graph: Graph) -> Summary:
    """Rows in execution order. Weight bytes count each constant once for each operator that reads it; the total
    counts it once."""
    rows = tuple(_row(graph, index, op) for index, op in enumerate(graph.operators))
    return Summary(
        name=graph.name,
        inputs=tuple(_end(graph, t) for t in graph.inputs),
        outputs=tuple(_end(graph, t) for t in graph.outputs),
        rows=rows,
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(graph.tensors[t].nbytes for t in graph.constants),
    )


def _end(graph: Graph, index: int) -> str:
    """``input int8[1,49,10,1] scale 0.5847 zero point 83``."""
    tensor = graph.tensors[index]
    scale = f" scale {tensor.scale:.6g} zero point {tensor.zero_point}" if len(tensor.scales) == 1 else ""
    return f"{tensor.name} {tensor.describe()}{scale}"


def _row(graph: Graph, index: int, op: Operator) -> OperatorRow:
    constants = [graph.tensors[t] for t in op.inputs if graph.tensors[t].is_constant]
    window = None
    if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.AveragePool2D, ops.MaxPool2D)):
        window = shapes.window_of(graph, op)
    return OperatorRow(
        index=index,
        location=op.location,
        kind=op.kind,
        inputs=tuple(graph.tensors[t].describe() for t in op.inputs if not graph.tensors[t].is_constant),
        output=graph.output_of(op).describe(),
        kernel=window and tuple(window.kernel),
        stride=window and tuple(window.stride),
        dilation=window and tuple(window.dilation),
        padding=window and tuple(window.padding),
        activation=str(getattr(op, "activation", "none")),
        macs=shapes.macs(graph, op),
        weight_bytes=sum(t.nbytes for t in constants),
        activation_bytes=graph.output_of(op).nbytes,
        quantization=_quantization(graph, op),
        detail=detail(graph, op),
    )


def _quantization(graph: Graph, op: Operator) -> Quantization:
    tensors = [graph.tensors[t] for t in (*op.inputs, *op.outputs)]
    if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)):
        return "per channel" if graph.tensors[op.weights].is_per_channel else "per tensor"
    return "per tensor" if any(len(t.scales) for t in tensors) else "none"


def detail(graph: Graph, op: Operator) -> str:
    """The attributes in a few words, as in ``3x3 /2 same relu``."""
    words: list[str] = []
    if isinstance(op, (ops.Conv2D, ops.DepthwiseConv2D, ops.AveragePool2D, ops.MaxPool2D)):
        window = shapes.window_of(graph, op)
        words.append(f"{window.kernel.height}x{window.kernel.width}")
        if window.stride != ops.ONE:
            height, width = window.stride
            words.append(f"/{height}" if height == width else f"/{height}x{width}")
        if window.dilation != ops.ONE:
            words.append(f"dilation {window.dilation.height}x{window.dilation.width}")
        _, height, width, _ = graph.tensor_of(op).shape
        same = shapes.same_padding(height, width, window.kernel, window.stride, window.dilation)
        if window.padding == Padding2D():
            words.append("valid")
        else:
            words.append("same" if window.padding == same else "pad " + ",".join(map(str, window.padding)))
    if isinstance(op, ops.Conv2D):
        groups = graph.tensor_of(op).shape[3] // graph.tensors[op.weights].shape[3]
        words += [f"groups {groups}"] if groups > 1 else []
    for name in ("axes", "axis", "paddings", "permutation", "slices", "beta", "alpha"):
        value = getattr(op, name, None)
        if value is not None:
            words.append(f"{name} {_plain(value)}")
    if isinstance(op, ops.Lookup):
        words.append(f"of {op.of}")
    if isinstance(op, ops.Add | ops.Sub) and op.table:
        words.append(f"then {op.then}")
    if isinstance(op, ops.Bounded) and op.bounds is not None:
        words.append(f"clamp {_plain(op.bounds)}")
    activation = getattr(op, "activation", ops.Activation.NONE)
    if activation is not ops.Activation.NONE:
        words.append(str(activation))
    return " ".join(words)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_plain(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
