"""The layers of a network as nests: what each reads by rows, what m counts, and which constants it has."""

from __future__ import annotations

from collections.abc import Mapping

from memaopt.memory.row_network import RowNetwork, RowOperator, RowTensor
from memaopt.models.layer_nest import LayerNest, NestInput
from memaopt.networks.graph import Graph
from memaopt.networks.operators.operator import Lowered
from memaopt.problems.binary import Binary
from memaopt.problems.layers import Conv, Depthwise, FullyConnected, Mean, Pool

_BIAS_BYTES = 4


def nest_of(graph: Graph, network: RowNetwork, op: RowOperator, lowered: Lowered) -> LayerNest:
    """The nest of an operator that has a layer. Its inputs are those of ``op`` in their order, then its constant ones.

    Constants are weights of a byte each and biases of four, as a model has them; the factors of the rounding do not
    count.
    """
    target = network.tensors[op.output]
    reads = [(network.tensors[read.tensor], read.need, read.low) for read in op.reads]
    sizes = [target.row_bytes, *(source.row_bytes for source, _, _ in reads)]
    units, by_unit, weights = _units(lowered, sizes)
    inputs = [
        NestInput(source.rows, source.row_bytes, tuple(need.tolist()), tuple(low.tolist()), by_unit)
        for source, need, low in reads
    ]
    constant = [graph.tensors[i].nbytes for i in dict.fromkeys(lowered.inputs) if graph.tensors[i].is_constant]
    inputs += [_whole(size, target) for size in constant]
    return LayerNest(target.rows, units, tuple(inputs), target.row_bytes // units, weights // units)


def _whole(size: int, target: RowTensor) -> NestInput:
    """A constant that every row of the output reads."""
    return NestInput(1, size, (0, *[1] * target.rows), (*[0] * target.rows, 1))


def _units(lowered: Lowered, row_bytes: list[int]) -> tuple[int, bool, int]:
    """How many units a layer has, whether each reads channels of its own, and the bytes of all its constants."""
    layer = lowered.layer
    weights = 0
    units, by_unit = 1, False
    if isinstance(layer, Conv | Depthwise | FullyConnected):
        weights = layer.weights.size + _BIAS_BYTES * layer.bias.size
    if isinstance(layer, FullyConnected):
        units = len(layer.weights)
    elif isinstance(layer, Conv):
        units, by_unit = (layer.output.channels, False) if layer.groups == 1 else (layer.groups, True)
    elif isinstance(layer, Depthwise | Pool):
        units, by_unit = layer.shape.channels, True
    elif isinstance(layer, Mean) and len(layer.shape) - 1 not in layer.axes:
        units, by_unit = layer.shape[-1], True
    elif isinstance(layer, Binary) and layer.first_shape == layer.second_shape:
        units, by_unit = layer.first_shape[-1], True
    cut = row_bytes if by_unit else row_bytes[:1]
    if lowered.batch != 1 or any(size % units for size in (*cut, weights)):
        return 1, False, weights
    return units, by_unit, weights


def nests_of(graph: Graph, network: RowNetwork, lowered: Mapping[int, Lowered]) -> tuple[LayerNest, ...]:
    """The nest of each of the network's operators."""
    return tuple(nest_of(graph, network, op, lowered[op.position]) for op in network.operators)
