"""Convolutions by chained rows: exact on host and board for any window, size, zero point and clamp."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.chained_rows.channels_kernel import PatchForm
from memaopt.kernels.chained_rows.patches import runs_of
from memaopt.kernels.patches import Patch
from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.problems.layers import Conv, Layer

RNG = np.random.default_rng(5)
FAMILY = "chained channels"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return h.patch_layers(rng) | {
        "two_clamps": h.conv(rng, (3, 4, 12), 8, output_zero_point=-40, clamp=(-40, 60)),
        "two_clamps_by_sign": h.conv(rng, (3, 4, 6), 5, output_zero_point=5, clamp=(-90, 100)),
        "two_positions": h.conv(rng, (1, 2, 36), 8, zero_point=-3, output_zero_point=0, clamp=(0, 127)),
        "four_positions": h.conv(rng, (2, 2, 20), 8),
        "signed_by_two": h.conv(rng, (3, 4, 72), 5, (3, 3), output_zero_point=5),
        "deep": h.conv(rng, (3, 3, 128), 4, (3, 3)),
        "constant": _without(h.conv(rng, (3, 5, 16), 8), slice(2, 6)),
        "groups": h.conv(rng, (8, 5, 8), 10, (3, 3), groups=2, zero_point=3, output_zero_point=4),
        "groups_apart": h.conv(rng, (7, 6, 12), 12, (3, 2), groups=3, stride=(2, 1), dilation=(1, 2)),
        "small_groups": h.conv(rng, (6, 5, 12), 12, (3, 3), groups=6, zero_point=3),
        "groups_of_one": h.conv(rng, (6, 5, 8), 4, (2, 3), groups=4, padding="valid"),
        "groups_of_three": h.conv(rng, (5, 6, 4), 6, (3, 3), groups=2, zero_point=-9, stride=(2, 2)),
        "pointwise_groups": h.conv(rng, (3, 4, 20), 16, groups=4),
        "parts_of_rows": h.conv(rng, (4, 16, 4), 5, (3, 3), zero_point=-7),
        "parts_of_strided_rows": h.conv(rng, (5, 17, 3), 6, (3, 4), stride=(2, 2), dilation=(1, 2), zero_point=9),
        "far_rows": h.conv(rng, (3, 1500, 3), 4, (3, 3), stride=(1, 100), zero_point=3),
        "depthwise_of_one_channel": h.depthwise(rng, (9, 11, 1), (5, 4), multiplier=6, stride=(2, 2), zero_point=7),
    }


def _without(layer: Layer, channels: slice) -> Layer:
    """The layer with no weights in some of its channels."""
    weights = layer.weights.copy()  # type: ignore[union-attr]
    weights[channels] = 0
    return dataclasses.replace(layer, weights=weights)  # type: ignore[type-var]


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


def test_every_form_is_tried() -> None:
    """A form of the kernel that no layer here takes: positions by loop or not, by sign or not, parts of rows."""
    seen = set()
    for _, e in _emitted().values():
        by_sign = "sign" in e.plan.requantization
        seen.add((e.plan.tile[2], PatchForm(e.plan.option("form")), by_sign))
    both = (PatchForm.STRAIGHT, PatchForm.LOOPED)
    assert seen >= {(n, form, False) for n in "123" for form in both} - {("1", PatchForm.LOOPED, False)}
    assert {
        *(("3", form, by_sign) for form in PatchForm for by_sign in (False, True)),
        ("2", PatchForm.LOOPED, True),
    } <= seen
    assert {dict(e.plan.options).get("parts", 1) for _, e in _emitted().values()} == {1, 2, 4}


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong layout of weights, folding of offsets, order of a patch or padding, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler)


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust; straight code and loops."""
    rng = np.random.default_rng(1)
    layers = {
        "pointwise_64": (h.conv(rng, (25, 5, 64), 64), 0.873, 0.909, 0.83),
        "by_sign": (h.conv(rng, (25, 5, 64), 64, output_zero_point=5), 0.907, 0.943, 0.864),
        "strided_3x3": (h.conv(rng, (32, 32, 16), 32, (3, 3), stride=(2, 2)), 0.861, 0.892, 0.846),
    }
    for name, (layer, *limits) in layers.items():
        for form, limit in zip(PatchForm, limits, strict=True):
            offered = [p for p in plans(layer) if p.family == FAMILY and p.option("form") == form]
            plan = min(offered, key=lambda p: p.cycles)
            h.check_plan(tmp_path, name, layer, plan, RNG, 0.005)
            assert plan.cycles / layer.macs <= limit


