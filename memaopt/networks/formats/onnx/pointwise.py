"""Element by element: whatever one byte decides is a table, computed as ONNX's reference does, in float32; sums and
products of two tensors are TFLite's, at most one step apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, natural, scalar
from memaopt.networks.formats.onnx.folding import evaluated
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Constant, Held, Integers, Pending, Reals, Target, Value
from memaopt.networks.graph import DType
from memaopt.networks.operators import Bounds
from memaopt.networks.operators.quantization import Meaning

POINTWISE = frozenset({
    "Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
})  # fmt: skip
_PAIRS: dict[str, type[ops.Pairwise]] = {"Add": ops.Add, "Sub": ops.Sub, "Mul": ops.Mul}
_SUM = "at most one step apart: TFLite's sum is in fixed point and rounds ties away from zero"
_PRODUCT = "at most one step apart: TFLite's product is rounded twice, ties away from zero"
_TABLE = "at most one step apart, at ties: a table of floats, of which onnxruntime may make integers"
_MOST_RATIO = 1 << 10


def pointwise(node: OnnxNode, building: Building) -> Value:
    """A node of floats that bytes decide."""
    values = [value for value in node.given if value is not None]
    if len(values) in (1, 2, 3) and isinstance(values[0], Pending) and node.kind in ("Relu", "Clip"):
        return values[0].clamped(*_clamp(node))
    if node.kind == "Add" and (biased := _biased(values)) is not None:
        return biased
    for value in values:
        if isinstance(value, Pending):
            raise node.refuse("its input is not quantised before it (QuantizeLinear, DequantizeLinear)")
        if isinstance(value, Held):
            if building.tensors[value.tensor].dtype is DType.INT8:
                raise node.refuse("it computes with bytes; floats between DequantizeLinear and QuantizeLinear do")
            raise node.float_input()
    data = [value for value in values if isinstance(value, Reals)]
    constants = [_scalar(value, data[:1]) for value in values if not isinstance(value, Reals)]
    if data and all(value.x == data[0].x for value in data) and None not in constants:
        if node.kind in _PAIRS:
            building.note(node, _TABLE)
        return _table(node, data[0])
    if node.kind in _PAIRS and len(values) == 2:
        return _pair(node, building)
    raise node.refuse("it is computed of one quantised tensor and of constants of one element only")


def _scalar(value: Value, data: Sequence[Reals]) -> np.float32 | None:
    """The one number of a constant, which may say it for each element of the data."""
    if isinstance(value, Constant) and value.array.size > 1 and data:
        fits = value.array.shape == data[0].shape[len(data[0].shape) - value.array.ndim :]
        if fits and value.array.dtype.kind == "f" and (value.array == value.array.flat[0]).all():
            return np.float32(value.array.flat[0])
    return scalar(value)


def _clamp(node: OnnxNode) -> tuple[float, float]:
    if node.kind == "Relu":
        return 0.0, math.inf
    ends = []
    for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        value = scalar(node.given[position]) if node.has(position) else node.get(name, default)
        if value is None:
            raise node.refuse(f"{name} is computed; a constant is supported")
        ends.append(float(value))
    return ends[0], ends[1]


def _biased(values: list[Value]) -> Pending | None:
    """A product that is not quantised, and its bias."""
    for product, bias in (values, values[::-1]) if len(values) == 2 else ():
        if isinstance(product, Pending) and product.biased is not None and isinstance(bias, Integers | Constant):
            shape = bias.integers.shape if isinstance(bias, Integers) else bias.array.shape
            if shape[-1:] == product.shape[-1:] and math.prod(shape) == product.shape[-1]:
                return product.biased(bias)
    return None


def _table(node: OnnxNode, first: Reals) -> Reals:
    """ONNX's reference on the floats of all bytes."""
    arguments: list[Array | None] = []
    for value in node.given:
        if isinstance(value, Reals):
            arguments.append(value.values)
        else:
            arguments.append(None if value is None else np.asarray(_scalar(value, [first]), np.float32))
    (found,) = [_gelu(node, first.values)] if node.kind == "Gelu" else evaluated(node, arguments)
    values = np.broadcast_to(np.asarray(found, np.float32), (256,))
    return Reals(first.x, np.ascontiguousarray(values))


