"""Element-wise operators fused: the same bytes as TFLite, and nothing fused that one value forbids."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gated_helpers import gated
from network_helpers import MCU, Library
from networks_helpers import chain, inputs
from tensors_helpers import activation, constant, single

from memaopt.choice.compile import compile_network
from memaopt.errors import InputError
from memaopt.networks import checks, reference
from memaopt.networks import operators as ops
from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Activation, Bounds, Operator
from memaopt.networks.simplify import simplify
from memaopt.trials import network as network_trial

SEEDS = int(os.environ.get("MEMAOPT_CHAIN_SEEDS", "300"))
EVERY = np.arange(-128, 128).astype(np.int8)


def chained(tensors: list[Tensor], *steps: tuple[type[Operator], dict[str, Any]]) -> Graph:
    """Operators one after the other on tensors 0, 1, 2, ..."""
    operators = [
        cls(inputs=(i,), outputs=(i + 1,), location=i, **attributes) for i, (cls, attributes) in enumerate(steps)
    ]
    graph = Graph("chained", tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))
    checks.check(graph)
    return graph


def test_random_chains_equal_tflite() -> None:
    """Catches a table composed in the wrong order, a clamp folded where one value differs, an operator fused that
    something else reads: outputs of the network, and every tensor that is left, against TFLite's interpreter."""
    pytest.importorskip("ai_edge_litert")
    done = {"one table": 0, "a table, it": 0, "folded": 0, "goes through": 0}
    bounded = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 31])
        graph = chain(rng)
        oracle = Oracle(writer.write(graph))
        result = simplify.simplify(graph)
        for key in done:
            done[key] += any(key in step for step in result.steps)
        bounded += any(isinstance(op, ops.Bounded) and op.bounds is not None for op in result.graph.operators)
        for values in inputs(rng, graph):
            wanted = oracle.run(values)
            for found, expected in zip(reference.run(result.graph, values), wanted, strict=True):
                np.testing.assert_array_equal(found, expected, f"seed {seed}: {result.steps}")
            for op, found in reference.layers(result.graph, values):
                if not result.kept:
                    np.testing.assert_array_equal(found, oracle.tensor(op.output), f"seed {seed}: {result.steps}")
    # The generator makes all of them often, so none passes for want of cases.
    assert min(*done.values(), bounded) >= SEEDS // 30, (done, bounded)


def test_random_chains_compile(tmp_path: Path) -> None:
    """Catches bounds that a kernel ignores, a table in the wrong order in C, and promises that fusing breaks."""
    for seed in range(6):
        rng = np.random.default_rng([seed, 32])
        graph = chain(rng)
        plan = compile_network(graph, MCU, name=f"chain_{seed}")
        library = Library(plan, tmp_path / str(seed))
        for values in itertools.islice(inputs(rng, graph), 3):
            library.check(values)
        trial = network_trial.run(plan, 2)
        assert trial.wrong == 0
        assert all(layer.counted == layer.promised for layer in trial.layers)


def test_a_gate_on_the_board() -> None:
    """Catches a fused network that TFLite computes otherwise, a gate that falls back to the generic kernel, and
    predictions of element-wise layers that cannot be trusted."""
    pytest.importorskip("ai_edge_litert")
    graph = gated(np.random.default_rng(8))
    plan = compile_network(graph, MCU.with_wait_states(0))
    families = {(layer.op.kind, layer.plan.family) for layer in plan.layers}
    assert {("MUL", "product"), ("ADD", "sum through table"), ("LOOKUP", "lookup sixteens")} <= families
    assert len(plan.layers) == len(graph.operators) - 4
    oracle = Oracle(writer.write(graph))
    for values in inputs(np.random.default_rng(1), graph):
        np.testing.assert_array_equal(reference.run(plan.graph, values)[0], oracle.run(values)[0])
    trial = network_trial.run(plan, 2)
    assert trial.passed
    for layer, counted in zip(plan.layers, trial.layers, strict=True):
        if layer.op.kind in ("MUL", "ADD", "HARD_SWISH"):
            assert abs((layer.cycles + layer.stall_cycles) / counted.cycles - 1) < 0.03, layer.name


