"""Mutated .tflite files through the whole compiler: a clear error, or a library that computes the reference's bytes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fuzz_tflite
import numpy as np
from network_helpers import MCU, Library

from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError
from memaopt.networks import tflite
from memaopt.networks.compile import compile_network

COUNT = int(os.environ.get("MEMAOPT_FUZZ", "60"))
#: Building with the sanitizer takes most of the time, so only some of the accepted files are run.
BUILT = int(os.environ.get("MEMAOPT_FUZZ_BUILT", "8"))


def test_mutated_files_end_in_one_line_or_a_correct_library(tmp_path: Path) -> None:
    """Catches a crash, a hang, or wrong bytes, in the reader, the choice of kernels, the plan or the C."""
    seeds = fuzz_tflite.seeds()
    accepted = built = 0
    messages: list[str] = []
    for number in range(COUNT):
        rng = np.random.default_rng([77, number])
        data = fuzz_tflite.mutated(rng, seeds)
        start = time.process_time()
        try:
            plan = compile_network(tflite.parse(bytes(data), f"fuzz{number}"), MCU)
            emit.files(plan)
        except (InputError, InfeasibleError) as error:
            messages.append(str(error))
            continue
        assert time.process_time() - start < 10
        accepted += 1
        if built < BUILT:
            built += 1
            Library(plan, tmp_path / str(number)).check(emit.random_inputs(plan, number))
    assert messages
    assert not any("\n" in message for message in messages)
    assert accepted
