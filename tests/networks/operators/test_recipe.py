"""The recipes for operators in CONTRIBUTING.md, followed."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import jinja2
import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers
from stack_helpers import overclaimed
from tensors_helpers import activation, constant, single

from memaopt import kernels
from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.choice.compile import compile_network
from memaopt.kernels import registry as kernel_registry
from memaopt.kernels.text import templates
from memaopt.machines.mcu import mcu
from memaopt.networks import operators, reference
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.operators import registry
from memaopt.trials import network as network_trial

_CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"


def test_a_unary_operator_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a recipe that leaves something out: the file that it shows is all that a network needs to be read,
    solved, verified and run with that operator, and the documents keep what the code says."""
    pytest.importorskip("ai_edge_litert")
    text = _CONTRIBUTING.read_text(encoding="utf-8").split("## Add an operator")[1].split("\n## ")[0]
    folder = tmp_path / "operators"
    folder.mkdir()
    (folder / "sign.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], encoding="utf-8")
    for path in re.findall(r"`((?:memaopt|tests|docs)/[\w/.]+)`", text):
        assert (_CONTRIBUTING.parent / path).exists(), path

    monkeypatch.setattr(operators, "__path__", [*operators.__path__, str(folder)])
    monkeypatch.setitem(sys.modules, f"{operators.__name__}.sign", None)  # forgotten afterwards
    del sys.modules[f"{operators.__name__}.sign"]
    importlib.invalidate_caches()
    found = registry.load([str(folder)])
    assert [*found] == ["SIGN"]
    monkeypatch.setitem(registry.OPERATORS, "SIGN", found["SIGN"])

    graph = single(found["SIGN"], [activation("x", (1, 40), 0.1, 3), activation("y", (1, 40), 0.01, -5)], 1)
    x = np.arange(-20, 20, dtype=np.int8).reshape(1, 40)
    np.testing.assert_array_equal(reference.run(graph, [x])[0], 100 * np.sign(x.astype(int) - 3) - 5)
    _check_in_a_network(graph, tmp_path, np.random.default_rng(2))


def test_an_operator_with_weights_is_two_files_and_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a list of layers, families, sizes or claims that one more operator with weights has to be put into."""
    recipe = Path(__file__).parent / "recipe"
    for package in (operators, kernels):
        folder = str(recipe / package.__name__.split(".")[-1])
        monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    for module in ("networks.operators.scaled_channels", "kernels.scaled_channels"):
        monkeypatch.setitem(sys.modules, f"memaopt.{module}", None)  # forgotten afterwards
        del sys.modules[f"memaopt.{module}"]
    importlib.invalidate_caches()
    loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(recipe), templates._environment().loader])
    monkeypatch.setattr(templates._environment(), "loader", loader)
    found = registry.load([str(recipe / "operators")])
    (kind, op), (family,) = *found.items(), kernel_registry.load([str(recipe / "kernels")])
    monkeypatch.setitem(registry.OPERATORS, kind, op)
    monkeypatch.setattr(kernel_registry, "FAMILIES", (*kernel_registry.FAMILIES, family))

    rng = np.random.default_rng(3)
    weights = constant("weights", rng.integers(-127, 128, 5).astype(np.int8), np.array([0.02]))
    x, y = activation("x", (1, 3, 5), 0.1, 3), activation("y", (1, 3, 5), 0.11, -5)
    graph = single(op, [x, weights, y], 1)
    layer = graph.operators[0].lower(graph).layer
    (plan,) = kernel_registry.plans(layer)
    made = {"scaled": (layer, kernel_registry.emit(layer, plan, "scaled"))}
    h.check_on_host(tmp_path, made, rng)
    h.check_on_board(tmp_path, made, rng, compilers()[0], kinds=["random"], cycles_within=0.3)
    assert not overclaimed(tmp_path, [(layer, plan)])
    _check_in_a_network(graph, tmp_path, rng)


def _check_in_a_network(graph: Graph, folder: Path, rng: np.random.Generator) -> None:
    """Written to a file, read, compiled, verified and run."""
    path = folder / "made.tflite"
    path.write_bytes(writer.write(graph))
    read, x = Model.read(path), rng.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)
    np.testing.assert_array_equal(reference.run(read.graph, [x])[0], reference.run(graph, [x])[0])
    plan = compile_network(path, mcu("stm32l4r5"))
    network_check.verify(certificate.certify(plan, path.name), read)
    assert network_trial.run(plan, 2).passed


def test_every_base_says_what_is_left() -> None:
    """Catches a base whose parts changed under the table of the recipe."""
    text = _CONTRIBUTING.read_text(encoding="utf-8")
    bases = {
        "unary": "Unary",
        "floating": "Floating",
        "pairwise": "Pairwise",
        "moving": "Moving",
        "gathered": "Gathered",
        "pool": "Pool2D",
    }
    for module, name in bases.items():
        base = getattr(importlib.import_module(f"{operators.__name__}.{module}"), name)
        (row,) = re.findall(rf"\| `{module}\.{name}` \|.*?\|(.*?)\|\n", text)
        assert {*re.findall(r"`(\w+)`", row)} == base.__abstractmethods__
