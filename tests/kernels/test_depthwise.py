"""Depthwise convolutions on int16 planes: exact on host and board for any window, band, group and format."""

from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import emit, plans
from memaopt.kernels.text.c import CACHE, LINE
from memaopt.problems.layers import Layer

RNG = np.random.default_rng(7)
WALK, TAPS, DIRECT, IN_LINE = "depthwise walk", "depthwise taps", "depthwise direct", "depthwise line"
STRETCHES = "depthwise stretches"


def _walks() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "odd": h.depthwise(rng, (7, 6, 3)),
        "clamped": h.depthwise(rng, (7, 5, 7), zero_point=4, output_zero_point=-10, clamp=(-10, 100)),
        "valid": h.depthwise(rng, (9, 8, 4), padding="valid", zero_point=127),
        "strided": h.depthwise(rng, (9, 7, 6), stride=(2, 2)),
        "strided_even": h.depthwise(rng, (8, 8, 2), stride=(2, 2)),
        "strided_rows": h.depthwise(rng, (9, 8, 4), stride=(2, 1)),
        "strided_columns": h.depthwise(rng, (9, 8, 4), stride=(1, 2)),
        "stride_3": h.depthwise(rng, (11, 10, 2), stride=(3, 3)),
        "multiplied": h.depthwise(rng, (7, 6, 3), multiplier=2),
        "one_pixel": h.depthwise(rng, (1, 1, 5)),
        "one_column": h.depthwise(rng, (6, 1, 4)),
        "tall": h.depthwise(rng, (40, 4, 4)),
        "tall_strided": h.depthwise(rng, (41, 3, 5), stride=(2, 2)),
        "long_rows": h.depthwise(rng, (14, 9, 96)),
        "far_rows": h.depthwise(rng, (5, 6, 344)),
        "wide": h.depthwise(rng, (5, 1050, 1)),
    }


def _others() -> dict[str, Layer]:
    rng = np.random.default_rng(1)
    return {
        "kernel_5x5": h.depthwise(rng, (9, 9, 4), (5, 5)),
        "kernel_1x7": h.depthwise(rng, (6, 12, 2), (1, 7)),
        "few_rows": h.depthwise(rng, (5, 7, 4), (5, 5), output_zero_point=9, clamp=(-70, 90)),
        "one_row": h.depthwise(rng, (5, 9, 2), (5, 5), padding="valid"),
        "kernel_9x9": h.depthwise(rng, (13, 9, 3), (9, 9)),
        "kernel_7x1": h.depthwise(rng, (12, 6, 2), (7, 1), stride=(2, 1)),
        "kernel_4x4": h.depthwise(rng, (8, 8, 3), (4, 4), stride=(2, 2)),
        "dilated": h.depthwise(rng, (9, 9, 4), dilation=(2, 2)),
        "apart": h.depthwise(rng, (7, 8, 3), (5, 5), dilation=(2, 2), zero_point=9, output_zero_point=7),
        "apart_by_three": h.depthwise(rng, (6, 9, 2), (2, 5), dilation=(1, 3), multiplier=2),
        "apart_valid": h.depthwise(rng, (9, 12, 4), (3, 5), dilation=(1, 2), padding="valid"),
        "apart_odd": h.depthwise(rng, (7, 9, 3), (5, 5), dilation=(2, 2), zero_point=3),
        "apart_strided": h.depthwise(rng, (11, 13, 4), (5, 5), stride=(2, 2), dilation=(2, 2), output_zero_point=7),
        "apart_by_three_strided": h.depthwise(rng, (6, 13, 2), (2, 5), stride=(1, 2), dilation=(1, 3), multiplier=2),
        "apart_narrow": h.depthwise(rng, (6, 2, 4), (1, 4), dilation=(1, 3)),
        "dilated_row": h.depthwise(rng, (12, 12, 2), (3, 2), dilation=(1, 3)),
        "multiplied": h.depthwise(rng, (5, 6, 4), (5, 5), multiplier=3, zero_point=-1, output_zero_point=5),
        "signed": h.depthwise(rng, (6, 6, 4), output_zero_point=3),
        "four_words": h.depthwise(rng, (14, 15, 1), (1, 1), stride=(3, 2)),
        "far_rows": h.depthwise(rng, (6, 7, 200), (5, 3)),
    }


