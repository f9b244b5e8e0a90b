"""Activations of int16 with weights of int8, against LiteRT: operators alone, kernels, and a network on the board."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from network_helpers import MCU, Library
from networks_helpers import CASES, constant
from sixteen_cases_helpers import (
    SIXTEEN_CASES,
    conv_of_16,
    int8_weights,
    int16_tensor,
    int16_values,
    one_of_16,
    softmax_of_16,
    tensor_of,
)

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.kernels.registry import emit, plans
from memaopt.networks import checks, reference
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Padding2D, Relu, Reshape, Size2D, Slice
from memaopt.networks.operators import Softmax as SoftmaxOf8
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.registry import OPERATORS, SIXTEEN
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
SEEDS = int(os.environ.get("MEMAOPT_REFERENCE_SEEDS", "40"))


def test_each_operator_has_a_case() -> None:
    """Catches an operator that no other test here looks at."""
    assert set(SIXTEEN_CASES) == set(SIXTEEN)


@pytest.mark.parametrize("kind", SIXTEEN_CASES)
def test_an_operator_equals_tflite(kind: str) -> None:
    """Catches a sum of 32 bits, a rounding, a table or a clamp that is not TFLite's."""
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 16])
        graph = SIXTEEN_CASES[kind](rng)
        checks.check(graph)
        data = writer.write(graph)
        read, oracle = reader.parse(data, kind), Oracle(data)
        assert type(read.operators[0]) is SIXTEEN[kind]
        for _ in range(3):
            ends = (graph.tensors[index] for index in graph.inputs)
            values = [int16_values(rng, *end.shape).astype(end.dtype.value) for end in ends]
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
    for seed in range(SEEDS // 8):
        rng = np.random.default_rng([seed, 5])
        graph = _wider(CASES[kind](rng))
        checks.check(graph)
        data, values = writer.write(graph), [int16_values(rng, *graph.tensors[t].shape) for t in graph.inputs]
        found, wanted = reference.run(reader.parse(data), values)[0], Oracle(data).run(values)[0]
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, f"{kind} seed {seed}")


def test_moves_run_as_promised(tmp_path: Path) -> None:
    """Catches elements of two bytes that a compiled move splits, fills or places as single ones; ends of floats."""
    step = 1e-3
    x, padded, turned = (
        int16_tensor("x", (1, 4, 5, 3), step),
        int16_tensor("p", (1, 6, 5, 3), step),
        int16_tensor("t", (1, 3, 5, 6), step),
    )
    part, both, y = (
        int16_tensor("s", (1, 3, 5, 2), step),
        int16_tensor("c", (1, 3, 5, 8), step),
        int16_tensor("y", (2, 1, 3, 5, 8), step),
    )
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
        graph = conv_of_16(rng)
        op = graph.operators[0]
        op = op.model_copy(update={"inputs": op.inputs[:2], "narrow": bool(seed % 2)})
        graph = graph.replace(operators=(op,))
        checks.check(graph)
        data, values = writer.write(graph), int16_values(rng, *graph.tensors[0].shape)
        read = reader.parse(data)
        interpreter = runtime.Interpreter.from_bytes(data)
        interpreter.set_input(values, 0)
        interpreter.invoke()
        np.testing.assert_array_equal(reference.run(read, [values])[0], interpreter.get_output(0), f"seed {seed}")


