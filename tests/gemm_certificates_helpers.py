"""Certificates of small GEMMs, each made once."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from models_helpers import machine_with

from memaopt.certificates.gemm import Certificate, certify
from memaopt.problems.gemm import Gemm, gemm

OUTSIDE = {"a": "qspi", "b": "qspi", "c": "qspi"}
_MIXED = {"a": "flash", "b": "sram", "c": "qspi"}

#: Spilling partial sums, ragged tiles, parameters of channels, accumulators beside a C in SRAM, both bufferings.
CASES: dict[str, tuple[Gemm, int, str, str]] = {
    "f32 all outside": (gemm(7, 5, 9, dtype="f32", placement=OUTSIDE), 660, "bytes", "single"),
    "q15 spilling": (gemm(6, 11, 6, dtype="q15", placement=OUTSIDE), 676, "cycles", "double"),
    "s8 mixed": (gemm(9, 23, 10, dtype="s8", placement=_MIXED, weights="argument"), 1000, "energy", "single"),
    "s8 constants": (gemm(4, 8, 6, dtype="s8", placement={**_MIXED, "c": "sram"}), 3000, "cycles", "single"),
    "f32 closed form alone": (gemm(7, 5, 9, dtype="f32", placement=OUTSIDE), 660, "bytes", "single"),
    "q15 beside C": (gemm(3, 22, 1, dtype="q15", placement={**OUTSIDE, "c": "sram"}), 541, "bytes", "single"),
}


@cache
def certified(name: str) -> Certificate:
    """The certificate of a case."""
    problem, sram, objective, buffering = CASES[name]
    return certify(
        problem,
        machine_with(sram, waits=3, core=9 if problem.weights is None else 14, fpu=11),
        objective,
        buffering,
        "closed form" if "alone" in name else "full",
    )


def fields(cert: Certificate) -> dict[str, Any]:
    """Its JSON as data."""
    data: dict[str, Any] = json.loads(cert.to_json())
    return data
