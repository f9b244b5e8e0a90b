"""A network of one operator for each operator and type that kernels compute: of a size that layers have, seeded."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Operator, Padding2D, Size2D, Slice
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.registry import OPERATORS, SIXTEEN
from memaopt.networks.operators.unary import Unary

#: What most operators are given: 4,096 elements.
IMAGE = (1, 16, 16, 16)
_SAME, _THREE = Padding2D(1, 1, 1, 1), Size2D(3, 3)
_BINARY = ("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE", "DIV", "MAXIMUM", "MINIMUM")
_COMPARED = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
#: Scale and zero point of what these give, where it is not the input's.
_GIVEN = {"SOFTMAX": (1 / 256, -128), "LOG_SOFTMAX": (1 / 16, 127), "L2_NORMALIZATION": (1 / 128, 0)}
_GIVEN |= {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


class OperatorCase(NamedTuple):
    """An operator by its name in TFLite, the types of what it is given and gives, its sizes in words, the network."""

    kind: str
    types: str
    size: str
    graph: Graph


def types_of(graph: Graph) -> str:
    """The types of a network's inputs and outputs, as in "bool and int8 to int8"; one where all are alike."""
    ends = (
        " and ".join(dict.fromkeys(graph.tensors[t].dtype for t in tensors))
        for tensors in (graph.inputs, graph.outputs)
    )
    return " to ".join(dict.fromkeys(ends))


def cases() -> Iterator[OperatorCase]:
    """All of them, by name. Operators that cost no copy, and those that are read as others, have none."""
    made = {**_weighted(), **_pairs(), **_moved(), **_reduced(), **_rows(), **_typed()}
    for kind, cls in OPERATORS.items():
        if kind not in made and issubclass(cls, Unary | FloatOnly):
            made[kind] = _island(cls) if issubclass(cls, FloatOnly) else _one(kind, _x(), _like(kind))
    wide = {kind: _wider(graph) for kind, graph in made.items() if kind in SIXTEEN or _is_moved(kind)}
    for kind in sorted(made):
        yield _named(kind, made[kind])
        if kind in wide:
            yield _named(kind, wide[kind])


def _named(kind: str, graph: Graph) -> OperatorCase:
    given, made = ([_text(graph.tensors[i].shape) for i in ends] for ends in (graph.inputs, graph.outputs))
    weights = [_text(t.shape) for t in graph.tensors if t.is_constant and len(t.shape) > 1]
    sizes = " and ".join([*dict.fromkeys(given), *weights[:1]])
    return OperatorCase(kind, types_of(graph), sizes if made == given[:1] else f"{sizes} to {made[0]}", graph)


def _text(shape: Sequence[int]) -> str:
    sizes = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return "x".join(map(str, sizes))


def _is_moved(kind: str) -> bool:
    return issubclass(OPERATORS[kind], Moving) and DType.INT16 in OPERATORS[kind].dtypes


def _x(shape: tuple[int, ...] = IMAGE, scale: float = 0.05, zero_point: int = -5) -> Tensor:
    return int8_tensor("x", shape, scale, zero_point)


def _like(kind: str) -> Tensor:
    return int8_tensor("y", IMAGE, *_GIVEN.get(kind, (0.05, -5)))


def _one(kind: str, *tensors: Tensor, **attributes: Any) -> Graph:
    """The operator: its operands, and last its output."""
    last = len(tensors) - 1
    op = OPERATORS[kind](inputs=tuple(range(last)), outputs=(last,), **attributes)
    given = tuple(i for i, tensor in enumerate(tensors[:-1]) if not tensor.is_constant)
    return Graph(kind.lower(), tensors, (op,), given, (last,))


def _constant(name: str, data: npt.NDArray[Any], scale: float, count: int = 1, axis: int = 0) -> Tensor:
    scales = np.full(count, scale, np.float32)
    return Tensor(name, data.shape, DType(str(data.dtype)), scales, np.zeros(count, np.int64), axis, data)


