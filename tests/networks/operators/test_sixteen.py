"""Activations of int16 with weights of int8, against LiteRT: operators alone, kernels, and a network on the board."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from network_helpers import MCU, Library
from networks_helpers import CASES, constant, fused, scale

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.kernels.registry import emit, plans
from memaopt.networks import checks, reference
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Operator, Padding2D, Relu, Reshape, Size2D, Slice
from memaopt.networks.operators import Softmax as SoftmaxOf8
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.registry import OPERATORS, SIXTEEN
from memaopt.networks.operators.window import SlidingWindow, same_padding
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Layer, Softmax
from memaopt.problems.sixteen import (
    Binary16,
    Conv16,
    Depthwise16,
    FromFloat16,
    FullyConnected16,
    Mean16,
    Pool16,
    Range16,
    Rescaled,
    Softmax16,
    ToFloat16,
)
from memaopt.problems.step_functions import Rescale
from memaopt.trials import library
from memaopt.trials import network as network_trial

Rng = np.random.Generator


def _wide(name: str, shape: tuple[int, ...], step: float) -> Tensor:
    return Tensor(name, shape, DType.INT16, np.array([step], np.float32), np.zeros(1, np.int64))


def _values(rng: Rng, *shape: int) -> np.ndarray:
    kind = rng.integers(3)
    if kind == 0:
        return rng.choice(np.array([-32768, 32767, 0, -1], np.int16), shape)
    return rng.integers(-32768 >> (4 * kind - 4), 32768 >> (4 * kind - 4), shape).astype(np.int16)


def _weights(rng: Rng, shape: tuple[int, ...], x: Tensor, y: Tensor) -> list[Tensor]:
    """Weights for each channel, and a bias, for which outputs are neither all clamped nor all equal."""
    depth, channels = int(np.prod(shape[1:])), shape[0]
    typical = 6000 * float(y.scale) / (float(x.scale) * 18000 * 70 * np.sqrt(depth))
    scales = (typical * np.exp(rng.uniform(-1, 1, channels if rng.integers(2) else 1))).astype(np.float32)
    bias = rng.normal(0, 1 << int(rng.integers(8, 26)), channels).astype(np.int64)
    data = rng.integers(-127, 128, shape).astype(np.int8)
    return [constant("weights", data, scales), constant("bias", bias, (scales * x.scale).astype(np.float32))]


def _one(op: type[Operator], tensors: list[Tensor], **attributes: object) -> Graph:
    last = len(tensors) - 1
    node = op(inputs=tuple(range(last)), outputs=(last,), **attributes)
    return Graph(op.kind.lower(), tuple(tensors), (node,), (0,), (last,))


def _windowed(rng: Rng) -> tuple[tuple[int, ...], dict[str, object], tuple[int, int], Size2D]:
    n, rows, columns, depth = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 8, 8, 7]))
    kernel = Size2D(int(rng.integers(1, min(rows, 4) + 1)), int(rng.integers(1, min(columns, 4) + 1)))
    stride = Size2D(*rng.integers(1, 3, 2).tolist())
    padding = same_padding(rows, columns, kernel, stride, Size2D(1, 1)) if rng.integers(2) else Padding2D()
    size = SlidingWindow(kernel, stride, Size2D(1, 1), padding).output(rows, columns)
    return (n, rows, columns, depth), {"stride": stride, "padding": padding, "activation": fused(rng)}, size, kernel


def _biased(rng: Rng, weights: list[Tensor], *without: dict[str, object]) -> tuple[list[Tensor], dict[str, object]]:
    """Weights with a bias of int64 or int32, or without one, and then with one of these attributes."""
    kind = int(rng.integers(2 + len(without)))
    if kind > 1:
        return weights[:1], without[kind - 2]
    bias = weights[1]
    if kind:
        bias = dataclasses.replace(bias, data=bias.values.astype(np.int32), dtype=DType.INT32)
    return [weights[0], bias], {}


def _conv(rng: Rng) -> Graph:
    shape, attributes, size, kernel = _windowed(rng)
    outputs = int(rng.integers(1, 6))
    x, y = _wide("x", shape, scale(rng, 1e-5, 1e-3)), _wide("y", (shape[0], *size, outputs), scale(rng, 1e-5, 1e-3))
    weights, more = _biased(rng, _weights(rng, (outputs, *kernel, shape[3]), x, y))
    return _one(SIXTEEN["CONV_2D"], [x, *weights, y], **attributes, **more)


def _depthwise(rng: Rng) -> Graph:
    shape, attributes, size, kernel = _windowed(rng)
    outputs = shape[3] * int(rng.integers(1, 4))
    x, y = _wide("x", shape, scale(rng, 1e-5, 1e-3)), _wide("y", (shape[0], *size, outputs), scale(rng, 1e-5, 1e-3))
    given, bias = _weights(rng, (outputs, *kernel, 1), x, y)
    weights = constant("weights", np.ascontiguousarray(given.values.transpose(3, 1, 2, 0)), given.scales, axis=3)
    return _one(SIXTEEN["DEPTHWISE_CONV_2D"], [x, weights, *[bias][: rng.integers(2)], y], **attributes)


def _fully_connected(rng: Rng) -> Graph:
    rows, depth, units = (int(v) for v in rng.integers([1, 1, 1], [4, 60, 9]))
    x, y = _wide("x", (rows, depth), scale(rng, 1e-5, 1e-3)), _wide("y", (rows, units), scale(rng, 1e-5, 1e-3))
    weights, more = _biased(rng, _weights(rng, (units, depth), x, y), {}, {"narrow": True})
    return _one(SIXTEEN["FULLY_CONNECTED"], [x, *weights, y], activation=fused(rng), **more)


def _pair(kind: str) -> Callable[[Rng], Graph]:
    def case(rng: Rng) -> Graph:
        shape = tuple(int(v) for v in rng.integers(1, 5, 3))
        other = shape if rng.integers(2) else tuple(int(rng.choice([1, v])) for v in shape)[int(rng.integers(2)) :]
        first, second = scale(rng, 1e-4, 1e-3), scale(rng, 1e-4, 1e-3)
        step = first * second * 20000 if kind == "MUL" else (first + second) * 0.9
        a, b, y = _wide("a", shape, first), _wide("b", other, second), _wide("y", shape, step * rng.uniform(0.6, 2))
        if rng.integers(3) == 0:
            b = dataclasses.replace(b, data=_values(rng, *other))
        node = SIXTEEN[kind](inputs=(0, 1), outputs=(2,), activation=fused(rng))
        return Graph(kind.lower(), (a, b, y), (node,), (0,) if b.is_constant else (0, 1), (2,))

    return case


def _mean(rng: Rng) -> Graph:
    shape = tuple(int(v) for v in rng.integers(1, 7, 4))
    axes = tuple(sorted(int(v) for v in rng.choice(4, int(rng.integers(1, 4)), replace=False)))
    keep, step = bool(rng.integers(2)), scale(rng, 1e-4, 1e-3)
    size = tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes)
    factor = float(rng.choice([1, rng.uniform(0.2, 2)]))
    return _one(SIXTEEN["MEAN"], [_wide("x", shape, step), _wide("y", size, step * factor)], axes=axes)


def _pool(kind: str) -> Callable[[Rng], Graph]:
    def case(rng: Rng) -> Graph:
        shape, attributes, size, kernel = _windowed(rng)
        step = scale(rng, 1e-5, 1e-3)
        tensors = [_wide("x", shape, step), _wide("y", (shape[0], *size, shape[3]), step)]
        return _one(SIXTEEN[kind], tensors, kernel=kernel, **attributes)

    return case


def _softmax(rng: Rng) -> Graph:
    shape = (int(rng.integers(1, 5)), int(rng.choice([1, 2, 3, 10, 300])))
    beta = float(rng.choice([1, 0.3, 2.5]))
    return _one(
        SIXTEEN["SOFTMAX"], [_wide("x", shape, scale(rng, 1e-6, 1e-2)), _wide("y", shape, 1 / 32768)], beta=beta
    )


def _quantize(rng: Rng) -> Graph:
    """From int16 to less, as much or more, from int8 or from floats."""
    kinds = [(DType.INT16, DType.INT8), (DType.INT16,) * 2, (DType.INT16, DType.INT32), (DType.INT8, DType.INT16)]
    shape, kind = (2, 40), int(rng.integers(5))
    if kind == 4:
        return _one(SIXTEEN["QUANTIZE"], [Tensor("x", shape, DType.FLOAT32), _wide("y", shape, scale(rng, 1, 1e4))])
    x, y = (_any(rng, name, shape, dtype) for name, dtype in zip("xy", kinds[kind], strict=True))
    return _one(SIXTEEN["QUANTIZE"], [x, y])


def _dequantize(rng: Rng) -> Graph:
    return _one(SIXTEEN["DEQUANTIZE"], [_wide("x", (2, 40), scale(rng)), Tensor("y", (2, 40), DType.FLOAT32)])


def _any(rng: Rng, name: str, shape: tuple[int, ...], dtype: DType) -> Tensor:
    point = int(rng.integers(-128, 128)) if dtype is DType.INT8 else 0
    return dataclasses.replace(_wide(name, shape, scale(rng, 1e-4, 1e-2)), dtype=dtype, zero_points=np.array([point]))


_CASES: dict[str, Callable[[Rng], Graph]] = {
    **{kind: _pair(kind) for kind in ("ADD", "MUL", "SUB")},
    **{kind: _pool(kind) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _fully_connected,
    "MEAN": _mean,
    "QUANTIZE": _quantize,
    "SOFTMAX": _softmax,
}


def test_each_operator_has_a_case() -> None:
    """Catches an operator that no other test here looks at."""
    assert set(_CASES) == set(SIXTEEN)


@pytest.mark.parametrize("kind", _CASES)
def test_an_operator_equals_tflite(kind: str) -> None:
    """Catches a sum of 32 bits, a rounding, a table or a clamp that is not TFLite's."""
    for seed in range(40):
        rng = np.random.default_rng([seed, 16])
        graph = _CASES[kind](rng)
        checks.check(graph)
        data = writer.write(graph)
        read, oracle = reader.parse(data, kind), Oracle(data)
        assert type(read.operators[0]) is SIXTEEN[kind]
        for _ in range(3):
            ends = (graph.tensors[index] for index in graph.inputs)
            values = [_values(rng, *end.shape).astype(end.dtype.value) for end in ends]
            wanted, found = oracle.run(values)[0], reference.run(read, values)[0]
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted, f"{kind} seed {seed}: {graph.operators[0]!r}")