def test_sums_that_the_interpreters_make_differently_are_refused() -> None:
    """Catches a file whose scales, powers of two, LiteRT shifts and TFLite Micro rescales."""
    tensors = [
        int16_tensor("a", (1, 4), 2.0**-10),
        int16_tensor("b", (1, 4), 2.0**-12),
        int16_tensor("y", (1, 4), 2.0**-9),
    ]
    for shifted in (False, True):
        node = SIXTEEN["ADD"](inputs=(0, 1), outputs=(2,), shifted=shifted)
        data = writer.write(Graph("sum", tuple(tensors), (node,), (0, 1), (2,)))
        if shifted:
            with pytest.raises(UnsupportedModelError, match="potScaleInt16"):
                reader.parse(data)
        else:
            rng = np.random.default_rng(2)
            values = [int16_values(rng, 1, 4), int16_values(rng, 1, 4)]
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
    softmax = softmax_of_16(rng)
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
    # Predicted is GCC's code: what Clang makes of plain C is its own (docs/kernels.md).
    within = 0.25 if running.COMPILER == "gcc" else 0.6
    h.check_on_board(tmp_path, emitted, np.random.default_rng(2), running.COMPILER, cycles_within=within)


def test_a_network_runs_as_promised(tmp_path: Path) -> None:
    """Catches ends that are not int16_t, places of two bytes an element, and a layer that reads another's bytes."""
    rng = np.random.default_rng(5)
    x, a, b = (
        int16_tensor("x", (1, 8, 8, 3), 1e-4),
        int16_tensor("a", (1, 8, 8, 6), 2e-4),
        int16_tensor("b", (1, 4, 4, 6), 2e-4),
    )
    c, d, y = int16_tensor("c", (1, 96), 2e-4), int16_tensor("d", (1, 5), 3e-4), int16_tensor("y", (1, 5), 1 / 32768)
    conv, full = int8_weights(rng, (6, 3, 3, 3), x, a), int8_weights(rng, (5, 96), c, d)
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
    for values in ([int16_values(rng, 1, 8, 8, 3)] for _ in range(4)):
        wanted = oracle.run(values)
        for found in (built.run(values)[1], library.execute(plan, values)):
            np.testing.assert_array_equal(found[0], wanted[0])
    assert network_trial.run(plan, 2).passed


def test_channels_that_are_known_go(tmp_path: Path) -> None:
    """Catches a bias of int64 that is cut to 32 bits as constants move into it, a convolution that becomes one with the
    depthwise one behind it as if both were of int8, and one without a bias that gets one of the other type."""
    rng = np.random.default_rng(8)
    x, a, b, y = (int16_tensor(name, (1, 6, 6, n), 1e-4) for name, n in (("x", 3), ("a", 8), ("b", 4), ("y", 4)))
    first, second = int8_weights(rng, (8, 3, 3, 3), x, a), int8_weights(rng, (4, 1, 1, 8), a, b)
    third, _ = int8_weights(rng, (4, 3, 3, 1), b, y)
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
    plan, values = compile_network(graph, MCU), [int16_values(rng, 1, 6, 6, 3)]
    assert plan.graph.output_of(plan.graph.operators[0]).shape[3] == 5
    wanted = Oracle(writer.write(graph)).run(values)[0]
    np.testing.assert_array_equal(Library(plan, tmp_path).run(values)[1][0], wanted)


def test_softmax_of_int8_to_int16() -> None:
    """Catches outputs that are those of 8 bits, shifted."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 30)))
        x = tensor_of(rng, "x", shape, DType.INT8)
        y = dataclasses.replace(int16_tensor("y", shape, 2.0**-16), zero_points=np.array([-32768]))
        graph = one_of_16(
            SoftmaxOf8, [dataclasses.replace(x, scales=x.scales * np.float32(20)), y], beta=float(rng.choice([1, 0.3]))
        )
        checks.check(graph)
        data, values = writer.write(graph), [rng.integers(-128, 128, shape).astype(np.int8)]
        np.testing.assert_array_equal(reference.run(reader.parse(data), values)[0], Oracle(data).run(values)[0])


def test_what_is_not_there_is_refused() -> None:
    """Catches int16 that is taken as int8."""
    tensors = [int16_tensor("x", (1, 4), 0.1), int16_tensor("y", (1, 4), 0.1)]
    with pytest.raises(UnsupportedModelError, match="int16"):
        reader.parse(writer.write(one_of_16(Relu, tensors)))
