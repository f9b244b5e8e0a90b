"""Simplification changes no byte of any activation that is left, on random, extreme and pruned networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks_helpers import CASES, inputs
from tensors_helpers import activation, constant, scale, single

from memaopt.networks import checks, reference, summary
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo import zoo

Array = np.ndarray[Any, Any]


def assert_same(graph: Graph, result: simplify.Simplified, values: list[Array]) -> None:
    """Every activation that is left equals the original one's kept channels."""
    before = {op.output: output for op, output in reference.layers(graph, values)}
    for op, output in reference.layers(result.graph, values):
        expected = before[op.output]
        if op.output in result.kept:
            expected = expected[..., list(result.kept[op.output])]
        np.testing.assert_array_equal(output, expected, result.graph.place(op))
    for a, b in zip(reference.run(graph, values), reference.run(result.graph, values), strict=True):
        np.testing.assert_array_equal(a, b)


class Net:
    """Builds small networks for these tests; every layer's scales are random and sane."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = [activation("x", shape, 0.05, int(self.rng.integers(-128, 128)))]
        self.operators: list[Operator] = []

    def put(self, cls: type[Operator], x: tuple[int, ...], output: Tensor, **attributes: Any) -> int:
        self.tensors.append(output)
        index = len(self.tensors) - 1
        self.operators.append(cls(inputs=x, outputs=(index,), location=len(self.operators), **attributes))
        return index

    def weighted(
        self, cls: type[Operator], x: int, weights: Array, axis: int, output: tuple[int, ...], **attributes: Any
    ) -> int:
        channels = output[-1]
        scales = np.exp(self.rng.uniform(-1, 0, channels)) / (40 * np.sqrt(weights.size / channels))
        self.tensors.append(constant("w", weights, scales, axis))
        bias = self.rng.normal(0, 2000, channels).astype(np.int32)
        self.tensors.append(constant("b", bias, scales * self.tensors[x].scales[0], 0))
        last = len(self.tensors) - 1
        relu = bool(self.rng.integers(2))
        y = activation("y", output, scale(self.rng, 0.02, 0.1), -128 if relu else int(self.rng.integers(-128, 128)))
        act = Activation.RELU if relu else Activation.NONE
        return self.put(cls, (x, last - 1, last), y, activation=act, **attributes)

    def pruned(self, shape: tuple[int, ...], rows: float, columns: float) -> Array:
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        weights[self.rng.random(shape[0]) < rows] = 0
        weights[..., self.rng.random(shape[-1]) < columns] = 0
        return weights

    def graph(self, *outputs: int) -> Graph:
        result = Graph("net", tuple(self.tensors), tuple(self.operators), (0,), outputs)
        checks.check(result)
        return result


def pruned_network(seed: int) -> Graph:
    """Pointwise and 3x3 convolutions, depthwise layers, ADD, RELU and pools with many channels of zeros."""
    rng = np.random.default_rng([seed, 1])
    side = int(rng.integers(2, 6))
    net = Net(seed, (1, side, side, int(rng.integers(1, 4))))
    x = 0
    for _ in range(int(rng.integers(2, 7))):
        _, height, width, depth = net.tensors[x].shape
        match rng.integers(5):
            case 0 | 1:
                kernel = int(rng.choice([1, 1, 3]))
                weights = net.pruned((int(rng.integers(2, 9)), kernel, kernel, depth), 0.5, 0.2)
                padding = Padding2D(*[kernel // 2] * 4)
                x = net.weighted(ops.Conv2D, x, weights, 0, (1, height, width, len(weights)), padding=padding)
            case 2:
                multiplier = int(rng.integers(1, 3))
                weights = rng.integers(-127, 128, (1, 3, 3, depth * multiplier)).astype(np.int8)
                shape = (1, height, width, depth * multiplier)
                x = net.weighted(ops.DepthwiseConv2D, x, weights, 3, shape, padding=Padding2D(1, 1, 1, 1))
            case 3:
                output = activation("relu", net.tensors[x].shape, scale(rng, 0.02, 0.1), -128)
                y = net.put(ops.Relu, (x,), output)
                output = activation("sum", net.tensors[x].shape, 0.1, int(rng.integers(-128, 128)))
                x = net.put(ops.Add, (x, y), output) if rng.integers(2) else y
            case _:
                quantization = float(net.tensors[x].scales[0]), int(net.tensors[x].zero_points[0])
                output = activation("pool", net.tensors[x].shape, *quantization)
                attributes = {"kernel": Size2D(3, 3), "padding": Padding2D(1, 1, 1, 1)}
                x = net.put(ops.AveragePool2D, (x,), output, **attributes)
    features = int(np.prod(net.tensors[x].shape))
    quantization = float(net.tensors[x].scales[0]), int(net.tensors[x].zero_points[0])
    x = net.put(ops.Reshape, (x,), activation("flat", (1, features), *quantization))
    return net.graph(net.weighted(ops.FullyConnected, x, net.pruned((3, features), 0, 0.3), 0, (1, 3)))


@pytest.mark.slow
@given(st.integers(0, 100_000), st.sampled_from([1, 1, 2, 4]))
@settings(max_examples=150, deadline=None)
def test_pruned_networks_keep_every_byte(seed: int, multiple: int) -> None:
    """Catches a constant that padding changes, a bias that misses a contribution, channels that are mixed up."""
    graph = pruned_network(seed)
    result = simplify.simplify(graph, multiple=multiple)
    for values in inputs(np.random.default_rng(seed), graph):
        assert_same(graph, result, values)
    for tensor, kept in result.kept.items():
        assert result.graph.tensors[tensor].shape[-1] == len(kept) < graph.tensors[tensor].shape[-1]
        assert len(kept) % multiple == 0 or multiple > len(kept)


def two_layers(constant_bias: int, padded: bool) -> Graph:
    """A 1x1 convolution whose channel 1 has weights of zero, a depthwise layer, a 1x1 convolution that reads both."""
    net = Net(0, (1, 4, 4, 2))
    first = np.array([[3, -5], [0, 0]], np.int8).reshape(2, 1, 1, 2)
    net.tensors += [constant("w0", first, np.array([0.01])), constant("b0", np.array([50, constant_bias], np.int32))]
    a = net.put(ops.Conv2D, (0, 1, 2), activation("a", (1, 4, 4, 2), 0.01, -128), activation=Activation.RELU)
    side, padding = (4, Padding2D(1, 1, 1, 1)) if padded else (2, Padding2D())
    taps = np.arange(1, 19).astype(np.int8).reshape(1, 3, 3, 2)
    net.tensors += [constant("w1", taps, np.array([0.01])), constant("b1", np.array([0, 9], np.int32))]
    n = len(net.tensors)
    b = net.put(ops.DepthwiseConv2D, (a, n - 2, n - 1), activation("b", (1, side, side, 2), 0.02, 0), padding=padding)
    net.tensors += [constant("w2", np.array([[7, 9]], np.int8).reshape(1, 1, 1, 2), np.array([0.01]))]
    n = len(net.tensors)
    return net.graph(net.put(ops.Conv2D, (b, n - 1), activation("y", (1, side, side, 1), 0.02, 3)))


@pytest.mark.parametrize(
    ("bias", "padded", "left"),
    [
        (-500, True, 1),  # clamped to the zero point, which is what padding is
        (5000, True, 2),  # a constant next to padding of another value is an image, so it stays
        (5000, False, 1),  # without padding it is a constant
    ],
)
def test_constants_and_padding(bias: int, padded: bool, left: int) -> None:
    """Catches a constant folded although the padding around it differs, and one kept for no reason."""
    graph = two_layers(bias, padded)
    result = simplify.simplify(graph)
    assert [result.graph.output_of(op).shape[-1] for op in result.graph.operators] == [left, left, 1]
    for values in inputs(np.random.default_rng(0), graph):
        assert_same(graph, result, values)


def test_padding_goes_into_the_convolution() -> None:
    """Catches PAD folded where it is not exact: MobileNetV2's four all go, to the byte."""
    graph = zoo.build("mobilenet_v2")
    result = simplify.simplify(graph)
    assert not any(isinstance(op, ops.Pad) for op in result.graph.operators)
    assert len(result.steps) == 8
    assert_same(graph, result, next(inputs(np.random.default_rng(2), graph)))


