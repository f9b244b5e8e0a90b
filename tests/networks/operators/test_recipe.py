"""The recipe for an operator in CONTRIBUTING.md, followed."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from tensors_helpers import activation, single

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.choice.compile import compile_network
from memaopt.machines.mcu import mcu
from memaopt.networks import operators, reference
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
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
    path = tmp_path / "sign.tflite"
    path.write_bytes(writer.write(graph))
    x = np.arange(-20, 20, dtype=np.int8).reshape(1, 40)
    np.testing.assert_array_equal(reference.run(Model.read(path).graph, [x])[0], 100 * np.sign(x.astype(int) - 3) - 5)
    plan = compile_network(path, mcu("stm32l4r5"))
    network_check.verify(certificate.certify(plan, path.name), Model.read(path))
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