def _small_windows() -> dict[str, Layer]:
    rng = np.random.default_rng(3)
    return {
        **_walks(),
        "row_of_3": h.depthwise(rng, (5, 9, 4), (1, 3)),
        "column_of_3": h.depthwise(rng, (9, 5, 4), (3, 1), zero_point=7, output_zero_point=-3),
        "column_in_a_loop": h.depthwise(rng, (40, 2, 3), (3, 1)),
        "kernel_2x2": h.depthwise(rng, (8, 7, 3), (2, 2)),
        "kernel_2x3": h.depthwise(rng, (29, 7, 3), (2, 3), stride=(2, 1)),
        "kernel_3x2": h.depthwise(rng, (7, 8, 3), (3, 2), padding="valid"),
        "kernel_1x1": h.depthwise(rng, (6, 5, 3), (1, 1), stride=(2, 2)),
        "dilated": h.depthwise(rng, (9, 8, 3), dilation=(2, 2)),
        "dilated_in_a_loop": h.depthwise(rng, (47, 8, 3), dilation=(3, 2), multiplier=2),
        "dilated_rows": h.depthwise(rng, (7, 9, 4), (2, 3), dilation=(4, 1)),
        "dilated_columns": h.depthwise(rng, (9, 9, 4), (3, 3), stride=(2, 2), dilation=(1, 2)),
        "added": h.depthwise(rng, (9, 8, 4), zero_point=7, output_zero_point=-3),
        "added_strided": h.depthwise(rng, (9, 8, 4), stride=(2, 2), output_zero_point=-3),
        "signed": h.depthwise(rng, (29, 5, 4), output_zero_point=3),
        "signed_strided": h.depthwise(rng, (9, 5, 4), (2, 2), stride=(2, 2), output_zero_point=3),
        "column_of_5": h.depthwise(rng, (31, 3, 3), (5, 1), zero_point=7),
        "row_of_5": h.depthwise(rng, (3, 31, 3), (1, 5), output_zero_point=3),
        "row_of_4": h.depthwise(rng, (3, 9, 3), (1, 4), padding="valid"),
        "column_of_5_strided": h.depthwise(rng, (19, 2, 3), (5, 1), stride=(2, 1), output_zero_point=-3),
        "column_of_5_dilated": h.depthwise(rng, (19, 2, 3), (5, 1), dilation=(2, 1), multiplier=2),
        "column_of_4_in_few_rows": h.depthwise(rng, (2, 5, 3), (4, 1)),
        "turns_out_of_reach": h.depthwise(rng, (16, 1, 1040), (5, 1)),
        "dilated_beyond": h.depthwise(rng, (4, 5, 3), (3, 3), dilation=(3, 1)),
        "dilated_and_strided": h.depthwise(rng, (11, 9, 3), stride=(2, 2), dilation=(2, 2), output_zero_point=-3),
        "strided_further": h.depthwise(rng, (29, 5, 2), (3, 2), stride=(3, 2), dilation=(2, 4)),
        "side_by_side": h.depthwise(rng, (13, 12, 3), (2, 2), zero_point=7),
        "side_by_side_added": h.depthwise(rng, (6, 7, 3), (2, 3), output_zero_point=-9, clamp=(-9, 127)),
        "side_by_side_by_sign": h.depthwise(rng, (7, 6, 4), (2, 2), zero_point=7, output_zero_point=5),
        "side_by_side_strided": h.depthwise(rng, (31, 10, 3), stride=(2, 2), multiplier=2),
        "side_by_side_and_dilated": h.depthwise(rng, (9, 9, 2), (2, 2), dilation=(2, 1), padding="valid"),
        "side_by_side_far": h.depthwise(rng, (4, 9, 260), (2, 2), zero_point=3),
    }