def _wider(graph: Graph) -> Graph:
    """The network with int16 in the place of int8."""

    def wide(tensor: Tensor) -> Tensor:
        if tensor.dtype is not DType.INT8:
            return tensor
        data = None if tensor.data is None else tensor.data.astype(np.int16) * 201 + 1
        return dataclasses.replace(tensor, dtype=DType.INT16, zero_points=tensor.zero_points * 0, data=data)

    return graph.replace(tensors=[wide(tensor) for tensor in graph.tensors])


@pytest.mark.parametrize(
    "kind", [k for k, op in OPERATORS.items() if issubclass(op, Moving) and DType.INT16 in op.dtypes]
)
def test_moves_equal_tflite(kind: str) -> None:
    """Catches bytes that are moved as elements, and a type that LiteRT does not move."""
    for seed in range(5):
        rng = np.random.default_rng([seed, 5])
        graph = _wider(CASES[kind](rng))
        checks.check(graph)
        data, values = writer.write(graph), [_values(rng, *graph.tensors[t].shape) for t in graph.inputs]
        found, wanted = reference.run(reader.parse(data), values)[0], Oracle(data).run(values)[0]
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, f"{kind} seed {seed}")


def test_moves_run_as_promised(tmp_path: Path) -> None:
    """Catches elements of two bytes that a compiled move splits, fills or places as single ones; ends of floats."""
    step = 1e-3
    x, padded, turned = _wide("x", (1, 4, 5, 3), step), _wide("p", (1, 6, 5, 3), step), _wide("t", (1, 3, 5, 6), step)
    part, both, y = _wide("s", (1, 3, 5, 2), step), _wide("c", (1, 3, 5, 8), step), _wide("y", (2, 1, 3, 5, 8), step)
    operators = (
        OPERATORS["PAD"](inputs=(0,), outputs=(1,), paddings=((0, 0), (2, 0), (0, 0), (0, 0))),
        OPERATORS["TRANSPOSE"](inputs=(1,), outputs=(2,), permutation=(0, 3, 2, 1), location=1),
        OPERATORS["STRIDED_SLICE"](
            inputs=(2,),
            outputs=(3,),
            slices=(Slice(0, 1, 1), Slice(0, 1, 3), Slice(0, 1, 5), Slice(1, 3, 2)),
            location=2,
        ),
        OPERATORS["CONCATENATION"](inputs=(2, 3), outputs=(4,), axis=3, location=3),
        OPERATORS["PACK"](inputs=(4, 4), outputs=(5,), axis=0, location=4),
    )
    ends = Tensor("floats", x.shape, DType.FLOAT32), Tensor("result", y.shape, DType.FLOAT32)
    first, last = SIXTEEN["QUANTIZE"](inputs=(6,), outputs=(0,)), SIXTEEN["DEQUANTIZE"](inputs=(5,), outputs=(7,))
    graph = Graph("moves", (x, padded, turned, part, both, y, *ends), (first, *operators, last), (6,), (7,))
    checks.check(graph)
    plan, oracle = compile_network(graph, MCU), Oracle(writer.write(graph))
    built, values = Library(plan, tmp_path), [np.random.default_rng(4).normal(0, 20, x.shape).astype(np.float32)]
    np.testing.assert_array_equal(built.run(values)[1][0], oracle.run(values)[0])
    assert network_trial.run(plan, 2).passed