def _weights(shape: tuple[int, ...], depth: int, channels: int, axis: int = 0, *, one: bool = False) -> list[Tensor]:
    """Bell-shaped weights and biases; outputs of the scale 0.05 are then neither all alike nor all at an end."""
    rng, scale = np.random.default_rng(depth), 0.4 / (35 * math.sqrt(depth))
    data = np.clip(np.rint(rng.normal(0, 35, shape)), -127, 127).astype(np.int8)
    bias = rng.integers(-2000, 2001, channels).astype(np.int32)
    count = 1 if one else channels
    return [_constant("weights", data, scale, count, axis), _constant("bias", bias, scale * 0.05, count)]


def _weighted() -> dict[str, Graph]:
    y = int8_tensor("y", IMAGE, 0.05, -128)
    twice = int8_tensor("y", (1, 32, 32, 16), 0.05, -128)
    stride = Size2D(2, 2)
    table = _constant("table", np.random.default_rng(1).integers(-128, 128, (64, 32)).astype(np.int8), 0.05)
    return {
        "CONV_2D": _one("CONV_2D", _x(), *_weights((16, 3, 3, 16), 144, 16), y, padding=_SAME),
        "DEPTHWISE_CONV_2D": _one(
            "DEPTHWISE_CONV_2D", _x(), *_weights((1, 3, 3, 16), 9, 16, 3), y, padding=_SAME
        ),
        "TRANSPOSE_CONV": _one(
            "TRANSPOSE_CONV", _x(), *_weights((16, 3, 3, 16), 72, 16), twice, stride=stride, same=True
        ),
        "FULLY_CONNECTED": _one(
            "FULLY_CONNECTED", _x((1, 256)), *_weights((64, 256), 256, 64, one=True), int8_tensor("y", (1, 64), 0.05, 3)
        ),
        "BATCH_MATMUL": _one(
            "BATCH_MATMUL", _x((2, 32, 32)), _x((2, 32, 32), 0.02, 3), int8_tensor("y", (2, 32, 32), 0.1, 3)
        ),
        "EMBEDDING_LOOKUP": _one(
            "EMBEDDING_LOOKUP", Tensor("x", (16,), DType.INT32), table, int8_tensor("y", (16, 32), 0.05, 0)
        ),
        "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm(),
    }  # fmt: skip


def _lstm() -> Graph:
    """16 steps of 32 values, 32 units."""
    rng, tensors = np.random.default_rng(2), [_x((1, 16, 32), 1 / 64, 0)]
    for name in ("weights", "recurrent"):
        tensors += [_constant(f"{name}{i}", rng.integers(-127, 128, (32, 32)).astype(np.int8), 0.004) for i in range(4)]
    tensors += [_constant(f"bias{i}", rng.normal(0, 2000, 32).astype(np.int32), 1e-4) for i in range(4)]
    more = {"state": (1 / 128, 0), "cell": (2.0**-12,), "hidden": (1 / 128, 0)}
    return _one("UNIDIRECTIONAL_SEQUENCE_LSTM", *tensors, int8_tensor("y", (1, 16, 32), 1 / 128, 0), **more)


def _pairs() -> dict[str, Graph]:
    # No round numbers: sums of those lie on ties more often than what training leaves.
    a, b = _x(scale=0.047312), dataclasses.replace(_x(scale=0.039177, zero_point=7), name="b")
    scales = {"MUL": 0.06, "SQUARED_DIFFERENCE": 0.1, "DIV": 0.5}
    same = dataclasses.replace(a, name="b")
    found = {}
    for kind in _BINARY:
        alike = kind in ("MAXIMUM", "MINIMUM")
        y = dataclasses.replace(a, name="y") if alike else int8_tensor("y", IMAGE, scales.get(kind, 0.081613), 3)
        found[kind] = _one(kind, a, same if alike else b, y)
    slopes = _constant("b", np.random.default_rng(3).integers(-60, 60, (1, 1, 16)).astype(np.int8), 0.01)
    found["PRELU"] = _one("PRELU", a, slopes, int8_tensor("y", IMAGE, 0.05, -5))
    logical = Tensor("y", IMAGE, DType.BOOL)
    found |= {kind: _one(kind, a, b, logical) for kind in _COMPARED}
    first, second = Tensor("a", IMAGE, DType.BOOL), Tensor("b", IMAGE, DType.BOOL)
    found |= {kind: _one(kind, first, second, logical) for kind in ("LOGICAL_AND", "LOGICAL_OR")}
    found["LOGICAL_NOT"] = _one("LOGICAL_NOT", first, logical)
    found |= {k: _one(k, first, a, same, dataclasses.replace(a, name="y")) for k in ("SELECT", "SELECT_V2")}
    return found