def _lines() -> dict[str, Layer]:
    rng = np.random.default_rng(5)
    small = {name: layer for name, layer in _small_windows().items() if sorted(layer.window.kernel) in ([1, 3], [1, 5])}
    return {
        **small,
        "clamped": h.depthwise(rng, (15, 2, 3), (5, 1), output_zero_point=-9, clamp=(-9, 90)),
        "clamped_from_below": h.depthwise(rng, (15, 2, 3), (5, 1), output_zero_point=-9, clamp=(-9, 127)),
        "clamped_by_sign": h.depthwise(rng, (2, 15, 3), (1, 5), output_zero_point=3, clamp=(-128, -1)),
        "strided_by_sign": h.depthwise(rng, (2, 28, 3), (1, 5), stride=(1, 2), zero_point=-9, output_zero_point=5),
        "strided_and_dilated": h.depthwise(rng, (2, 37, 3), (1, 5), stride=(2, 2), dilation=(2, 2), multiplier=2),
        "dilated_by_four": h.depthwise(rng, (43, 3, 2), (5, 1), stride=(2, 1), dilation=(4, 1), zero_point=127),
        "two_rows": h.depthwise(rng, (2, 4, 5), (5, 1), output_zero_point=1),
        "one_row": h.depthwise(rng, (1, 4, 5), (5, 1)),
        "far": h.depthwise(rng, (14, 3, 1040), (5, 1), padding="valid"),
        "three": h.depthwise(rng, (27, 2, 3), (3, 1)),
        "three_by_sign": h.depthwise(rng, (2, 29, 3), (1, 3), zero_point=7, output_zero_point=-9, clamp=(-128, 99)),
        "three_strided_by_sign": h.depthwise(rng, (2, 30, 3), (1, 3), stride=(1, 2), zero_point=5, output_zero_point=6),
        "three_strided": h.depthwise(rng, (31, 2, 3), (3, 1), stride=(2, 1), padding="valid"),
        "three_dilated": h.depthwise(rng, (11, 3, 4), (3, 1), dilation=(2, 1), zero_point=-3, multiplier=2),
        "three_of_one": h.depthwise(rng, (1, 5, 4), (3, 1), output_zero_point=3),
    }