def test_a_convolution_without_a_bias_equals_tflite_micro() -> None:
    """Catches sums of the other type than the file's option says; LiteRT loads no such file."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro").runtime
    for seed in range(8):
        rng = np.random.default_rng([seed, 3])
        graph = _conv(rng)
        op = graph.operators[0]
        op = op.model_copy(update={"inputs": op.inputs[:2], "narrow": bool(seed % 2)})
        graph = graph.replace(operators=(op,))
        checks.check(graph)
        data, values = writer.write(graph), _values(rng, *graph.tensors[0].shape)
        read = reader.parse(data)
        interpreter = runtime.Interpreter.from_bytes(data)
        interpreter.set_input(values, 0)
        interpreter.invoke()
        np.testing.assert_array_equal(reference.run(read, [values])[0], interpreter.get_output(0), f"seed {seed}")


def test_sums_that_the_interpreters_make_differently_are_refused() -> None:
    """Catches a file whose scales, powers of two, LiteRT shifts and TFLite Micro rescales."""
    tensors = [_wide("a", (1, 4), 2.0**-10), _wide("b", (1, 4), 2.0**-12), _wide("y", (1, 4), 2.0**-9)]
    for shifted in (False, True):
        node = SIXTEEN["ADD"](inputs=(0, 1), outputs=(2,), shifted=shifted)
        data = writer.write(Graph("sum", tuple(tensors), (node,), (0, 1), (2,)))
        if shifted:
            with pytest.raises(UnsupportedModelError, match="potScaleInt16"):
                reader.parse(data)
        else:
            rng = np.random.default_rng(2)
            values = [_values(rng, 1, 4), _values(rng, 1, 4)]
            np.testing.assert_array_equal(reference.run(reader.parse(data), values)[0], Oracle(data).run(values)[0])


def _conv_layer(rng: Rng, size: tuple[int, int, int], outputs: int, kernel: int, stride: int, padding: int) -> Conv16:
    rows, columns, depth = size
    image = Image(*((n + 2 * padding - kernel) // stride + 1 for n in (rows, columns)), outputs)
    return Conv16(
        Image(*size),
        image,
        rng.integers(-127, 128, (outputs, kernel, kernel, depth)).astype(np.int8),
        rng.integers(-9999, 9999, outputs),
        Window(Pair(kernel, kernel), Pair(stride, stride), padding=Padding(padding, padding)),
        np.full(outputs, 1518500250),
        np.full(outputs, -9),
        Range16(-30000, 32767),
    )


def test_kernels_on_the_board(tmp_path: Path) -> None:
    """Catches an access that is not promised, an output that differs, and cycles that mislead."""
    rng = np.random.default_rng(3)
    softmax = _softmax(rng)
    lowered = softmax.operators[0].lower(softmax)
    assert lowered is not None
    assert isinstance(lowered.layer, Softmax16)
    two = Window(Pair(2, 2), Pair(2, 2))
    each, narrow = Rescale(1518500250, -1), _conv_layer(rng, (8, 8, 8), 4, 3, 1, 1)
    pair = Binary(BinaryKind.ADD, (8, 8, 4), (4,), 0, 0, 0, Rescale(1518500250, -15), each, each, 15, -32768, 32767)
    planes = _conv_layer(rng, (8, 8, 1), 8, 3, 1, 1)
    layers: dict[str, Layer] = {
        "conv": _conv_layer(rng, (10, 10, 3), 6, 3, 1, 1),
        "conv_valid": _conv_layer(rng, (8, 8, 8), 5, 3, 1, 0),
        "conv_1x1": _conv_layer(rng, (8, 8, 16), 4, 1, 1, 0),
        "full": FullyConnected16(
            3, rng.integers(-127, 128, (8, 20)).astype(np.int8), np.arange(8), np.full(8, 0.003), Range16()
        ),
        "pool": Pool16(Image(9, 9, 3), Image(9, 9, 3), Window(Pair(3, 3), padding=Padding(1, 1)), Range16()),
        "pool_2x2": Pool16(Image(8, 8, 8), Image(4, 4, 8), two, Range16(0, 9000)),
        "average": Pool16(Image(9, 9, 3), Image(9, 9, 3), Window(Pair(3, 3), padding=Padding(1, 1)), Range16(), True),
        "narrow": dataclasses.replace(narrow, narrow=True),
        "narrow_full": FullyConnected16(
            3, rng.integers(-127, 128, (8, 20)).astype(np.int8), np.arange(8), np.full(8, 0.003), Range16(), True
        ),
        "depthwise": Depthwise16(
            Image(8, 8, 8),
            Image(8, 8, 8),
            planes.weights[..., 0].transpose(1, 2, 0),
            planes.bias,
            planes.window,
            planes.multipliers,
            planes.shifts,
            planes.clamp,
        ),
        "add": Binary16(pair),
        "mul": Binary16(dataclasses.replace(pair, kind=BinaryKind.MUL)),
        "mean": Mean16((8, 8, 4), (0, 1), Rescale(1518500250, -5)),
        "from_float": FromFloat16(50, 0.01),
        "to_float": ToFloat16(50, 0.01),
        "from_16": Rescaled(50, 2, 1, -9, Rescale(1518500250, -7), 4),
        "to_16": Rescaled(50, 1, 2, -9, Rescale(1518500250, 6), 0),
        "to_32": Rescaled(50, 2, 4, 0, Rescale(1518500250, 6), 0),
        "softmax_to_16": Softmax(3, 20, 1374389535, 23, -248, 16),
        "softmax": dataclasses.replace(lowered.layer, rows=5, depth=20),
    }
    emitted = {name: (layer, emit(layer, plans(layer)[0], name)) for name, layer in layers.items()}
    h.check_on_board(tmp_path, emitted, np.random.default_rng(2), running.COMPILER, cycles_within=0.25)


def test_a_network_runs_as_promised(tmp_path: Path) -> None:
    """Catches ends that are not int16_t, places of two bytes an element, and a layer that reads another's bytes."""
    rng = np.random.default_rng(5)
    x, a, b = _wide("x", (1, 8, 8, 3), 1e-4), _wide("a", (1, 8, 8, 6), 2e-4), _wide("b", (1, 4, 4, 6), 2e-4)
    c, d, y = _wide("c", (1, 96), 2e-4), _wide("d", (1, 5), 3e-4), _wide("y", (1, 5), 1 / 32768)
    conv, full = _weights(rng, (6, 3, 3, 3), x, a), _weights(rng, (5, 96), c, d)
    tensors = (x, *conv, a, b, c, *full, d, y)
    same, two = {"padding": Padding2D(1, 1, 1, 1)}, Size2D(2, 2)
    operators = (
        SIXTEEN["CONV_2D"](inputs=(0, 1, 2), outputs=(3,), **same),
        SIXTEEN["MAX_POOL_2D"](inputs=(3,), outputs=(4,), kernel=two, stride=two, location=1),
        Reshape(inputs=(4,), outputs=(5,), location=2),
        SIXTEEN["FULLY_CONNECTED"](inputs=(5, 6, 7), outputs=(8,), location=3),
        SIXTEEN["SOFTMAX"](inputs=(8,), outputs=(9,), location=4),
    )
    graph = Graph("sixteen", tensors, operators, (0,), (9,))
    plan = compile_network(graph, MCU)
    built, oracle = Library(plan, tmp_path), Oracle(writer.write(graph))
    for values in ([_values(rng, 1, 8, 8, 3)] for _ in range(4)):
        wanted = oracle.run(values)
        for found in (built.run(values)[1], library.execute(plan, values)):
            np.testing.assert_array_equal(found[0], wanted[0])
    assert network_trial.run(plan, 2).passed


