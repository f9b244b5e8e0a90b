"""Networks at the edge of what one is: constants that are read like activations, no layer, no operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from network_helpers import MCU
from tensors_helpers import activation, constant

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.choice.compile import compile_network
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError, UnsupportedModelError
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.trials import network as network_trial


def _without_layers(operators: int) -> Graph:
    tensors = (activation("x", (1, 90), 0.1, 0), activation("y", (9, 10), 0.1, 0))
    reshape = ops.Reshape(inputs=(0,), outputs=(1,))
    return Graph("nothing", tensors, (reshape,)[:operators], (0,), (operators,))


def test_equal_constants_are_one() -> None:
    """Catches constants that a compiler merges, so that the board counts the accesses to one under another's name."""
    values = [np.array([[7, 1]], np.int8), np.array([[7, 1]], np.int8), np.array([[9, 1]], np.int8)]
    constants = [constant(f"c{i}", v, np.array([0.1])) for i, v in enumerate(values)]
    tensors = (activation("x", (1, 2), 0.1, 0), *constants, activation("y", (4, 2), 0.1, 0))
    op = ops.Concatenation(inputs=(1, 0, 2, 3), outputs=(4,), axis=0)
    plan = compile_network(Graph("constants", tensors, (op,), (0,), (4,)), MCU)
    assert len(set(emit.constant_operands(plan).values())) == 2
    assert network_trial.run(plan, 2).passed


def test_the_certificate_of_a_network_without_layers_holds(tmp_path: Path) -> None:
    """Catches a verifier that finds nothing cheaper than nothing."""
    path = tmp_path / "nothing.tflite"
    path.write_bytes(writer.write(_without_layers(1)))
    network_check.verify(certificate.certify(compile_network(path, MCU), path.name), Model.read(path))


def test_constants_of_equal_bytes_and_two_types_are_two() -> None:
    """Catches a float constant that is declared as the bytes of another one, which no compiler takes."""
    zeros = constant("zeros", np.zeros((1, 8), np.int8), np.array([0.1]))
    floats = constant("floats", np.zeros((1, 2), np.float32))
    ends = activation("x", (1, 2), 0.1, 0), activation("y", (1, 10), 0.1, 0), activation("z", (1, 2), 0.1, 0)
    joined = ops.Concatenation(inputs=(0, 3), outputs=(1,), axis=1)
    quantized = ops.Quantize(inputs=(4,), outputs=(2,))
    plan = compile_network(Graph("types", (*ends, zeros, floats), (joined, quantized), (0,), (1, 2)), MCU)
    assert len(set(emit.constant_operands(plan).values())) == 2
    assert network_trial.run(plan, 2).passed


@pytest.mark.parametrize("operators", [0, 1])
def test_a_network_without_layers_keeps_its_budgets(operators: int) -> None:
    """Catches a budget that is not held against a network that runs nothing, and a refusal that ends in a traceback."""
    graph = _without_layers(operators)
    plan = compile_network(graph, MCU)
    for what in ("arena", "sram", "flash"):
        taken = getattr(plan, f"{what}_bytes")
        assert compile_network(graph, MCU, **{what: taken}).choice == plan.choice
        with pytest.raises(InfeasibleError, match=f"nothing needs .*{taken:,} .*1 more than the {taken - 1:,} given"):
            compile_network(graph, MCU, **{what: taken - 1})
    assert network_trial.run(plan, 2).passed


def test_squeezing_nothing_is_no_squeezing_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a SQUEEZE without axes, which TFLite takes for one of all axes of 1, whatever shape the file gives."""
    tensors = [activation("x", (1, 4, 1), 0.1, 0), activation("y", (1, 4, 1), 0.1, 0)]
    graph = Graph("squeeze", tuple(tensors), (ops.Squeeze(inputs=(0,), outputs=(1,)),), (0,), (1,))
    with pytest.raises(InputError, match="no axis is dropped"):
        writer.write(graph)
    monkeypatch.setattr(ops.Squeeze, "write", lambda *_: Form(options={"squeezeDims": []}))
    with pytest.raises(UnsupportedModelError, match=r"SQUEEZE.*squeezing all axes of \[1, 4, 1\] does not give \[1, 4"):
        tflite.parse(writer.write(graph), "squeeze.tflite")
