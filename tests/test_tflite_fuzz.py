"""A short run of the fuzzer; MEMAOPT_FUZZ sets the number of files (10,000 for a long run)."""

from __future__ import annotations

import os

import pytest

from memaopt.errors import InputError
from memaopt.networks import tflite

pytest.importorskip("ai_edge_litert")

import fuzz_tflite


def test_mutated_files_end_in_one_line_or_work() -> None:
    """Catches a crash, a traceback, a hang, gigabytes of memory, or a network that computes something else."""
    count = int(os.environ.get("MEMAOPT_FUZZ", "400"))
    outcomes = fuzz_tflite.run(count, seed=0)
    assert outcomes["InputError"] > count // 10, "the fuzzer does not reach the verifier"
    assert outcomes["UnsupportedModelError"] > count // 20, "the fuzzer does not reach the checks"
    assert outcomes["accepted"] > count // 20, "the fuzzer does not reach the kernels"


def test_every_prefix_of_a_file_is_refused() -> None:
    """Catches a read beyond the end: a file cut anywhere before its last byte cannot be whole."""
    data = fuzz_tflite.seeds()[0]
    for length in range(0, len(data) - 8, 3):
        with pytest.raises(InputError, match=r"cut\.tflite|tensor|operator"):
            tflite.parse(data[:length], "cut.tflite")