def _stretches() -> dict[str, Layer]:
    rng = np.random.default_rng(6)
    return {
        "rows_of_9": h.depthwise(rng, (3, 14, 4), (1, 9)),
        "columns_of_9": h.depthwise(rng, (14, 3, 5), (9, 1), zero_point=7, output_zero_point=5),
        "row_of_7": h.depthwise(rng, (1, 31, 6), (1, 7)),
        "row_of_8_strided": h.depthwise(rng, (1, 31, 3), (1, 8), stride=(1, 2), output_zero_point=-9, clamp=(-9, 99)),
        "columns_strided": h.depthwise(rng, (31, 2, 3), (6, 1), stride=(3, 1), multiplier=2, padding="valid"),
        "rows_left_out": h.depthwise(rng, (5, 7, 4), (1, 5), stride=(2, 1), output_zero_point=3),
        "far": h.depthwise(rng, (7, 300, 4), (6, 1)),
        "row_dilated": h.depthwise(rng, (1, 20, 3), (1, 7), dilation=(1, 2), multiplier=2, zero_point=9),
        "column_dilated": h.depthwise(rng, (21, 1, 4), (5, 1), dilation=(3, 1), output_zero_point=3),
    }


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong planes, zeros, pairs of weights or bands in the plain C."""
    emitted = h.every_plan(_walks(), WALK)
    assert any("loop" in e.plan.tile for _, e in emitted.values())
    assert any("bands" in e.plan.tile for _, e in emitted.values())
    others = h.every_plan({f"other_{name}": layer for name, layer in _others().items()}, TAPS)
    assert any("phased" in e.plan.tile for _, e in others.values())
    small = h.every_plan({f"small_{name}": layer for name, layer in _small_windows().items()}, DIRECT)
    assert any("loop" in e.plan.tile for _, e in small.values())
    assert any("by sets" in e.plan.tile for _, e in small.values())
    assert {f"by {n}" for n in (2, 3) for _, e in small.values() if f"by {n}" in e.plan.tile} == {"by 2", "by 3"}
    lines = h.every_plan({f"line_{name}": layer for name, layer in _lines().items()}, IN_LINE)
    assert any("loop" in e.plan.tile for _, e in lines.values())
    stretches = h.every_plan({f"stretches_{name}": layer for name, layer in _stretches().items()}, STRETCHES)
    h.check_on_host(tmp_path, emitted | others | small | lines | stretches, RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_every_walk_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, h.every_plan(_walks(), WALK), RNG, compiler)


@pytest.mark.parametrize("compiler", compilers())
def test_every_other_window_on_the_board(compiler: str, tmp_path: Path) -> None:
    """The same of the kernels for any window, and for lines."""
    stretches = h.every_plan({f"stretches_{name}": layer for name, layer in _stretches().items()}, STRETCHES)
    h.check_on_board(tmp_path, h.every_plan(_others(), TAPS) | stretches, RNG, compiler)


@pytest.mark.parametrize("compiler", compilers())
def test_every_small_window_from_bytes_on_the_board(compiler: str, tmp_path: Path) -> None:
    """The same of the kernels without planes: also the wrong initial accumulator at an edge."""
    lines = h.every_plan({f"line_{name}": layer for name, layer in _lines().items()}, IN_LINE)
    h.check_on_board(tmp_path, h.every_plan(_small_windows(), DIRECT) | lines, RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers = {
        "keyword_spotting": (h.depthwise(rng, (25, 5, 64)), 1.72),
        "wake_words_first": (h.depthwise(rng, (48, 48, 8)), 1.65),
        "wake_words_strided": (h.depthwise(rng, (24, 24, 32), stride=(2, 2)), 2.8),
        "wake_words_late": (h.depthwise(rng, (6, 6, 128)), 1.85),
        "by_sign": (h.depthwise(rng, (13, 12, 16), output_zero_point=-48), 2.1),
        "kernel_5x5": (h.depthwise(rng, (24, 24, 16), (5, 5), padding="valid"), 1.55),
        "dilated_5x5": (h.depthwise(rng, (22, 25, 24), (5, 5), dilation=(2, 2)), 1.85),
        "dilated_and_strided_5x5": (h.depthwise(rng, (34, 10, 16), (5, 5), stride=(2, 2), dilation=(2, 2)), 1.95),
        "strided_by_sign": (h.depthwise(rng, (24, 24, 16), stride=(2, 2), output_zero_point=-48), 2.5),
        "line": (h.depthwise(rng, (15, 24, 16), (5, 1)), 1.9),
        "line_by_sign": (h.depthwise(rng, (15, 24, 16), (5, 1), output_zero_point=-48), 2.45),
        "line_strided_and_dilated": (h.depthwise(rng, (35, 48, 17), (1, 5), stride=(2, 2), dilation=(2, 2)), 2.0),
    }
    for name, (layer, limit) in layers.items():
        plan = min(plans(layer), key=lambda p: p.cycles)
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)
        assert plan.cycles / layer.macs <= limit, name


def test_in_place(tmp_path: Path) -> None:
    """Outputs written over inputs that another group of channels still needs."""
    layer = h.depthwise(np.random.default_rng(2), (5, 6, 7))
    walks = [p for p in plans(layer) if p.family == WALK and p.input_format == "s8"]
    plan = next(p for p in walks if p.lead is not None and p.lead <= 0)
    e = emit(layer, plan, "depthwise")
    board = running.OnBoard(tmp_path, [e]).board
    (image,) = h.inputs_of(RNG, layer)
    at = running.MCU.sram.base + 0x2000
    board.write(at, image.tobytes())
    board.call("depthwise", at, at, at + 0x1000)
    got = np.frombuffer(board.read(at, layer.output.elements), np.int8)
    np.testing.assert_array_equal(got, oracle.expected(layer, image))


def test_weights_that_are_read_again_start_a_line() -> None:
    """Catches weights whose cost depends on a linker: a channel's 7x7 taps fill eight lines of 16 bytes or use nine."""
    layer = h.depthwise(np.random.default_rng(2), (34, 6, 9), (7, 7), stride=(2, 2))
    plan = next(plan for plan in plans(layer) if plan.family == TAPS)
    (weights,) = emit(layer, plan, "layer").arrays
    assert weights.nbytes > CACHE
    assert weights.alignment == LINE