def _shaped(kind: str, given: tuple[int, ...], made: tuple[int, ...], **attributes: Any) -> Graph:
    return _one(kind, _x(given), dataclasses.replace(_x(made), name="y"), **attributes)


def _moved() -> dict[str, Graph]:
    around, one, two = ((0, 0), (1, 1), (1, 1), (0, 0)), (1, 16, 16, 16), (1, 18, 18, 16)
    value = dataclasses.replace(_constant("value", np.array([7], np.int8), 0.05), zero_points=np.array([-5]))
    small, large, both = (1, 8, 8, 64), (1, 32, 32, 16), (2, 1, 16, 16, 16)
    cut = (Slice(0, 1, 1), Slice(0, 2, 8), Slice(0, 2, 8), Slice(0, 1, 16))
    every = tuple(range(15, -1, -1))
    blocks, space = (4, 8, 8, 16), {"block": (2, 2), "edges": ((0, 0), (0, 0))}
    pool = {"kernel": Size2D(2, 2), "stride": Size2D(2, 2)}
    halves = [dataclasses.replace(_x((1, 16, 16, 8)), name=name) for name in "ab"]
    images = [dataclasses.replace(_x(), name=name) for name in "ab"]
    y = dataclasses.replace(_x(), name="y")
    return {
        "PAD": _shaped("PAD", one, two, paddings=around),
        "PADV2": _one("PADV2", _x(), value, dataclasses.replace(_x(two), name="y"), paddings=around),
        "MIRROR_PAD": _shaped("MIRROR_PAD", one, two, paddings=around, mode="REFLECT"),
        "TILE": _shaped("TILE", one, large, multiples=(1, 2, 2, 1)),
        "BROADCAST_TO": _shaped("BROADCAST_TO", (1, 1, 1, 16), one),
        "REVERSE_V2": _shaped("REVERSE_V2", one, one, axes=(2,)),
        "DEPTH_TO_SPACE": _shaped("DEPTH_TO_SPACE", small, one, block=2),
        "SPACE_TO_DEPTH": _shaped("SPACE_TO_DEPTH", one, small, block=2),
        "SPACE_TO_BATCH_ND": _shaped("SPACE_TO_BATCH_ND", one, blocks, **space),
        "BATCH_TO_SPACE_ND": _shaped("BATCH_TO_SPACE_ND", blocks, one, **space),
        "RESIZE_BILINEAR": _shaped("RESIZE_BILINEAR", one, large, half_pixel_centers=True),
        "RESIZE_NEAREST_NEIGHBOR": _shaped("RESIZE_NEAREST_NEIGHBOR", one, large, half_pixel_centers=True),
        "CONCATENATION": _one("CONCATENATION", *halves, y, axis=3),
        "PACK": _one("PACK", *images, dataclasses.replace(_x(both), name="y"), axis=0),
        "GATHER": _shaped("GATHER", one, one, axis=2, indices=every),
        "TRANSPOSE": _shaped("TRANSPOSE", one, one, permutation=(0, 3, 1, 2)),
        "STRIDED_SLICE": _shaped("STRIDED_SLICE", one, (1, 8, 8, 16), slices=cut),
        "AVERAGE_POOL_2D": _shaped("AVERAGE_POOL_2D", one, (1, 8, 8, 16), **pool),
        "MAX_POOL_2D": _shaped("MAX_POOL_2D", one, (1, 8, 8, 16), **pool),
    }