def test_equal_tables_are_told_apart() -> None:
    """Catches accesses counted for another layer: a compiler may merge constants of equal values into one."""
    tensors, operators = [], []
    for n, shape in enumerate([(4, 8), (5,)]):
        tensors += [
            activation(f"{name}{n}", shape, s, z)
            for name, s, z in (("a", 0.031073, -3), ("b", 0.044219, 100), ("s", 0.052511, 0), ("y", 0.03, -20))
        ]
        at = 4 * n
        operators.append(ops.Add(inputs=(at, at + 1), outputs=(at + 2,), location=2 * n))
        operators.append(ops.HardSwish(inputs=(at + 2,), outputs=(at + 3,), location=2 * n + 1))
    graph = Graph("equal", tuple(tensors), tuple(operators), (0, 1, 4, 5), (3, 7))
    plan = compile_network(graph, MCU.with_wait_states(0))
    assert [layer.plan.family for layer in plan.layers] == ["sum through table"] * 2
    assert network_trial.run(plan, 2).passed


def test_tables_compose_over_all_values() -> None:
    """Catches a composition in the wrong order or off by an entry."""
    shape = (2, 128)
    tensors = [activation(f"t{i}", shape, s, z) for i, (s, z) in enumerate([(0.04, 3), (0.05, -7), (0.01, 20)])]
    graph = chained(tensors, (ops.HardSwish, {}), (ops.Tanh, {}))
    result = simplify.simplify(graph)
    (op,) = result.graph.operators
    assert isinstance(op, ops.Lookup)
    assert (op.input, op.output, op.of) == (0, 2, "HARD_SWISH, TANH")
    values = [EVERY.reshape(shape)]
    np.testing.assert_array_equal(reference.run(result.graph, values)[0], reference.run(graph, values)[0])
    with pytest.raises(InputError, match="no form"):
        writer.write(result.graph)


@pytest.mark.parametrize("output_of_network", [True, False])
def test_what_others_read_stays(output_of_network: bool) -> None:
    """Catches a table that is fused although its input is read elsewhere, which would compute that twice."""
    tensors = [activation(f"t{i}", (4,), 0.05, i) for i in range(4)]
    operators = (
        ops.HardSwish(inputs=(0,), outputs=(1,), location=0),
        ops.Tanh(inputs=(1,), outputs=(2,), location=1),
        ops.Add(inputs=(1, 2), outputs=(3,), location=2),
    )
    if output_of_network:
        graph = Graph("both", tuple(tensors[:3]), operators[:2], (0,), (1, 2))
    else:
        graph = Graph("read", tuple(tensors), operators, (0,), (3,))
    assert simplify.simplify(graph).graph.operators == graph.operators


def test_constants_of_more_than_one_value_are_no_tables() -> None:
    """Catches a sum with a constant for each channel taken for a function of one element."""
    for data in (np.array([1, 2], np.int8), np.full((3, 2), 5, np.int8)):
        tensors = [activation("x", (2,), 0.1), constant("c", data, np.array([0.1])), activation("y", data.shape, 0.2)]
        graph = single(ops.Add, tensors, 1)
        op = graph.operators[0]
        assert isinstance(op, ops.Add)
        assert op.decider(graph) is None


def _summed(scales: tuple[float, float], zero_points: tuple[int, int], reader: type[Operator]) -> Graph:
    """ADD of every pair of inputs, read by a unary operator."""
    square = (256, 256)
    tensors = (
        activation("a", (256, 1), 0.05, 3),
        activation("b", (256,), 0.03, -9),
        activation("s", square, scales[0], zero_points[0]),
        activation("y", square, scales[1], zero_points[1]),
    )
    operators = ops.Add(inputs=(0, 1), outputs=(2,), location=0), reader(inputs=(2,), outputs=(3,), location=1)
    return Graph("summed", tensors, operators, (0, 1), (3,))