@pytest.mark.parametrize(
    "patch",
    [Patch(1, 1, 64, 0, 0), Patch(3, 1, 9, 40, 0), Patch(3, 3, 5, 100, 10), Patch(2, 1, 1, 7, 0), Patch(3, 1, 8, 8, 0)],
)
def test_every_byte_of_a_patch_is_copied_once(patch: Patch) -> None:
    """A byte that is left out, comes twice, or stands where its weight does not."""
    runs = runs_of(patch)
    order = runs.order()
    assert len(order) == 2 * runs.pairs
    assert sorted(order[order >= 0]) == list(range(patch.bytes))
    assert (order < 0).sum() <= 1


def test_groups_are_as_fast_as_one() -> None:
    """A convolution of groups left to the generic kernel, at 8 to 10 cycles a multiply-accumulate."""
    layer = h.conv(np.random.default_rng(0), (16, 16, 32), 32, (3, 3), groups=4)
    assert min(plan.cycles for plan in plans(layer)) < 1.15 * layer.macs
    small = h.conv(np.random.default_rng(0), (16, 16, 32), 32, (3, 3), groups=16)
    assert min(plan.cycles for plan in plans(small)) < 3.6 * small.macs


def test_four_positions_are_two_tiles_of_two() -> None:
    """Tiles of three, of which the second computes two positions once more: 1.29 cycles instead of 0.9."""
    layer = h.conv(np.random.default_rng(0), (2, 2, 64), 64)
    assert min(plan.cycles for plan in plans(layer)) < 0.95 * layer.macs


def test_preconditions_are_checked() -> None:
    """A kernel offered for weights for which it would be wrong, or for fewer channels than a chain has."""
    rng = np.random.default_rng(3)
    layer = h.conv(rng, (4, 4, 16), 4)
    low = layer.weights.copy()
    low[:2, 0, 0, 0] = -128, -1
    for bad in (
        dataclasses.replace(layer, weights=low),
        h.conv(rng, (4, 4, 16), 3),
    ):
        assert not [plan for plan in plans(bad) if plan.family == FAMILY]


def _long() -> dict[str, tuple[Layer, Emitted]]:
    """Layers in parts, straight and looped in turn: a compiler may merge the equal constants of two plans."""
    rng = np.random.default_rng(2)
    large = h.conv(rng, (3, 5, 72), 8, (5, 5), zero_point=3)
    layers = {
        "rows": h.conv(rng, (4, 5, 256), 6, (3, 3), zero_point=3, output_zero_point=-7),
        "pieces": h.conv(rng, (2, 4, 2400), 5, output_zero_point=5, clamp=(-90, 100)),
        "valid": h.conv(rng, (5, 4, 240), 4, (3, 3), padding="valid", stride=(2, 1)),
        "large": dataclasses.replace(large, weights=np.full(large.weights.shape, 127, np.int8)),
        "lowest": _lowest(h.conv(rng, (5, 6, 7), 9, (3, 3), zero_point=3, dilation=(1, 2))),
        "lowest_valid": _lowest(h.conv(rng, (5, 7, 8), 6, (2, 3), zero_point=-9, padding="valid", stride=(2, 2))),
    }
    made = {}
    for number, (name, layer) in enumerate(layers.items()):
        offered = [plan for plan in plans(layer) if plan.family == "chained sums"]
        assert {plan.option("loop") for plan in offered} == {0, 1}, name
        made[name] = layer, emit(layer, offered[number % 2], name)
    return made


def _lowest(layer: Conv) -> Conv:
    """The layer with weights of -128 above negative ones, in every order of four channels."""
    weights = layer.weights.reshape(len(layer.weights), -1).copy()
    weights[:4, 7], weights[1:4, 0], weights[3:6, -1] = -128, (-128, -128, -1), (-128, -128, -3)
    return dataclasses.replace(layer, weights=weights.reshape(layer.weights.shape))


def test_parts_on_the_host(tmp_path: Path) -> None:
    """A part of a patch that is left out, comes twice, or meets other weights."""
    h.check_on_host(tmp_path, _long(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_parts_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong place of a sum in the assembly, or accesses that differ from the promise."""
    within = 0.03 if compiler == running.COMPILER else None
    h.check_on_board(tmp_path, _long(), RNG, compiler, cycles_within=within)


def test_long_patches_are_as_fast_as_short_ones() -> None:
    """A cliff behind patches that a tile has no room for."""
    for channels in (256, 512):
        layer = h.conv(np.random.default_rng(1), (6, 6, channels), 8, (3, 3))
        assert min(plan.cycles for plan in plans(layer)) < 1.1 * layer.macs


def test_weights_of_the_least_value_cost_little() -> None:
    """A cliff behind a weight of -128 above a negative one, which chains do not take."""
    layer = h.conv(np.random.default_rng(1), (8, 8, 64), 16, (3, 3))
    layer.weights[0, 0, 0, :2] = -128
    layer.weights[1, 0, 0, :2] = -1
    assert min(plan.cycles for plan in plans(layer)) < 1.1 * layer.macs