def _reduced() -> dict[str, Graph]:
    channels, place = (1, 16), (1, 16, 16)
    x = _x()
    found = {
        "MEAN": _one("MEAN", x, int8_tensor("y", channels, 0.04, 3), axes=(1, 2)),
        "SUM": _one("SUM", x, int8_tensor("y", channels, 4.0, 3), axes=(1, 2)),
        **{k: _shaped(k, IMAGE, channels, axes=(1, 2)) for k in ("REDUCE_MAX", "REDUCE_MIN")},
    }
    return found | {k: _one(k, x, Tensor("y", place, DType.INT32), axis=3) for k in ("ARG_MAX", "ARG_MIN")}


def _rows() -> dict[str, Graph]:
    """64 rows of 64 elements."""
    x = _x((64, 64))
    more: dict[str, dict[str, Any]] = {"SOFTMAX": {"beta": 1.0}}
    return {
        kind: _one(kind, x, int8_tensor("y", (64, 64), *_GIVEN[kind]), **more.get(kind, {}))
        for kind in ("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION")
    }


def _typed() -> dict[str, Graph]:
    """To and from other types; what has attributes or an input of its own."""
    floats = Tensor("x", IMAGE, DType.FLOAT32)
    roots = int8_tensor("x", IMAGE, 0.05, -128)
    return {
        "QUANTIZE": _one("QUANTIZE", floats, _like("")),
        "DEQUANTIZE": _one("DEQUANTIZE", _x(), dataclasses.replace(floats, name="y")),
        "CAST": _one("CAST", Tensor("x", IMAGE, DType.INT8), Tensor("y", IMAGE, DType.FLOAT32)),
        "LEAKY_RELU": _one("LEAKY_RELU", _x(), _like(""), alpha=0.3),
        "GELU": _one("GELU", _x(), _like(""), approximate=False),
        **{kind: _one(kind, roots, _like("")) for kind in ("SQRT", "RSQRT")},
    }


def _island(cls: type[Operator]) -> Graph:
    """Between DEQUANTIZE and QUANTIZE."""
    tensors = (_x(scale=0.02), *(Tensor(name, IMAGE, DType.FLOAT32) for name in "ab"), int8_tensor("y", IMAGE, 0.02, 0))
    chain = (OPERATORS["DEQUANTIZE"], cls, OPERATORS["QUANTIZE"])
    made = tuple(op(inputs=(i,), outputs=(i + 1,), location=i) for i, op in enumerate(chain))
    return Graph(cls.kind.lower(), tensors, made, (0,), (3,))


def _wide(tensor: Tensor) -> Tensor:
    """A tensor with elements of two bytes in the place of one; weights stay as they are."""
    if tensor.dtype is not DType.INT8 or tensor.is_constant:
        return tensor
    scales = (tensor.scales / 256).astype(np.float32)
    return dataclasses.replace(tensor, dtype=DType.INT16, scales=scales, zero_points=tensor.zero_points * 0)


def _wider(graph: Graph) -> Graph:
    """The same of int16; biases are int64, of products with a finer input."""
    op = graph.operators[0]
    cls = SIXTEEN.get(op.kind, type(op))
    node = cls(**{name: getattr(op, name) for name in type(op).model_fields if name in cls.model_fields})
    tensors = [_wide(tensor) for tensor in graph.tensors]
    for i, tensor in enumerate(tensors):
        if tensor.name == "bias":
            data = tensor.values.astype(np.int64) * 256
            scales = (tensor.scales / 256).astype(np.float32)
            tensors[i] = dataclasses.replace(tensor, dtype=DType.INT64, data=data, scales=scales)
    if op.kind == "SOFTMAX":
        tensors[-1] = dataclasses.replace(tensors[-1], scales=np.array([1 / 32768], np.float32))
    return graph.replace(tensors=tensors, operators=(node,))
