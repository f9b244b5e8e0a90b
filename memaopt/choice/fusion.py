"""Operators computed as one: a convolution, and the depthwise convolution that alone reads its output.

The choice sees two operators still. The convolution may be *deferred*: it costs nothing and leaves its output in the
format ``fused``, and only plans that compute both read that. To the memory plan a deferred convolution is an alias of
its input, which so lives until the depthwise layer has run.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence

from memaopt.access import Access
from memaopt.kernels.registry import Format, Plan, Promise
from memaopt.networks import operators as ops
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Lowered
from memaopt.problems.layers import Conv, ConvDepthwise, Depthwise

DEFERRED = Plan("deferred", "", 0, Promise((), Access()), 0, 0, output_format=Format.FUSED)
"""The plan of an operator that its reader computes."""


def pairs(graph: Graph, lowered: Mapping[int, Lowered], order: Sequence[int]) -> dict[int, int]:
    """The positions of depthwise convolutions and of the convolutions before them that can be computed with them.

    Nothing else may read the tensor between them, and nothing may run between them in ``order``: so what is alive
    during other operators does not depend on whether they are one.
    """
    run = [i for i in order if i in lowered]
    found = {}
    for first, second in itertools.pairwise(run):
        conv, depthwise = graph.operators[first], graph.operators[second]
        between = depthwise.input
        if (
            isinstance(lowered[first].layer, Conv)
            and isinstance(lowered[second].layer, Depthwise)
            and conv.output == between
            and graph.consumers[between] == (second,)
            and between not in graph.outputs
            and not graph.tensors[conv.input].is_constant
        ):
            found[second] = first
    return found


def together(first: Lowered, second: Lowered) -> Lowered:
    """Both layers as one."""
    conv, depthwise = first.layer, second.layer
    assert isinstance(conv, Conv)
    assert isinstance(depthwise, Depthwise)
    return Lowered(ConvDepthwise(conv, depthwise), first.inputs, first.batch)


def deferred(chosen: Mapping[int, Plan]) -> frozenset[int]:
    """The positions of the operators that their readers compute."""
    return frozenset(i for i, plan in chosen.items() if plan.output_format is Format.FUSED)


def in_memory(graph: Graph, positions: Collection[int]) -> Graph:
    """The network as its memory plan sees it: operators at ``positions`` are aliases of their inputs."""
    if not positions:
        return graph
    tensors, operators = list(graph.tensors), list(graph.operators)
    for i in positions:
        op = operators[i]
        shape = tensors[op.input].shape
        tensors[op.output] = dataclasses.replace(tensors[op.output], shape=shape)
        operators[i] = ops.Reshape(location=op.location, inputs=(op.input,), outputs=op.outputs)
    return graph.replace(tensors=tensors, operators=operators)
