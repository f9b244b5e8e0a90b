"""TFLite Micro's kernels beside LiteRT's reference ones: where they differ, the documents say so."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cases_helpers import case_of
from networks_helpers import inputs
from tflite_helpers import Micro

from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.operators.registry import OPERATORS

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tflite_micro")

_DOCUMENT = Path(__file__).parents[2] / "docs" / "networks.md"
_SEEDS = int(os.environ.get("MEMAOPT_REFERENCE_SEEDS", "4"))
_KINDS = tuple(kind for kind, cls in OPERATORS.items() if not cls.micro)


def _differs(kind: str, seed: int) -> bool:
    """Whether outputs differ, of a case that both compute."""
    graph, rng = case_of(kind, seed)
    data, values = writer.write(graph), next(inputs(rng, graph))
    try:
        found = Micro(data, 1).run(values)[0]
    except RuntimeError:
        return False  # TFLite Micro lacks it
    wanted = Oracle(data).run(values)[0]
    return not np.array_equal(wanted, found.reshape(wanted.shape))


def test_every_difference_is_named() -> None:
    """Catches an operator that TFLite Micro computes otherwise, and of which no reader hears."""
    section = _DOCUMENT.read_text(encoding="utf-8").split("## TFLite Micro")[1].split("\n## ")[0]
    named = {line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")} - {"operator"}
    differing = {kind for kind in _KINDS if any(_differs(kind, seed) for seed in range(_SEEDS))}
    assert differing <= named
    assert {"RELU6", "SPACE_TO_BATCH_ND", "TANH"} <= differing
    assert named <= set(OPERATORS)
