"""First layers whose positions share words: exact on host and board at any padding, with rows read where they lie."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.chained_rows.shared_rows import SharedRows
from memaopt.kernels.chained_rows.shared_words import SharedWords
from memaopt.kernels.registry import Emitted, emit, packed, plans
from memaopt.problems.geometry import Image, Padding
from memaopt.problems.layers import Conv, Layer

RNG = np.random.default_rng(5)
FAMILY = "shared rows"


def _layer(
    seed: int, image: tuple[int, int], channels: int, stride: int, pads: tuple[int, ...], zero: int = -128
) -> Conv:
    """A random one with these rows and columns of padding: above, on the left, below, on the right."""
    rng, (height, width), (above, left, below, right) = np.random.default_rng(seed), image, pads
    made = h.conv(
        rng, (height, width, 3), channels, (3, 3), stride=(stride, stride), zero_point=-9, output_zero_point=zero
    )
    output = Image((height + above + below - 3) // stride + 1, (width + left + right - 3) // stride + 1, channels)
    window = dataclasses.replace(made.window, padding=Padding(above, left))
    return dataclasses.replace(made, output=output, window=window)


def _layers() -> dict[str, Layer]:
    return {
        "same": _layer(0, (5, 24), 8, 1, (1, 1, 1, 1)),
        "same_at_2": _layer(1, (6, 24), 5, 2, (0, 0, 1, 1), 5),
        "even_columns_at_odd_places": _layer(2, (7, 28), 6, 2, (1, 1, 1, 1)),
        "valid": _layer(3, (4, 20), 9, 1, (0, 0, 0, 0)),
        "valid_at_2": _layer(4, (9, 24), 7, 2, (0, 0, 0, 0)),
        "whole_tiles": _layer(5, (5, 20), 8, 1, (0, 0, 0, 0)),
        "left": _layer(6, (8, 24), 8, 1, (0, 1, 1, 0), 3),
        "right": _layer(7, (4, 36), 6, 1, (1, 0, 0, 1)),
        "left_at_2": _layer(8, (8, 32), 8, 2, (1, 1, 0, 0)),
        "far_outputs": _layer(9, (4, 64), 96, 1, (1, 1, 0, 1)),
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """All plans, and one whose constants are copied first, as packed words."""
    made = h.every_plan(_layers(), FAMILY)
    assert {e.plan.option("columns") for _, e in made.values()} == {0, 1}
    layer, first = made["same_0"]
    copied = packed(first.plan)
    assert copied is not None
    return made | {"copied": (layer, emit(layer, copied, "copied"))}


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong edges, rows of padding, columns or order of weights, in the plain C, or a byte outside its memory."""
    alike = ("whole_tiles", "right", "far_outputs", "copied")
    h.check_on_host(tmp_path, {name: each for name, each in _emitted().items() if not name.startswith(alike)}, RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong half of a word, register or offset in the assembly, accesses other than promised, or cycles (in rows
    whose windows are padded in part a row's edges weigh most)."""
    within = 0.02 if compiler == running.COMPILER else None
    h.check_on_board(tmp_path, _emitted(), RNG, compiler, cycles_within=within)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A first layer that got slower, or a cost that an optimiser could not trust."""
    layers = {
        "rows": (_layer(0, (96, 96), 8, 2, (0, 0, 1, 1)), 1.125),
        "columns": (_layer(1, (32, 32), 16, 1, (1, 1, 1, 1)), 1.015),
    }
    for name, (layer, limit) in layers.items():
        plan = min(plans(layer), key=lambda p: p.cycles)
        assert plan.family == FAMILY
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.005)
        assert plan.cycles / layer.macs <= limit


@pytest.mark.parametrize(
    ("words", "used"),
    [
        (SharedWords(1, 96, 0, 9), 25),
        (SharedWords(2, 96, 0, 18), 32),
        (SharedWords(2, 96, 3, 18), 32),
        (SharedWords(1, 12, 1, 3, below=True), 29),
    ],
)
def test_every_element_of_a_window_is_in_one_half_of_a_word(words: SharedWords, used: int) -> None:
    """A word too many for the FPU, one without a register, or an element left out or taken twice."""
    assert words.used == used
    assert all(len(places) == 14 and set(places) <= set(range(used)) for places in words.places)
    assert set(sum(words.places, ())) == set(range(used))
    assert sorted(words.order) == [-1, *range(27)]


def test_preconditions_are_checked() -> None:
    """A kernel offered where it would be wrong: other windows, more padding, rows that are no whole words or too long
    for an offset, fewer channels."""
    rng = np.random.default_rng(3)
    for bad in (
        _layer(0, (8, 32), 8, 1, (1, 2, 1, 1)),
        _layer(0, (8, 32), 8, 1, (1, 1, 2, 1)),
        _layer(0, (8, 30), 8, 1, (1, 1, 1, 1)),
        _layer(0, (4, 684), 8, 1, (1, 1, 1, 1)),
        _layer(0, (8, 32), 4, 1, (1, 1, 1, 1)),
        h.conv(rng, (8, 32, 4), 8, (3, 3)),
        h.conv(rng, (8, 32, 3), 8, (3, 3), stride=(2, 1)),
        h.conv(rng, (8, 32, 3), 8, (3, 2)),
        h.conv(rng, (8, 32, 3), 8, (3, 3), dilation=(2, 1)),
        h.conv(rng, (8, 32, 3), 9, (3, 3), groups=3),
    ):
        assert not SharedRows().plans(bad)
