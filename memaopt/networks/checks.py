"""What makes a graph a network that memaopt understands: types, shapes, quantisation and size.

Readers ask for :func:`refusals`; whoever builds or rewrites a graph calls :func:`check`. After it, shapes agree with
the operators' attributes and no kernel's arithmetic overflows.
"""

from __future__ import annotations

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Operator
from memaopt.networks.refusals import Refusal, collected, error_of

_ENDS = (DType.INT8, DType.UINT8, DType.INT16, DType.INT32, DType.INT64, DType.FLOAT32, DType.BOOL)


def check(graph: Graph) -> None:
    """Raise UnsupportedModelError, naming everything that is not supported."""
    found = refusals(graph, (*graph.inputs, *graph.outputs))
    if found:
        raise error_of(graph.name, found)


def refusals(graph: Graph, ends: tuple[int, ...]) -> tuple[Refusal, ...]:
    """What is not supported: the first thing of each operator. ``ends`` are the tensors that the network's users see.

    A network that is too large is looked at no further than where that shows.
    """
    found = _sizes(graph)
    if found:
        return tuple(found)
    work = weights = 0
    for op in graph.operators:
        weights += sum(graph.tensors[i].nbytes for i in op.inputs if graph.tensors[i].is_constant)
        if weights > limits.MAX_WEIGHTS_READ:
            most = f"at most {limits.MAX_WEIGHTS_READ:,} are supported"
            return (*found, Refusal(f"{graph.place(op)}: {weights:,} bytes of constants so far; {most}", op.location))
        with collected(found, op.location):
            _check(graph, op)
            work += op.work(graph)
        if work > limits.MAX_MACS:
            most = f"at most {limits.MAX_MACS:,} are supported"
            return (*found, Refusal(f"{graph.place(op)}: {work:,} multiply-accumulates so far; {most}", op.location))
    return tuple(found or _ends(graph, ends))


def _check(graph: Graph, op: Operator) -> None:
    op.check_operands(graph)
    expected, output = op.output_shape(graph), graph.output_of(op)
    if min(expected, default=1) < 1:
        raise UnsupportedModelError(f"{graph.place(op)}: the output would be {list(expected)}")
    if expected != output.shape:
        raise UnsupportedModelError(
            f"{graph.place(op)}: the output is {list(output.shape)} in the file but {list(expected)} by its inputs"
        )
    op.check_arithmetic(graph)


def _ends(graph: Graph, ends: tuple[int, ...]) -> list[Refusal]:
    """An end that no operator touches is seen by no other check."""
    found = []
    for tensor in (graph.tensors[index] for index in ends):
        if tensor.dtype not in _ENDS:
            what = f"is an input or output of type {tensor.dtype}; {', '.join(_ENDS)} are supported"
            found.append(Refusal(f"tensor {tensor.name!r} {what}"))
    return found


def _sizes(graph: Graph) -> list[Refusal]:
    found = []
    for index in sorted({*graph.activations, *graph.outputs, *graph.constants}):
        tensor = graph.tensors[index]
        if len(tensor.shape) > limits.MAX_RANK or any(size < 1 for size in tensor.shape):
            found.append(
                f"tensor {tensor.name!r} has the shape {list(tensor.shape)}; at most {limits.MAX_RANK} dimensions, "
                "each of 1 or more, are supported"
            )
        elif tensor.nbytes > limits.MAX_TENSOR_BYTES:
            found.append(
                f"tensor {tensor.name!r} takes {tensor.nbytes:,} bytes; "
                f"at most {limits.MAX_TENSOR_BYTES:,} are supported"
            )
    total = sum(graph.tensors[index].nbytes for index in graph.activations)
    if total > limits.MAX_ACTIVATION_BYTES:
        found.append(f"all activations take {total:,} bytes; at most {limits.MAX_ACTIVATION_BYTES:,} are supported")
    return [Refusal(message) for message in found]
