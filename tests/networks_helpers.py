"""Seeded single-operator networks with random attributes, shapes and quantisation, for tests of the front end."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import bool_cases_helpers as of_bool
import numpy as np
from moving_cases_helpers import (
    batches,
    blocks,
    broadcast_to,
    concatenation,
    expand_dims,
    gather,
    mirror_pad,
    pack,
    pad,
    padv2,
    reshape,
    resize_bilinear,
    resize_nearest_neighbor,
    reverse_v2,
    squeeze,
    strided_slice,
    tile,
    transpose,
)
from tensors_helpers import Array, Rng, activation, constant, fused, int8, scale, single, zero_point
from weighted_cases_helpers import conv_2d, depthwise_conv_2d, fully_connected, transpose_conv, window_of

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.extreme import Extreme
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.reduced_extreme import ReducedExtreme
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.unary import Unary
from memaopt.networks.operators.window import SlidingWindow


def _broadcast(rng: Rng, shape: tuple[int, ...]) -> tuple[int, ...]:
    style = rng.integers(4)
    if style == 0:
        return tuple(1 if rng.integers(2) else s for s in shape)
    if style == 1:
        return shape[rng.integers(len(shape)) :]
    return shape


def binary(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 6, rng.integers(1, 5)).tolist())
        other = _broadcast(rng, shape)
        first, second = (shape, other) if rng.integers(2) else (other, shape)
        scales = scale(rng), scale(rng)
        a, b = activation("a", first, scales[0], zero_point(rng)), activation("b", second, scales[1], zero_point(rng))
        if issubclass(op, Extreme):
            a, b = activation("a", first, scales[0], zero := zero_point(rng)), activation("b", second, scales[0], zero)
            return single(op, [a, b, activation("y", np.broadcast_shapes(shape, other), scales[0], zero)], 2)
        if op is OPERATORS["PRELU"]:
            a = activation("a", shape, scales[0], zero_point(rng))
            b = activation("b", other, scales[1], zero_point(rng))
            return single(op, [a, b, activation("y", shape, *_near(rng, scales[0]))], 2)
        if op is OPERATORS["SQUARED_DIFFERENCE"]:
            out = max(scales) ** 2 * float(np.exp(rng.uniform(-2, 5)))
            y = activation("y", np.broadcast_shapes(shape, other), max(out, max(scales) ** 2 / 4000), zero_point(rng))
            return single(op, [a, b, y], 2)
        if op is ops.Mul:
            out = scales[0] * scales[1] * float(np.exp(rng.uniform(0, 6)))
        else:
            out = max(scales) * float(np.exp(rng.uniform(-3, 2)))
        y = activation("y", np.broadcast_shapes(shape, other), out, zero_point(rng))
        return single(op, [a, b, y], 2, activation=fused(rng))

    return build


def pool(op: type[ops.AveragePool2D] | type[ops.MaxPool2D]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        n, h, w, c = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 12, 12, 6]))
        kernel, stride, dilation, padding = window_of(rng, h, w, dilated=False)
        quantization = scale(rng), zero_point(rng)
        rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(h, w)
        x, y = activation("x", (n, h, w, c), *quantization), activation("y", (n, rows, columns, c), *quantization)
        return single(op, [x, y], 1, kernel=kernel, stride=stride, padding=padding, activation=fused(rng))

    return build


def mean(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
    axes = tuple(i for i in range(len(shape)) if rng.integers(2)) or (0,)
    keep = bool(rng.integers(2))
    output = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
    s = scale(rng)
    x, y = activation("x", shape, s, zero_point(rng)), activation("y", output, s * scale(rng, 0.3, 3), zero_point(rng))
    return single(ops.Mean, [x, y], 1, axes=axes)


def reduction(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        graph = mean(rng)
        x, y = graph.tensors
        if issubclass(op, ReducedExtreme):
            y = dataclasses.replace(x, shape=y.shape)
        else:
            count = x.elements // y.elements
            y = activation("y", y.shape, float(x.scale) * count * scale(rng, 0.05, 1.5), zero_point(rng))
        return single(op, [x, y], 1, axes=graph.operators[0].axes)

    return build


def arg_extreme(op: type[Operator]) -> Callable[[Rng], Graph]:
    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
        axis, dtype = int(rng.integers(len(shape))), (DType.INT32, DType.INT64)[rng.integers(2)]
        output = Tensor("y", (*shape[:axis], *shape[axis + 1 :]), dtype)
        return single(op, [activation("x", shape, scale(rng), zero_point(rng)), output], 1, axis=axis)

    return build


def batch_matmul(rng: Rng) -> Graph:
    m, k, n = (int(v) for v in rng.integers(1, 8, 3))
    batches = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
    transposed = (bool(rng.integers(2)), bool(rng.integers(2)))
    shapes = [
        (*_broadcast(rng, batches), *(pair[::-1] if turned else pair)) if batches else pair[:: -1 if turned else 1]
        for pair, turned in zip(((m, k), (k, n)), transposed, strict=True)
    ]
    output = (*(int(b) for b in np.broadcast_shapes(*(s[:-2] for s in shapes))), m, n)
    a, b = (activation(name, s, scale(rng), zero_point(rng)) for name, s in zip("ab", shapes, strict=True))
    out = float(a.scale * b.scale) * math.sqrt(k) * float(np.exp(rng.uniform(1, 5)))
    if rng.integers(3) == 0:
        b = dataclasses.replace(b, data=int8(rng, *b.shape), zero_points=b.zero_points * int(rng.integers(2)))
    inputs = 1 if b.is_constant else 2
    tensors = [a, b, activation("y", output, out, zero_point(rng))]
    return single(OPERATORS["BATCH_MATMUL"], tensors, inputs, transposed=transposed)


def embedding_lookup(rng: Rng) -> Graph:
    rows, *own = (int(v) for v in rng.integers(1, 9, rng.integers(2, 5)))
    count, q = int(rng.integers(1, 7)), (scale(rng), zero_point(rng))
    table = dataclasses.replace(activation("table", (rows, *own), *q), data=int8(rng, rows, *own))
    tensors = [Tensor("x", (count,), DType.INT32), table, activation("y", (count, *own), *q)]
    return single(OPERATORS["EMBEDDING_LOOKUP"], tensors, 1)


def lstm(rng: Rng) -> Graph:
    batch, steps, inputs_, units = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 6, 9, 8]))
    time_major = bool(rng.integers(2))
    both = (steps, batch) if time_major else (batch, steps)
    x = activation("x", (*both, inputs_), scale(rng, 0.005, 0.1), zero_point(rng))
    y = activation("y", (*both, units), 1 / 128, int(rng.choice([0, 3, -20])))
    tensors = [x]
    for name, depth in (("weights", inputs_), ("recurrent", units)):
        for gate in range(4):
            data = np.maximum(int8(rng, units, depth), -127).astype(np.int8)
            tensors.append(constant(f"{name}_{gate}", data, np.array([scale(rng, 0.002, 0.03)])))
    for gate in range(4):
        size = 2.0 ** rng.integers(4, 16)
        tensors.append(constant(f"bias_{gate}", rng.normal(0, size, units).astype(np.int32), np.array([1e-4])))
    return single(
        OPERATORS["UNIDIRECTIONAL_SEQUENCE_LSTM"],
        [*tensors, y],
        1,
        time_major=time_major,
        cell_clip=float(rng.choice([0, 1.5, 10])),
        state=(float(y.scale), y.zero_point),
        cell=(2.0 ** -int(rng.integers(11, 16)),),
        hidden=(float(np.float32(scale(rng, 0.004, 0.02))), int(rng.choice([0, 0, 5]))),
    )


def unary(
    op: type[Operator],
    output: Callable[[Rng, float], tuple[float, int]],
    *,
    greatest: float = 2.0,
    zero: Callable[[Rng], int] = zero_point,
    **attributes: Callable[[Rng], float],
) -> Callable[[Rng], Graph]:
    """An operator on one tensor; ``output`` gives the output's scale and zero point for the input's scale, which is at
    most ``greatest``; ``zero`` gives the input's zero point."""

    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
        s = scale(rng, 0.001, greatest)
        tensors = [activation("x", shape, s, zero(rng)), activation("y", shape, *output(rng, s))]
        return single(op, tensors, 1, **{name: value(rng) for name, value in attributes.items()})

    return build