@pytest.mark.parametrize(
    ("graph", "activation_", "bounds"),
    [
        (_summed((0.05, 0.05), (-20, -20), ops.Relu), Activation.RELU, None),
        (_summed((0.05, 0.05), (-20, -20), ops.Relu6), Activation.RELU6, None),
        (_summed((0.05, 0.05), (4, 34), ops.Quantize), Activation.NONE, Bounds(-98, 127)),
        (_summed((0.05, 0.05), (34, 4), ops.Quantize), Activation.NONE, Bounds(-128, 97)),
        (_summed((0.05, 0.05), (34, 4), ops.Relu), Activation.NONE, Bounds(4, 97)),
        (_summed((0.05, 0.0507), (0, 0), ops.Relu), None, None),
        (_summed((0.05, 0.05), (0, 0), ops.HardSwish), None, None),
        (_summed((0.05, 0.1), (0, 0), ops.Quantize), None, None),
    ],
)
def test_clamps_fold(graph: Graph, activation_: Activation | None, bounds: Bounds | None) -> None:
    """Catches a shift or a bound off by one, a rescaling taken for a shift, a sum that loses its scale to its table."""
    result = simplify.simplify(graph).graph
    (op,) = result.operators
    assert isinstance(op, ops.Add)
    if activation_ is None:
        assert (op.activation, op.bounds, op.then) == (Activation.NONE, None, graph.operators[1].kind)
    else:
        assert (op.activation, op.bounds, op.through) == (activation_, bounds, ())
    pairs = [EVERY[:, None], EVERY]
    np.testing.assert_array_equal(reference.run(result, pairs)[0], reference.run(graph, pairs)[0])


def test_identity_on_what_the_producer_gives() -> None:
    """Catches the producer's own clamp left out of account: LEAKY_RELU after a sum with RELU changes nothing."""
    graph = _summed((0.05, 0.05), (5, 5), ops.Relu)
    leaky = ops.LeakyRelu(inputs=(2,), outputs=(3,), location=1, alpha=0.3)
    for activation_, then in ((Activation.RELU, ""), (Activation.NONE, "LEAKY_RELU")):
        add = graph.operators[0].model_copy(update={"activation": activation_})
        (op,) = simplify.simplify(graph.replace(operators=(add, leaky))).graph.operators
        assert isinstance(op, ops.Add)
        assert op.then == then


@pytest.mark.parametrize("cls", [ops.AveragePool2D, ops.MaxPool2D])
def test_pools_take_clamps_but_no_shift(cls: type[Operator]) -> None:
    """Catches a zero point folded into a pool, which adds none."""
    for zero_point, left in ((-7, 1), (-6, 2)):
        tensors = [activation("x", (1, 4, 4, 4), 0.1, -7), activation("p", (1, 2, 2, 4), 0.1, -7)]
        tensors.append(activation("y", (1, 2, 2, 4), 0.1, zero_point))
        two = ops.Size2D(2, 2)
        reader = ops.Relu if zero_point == -7 else ops.Quantize
        graph = chained(tensors, (cls, {"kernel": two, "stride": two}), (reader, {}))
        result = simplify.simplify(graph).graph
        assert len(result.operators) == left
        for values in inputs(np.random.default_rng(1), graph):
            np.testing.assert_array_equal(reference.run(result, values)[0], reference.run(graph, values)[0])


def test_mean_takes_bounds(tmp_path: Path) -> None:
    """Catches a MEAN whose fast or generic kernel ignores the bounds, which TFLite's own never has."""
    shapes = {"x": (1, 8, 8, 8), "m": (1, 8), "y": (1, 8)}
    tensors = [activation(name, shape, 0.05, -3) for name, shape in shapes.items()]
    graph = chained(tensors, (ops.Mean, {"axes": (1, 2)}), (ops.Relu, {}))
    result = simplify.simplify(graph).graph
    (op,) = result.operators
    assert isinstance(op, ops.Mean)
    assert op.bounds == Bounds(-3, 127)
    assert op.clamp(result) == (-3, 127)
    library = Library(compile_network(graph, MCU), tmp_path)
    for values in inputs(np.random.default_rng(1), graph):
        library.check(values)


def test_bounds_are_checked() -> None:
    """Catches bounds that no int8 has, and tables that are no tables of int8."""
    for table in ((0,) * 255, (0,) * 255 + (128,)):
        with pytest.raises(ValueError, match="256 values"):
            ops.Add(inputs=(0, 1), outputs=(2,), through=table)
        with pytest.raises(ValueError, match="256 values"):
            ops.Lookup(inputs=(0,), outputs=(1,), values=table)
    for bounds in (Bounds(-129, 0), Bounds(3, 2), Bounds(0, 128)):
        with pytest.raises(ValueError, match="no range"):
            ops.Add(inputs=(0, 1), outputs=(2,), bounds=bounds)