def test_padding_with_other_values_stays() -> None:
    """Catches PAD folded into a convolution whose zero point is not what PAD writes, or into a pool."""
    for seed in range(20):
        net = Net(seed, (1, 4, 4, 2))
        zero = int(net.tensors[0].zero_points[0])
        other = activation("p", (1, 6, 6, 2), 0.05, zero + (1 if zero < 127 else -1))
        padded = net.put(ops.Pad, (0,), other, paddings=((0, 0), (1, 1), (1, 1), (0, 0)))
        y = net.weighted(ops.Conv2D, padded, net.pruned((3, 1, 1, 2), 0, 0), 0, (1, 6, 6, 3))
        pool = net.put(ops.MaxPool2D, (y,), activation("m", (1, 6, 6, 3), 0.1, 0), kernel=Size2D(1, 1))
        result = simplify.simplify(net.graph(pool))
        assert any(isinstance(op, ops.Pad) for op in result.graph.operators)


def test_identities_become_reshapes() -> None:
    """Catches a requantisation taken for the identity when it is not, and identities that are kept."""
    x = activation("x", (1, 4), 0.5, 3)
    same = single(ops.Quantize, [x, activation("y", (1, 4), 0.5, 3)], 1)
    assert same.operators[0].is_identity(same)
    for y in (activation("y", (1, 4), 0.5, 4), activation("y", (1, 4), 0.5000001, 3), activation("y", (1, 4), 0.25, 3)):
        graph = single(ops.Quantize, [x, y], 1)
        every = np.arange(-128, 128).astype(np.int8)
        exact = all(reference.run(graph, [v.reshape(1, 4)])[0].tolist() == [v.tolist()] for v in every.reshape(-1, 4))
        assert graph.operators[0].is_identity(graph) == exact
    moved = single(
        ops.Transpose,
        [activation("x", (1, 3, 1, 5), 1.0), activation("y", (3, 1, 1, 5), 1.0)],
        1,
        permutation=(1, 0, 2, 3),
    )
    assert moved.operators[0].is_identity(moved)
    result = simplify.simplify(same)
    assert [op.kind for op in result.graph.operators] == ["RESHAPE"]


