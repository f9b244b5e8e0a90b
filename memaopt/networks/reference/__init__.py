"""Executes a network as TFLite's reference kernels do, bit for bit, in numpy.

One module for each group of operators; each kernel takes the graph, the operator and the values of its inputs.
Everything is integer arithmetic on int64 (or exact sums in float64), so nothing depends on the machine, save the
tables of LOGISTIC and TANH, which TFLite too takes from the C library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators.operator import Operator
from memaopt.networks.reference import activations, convolution, elementwise, layout, pooling

Array = npt.NDArray[Any]
Kernel = Callable[[Graph, Any, Sequence[Array]], Array]

KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": convolution.conv_2d,
    "DEPTHWISE_CONV_2D": convolution.depthwise_conv_2d,
    "FULLY_CONNECTED": convolution.fully_connected,
    "ADD": elementwise.add,
    "SUB": elementwise.sub,
    "MUL": elementwise.mul,
    "QUANTIZE": elementwise.quantize,
    "DEQUANTIZE": elementwise.dequantize,
    "RELU": elementwise.relu,
    "RELU6": elementwise.relu6,
    "LEAKY_RELU": elementwise.leaky_relu,
    "LOGISTIC": activations.logistic,
    "TANH": activations.tanh,
    "HARD_SWISH": activations.hard_swish,
    "LOOKUP": activations.lookup,
    "SOFTMAX": activations.softmax,
    "AVERAGE_POOL_2D": pooling.average_pool_2d,
    "MAX_POOL_2D": pooling.max_pool_2d,
    "MEAN": pooling.mean,
    "PAD": layout.pad,
    "CONCATENATION": layout.concatenation,
    "RESHAPE": layout.reshape,
    "SQUEEZE": layout.reshape,
    "EXPAND_DIMS": layout.reshape,
    "TRANSPOSE": layout.transpose,
    "STRIDED_SLICE": layout.strided_slice,
    "RESIZE_NEAREST_NEIGHBOR": layout.resize_nearest_neighbor,
}


def evaluate(graph: Graph, op: Operator, arguments: Sequence[Array]) -> Array:
    """The operator's output, of the output tensor's shape and type, for the values of its inputs in order."""
    output = graph.output_of(op)
    result = KERNELS[op.kind](graph, op, arguments)
    return np.ascontiguousarray(result.reshape(output.shape), dtype=output.dtype.value)


def layers(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[Operator, Array]]:
    """Each operator in execution order with its output. Values are dropped after their last reader.

    ``inputs`` are in the order of ``graph.inputs``; InputError unless shapes and types are the tensors'.
    """
    values = _bind(graph, inputs)
    for position, op in enumerate(graph.operators):
        arguments = [_value(graph, values, index) for index in op.inputs]
        output = evaluate(graph, op, arguments)
        values[op.output] = output
        yield op, output
        for index in op.inputs:
            if index not in graph.outputs and graph.consumers[index][-1] == position:
                values.pop(index, None)


def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of the network, in the order of ``graph.outputs``."""
    values = _bind(graph, inputs)
    for op, output in layers(graph, inputs):
        if op.output in graph.outputs:
            values[op.output] = output
    return [values[index] for index in graph.outputs]


def _bind(graph: Graph, inputs: Sequence[Array]) -> dict[int, Array]:
    if len(inputs) != len(graph.inputs):
        raise InputError(f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    for index, value in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[index]
        if value.shape != tensor.shape or value.dtype != np.dtype(tensor.dtype.value):
            found = f"{value.dtype}{list(value.shape)}"
            raise InputError(f"input {tensor.name!r} of {graph.name} is {tensor.describe()}, not {found}")
    return dict(zip(graph.inputs, inputs, strict=True))


def _value(graph: Graph, values: Mapping[int, Array], index: int) -> Array:
    tensor = graph.tensors[index]
    return values[index] if tensor.data is None else tensor.data
