"""Operators with several outputs, against TFLite's interpreter, and compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_helpers import MCU, Library
from tensors_helpers import Rng, activation, constant, scale, zero_point
from tflite_helpers import Node, file_of

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Tensor
from memaopt.trials import network as network_trial

Shape = tuple[int, ...]


def _ints(values: Any) -> Tensor:
    return constant("c", np.array(values, np.int32))


def _file(x: Tensor, operands: list[Tensor], outputs: list[Shape], at: int, kind: str, **more: Any) -> bytes:
    """One operator whose input is its operand number ``at``, between constants."""
    made = [Tensor(f"y{i}", shape, x.dtype, x.scales, x.zero_points) for i, shape in enumerate(outputs)]
    given = [1 + i for i in range(len(operands))]
    results = [1 + len(operands) + i for i in range(len(made))]
    node = Node(kind, [*given[:at], 0, *given[at:]], results, **more, version=2)
    return file_of([x, *operands, *made], [node], [0], results)


def _x(rng: Rng, shape: Shape) -> Tensor:
    """Of int8, or of int16."""
    if rng.integers(3):
        return activation("x", shape, scale(rng), zero_point(rng))
    return dataclasses.replace(activation("x", shape, scale(rng), 0), dtype=DType.INT16)


def _split(rng: Rng) -> bytes:
    shape, count = rng.integers(1, 5, rng.integers(1, 5)).tolist(), int(rng.integers(1, 5))
    axis = int(rng.integers(len(shape)))
    part = tuple(shape)
    shape[axis] *= count
    given = axis - len(shape) if rng.integers(2) else axis
    options = {"table": "SplitOptions", "options": {"numSplits": count}}
    return _file(_x(rng, tuple(shape)), [_ints(given)], [part] * count, 1, "SPLIT", **options)


def _split_v(rng: Rng) -> bytes:
    shape, axis = rng.integers(1, 5, rng.integers(1, 5)).tolist(), 0
    axis, sizes = int(rng.integers(len(shape))), rng.integers(1, 5, rng.integers(1, 5)).tolist()
    shape[axis] = sum(sizes)
    parts = [tuple(size if i == axis else n for i, n in enumerate(shape)) for size in sizes]
    if rng.integers(2):
        sizes[int(rng.integers(len(sizes)))] = -1
    options = {"table": "SplitVOptions", "options": {"numSplits": len(sizes)}}
    return _file(_x(rng, tuple(shape)), [_ints(sizes), _ints(axis)], parts, 0, "SPLIT_V", **options)


def _unpack(rng: Rng) -> bytes:
    shape = rng.integers(1, 5, rng.integers(1, 5)).tolist()
    axis = int(rng.integers(len(shape)))
    part = (*shape[:axis], *shape[axis + 1 :])
    given = axis - len(shape) if rng.integers(2) else axis
    options = {"table": "UnpackOptions", "options": {"num": shape[axis], "axis": given}}
    return _file(_x(rng, tuple(shape)), [], [part] * shape[axis], 0, "UNPACK", **options)


def _slice(rng: Rng) -> bytes:
    shape = rng.integers(1, 7, rng.integers(1, 5)).tolist()
    begin = [int(rng.integers(n)) for n in shape]
    sizes = [int(rng.integers(1, n - b + 1)) for n, b in zip(shape, begin, strict=True)]
    given = [-1 if b + s == n and rng.integers(2) else s for n, b, s in zip(shape, begin, sizes, strict=True)]
    options = {"table": "SliceOptions"}
    return _file(_x(rng, tuple(shape)), [_ints(begin), _ints(given)], [tuple(sizes)], 0, "SLICE", **options)


CASES: dict[str, Callable[[Rng], bytes]] = {"SPLIT": _split, "SPLIT_V": _split_v, "UNPACK": _unpack, "SLICE": _slice}


@pytest.mark.parametrize("kind", CASES)
def test_every_output_is_that_of_tflite(kind: str, tmp_path: Path) -> None:
    """Catches a part of the wrong place, size or axis, in the reference and, for a few, in C and on the board."""
    for seed in range(60):
        rng = np.random.default_rng([seed, *kind.encode()])
        data = CASES[kind](rng)
        graph = reader.parse(data, "parts")
        held = np.iinfo(graph.tensors[0].dtype.value)
        x = rng.integers(held.min, held.max + 1, graph.tensors[0].shape).astype(held.dtype)
        wanted = Oracle(data).run([x])
        found = [reference.run(graph, [x])]
        if seed < 2:
            plan = compile_network(graph, MCU)
            found.append(Library(plan, tmp_path / str(seed)).run([x])[1])
            assert network_trial.run(plan, 2).passed
        for outputs in found:
            for output, expected in zip(outputs, wanted, strict=True):
                np.testing.assert_array_equal(output, expected, f"{kind} seed {seed}")


@pytest.mark.parametrize(
    ("kind", "operands", "outputs", "at", "message"),
    [
        ("SPLIT", [_ints(1)], [(1, 2), (1, 2)], 1, r"parts of \[2, 2\] for 2 outputs of an axis of 5"),
        ("SPLIT", [_ints(2)], [(1, 5)], 1, "axis 2 of 2 dimensions"),
        ("SPLIT_V", [_ints([2, -1]), _ints([1, 1])], [(1, 2), (1, 3)], 0, "axis has 2 elements; one is supported"),
        ("SPLIT_V", [_ints([6, -1]), _ints(1)], [(1, 6), (1, 3)], 0, r"parts of \[6, -1\] for 2 outputs"),
        ("UNPACK", [], [(5,), (5,)], 0, r"parts of \[1, 1\] for 2 outputs of an axis of 1"),
        ("SLICE", [_ints([0, 3]), _ints([1, 3])], [(1, 3)], 0, r"begin \[0, 3\] and sizes \[1, 3\] of \[1, 5\]"),
        ("SLICE", [_ints([3]), _ints([1])], [(1, 1)], 0, "of 2 dimensions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    kind: str, operands: list[Tensor], outputs: list[Shape], at: int, message: str
) -> None:
    """Catches bytes read beside a tensor, and a refusal that does not say what does not fit."""
    with pytest.raises(UnsupportedModelError, match=message):
        reader.parse(_file(activation("x", (1, 5), 0.1), operands, outputs, at, kind))
