"""What makes a graph a network that memaopt understands: types, shapes, quantisation and size.

The reader calls :func:`check`; so should whoever builds or rewrites a graph. After it, shapes agree with the
operators' attributes and no kernel's arithmetic overflows.
"""

from __future__ import annotations

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.graph import DType, Graph


def check(graph: Graph) -> None:
    """Raise UnsupportedModelError, naming the operator, for the first thing that is not supported."""
    _check_sizes(graph)
    _check_ends(graph)
    work = weights = 0
    for op in graph.operators:
        weights += sum(graph.tensors[i].nbytes for i in op.inputs if graph.tensors[i].is_constant)
        if weights > limits.MAX_WEIGHTS_READ:
            raise UnsupportedModelError(
                f"{graph.place(op)}: {weights:,} bytes of constants so far; at most {limits.MAX_WEIGHTS_READ:,} are "
                "supported"
            )
        op.check_operands(graph)
        expected, output = op.output_shape(graph), graph.output_of(op)
        if min(expected, default=1) < 1:
            raise UnsupportedModelError(f"{graph.place(op)}: the output would be {list(expected)}")
        if expected != output.shape:
            raise UnsupportedModelError(
                f"{graph.place(op)}: the output is {list(output.shape)} in the file but {list(expected)} by its inputs"
            )
        op.check_arithmetic(graph)
        work += op.work(graph)
        if work > limits.MAX_MACS:
            raise UnsupportedModelError(
                f"{graph.place(op)}: {work:,} multiply-accumulates so far; at most {limits.MAX_MACS:,} are supported"
            )


def _check_ends(graph: Graph) -> None:
    """An end that no operator touches is seen by no other check."""
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype not in (DType.INT8, DType.FLOAT32):
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} is an input or output of type {tensor.dtype}; int8 and float32 are supported"
            )


def _check_sizes(graph: Graph) -> None:
    used = {*graph.activations, *graph.outputs, *graph.constants}
    for index in used:
        tensor = graph.tensors[index]
        if len(tensor.shape) > limits.MAX_RANK or any(size < 1 for size in tensor.shape):
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} has the shape {list(tensor.shape)}; at most {limits.MAX_RANK} dimensions, "
                "each of 1 or more, are supported"
            )
        if tensor.nbytes > limits.MAX_TENSOR_BYTES:
            raise UnsupportedModelError(
                f"tensor {tensor.name!r} takes {tensor.nbytes:,} bytes; "
                f"at most {limits.MAX_TENSOR_BYTES:,} are supported"
            )
    total = sum(graph.tensors[index].nbytes for index in graph.activations)
    if total > limits.MAX_ACTIVATION_BYTES:
        raise UnsupportedModelError(
            f"all activations take {total:,} bytes; at most {limits.MAX_ACTIVATION_BYTES:,} are supported"
        )