def _near(rng: Rng, s: float) -> tuple[float, int]:
    return s * scale(rng, 0.2, 5), zero_point(rng)


def uint8(tensor: Tensor) -> Tensor:
    """The same as unsigned bytes: zero points are 128 above."""
    return dataclasses.replace(tensor, dtype=DType.UINT8, zero_points=tensor.zero_points + 128)


def quantize(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
    s = scale(rng)
    y = activation("y", shape, *_near(rng, s))
    if rng.integers(2):
        x = activation("x", shape, *((s, zero_point(rng)) if rng.integers(2) else (y.scale, y.zero_point)))
        return single(ops.Quantize, [[uint8(x), y], [x, uint8(y)], [uint8(x), uint8(y)]][rng.integers(3)], 1)
    if rng.integers(2):
        return single(ops.Quantize, [Tensor("x", shape, DType.FLOAT32), y], 1)
    return single(ops.Quantize, [activation("x", shape, s, zero_point(rng)), y], 1)


def dequantize(rng: Rng) -> Graph:
    shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
    tensors = [activation("x", shape, scale(rng), zero_point(rng)), Tensor("y", shape, DType.FLOAT32)]
    return single(ops.Dequantize, tensors, 1)


def island(op: type[Operator]) -> Callable[[Rng], Graph]:
    """DEQUANTIZE, an operator on floats or two of it, and QUANTIZE or floats at the end."""

    def build(rng: Rng) -> Graph:
        shape = tuple(rng.integers(1, 7, rng.integers(1, 5)).tolist())
        more = {"alpha": 0.3} if op is ops.LeakyRelu else {}
        # Roots have no floats below 0.
        x = activation("x", shape, scale(rng, 0.002, 0.03), -128 if op.kind == "SQRT" else zero_point(rng))
        tensors = [x, *(Tensor(f"t{i}", shape, DType.FLOAT32) for i in range(1 + int(rng.integers(1, 3))))]
        made: list[Operator] = [ops.Dequantize(inputs=(0,), outputs=(1,))]
        made += [op(inputs=(i,), outputs=(i + 1,), location=i, **more) for i in range(1, len(tensors) - 1)]
        if rng.integers(3):
            tensors.append(activation("y", shape, scale(rng, 0.002, 0.1), zero_point(rng)))
            made.append(ops.Quantize(inputs=(len(tensors) - 2,), outputs=(len(tensors) - 1,), location=len(made)))
        return Graph(op.kind.lower(), tuple(tensors), tuple(made), (0,), (len(tensors) - 1,))

    return build


CASES: dict[str, Callable[[Rng], Graph]] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "FULLY_CONNECTED": fully_connected,
    "ADD": binary(ops.Add),
    "SUB": binary(ops.Sub),
    "MUL": binary(ops.Mul),
    "MINIMUM": binary(OPERATORS["MINIMUM"]),
    "MAXIMUM": binary(OPERATORS["MAXIMUM"]),
    "SQUARED_DIFFERENCE": binary(OPERATORS["SQUARED_DIFFERENCE"]),
    "PRELU": binary(OPERATORS["PRELU"]),
    "AVERAGE_POOL_2D": pool(ops.AveragePool2D),
    "MAX_POOL_2D": pool(ops.MaxPool2D),
    "MEAN": mean,
    "SUM": reduction(OPERATORS["SUM"]),
    "REDUCE_MAX": reduction(OPERATORS["REDUCE_MAX"]),
    "REDUCE_MIN": reduction(OPERATORS["REDUCE_MIN"]),
    "ARG_MAX": arg_extreme(OPERATORS["ARG_MAX"]),
    "ARG_MIN": arg_extreme(OPERATORS["ARG_MIN"]),
    "PAD": pad,
    "PADV2": padv2,
    "MIRROR_PAD": mirror_pad,
    "TILE": tile,
    "BROADCAST_TO": broadcast_to,
    "REVERSE_V2": reverse_v2,
    **{k: functools.partial(blocks, kind=k) for k in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")},
    **{k: functools.partial(batches, kind=k) for k in ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")},
    "RESIZE_BILINEAR": resize_bilinear,
    "BATCH_MATMUL": batch_matmul,
    "CONCATENATION": concatenation,
    "PACK": pack,
    "GATHER": gather,
    "EMBEDDING_LOOKUP": embedding_lookup,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm,
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
    "EXPAND_DIMS": expand_dims,
    "TRANSPOSE": transpose,
    "STRIDED_SLICE": strided_slice,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
    "SOFTMAX": unary(ops.Softmax, lambda _, __: (1 / 256, -128), beta=lambda rng: scale(rng, 0.3, 3)),
    "LOG_SOFTMAX": unary(OPERATORS["LOG_SOFTMAX"], lambda _, __: (1 / 16, 127)),
    "L2_NORMALIZATION": unary(OPERATORS["L2_NORMALIZATION"], lambda _, __: (1 / 128, 0)),
    "LOGISTIC": unary(ops.Logistic, lambda rng, _: (1 / 256, zero_point(rng))),
    "TANH": unary(ops.Tanh, lambda rng, _: (scale(rng, 0.003, 0.02), zero_point(rng))),
    "LEAKY_RELU": unary(ops.LeakyRelu, _near, alpha=lambda rng: float(rng.uniform(-1, 1.5))),
    "EXP": unary(OPERATORS["EXP"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), greatest=0.06),
    "ELU": unary(OPERATORS["ELU"], _near),
    "GELU": unary(OPERATORS["GELU"], _near, approximate=lambda rng: bool(rng.integers(2))),
    "SQRT": unary(OPERATORS["SQRT"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), zero=lambda _: -128),
    "RSQRT": unary(OPERATORS["RSQRT"], lambda rng, _: (scale(rng, 0.01, 1), zero_point(rng)), zero=lambda _: -128),
    **{
        k: of_bool.comparison(OPERATORS[k])
        for k in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
    },
    **{k: of_bool.logical(OPERATORS[k]) for k in ("LOGICAL_AND", "LOGICAL_OR")},
    **{k: of_bool.select(OPERATORS[k]) for k in ("SELECT", "SELECT_V2")},
    "LOGICAL_NOT": of_bool.logical_not(OPERATORS["LOGICAL_NOT"]),
    "CAST": of_bool.cast(OPERATORS["CAST"]),
    "DIV": of_bool.div(OPERATORS["DIV"]),
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
}
CASES |= {kind: island(cls) for kind, cls in OPERATORS.items() if issubclass(cls, FloatOnly)}
CASES |= {  # any other unary operator, without attributes
    kind: unary(cls, _near) for kind, cls in OPERATORS.items() if kind not in CASES and issubclass(cls, Unary)
}
PRODUCERS = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN",
    "TANH", "RESHAPE",
)  # fmt: skip
_UNARY = ("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "TANH", "LOGISTIC", "QUANTIZE", "ADD", "SUB", "MUL")


def chain(rng: Rng) -> Graph:
    """Consecutive element-wise work: a random operator, then up to four that take each element by itself (unary ones,
    sums and products with one constant or of a tensor with itself), often without rescaling; now and then what lies
    between is an output of the network too."""
    while True:
        graph = CASES[PRODUCERS[rng.integers(len(PRODUCERS))]](rng)
        tensors, operators = list(graph.tensors), list(graph.operators)
        outputs, x = [], graph.outputs[0]
        for _ in range(int(rng.integers(1, 5))):
            if rng.integers(6) == 0:
                outputs.append(x)
            x = _follow(rng, tensors, operators, x)
        result = Graph("chain", tuple(tensors), tuple(operators), graph.inputs, (*outputs, x))
        try:
            checks.check(result)
        except UnsupportedModelError:
            continue  # a ratio of scales that the operator does not take
        return result


def _follow(rng: Rng, tensors: list[Tensor], operators: list[Operator], x: int) -> int:
    """Append an element-wise operator on the tensor ``x``; the index of its output."""
    kind = _UNARY[rng.integers(len(_UNARY))]
    before, attributes, arguments = tensors[x], {}, [x]
    s, z = float(before.scales[0]), int(before.zero_points[0])
    if kind == "LOGISTIC":
        s, z = 1 / 256, -128
    elif rng.integers(2):
        s, z = s if rng.integers(2) else s * scale(rng, 0.3, 3), zero_point(rng)
    if kind == "LEAKY_RELU":
        attributes["alpha"] = float(rng.uniform(0, 1))
    if kind in ("ADD", "SUB", "MUL"):
        attributes["activation"] = fused(rng)
        if rng.integers(3):
            shape = ((1,), (1,) * len(before.shape), before.shape)[rng.integers(3)]
            value = np.full(shape, rng.integers(-128, 128), np.int8)
            tensors.append(constant(f"c{len(tensors)}", value, np.array([scale(rng)])))
            arguments.insert(int(rng.integers(2)), len(tensors) - 1)
        else:
            arguments.append(x)
    tensors.append(activation(f"t{len(tensors)}", before.shape, s, z))
    op = OPERATORS[kind](inputs=tuple(arguments), outputs=(len(tensors) - 1,), location=len(operators), **attributes)
    operators.append(op)
    return op.output


def inputs(rng: Rng, graph: Graph) -> Iterator[list[Array]]:
    """Random inputs, and the extreme ones: all -128, all 127, all at the zero point, a mix of -128 and 127."""
    tensors = [graph.tensors[i] for i in graph.inputs]

    def values(make: Callable[[Tensor], Array]) -> list[Array]:
        return [make(t) if t.dtype is not DType.INT32 else indices(t) for t in tensors]

    def indices(t: Tensor) -> Array:
        return rng.integers(0, graph.tensor_of(graph.operators[0], 1).shape[0], t.shape).astype(np.int32)

    def random(t: Tensor) -> Array:
        if t.dtype is DType.FLOAT32:
            return rng.normal(0, 20 * float(graph.output_of(graph.operators[0]).scales[0]), t.shape).astype(np.float32)
        if t.dtype is DType.BOOL:
            return rng.integers(0, 2, t.shape).astype(np.bool_)
        return rng.integers(-128, 128, t.shape).astype(t.dtype.value)

    def filled(low: int, high: int) -> Callable[[Tensor], Array]:
        def make(t: Tensor) -> Array:
            chosen = rng.choice(np.array([low, high]), t.shape)
            return (chosen > 0 if t.dtype is DType.BOOL else chosen).astype(t.dtype.value)

        return make

    yield values(random)
    yield values(random)
    yield values(filled(-128, -128))
    yield values(filled(127, 127))
    yield values(filled(-128, 127))
    yield values(lambda t: np.full(t.shape, t.zero_points[0] if len(t.zero_points) else 0, t.dtype.value))
