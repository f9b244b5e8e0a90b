"""Every operator that only moves elements, by every family, on all small shapes: on the host against the reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import layers_run_helpers as running
import numpy as np
import pytest
from tensors_helpers import activation, single

from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Slice

SIZES = (1, 4)
SHAPES = tuple(itertools.product(SIZES, repeat=3))


def _one_input(op: type[ops.Operator], shape: tuple[int, ...], output: tuple[int, ...], **attributes: object) -> Graph:
    return single(op, [activation("x", shape, 0.1, 3), activation("y", output, 0.1, 3)], 1, **attributes)


def _resizes() -> Iterator[Graph]:
    modes = ({}, {"half_pixel_centers": True}, {"align_corners": True})
    for (height, width), rows, columns, mode in itertools.product(
        itertools.product((1, 2, 4), repeat=2), (1, 3), (1, 3), modes
    ):
        for channels in (1, 8):
            shape, output = (1, height, width, channels), (1, rows, columns, channels)
            yield _one_input(ops.ResizeNearestNeighbor, shape, output, **mode)


def _transposes() -> Iterator[Graph]:
    for shape, axes in itertools.product(SHAPES, itertools.permutations(range(3))):
        yield _one_input(ops.Transpose, shape, tuple(shape[a] for a in axes), permutation=axes)


def _pads() -> Iterator[Graph]:
    for shape, paddings in itertools.product(SHAPES, itertools.product(((0, 0), (1, 0), (0, 2)), repeat=3)):
        output = tuple(before + size + after for size, (before, after) in zip(shape, paddings, strict=True))
        yield _one_input(ops.Pad, shape, output, paddings=paddings)


def _slices() -> Iterator[Graph]:
    for shape in SHAPES:
        choices = [
            {Slice(0, 1, size), Slice(size - 1, -1, size), Slice(size - 1, 1, 1), Slice(0, 3, -(-size // 3))}
            for size in shape
        ]
        for slices in itertools.product(*map(sorted, choices)):
            yield _one_input(ops.StridedSlice, shape, tuple(s.length for s in slices), slices=slices)


def _concatenations() -> Iterator[Graph]:
    for shape, axis, other in itertools.product(SHAPES, range(3), SIZES):
        second = tuple(other if i == axis else size for i, size in enumerate(shape))
        output = tuple(size + other if i == axis else size for i, size in enumerate(shape))
        tensors = [activation("a", shape, 0.1, 3), activation("b", second, 0.1, 3), activation("y", output, 0.1, 3)]
        yield single(ops.Concatenation, tensors, 2, axis=axis)


KINDS = {
    "RESIZE_NEAREST_NEIGHBOR": _resizes,
    "TRANSPOSE": _transposes,
    "PAD": _pads,
    "STRIDED_SLICE": _slices,
    "CONCATENATION": _concatenations,
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_small_shapes(kind: str, tmp_path: Path) -> None:
    """Catches an offset that is lost with its axis: one of size 1, beside a run or within it, which reads or writes
    another place than the first (the half-pixel centre of two rows is the second)."""
    rng, cases = np.random.default_rng(0), list[tuple[Graph, list[Emitted]]]()
    for number, graph in enumerate(KINDS[kind]()):
        lowered = graph.operators[0].lower(graph)
        assert lowered is not None
        offered = plans(lowered.layer)
        cases.append((graph, [emit(lowered.layer, plan, f"layer_{number}_{i}") for i, plan in enumerate(offered)]))
    assert {e.plan.family for _, emitted in cases for e in emitted} == {"move", "move runs"}
    host = running.Host(tmp_path, [e for _, emitted in cases for e in emitted], flags=["-O0"])
    for graph, emitted in cases:
        inputs = [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
        (wanted,) = reference.run(graph, inputs)
        for e in emitted:
            got = host.run(e, inputs, np.zeros(wanted.size, np.int8))
            np.testing.assert_array_equal(got, wanted.ravel(), err_msg=f"{e.plan.family}: {e.source}")
