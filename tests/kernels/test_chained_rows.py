"""Chained rows: the arithmetic at its limits, layers exact on host and board, accesses and cycles as promised."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt import fixedpoint
from memaopt.kernels.chained_rows import chains
from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import Conv, FullyConnected, Layer
from memaopt.problems.step_functions import Requantization

RNG = np.random.default_rng(6)
FAMILY = "chained rows"


def _at_one_position(
    rng: np.random.Generator, image: tuple[int, int, int], outputs: int, kernel: tuple[int, int]
) -> Conv:
    return h.conv(rng, image, outputs, kernel, padding="valid", zero_point=3, output_zero_point=-7)


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "eight_rows": h.fully_connected(rng, 128, 24),
        "overlapping": h.fully_connected(rng, 64, 13, output_zero_point=5),
        "four_rows": h.fully_connected(rng, 96, 4, output_zero_point=0),
        "clamped": h.fully_connected(rng, 37, 5, rows=3, zero_point=3, output_zero_point=3, clamp=(-40, 100)),
        "one_input": h.fully_connected(rng, 1, 8),
        "signed": h.fully_connected(rng, 24, 12, output_zero_point=3, in_double=False),
        "constant_rows": _with_weights(h.fully_connected(rng, 40, 8), slice(1, 3), 0),
        "odd_batch": h.fully_connected(rng, 99, 9, rows=2, zero_point=-1),
        "pointwise": _at_one_position(rng, (1, 1, 60), 12, (1, 1)),
        "whole_image": _at_one_position(rng, (3, 5, 7), 9, (3, 5)),
        "one_row": _at_one_position(rng, (1, 9, 8), 8, (1, 9)),
        "shared": _alike(h.fully_connected(rng, 48, 10, zero_point=3)),
        "shared_signed": _alike(h.fully_connected(rng, 24, 12, output_zero_point=3, in_double=False)),
    }


def _with_weights(layer: FullyConnected, rows: slice, value: int) -> FullyConnected:
    weights = layer.weights.copy()
    weights[rows] = value
    return dataclasses.replace(layer, weights=weights)


def _alike(layer: FullyConnected) -> FullyConnected:
    """The layer with one scale, the smallest, for all rows."""
    q = layer.requantization
    least = np.repeat(q.real_scales.min(keepdims=True), q.channels)
    if q.scales is not None:
        return dataclasses.replace(layer, requantization=dataclasses.replace(q, scales=least))
    multipliers, shifts = fixedpoint.quantize_multipliers(least)
    return dataclasses.replace(layer, requantization=dataclasses.replace(q, multipliers=multipliers, shifts=shifts))


@pytest.mark.parametrize("packed", [False, True])
def test_chains_are_exact_to_the_limits(packed: bool) -> None:
    """A chain whose halfwords overflow, a borrow between them, or a sum that does not come back as it went in."""
    rng = np.random.default_rng(1)
    w = rng.choice([-128, -127, -1, 0, 1, 126, 127], (2000, 4, 4))
    w = w[[chains.fits(one, packed) for one in w]]
    assert len(w) > 200
    x = rng.choice([-128, -127, -1, 0, 127], (len(w), 1, 4))
    # Starts that bring the accumulators to the ends of what 256 times leaves in 32 bits.
    wanted = rng.choice([-(1 << 23), -(1 << 23) + 1, -1, 0, 1, (1 << 23) - 1], (len(w), 4))
    starts = wanted - (w * x).sum(axis=-1)
    words = chains.words(w, packed)
    half = np.stack([words << 48 >> 48, words >> 16], axis=-1).reshape(*words.shape[:2], 4)
    if packed:
        low = half[:, 0] << 8 & 0xFF00
        middle = ((low + (half[:, 1] >> 8)) << 48) >> 48
        half = np.stack([half[:, 0], middle, half[:, 1]], axis=1)
    sums = chains.chained(starts[..., None])[..., 0] + (half * x).sum(axis=-1)
    sums[:, 2] -= 128 * x.sum(axis=-1)[:, 0] if packed else 0
    first, second, third = fixedpoint.wrap_int32(sums).T
    last = fixedpoint.wrap_int32((third - (second << 8) + (first << 16)) << 8)
    third = fixedpoint.wrap_int32(third - (last >> 8))
    second = fixedpoint.wrap_int32(second - (third >> 8))
    first = fixedpoint.wrap_int32(first - (second >> 8))
    np.testing.assert_array_equal(np.stack([first, second, third, last], axis=1), 256 * wanted)


def test_on_the_host(tmp_path: Path) -> None:
    """Wrong chains, order of weights, start or tail in the plain C."""
    h.check_on_host(tmp_path, h.every_plan(_layers(), FAMILY), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    emitted = h.every_plan(_layers(), FAMILY)
    assert "sign" in emitted["signed_0"][1].plan.requantization
    forms = {(e.plan.option("packed"), e.plan.option("straight")) for _, e in emitted.values()}
    assert forms == {(0, 0), (0, 1), (1, 0)}
    assert {e.plan.option("chains") for _, e in emitted.values()} == {1, 2}
    shared = [name for name, (_, e) in emitted.items() if "_shared" in e.kernels[0].name]
    assert {name.rsplit("_", 1)[0] for name in shared} == {"shared", "shared_signed"}
    h.check_on_board(tmp_path, emitted, RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers = {"encoder": h.fully_connected(rng, 640, 128), "hidden": h.fully_connected(rng, 128, 128)}
    emitted = h.every_plan(layers, FAMILY)
    h.check_on_board(tmp_path, emitted, RNG, running.COMPILER, cycles_within=0.005, kinds=["random"])
    for layer, limits in zip(layers.values(), ((0.91, 1.05), (0.97, 1.11)), strict=True):
        for packed, limit in enumerate(limits):
            offered = [p for p in plans(layer) if p.family == FAMILY and p.option("packed") == packed]
            assert min(plan.cycles for plan in offered) < limit * layer.macs


def test_weights_that_do_not_fit_are_refused() -> None:
    """Chains offered for a row of -128 above one of -1, which leave 16 bits; or packed ones refused where they fit."""
    layer = h.fully_connected(np.random.default_rng(3), 64, 8)
    for row, packed in ((0, set()), (2, {1}), (3, {0, 1})):
        weights = layer.weights.copy()
        weights[row, 0] = -128
        weights[row + 1, 0] = -1
        offered = [p for p in plans(dataclasses.replace(layer, weights=weights)) if p.family == FAMILY]
        assert {plan.option("packed") for plan in offered} == packed


def test_windows_beyond_the_image_are_refused() -> None:
    """One position whose window is padded, or does not begin where the image does, taken for a row of inputs."""
    rng = np.random.default_rng(0)
    padded, part = (
        h.conv(rng, (2, 2, 4), 8, (3, 3), stride=(2, 2)),
        h.conv(rng, (2, 3, 4), 8, (2, 2), padding="valid", stride=(2, 2)),
    )
    assert padded.output.positions == part.output.positions == 1
    assert not [plan for layer in (padded, part) for plan in plans(layer) if plan.family == FAMILY]


def _long() -> dict[str, Layer]:
    rng = np.random.default_rng(2)
    large = _with_weights(h.fully_connected(rng, 700, 9), slice(0, 9), 127)
    # The bias brings accumulators into a range of which the sums alone, shifted, take twice as much.
    wide = h.fully_connected(np.random.default_rng(4), 2072, 4)
    conv = h.conv(rng, (1, 1, 2100), 5, zero_point=3, output_zero_point=-7)
    return {
        "two_parts": h.fully_connected(rng, 2304, 12),
        "padded": h.fully_connected(rng, 2049, 13, output_zero_point=5, zero_point=3),
        "rows": h.fully_connected(rng, 2101, 4, rows=2, clamp=(-40, 100)),
        "signed": h.fully_connected(rng, 2101, 6, output_zero_point=3, in_double=False),
        "large_sums": large,
        "wide_sums": _with_weights(dataclasses.replace(wide, bias=wide.bias - 127 * 255 * 1036), slice(0, 4), 127),
        "position": conv,
        "lowest": _lowest(h.fully_connected(rng, 70, 9, rows=2, zero_point=-5)),
        "lowest_in_parts": _lowest(h.fully_connected(rng, 2100, 6, output_zero_point=3)),
        "far_scales": _far(h.fully_connected(rng, 2100, 8, in_double=False, output_zero_point=3)),
        "far_scales_in_double": _far(h.fully_connected(rng, 2100, 8, output_zero_point=3)),
    }


def _lowest(layer: FullyConnected) -> FullyConnected:
    """The layer with weights of -128 above negative ones, in every order of four rows."""
    weights = layer.weights.copy()
    weights[:4, 7], weights[1:4, 0], weights[3:6, -1] = -128, (-128, -128, -1), (-128, -128, -3)
    return dataclasses.replace(layer, weights=weights)


def _far(layer: FullyConnected) -> FullyConnected:
    """The layer with some scales so far from the others that no shift serves all."""
    q = layer.requantization
    scales = q.real_scales * np.where(np.arange(q.channels) % 2, 2.0**-11, 1)
    if q.scales is not None:
        return dataclasses.replace(layer, requantization=Requantization(3, scales=scales))
    multipliers, shifts = fixedpoint.quantize_multipliers(scales)
    return dataclasses.replace(layer, requantization=Requantization(3, multipliers=multipliers, shifts=shifts))


def _parts() -> dict[str, tuple[Layer, Emitted]]:
    """Every plan in parts; of those that round as the reference does one, for a compiler may merge equal constants."""
    emitted = h.every_plan(_long(), "chained parts")
    return {name: made for name, made in emitted.items() if not name.startswith("far") or name.endswith("_1")}


def test_parts_on_the_host(tmp_path: Path) -> None:
    """A part's accumulators that are not added, or added twice; a tail, or sums that are not cleared."""
    h.check_on_host(tmp_path, _parts(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_parts_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register or place of a sum in the assembly, or accesses that differ from the promise."""
    emitted = _parts()
    assert "reference" in emitted["far_scales_1"][1].plan.requantization
    assert "reference" in emitted["far_scales_in_double_1"][1].plan.requantization
    within = 0.03 if compiler == running.COMPILER else None
    h.check_on_board(tmp_path, emitted, RNG, compiler, cycles_within=within)


def test_long_layers_are_as_fast_as_short_ones() -> None:
    """A cliff behind 2048 inputs, accumulators that 256 times leave 32 bits, or weights of -128."""
    rng = np.random.default_rng(1)
    large = _with_weights(h.fully_connected(rng, 1024, 64), slice(0, 64), 120)
    lowest = h.fully_connected(rng, 640, 32)
    lowest.weights[:2, :3] = -128
    for layer in (h.fully_connected(rng, 2100, 64), large, lowest):
        assert min(plan.cycles for plan in plans(layer)) < 1.15 * layer.macs


@pytest.mark.parametrize("image", [(2, 1, 5), (1, 2, 5)])
def test_a_window_beyond_the_image_is_no_matrix(image: tuple[int, int, int]) -> None:
    """Catches inputs that are read behind the image: SAME may pad below and to the right alone."""
    layer = h.conv(np.random.default_rng(1), image, 8, (3, 1) if image[1] == 1 else (1, 3), stride=(2, 2))
    assert layer.output.positions == 1
    assert not any(layer.window.padding)
    assert not any("chained rows" in plan.family or "parts" in plan.family for plan in plans(layer))