@pytest.mark.parametrize("kind", CASES)
def test_identity_means_identity(kind: str) -> None:
    """Catches is_identity saying yes to an operator that changes a byte, over random attributes."""
    for seed in range(40):
        rng = np.random.default_rng([seed, 5])
        graph = CASES[kind](rng)
        if graph.operators[0].is_identity(graph):
            for values in inputs(rng, graph):
                np.testing.assert_array_equal(
                    reference.run(graph, values)[0].reshape(-1), values[0].reshape(-1), f"{kind} seed {seed}"
                )


def test_constants_and_dead_code_go() -> None:
    """Catches a constant operand that is not folded and an operator that nobody reads."""
    net = Net(0, (1, 4))
    net.tensors.append(constant("c", np.array([[1, -2, 3, -4]], np.int8), np.array([0.1])))
    folded = net.put(ops.Relu, (1,), activation("r", (1, 4), 0.1, -128))
    total = net.put(ops.Add, (0, folded), activation("s", (1, 4), 0.2, 0))
    net.put(ops.Tanh, (0,), activation("dead", (1, 4), 0.01, 0))
    graph = net.graph(total)
    result = simplify.simplify(graph)
    assert [op.kind for op in result.graph.operators] == ["ADD"]
    values = [np.array([[5, 6, 7, 8]], np.int8)]
    np.testing.assert_array_equal(reference.run(result.graph, values)[0], reference.run(graph, values)[0])


def test_channels_that_nobody_reads_go_in_rounds() -> None:
    """Catches a single round: channels that only dropped channels read are unread in turn."""
    net = Net(1, (1, 3, 3, 2))
    a = net.weighted(ops.Conv2D, 0, net.pruned((6, 1, 1, 2), 0, 0), 0, (1, 3, 3, 6))
    middle = net.pruned((4, 1, 1, 6), 0, 0)
    middle[:2, ..., 3:] = 0  # channels 3, 4, 5 of a are read by channels 2, 3 of b only
    b = net.weighted(ops.Conv2D, a, middle, 0, (1, 3, 3, 4))
    last = net.pruned((2, 1, 1, 4), 0, 0)
    last[..., 2:] = 0  # which nobody reads
    graph = net.graph(net.weighted(ops.Conv2D, b, last, 0, (1, 3, 3, 2)))
    result = simplify.simplify(graph)
    assert [result.graph.output_of(op).shape[-1] for op in result.graph.operators] == [3, 2, 2]
    for values in inputs(np.random.default_rng(0), graph):
        assert_same(graph, result, values)


@pytest.mark.slow
def test_real_visual_wake_words_halves() -> None:
    """Catches lost exactness on trained weights, and lost savings: half of that model's work is constant."""
    folder = os.environ.get("MEMAOPT_MODELS")
    if not folder:
        pytest.skip("MEMAOPT_MODELS is not set")
    for path in sorted(Path(folder).glob("*.tflite")):
        graph = Model.read(path).graph
        result = simplify.simplify(graph)
        for values in inputs(np.random.default_rng(3), graph):
            assert_same(graph, result, values)
        before, after = summary.summarize(graph), summary.summarize(result.graph)
        if path.stem == "vww_96_int8":
            assert after.macs < 0.5 * before.macs
            assert after.weight_bytes < 0.2 * before.weight_bytes
        else:
            assert result.graph.operators == graph.operators


def test_parts_of_constants_alone_stay_as_they_are() -> None:
    """Catches an analysis that stumbles over operators all of whose inputs are constants, where they end in an output
    of the network: as an operator that may change nothing, and beside channels that are dropped."""
    net, rng = Net(3, (1, 4, 4, 3)), np.random.default_rng(1)
    fixed = constant("fixed", np.arange(12).reshape(1, 2, 2, 3).astype(np.int8), np.array([0.05]))
    net.tensors.append(fixed)
    ends = [
        net.put(cls, (1,), activation(cls.kind, fixed.shape, 0.05, 0), **more)
        for cls, more in ((ops.Relu, {}), (ops.Concatenation, {"axis": 3}), (ops.Quantize, {}))
    ]
    y = net.weighted(ops.Conv2D, 0, net.pruned((4, 1, 1, 3), 0.5, 0), 0, (1, 4, 4, 4))
    graph = net.graph(net.weighted(ops.Conv2D, y, net.pruned((2, 1, 1, 4), 0, 0.3), 0, (1, 4, 4, 2)), *ends)
    result = simplify.simplify(graph)
    assert result.kept
    for values in inputs(rng, graph):
        assert_same(graph, result, values)
