"""BatchNormalization of bytes: of each channel a factor and an offset, as a depthwise convolution of one element."""

from __future__ import annotations

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Constant, Held, Integers, Pending, Target, Value, reals_of
from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators import Bounds, Rounding
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN

_FARTHEST = 1 << 24
_ROLES = ("scale", "bias", "mean", "variance")


def batch_normalization(node: OnnxNode, building: Building) -> Value:
    """Floats of dequantised bytes; what a byte becomes is compared with ONNX's floats, at all bytes of each channel."""
    x = node.linear(0)
    node.only(training_mode=0, spatial=1)
    if not 2 <= len(x.shape) <= 4:
        raise node.refuse(f"an input {list(x.shape)}; 2 to 4 dimensions are supported")
    factors, offsets = _affine(node, x.shape[1])
    assert x.meaning is not None
    meaning = x.meaning
    image = {2: (*x.shape, 1, 1), 3: (*x.shape[:2], 1, *x.shape[2:])}.get(len(x.shape), x.shape)

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        held = building.laid(building.reshaped(building.linear(x), image), channels_last(4))
        tensor, name = building.tensors[held.tensor], node.outputs[0]
        scales, weights, steps = _integers(factors, offsets, float(tensor.scale))
        products = scales * tensor.scale
        inputs = (
            held.tensor,
            building.constant(f"{name}/factors", weights.reshape(1, 1, 1, -1), DType.INT8, scales, 3),
            building.constant(f"{name}/offsets", steps, DType.INT32, products),
        )
        made = building.activation(image, channels_last(4), target, name)
        building.add(ops.DepthwiseConv2D, inputs, made, rounding=Rounding.NEAREST, bounds=bounds)
        wanted = target.steps(reals_of(meaning)[:, None] * factors + offsets)
        _compare(node, building, weights, steps, wanted)
        return made

    whole = Pending(image, emit)
    return whole if image == x.shape else whole.moved(x.shape, lambda held: building.reshaped(held, x.shape))


def _affine(node: OnnxNode, channels: int) -> tuple[Array, Array]:
    """Factors and offsets of the channels, in float32 as onnxruntime has them."""
    given = []
    for position, role in enumerate(_ROLES, 1):
        value = node.value(position)
        if not isinstance(value, Constant | Integers):
            raise node.refuse(f"its {role} is computed; a constant is supported")
        array = value.reals if isinstance(value, Integers) else value.array.astype(np.float32)
        if array.shape != (channels,):
            raise node.refuse(f"its {role} has {array.size} elements for {channels} channels")
        given.append(array)
    scale, bias, mean, variance = given
    with np.errstate(all="ignore"):
        factors = scale * (np.float32(1) / np.sqrt(variance + np.float32(node.get("epsilon", 1e-5))))
        offsets = bias - mean * factors
    if not (np.isfinite(factors).all() and np.isfinite(offsets).all()):
        raise node.refuse("a factor or an offset is no finite number")
    return factors, offsets


def _integers(factors: Array, offsets: Array, scale: float) -> tuple[Array, Array, Array]:
    """Scales, int8 weights, and int32 biases in steps of ``scale`` times those."""
    needed = np.maximum(np.abs(factors.astype(np.float64)) / INT8_MAX, np.abs(offsets) / (scale * _FARTHEST))
    scales = np.where(needed > 0, needed, 1.0).astype(np.float32)
    weights = np.clip(np.rint(factors / scales), -INT8_MAX, INT8_MAX).astype(np.int64)
    steps = np.rint(offsets.astype(np.float64) / (scales * np.float32(scale)).astype(np.float64))
    return scales, weights, steps.astype(np.int64)


def _compare(node: OnnxNode, building: Building, weights: Array, steps: Array, wanted: Array) -> None:
    """Note at how many bytes of channels the output is off, and how far."""
    op = building.operators[-1]
    assert isinstance(op, ops.Weighted)
    graph = Graph(node.kind, tuple(building.tensors), (op,), op.inputs[:1], op.outputs)
    sums = (EVERY_INT8.astype(np.int64) - graph.tensor_of(op).zero_point)[:, None] * weights + steps
    requantization = op.rounded_once(graph)
    bounded = np.clip(wanted, max(requantization.minimum, INT8_MIN), min(requantization.maximum, INT8_MAX))
    apart = np.abs(requantization.apply(sums) - bounded)
    if count := np.count_nonzero(apart):
        far = "one step" if apart.max() == 1 else f"up to {int(apart.max())} steps"
        building.note(
            node, f"{far} apart at {count:,} of {apart.size:,} bytes of its channels: its factors are of 8 bits"
        )