def _gelu(node: OnnxNode, x: Array) -> Array:
    """Of which ONNX's reference has a function alone that depends on its context."""
    reals = x.astype(np.float64)
    if node.get("approximate", "none") == "tanh":
        inner = np.tanh(math.sqrt(2 / math.pi) * (reals + 0.044715 * reals**3))
    else:
        inner = np.array([math.erf(value / math.sqrt(2)) for value in reals])
    found: Array = reals * 0.5 * (1 + inner)
    return found


def _pair(node: OnnxNode, building: Building) -> Pending:
    """A sum or product of two tensors, one of which may be constant."""
    first, second = (_operand(node, position) for position in (0, 1))
    shapes = [each.shape if isinstance(each, Reals) else each.integers.shape for each in (first, second)]
    try:
        shape = tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        raise node.refuse(f"shapes {list(shapes[0])} and {list(shapes[1])} do not broadcast") from None
    op = _PAIRS[node.kind]

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        held = [building.linear(each) if isinstance(each, Reals) else None for each in (first, second)]
        whole = next((h for h in held if h is not None and h.shape == shape and not h.is_reshaped), None)
        axes = natural(len(shape)) if whole is None else whole.axes
        inputs = []
        for given, each in zip(held, (first, second), strict=True):
            if given is not None:
                padded = building.reshaped(given, (1,) * (len(shape) - len(given.shape)) + given.shape)
                inputs.append(building.laid(padded, axes).tensor)
            else:
                assert isinstance(each, Integers)
                inputs.append(_constant(node, building, each, axes))
        if op is not ops.Mul:
            greatest = max(float(building.tensors[i].scale) for i in inputs)
            if 2 * greatest > _MOST_RATIO * target.meaning.scale:
                raise node.refuse(f"scales of its inputs up to {greatest:g} for an output of {target.meaning.scale:g}")
        made = building.activation(shape, axes, target, node.outputs[0])
        building.add(op, tuple(inputs), made, bounds=bounds)
        building.note(node, _PRODUCT if op is ops.Mul else _SUM)
        return made

    return Pending(shape, emit)


def _operand(node: OnnxNode, position: int) -> Reals | Integers:
    value = node.value(position)
    if isinstance(value, Integers):
        if value.scales.size == 1:
            return value
        raise node.refuse("a constant has several scales; one is supported")
    if isinstance(value, Constant):
        raise node.refuse("it reads float constants of several elements; quantised ones are supported")
    return node.linear(position)


def _constant(node: OnnxNode, building: Building, value: Integers, axes: tuple[int, ...]) -> int:
    centred = value.integers.astype(np.int64)
    zero_point = int(value.zero_points.reshape(-1)[0])
    if value.integers.dtype == np.uint8:
        centred, zero_point = centred - 128, zero_point - 128
    elif value.integers.dtype != np.int8:
        raise node.refuse(f"a constant of {value.integers.dtype}; int8 and uint8 are supported")
    shaped = centred.reshape((1,) * (len(axes) - centred.ndim) + centred.shape).transpose(axes)
    index = building.constant(f"{node.outputs[0]}/constant", shaped, DType.INT8, value.scales)
    tensor = building.tensors[index]
    tensor.zero_points[:] = zero_point
    return index


def softmax(node: OnnxNode, building: Building) -> Value:
    """TFLite's, whose output is of 1/256, and a table where ONNX wants another scale."""
    x, rank = node.linear(0), len(node.linear(0).shape)
    axis = node.get("axis", -1) % rank
    if axis != rank - 1 and math.prod(x.shape[axis + 1 :]) > 1:
        raise node.refuse(f"axis {axis} of {list(x.shape)}; the last one is supported")

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        scale = target.meaning.scale
        if bounds is not None or 1.9 * scale < 1 / 256:
            raise node.refuse(f"an output scale of {scale:g}; 1/486 and more is supported")
        held = building.settled(building.reshaped(building.linear(x), x.shape[: axis + 1]))
        own = Target(Meaning(1 / 256, -128), target.unsigned)
        made = building.activation(held.shape, natural(len(held.shape)), own, node.outputs[0])
        building.add(ops.Softmax, (held.tensor,), made)
        building.note(node, "at most one step apart: TFLite's exponentials are in fixed point")
        made = building.reshaped(made, x.shape)
        return building.quantised(building.dequantised(made, own.meaning), target)

    return Pending(x.shape, emit)