def test_channels_that_are_known_go(tmp_path: Path) -> None:
    """Catches a bias of int64 that is cut to 32 bits as constants move into it, a convolution that becomes one with the
    depthwise one behind it as if both were of int8, and one without a bias that gets one of the other type."""
    rng = np.random.default_rng(8)
    x, a, b, y = (_wide(name, (1, 6, 6, n), 1e-4) for name, n in (("x", 3), ("a", 8), ("b", 4), ("y", 4)))
    first, second = _weights(rng, (8, 3, 3, 3), x, a), _weights(rng, (4, 1, 1, 8), a, b)
    third, _ = _weights(rng, (4, 3, 3, 1), b, y)
    dead = first[0].values.copy()
    dead[1:4] = 0
    first = [constant("first", dead, first[0].scales), constant("bias", first[1].values.clip(-(1 << 40), 1 << 40))]
    second[1] = constant("bias", np.array([1 << 36, 0, -7, 999]), second[1].scales)
    planes = constant("planes", np.ascontiguousarray(third.values.transpose(3, 1, 2, 0)), third.scales, axis=3)
    tensors, around = (x, *first, a, *second, b, planes, y), {"padding": Padding2D(1, 1, 1, 1)}
    operators = (
        SIXTEEN["CONV_2D"](inputs=(0, 1, 2), outputs=(3,), **around),
        SIXTEEN["CONV_2D"](inputs=(3, 4, 5), outputs=(6,), location=1),
        SIXTEEN["DEPTHWISE_CONV_2D"](inputs=(6, 7), outputs=(8,), location=2, **around),
    )
    graph = Graph("known", tensors, operators, (0,), (8,))
    checks.check(graph)
    plan, values = compile_network(graph, MCU), [_values(rng, 1, 6, 6, 3)]
    assert plan.graph.output_of(plan.graph.operators[0]).shape[3] == 5
    wanted = Oracle(writer.write(graph)).run(values)[0]
    np.testing.assert_array_equal(Library(plan, tmp_path).run(values)[1][0], wanted)


def test_softmax_of_int8_to_int16() -> None:
    """Catches outputs that are those of 8 bits, shifted."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 30)))
        x = _any(rng, "x", shape, DType.INT8)
        y = dataclasses.replace(_wide("y", shape, 2.0**-16), zero_points=np.array([-32768]))
        graph = _one(
            SoftmaxOf8, [dataclasses.replace(x, scales=x.scales * np.float32(20)), y], beta=float(rng.choice([1, 0.3]))
        )
        checks.check(graph)
        data, values = writer.write(graph), [rng.integers(-128, 128, shape).astype(np.int8)]
        np.testing.assert_array_equal(reference.run(reader.parse(data), values)[0], Oracle(data).run(values)[0])


def test_what_is_not_there_is_refused() -> None:
    """Catches int16 that is taken as int8."""
    tensors = [_wide("x", (1, 4), 0.1), _wide("y", (1, 4), 0.1)]
    with pytest.raises(UnsupportedModelError, match="int16"):
        reader.parse(writer.write(_one(Relu, tensors)))
