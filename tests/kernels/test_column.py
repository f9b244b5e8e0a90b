"""Depthwise convolutions whose taps are rows of bytes: exact on host and board, at one position and at many."""

import dataclasses
from pathlib import Path
from typing import Any

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.depthwise.column import _choose
from memaopt.kernels.registry import emit, plans
from memaopt.problems.joined import JoinedDepthwise
from memaopt.problems.layers import Depthwise, Image, Layer

RNG = np.random.default_rng(9)
COLUMN = "depthwise column"


def _column(seed: int, taps: int, channels: int, positions: int = 1, **options: Any) -> Depthwise:
    """A layer of so many positions, with the requantisation of many: that of one that was seen alone is none."""
    rng = np.random.default_rng(seed)
    layer = h.depthwise(rng, (taps + 40, 1, channels), (taps, 1), padding="valid", **options)
    window = layer.window
    height = (positions - 1) * window.stride.height + (taps - 1) * window.dilation.height + 1
    return dataclasses.replace(layer, shape=Image(height, 1, channels), output=Image(positions, 1, channels))


def _constant(layer: Depthwise) -> Depthwise:
    """Without weights in one channel, whose output no input changes."""
    weights = layer.weights.copy()
    weights[..., 1] = 0
    return dataclasses.replace(layer, weights=weights)


def _joined(layer: Depthwise, *, moves: bool = False) -> JoinedDepthwise:
    """The same where the last row lies elsewhere."""
    return JoinedDepthwise(layer, layer.shape.height - 1, moves)


def _layers() -> dict[str, Layer]:
    return {
        "two_taps": _column(1, 2, 4),
        "three": _column(2, 3, 8, output_zero_point=3),
        "five": _column(3, 5, 12, zero_point=4, clamp=(-100, 90), output_zero_point=-10),
        "ten": _column(4, 10, 8, zero_point=127),
        "twenty_three": _column(5, 23, 16),
        "thirty_two": _column(9, 32, 8, zero_point=5),
        "far": h.depthwise(np.random.default_rng(4), (20, 1, 256), (18, 1), padding="valid"),
        "dilated": _column(6, 5, 8, dilation=(2, 1)),
        "positions": _column(7, 4, 16, 4, stride=(2, 1)),
        "signed_constant": _constant(_column(2, 3, 8, output_zero_point=3)),
        "joined_two": _joined(_column(1, 2, 4)),
        "joined_five": _joined(_column(3, 5, 12, zero_point=4, clamp=(-100, 90), output_zero_point=-10)),
        "joined_dilated": _joined(_column(6, 5, 8, dilation=(2, 1))),
        "joined_far": _joined(_column(9, 32, 8, zero_point=5)),
        "joined_signed": _joined(_constant(_column(2, 3, 8, output_zero_point=3))),
        "moved_two": _joined(_column(1, 2, 4), moves=True),
        "moved_ten": _joined(_column(4, 10, 8, zero_point=127), moves=True),
        "moved_signed": _joined(_column(2, 3, 8, output_zero_point=3), moves=True),
        "wide": h.depthwise(np.random.default_rng(8), (40, 3, 8), (3, 3), padding="valid"),
    }


def _others() -> dict[str, Layer]:
    rng = np.random.default_rng(4)
    return {
        "padded": h.depthwise(rng, (5, 1, 8), (3, 1)),
        "odd_channels": h.depthwise(rng, (5, 1, 6), (3, 1), padding="valid"),
        "narrow": h.depthwise(rng, (5, 4, 8), (3, 3), padding="valid"),
        "multiplied": h.depthwise(rng, (5, 1, 4), (3, 1), multiplier=2, padding="valid"),
        "far": h.depthwise(rng, (30, 1, 1024), (18, 1), padding="valid"),
        "two_new_rows": JoinedDepthwise(_column(3, 5, 12), 3),
        "moved_dilated": _joined(_column(6, 5, 8, dilation=(2, 1)), moves=True),
        "moved_far": _joined(_column(9, 32, 8, zero_point=5), moves=True),
        "joined_wide": _joined(h.depthwise(rng, (3, 3, 8), (3, 3), padding="valid")),
    }


def test_every_column_on_the_host(tmp_path: Path) -> None:
    """Wrong pairs of weights, of taps, or a last tap that meets another channel's weight in the plain C."""
    h.check_on_host(tmp_path, h.every_plan(_layers(), COLUMN), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_column_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, h.every_plan(_layers(), COLUMN), RNG, compiler)


def test_many_taps_stay_within_a_small_cache() -> None:
    """Catches straight code that is fetched again for every four channels: 2.5 times the cycles from flash."""
    layer = _layers()["thirty_two"]
    looped = [plan.option("unroll") and plan.code_bytes for plan in plans(layer) if plan.family == COLUMN]
    assert any(0 < code <= 1024 for code in looped)
    assert not looped[0]
    assert {plan.option("unroll") for plan in plans(_layers()["far"]) if plan.family == COLUMN} == {4}


def test_a_byte_a_weight_is_offered_by_sign_too() -> None:
    """Catches a form of the kernel that no layer here has any more, so that nothing tests it."""
    found = {
        (kernel.packed, kernel.output.cleared > 0, kernel.adds, bool(proven.constant.any()))
        for layer in _layers().values()
        if isinstance(layer, Depthwise)
        for packed in (False, True)
        for kernel, proven in filter(None, [_choose(layer, packed)])
    }
    assert {(p, s, s, c) for p in (False, True) for s in (False, True) for c in (False, True)} <= found


@pytest.mark.parametrize("name", _others())
def test_other_windows_are_not_its(name: str) -> None:
    """Catches a plan that reads beyond its image, or whose rows no offset reaches."""
    assert not any(plan.family == COLUMN for plan in plans(_others()[name]))


@pytest.mark.parametrize(("taps", "limit"), [(3, 6.6), (5, 4.7), (10, 3.5), (15, 3.1)])
def test_cycles_of_one_position(taps: int, limit: float, tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    layer = _column(taps, taps, 128)
    plan = min(plans(layer), key=lambda p: p.cycles)
    assert plan.family == COLUMN
    e = emit(layer, plan, "column")
    h.check_on_board(tmp_path, {"column": (layer, e)}, RNG, running.COMPILER, cycles_within=0.04, kinds=["random"])
    assert plan.cycles / layer.macs <= limit
