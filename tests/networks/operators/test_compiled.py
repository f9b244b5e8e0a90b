"""Operators compiled alone: built here with a sanitizer, and on the virtual board, every byte and access."""

from __future__ import annotations

import functools
import itertools
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from alone_helpers import Alone, faults
from cases_helpers import case_of
from network_helpers import MCU, Library
from networks_helpers import CASES, inputs, uint8
from sixteen_cases_helpers import SIXTEEN_CASES, int16_values
from tensors_helpers import activation, constant
from tflite_helpers import oracle_of

from memaopt.choice.compile import compile_network
from memaopt.emit import network as emit
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.registry import OPERATORS
from memaopt.trials import library
from memaopt.trials import network as network_trial
from tests.fuzz.host import compilers

_SEEDS = int(os.environ.get("MEMAOPT_NETWORK_SEEDS", "2"))
#: Networks of one program, and of one library on the board.
_TOGETHER = 20


def _case(kind: str, seed: int) -> Alone:
    """An operator's random network, and inputs."""
    graph, rng = case_of(kind, seed)
    return Alone(graph, list(inputs(rng, graph)))


def _case_of_16(kind: str, seed: int) -> Alone:
    rng = np.random.default_rng([seed, 16])
    graph = SIXTEEN_CASES[kind](rng)
    ends = [graph.tensors[index] for index in graph.inputs]
    return Alone(graph, [[int16_values(rng, *t.shape).astype(t.dtype.value) for t in ends] for _ in range(4)])


#: What makes the networks of each kind, by the kind and a seed.
_MAKERS: dict[str, Callable[[int], Alone]] = {
    **{kind: functools.partial(_case, kind) for kind in CASES},
    **{f"{kind} of int16": functools.partial(_case_of_16, kind) for kind in SIXTEEN_CASES},
}
#: Few seeds of several kinds share a program, many seeds of one kind have some of their own.
_EACH = max(_TOGETHER // _SEEDS, 1)
_GROUPS = [list(_MAKERS)[first : first + _EACH] for first in range(0, len(_MAKERS), _EACH)]


def _check(graph: Graph, rng: np.random.Generator, folder: Path) -> None:
    """The library's outputs are TFLite's, built here, on the board, and executed in Python as planned."""
    plan = compile_network(graph, MCU)
    built, oracle = Library(plan, folder), oracle_of(graph)
    for values in inputs(rng, graph):
        wanted = oracle.run(values)
        for found in (built.run(values)[1], library.execute(plan, values), reference.run(plan.source, values)):
            for output, expected in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(output, expected)
    assert network_trial.run(plan, 2).passed


@pytest.mark.parametrize("kinds", _GROUPS, ids=",".join)
def test_operators_run_as_promised(kinds: Sequence[str], tmp_path: Path) -> None:
    """Catches an operator lowered with a wrong shape, window, multiplier, table or offset, on random attributes,
    batches and quantisation: other bytes than TFLite's here, where the sanitizers look on, and on the board, or loads
    or stores there that are not those promised."""
    tools = [tool for tool in compilers() if any("sanitize" in flag for flag in tool)] or compilers()
    cases, wrong = list(itertools.product(kinds, range(_SEEDS))), []
    for first in range(0, len(cases), _TOGETHER):
        alone = {f"{kind}, seed {seed}": _MAKERS[kind](seed) for kind, seed in cases[first : first + _TOGETHER]}
        tool = tools[(zlib.crc32(kinds[0].encode()) + first // _TOGETHER) % len(tools)]
        wrong += faults(alone, tmp_path / str(first), tool)
    assert not wrong, "\n".join(wrong)


def test_unsigned_ends(tmp_path: Path) -> None:
    """Catches bytes that are shifted by 128, a table that is read with the sign of its index, a clamp of int8 that an
    unsigned output is folded into, and ends of the C library that are not uint8_t."""
    shape = (1, 6, 5, 4)
    tensors = (
        uint8(activation("x", shape, 0.1, -7)),
        activation("a", shape, 0.1, -7),
        activation("b", shape, 0.1, -7),
        uint8(activation("first", shape, 0.1, -7)),
        activation("c", shape, 0.1, -7),
        uint8(activation("second", shape, 0.07, 5)),
    )
    operators = (
        ops.Quantize(inputs=(0,), outputs=(1,)),
        ops.Add(inputs=(1, 1), outputs=(2,), activation=ops.Activation.RELU, location=1),
        ops.Quantize(inputs=(2,), outputs=(3,), location=2),
        ops.Add(inputs=(1, 2), outputs=(4,), location=3),
        ops.Quantize(inputs=(4,), outputs=(5,), location=4),
    )
    graph = Graph("without_sign", tensors, operators, (0,), (3, 5))
    header = emit.files(compile_network(graph, MCU))["include/without_sign.h"]
    assert "int without_sign_invoke(const uint8_t *in, uint8_t *out0, uint8_t *out1)" in " ".join(header.split())
    assert "WITHOUT_SIGN_INPUT_ZERO_POINT (121)" in header
    _check(graph, np.random.default_rng(3), tmp_path)


def test_floats_of_constants(tmp_path: Path) -> None:
    """Catches floats that simplification computes once, written into the library as bytes."""
    tensors = (
        activation("x", (1, 18), 0.1, 3),
        activation("y", (1, 18), 0.1, 3),
        constant("c", np.arange(-9, 9).astype(np.int8).reshape(1, 18), np.array([0.3])),
        Tensor("float", (1, 18), DType.FLOAT32),
        Tensor("square", (1, 18), DType.FLOAT32),
        activation("z", (1, 18), 0.07, -8),
    )
    operators = (
        ops.Relu(inputs=(0,), outputs=(1,)),
        ops.Dequantize(inputs=(2,), outputs=(3,), location=1),
        OPERATORS["SQUARE"](inputs=(3,), outputs=(4,), location=2),
        ops.Quantize(inputs=(4,), outputs=(5,), location=3),
    )
    _check(Graph("constants", tensors, operators, (0,), (1, 5)), np.random.default_rng(3), tmp_path)
