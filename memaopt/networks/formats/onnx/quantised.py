"""QuantizeLinear and DequantizeLinear, and the operators on bytes that stand for both around an operator on floats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Constant, Held, Integers, Pending, Reals, Target, Value
from memaopt.networks.graph import DType
from memaopt.networks.operators.quantization import Meaning

Handler = Callable[[OnnxNode, Building], "Value | list[Value]"]
_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def quantise(node: OnnxNode, building: Building) -> Value:
    """QuantizeLinear of what is computed; constants are folded."""
    if len(node.given) < 3 and node.get("output_dtype", 2) not in (2, 3):
        raise node.refuse("its output is neither int8 nor uint8")
    return quantised(node, building, node.value(0), _target(node, 1, 2, node.get("output_dtype", 2) == 3))


def quantised(node: OnnxNode, building: Building, value: Value, target: Target) -> Held:
    if isinstance(value, Reals):
        return building.quantised(value, target)
    if isinstance(value, Pending):
        return value.finished(target)
    if isinstance(value, Held) and building.tensors[value.tensor].dtype is DType.FLOAT32:
        made = building.activation(value.before, value.axes, target, node.outputs[0])
        building.add(ops.Quantize, (value.tensor,), made, even=True)
        return dataclasses.replace(made, shape=value.shape)
    raise node.refuse("it quantises what is no float")


def dequantise(node: OnnxNode, building: Building) -> Value:
    return dequantised(node, building, 0, 1, 2)


def dequantised(node: OnnxNode, building: Building, x: int, scale: int, zero: int) -> Value:
    """Floats of three inputs of a node: bytes, scale and zero point."""
    value = node.value(x)
    node.only(block_size=0)
    if isinstance(value, Constant):
        if value.array.dtype.kind not in "iu":
            raise node.refuse(f"it dequantises {value.array.dtype}")
        scales, zeros = _scales(node, scale), _zero_points(node, zero, value.array.dtype)
        axis = node.get("axis", 1) if value.array.ndim else 0
        axis = axis % max(value.array.ndim, 1) if node.kind == "DequantizeLinear" else 0
        if scales.size > 1 and (value.array.ndim <= axis or value.array.shape[axis] != scales.size):
            raise node.refuse(f"{scales.size} scales of a constant {list(value.array.shape)}")
        return Integers(value.array, scales, np.broadcast_to(zeros, scales.shape), axis)
    if not isinstance(value, Held) or building.tensors[value.tensor].dtype is not DType.INT8:
        raise node.refuse("it dequantises what are no bytes")
    target = _target(node, scale, zero, value.unsigned)
    if target.unsigned != value.unsigned:
        names = ("int8", "uint8")
        raise node.refuse(f"bytes of {names[value.unsigned]} with a zero point of {names[target.unsigned]}")
    return building.dequantised(value, target.meaning)


def _scales(node: OnnxNode, position: int) -> Array:
    scales = np.asarray(node.constant(position, "its scale"))
    if scales.dtype != np.float32 or scales.ndim > 1 or not np.isfinite(scales).all() or not (scales > 0).all():
        raise node.refuse("a scale is no positive float32, or there is one for each block")
    return scales.reshape(-1)


def _zero_points(node: OnnxNode, position: int, dtype: Any) -> Array:
    if not node.has(position):
        return np.zeros(1, dtype)
    zeros: Array = node.constant(position, "its zero point").reshape(-1)
    if zeros.dtype != dtype:
        raise node.refuse(f"a constant of {dtype} with a zero point of {zeros.dtype}")
    return zeros


def _target(node: OnnxNode, scale: int, zero: int, signed_or_unsigned: bool) -> Target:
    """The meaning of an activation; without a zero point, bytes are what the flag says: int8 for QuantizeLinear that
    names it, uint8 for bytes that are."""
    scales = _scales(node, scale)
    if scales.size != 1:
        raise node.refuse(f"an activation of {scales.size} scales; one is supported")
    if not node.has(zero):
        unsigned = not signed_or_unsigned if node.kind == "QuantizeLinear" else signed_or_unsigned
        return Target(Meaning(float(scales[0]), -128 if unsigned else 0), unsigned)
    zeros = node.constant(zero, "its zero point")
    if zeros.dtype not in _BYTES or zeros.size != 1:
        raise node.refuse(f"a zero point of {zeros.dtype}; int8 and uint8 are supported", f"{zeros.dtype} activations")
    unsigned = zeros.dtype == np.uint8
    return Target(Meaning(float(scales[0]), int(zeros.reshape(-1)[0]) - (128 if unsigned else 0)), unsigned)


def around(
    handler: Handler, triples: tuple[tuple[int, int, int], ...], others: tuple[int, ...], output: int
) -> Handler:
    """An operator on bytes: its inputs dequantised (bytes, scale, zero point), ``others`` as they are, and its output
    quantised by the scale and zero point at ``output``."""

    def handle(node: OnnxNode, building: Building) -> Value:
        node.only(channels_last=0)
        given: list[Value | None] = [dequantised(node, building, *triple) for triple in triples]
        given += [node.given[i] if node.has(i) else None for i in others]
        inner = handler(dataclasses.replace(node, kind=_inner(node), given=tuple(given)), building)
        assert not isinstance(inner, list)
        return quantised(node, building, inner, _target(node, output, output + 1, False))

    return handle


def _inner(node: OnnxNode) -> str:
    """The operator on floats that one on bytes stands for."""
    return node.kind.removeprefix("QLinear").removeprefix("Q")


def concatenated(handler: Handler) -> Handler:
    """QLinearConcat: the output's scale and zero point, then bytes, scale and zero point of each input."""

    def handle(node: OnnxNode, building: Building) -> Value:
        starts = range(2, len(node.given), 3)
        given = tuple(dequantised(node, building, i, i + 1, i + 2) for i in starts)
        inner = handler(dataclasses.replace(node, kind=_inner(node), given=given), building)
        assert not isinstance(inner, list)
        return quantised(node, building, inner, _target(node, 0, 1, False))

    return handle
