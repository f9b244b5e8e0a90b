"""PRelu of slopes that differ from channel to channel; one slope for all is a table (pointwise.py)."""

from __future__ import annotations

import dataclasses

import numpy as np

from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.pointwise import pointwise
from memaopt.networks.formats.onnx.values import Array, Constant, Held, Integers, Pending, Target, Value, reals_of
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Bounds
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.prelu import Prelu
from memaopt.networks.operators.quantization import INT8_MAX


def prelu(node: OnnxNode, building: Building) -> Value:
    """TFLite's, with slopes of seven bits; compared with ONNX's floats at all bytes of each channel."""
    given = node.value(1)
    if not isinstance(given, Constant | Integers):
        raise node.refuse("its slopes are computed; constants are supported")
    slopes = given.reals if isinstance(given, Integers) else given.array
    if slopes.size == 1:
        return pointwise(node, building)
    x = node.linear(0)
    channels, rank = x.shape[1] if len(x.shape) > 1 else 0, len(x.shape)
    if rank != 4 or slopes.shape[-3:] != (channels, 1, 1) or slopes.size != channels or not np.isfinite(slopes).all():
        raise node.refuse(f"slopes {list(slopes.shape)} of an input {list(x.shape)}; one for each channel is supported")
    assert x.meaning is not None
    meaning, flat = x.meaning, slopes.reshape(-1).astype(np.float32)
    greatest = np.float32(max(float(np.abs(flat).max()), 1e-30)) / np.float32(INT8_MAX)

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        if bounds is not None:
            raise node.refuse("it is clamped without being quantised before that")
        image = building.laid(building.linear(x), channels_last(4))
        steps = np.rint(flat / greatest).astype(np.int64)
        one = building.constant(f"{node.outputs[0]}/slopes", steps, DType.INT8, np.array([greatest], np.float32))
        made = building.activation(x.shape, channels_last(4), target, node.outputs[0])
        building.add(Prelu, (image.tensor, one), made)
        reals = reals_of(meaning)[:, None]
        _compare(node, building, target.steps(np.where(reals < 0, reals * flat, reals)))
        return made

    return Pending(x.shape, emit)


def _compare(node: OnnxNode, building: Building, wanted: Array) -> None:
    """Note at how many bytes of channels the output is a step off; more than a step is refused."""
    op, shape = building.operators[-1], wanted.shape
    tensors = list(building.tensors)
    for index in (op.input, op.output):
        tensors[index] = dataclasses.replace(tensors[index], shape=shape)
    graph = Graph(node.kind, tuple(tensors), (op,), op.inputs[:1], op.outputs)
    every = np.broadcast_to(EVERY_INT8[:, None], shape).astype(np.int8)
    apart = np.abs(op.evaluate(graph, [every, graph.tensor_of(op, 1).values]).astype(np.int64) - wanted)
    if apart.max(initial=0) > 1:
        raise node.refuse(f"slopes of 8 bits are {int(apart.max())} steps off; one is supported, or one slope for all")
    if count := np.count_nonzero(apart):
        building.note(
            node, f"one step apart at {count:,} of {apart.size:,} bytes of its channels: slopes are of 8 bits"
        )
