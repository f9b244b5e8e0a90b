"""Operators without a kernel family of their own, compiled alone: on the virtual board, every byte and access."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from networks_helpers import CASES

from memaopt.choice.compile import compile_network
from memaopt.machines.mcu import mcu
from memaopt.trials import network as network_trial


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["GATHER", "PACK"])
def test_an_operator_runs_as_promised(kind: str, seed: int) -> None:
    """Catches a layer that an operator lowers to wrongly: other bytes than the reference's, or other accesses than
    the promised ones."""
    graph = CASES[kind](np.random.default_rng([zlib.crc32(kind.encode()), seed, 77]))
    assert network_trial.run(compile_network(graph, mcu("stm32l4r5")), 3).passed
