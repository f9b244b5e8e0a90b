"""A convolution into a depthwise layer, as one: exact on host and board for any size, band, stride and zero point."""

from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.problems.layers import ConvDepthwise, Layer

RNG = np.random.default_rng(11)


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "pointwise": h.conv_depthwise(rng, (9, 6, 8), 6),
        "odd": h.conv_depthwise(rng, (7, 5, 5), 5, zero_point=3),
        "signed": h.conv_depthwise(rng, (6, 7, 12), 4, zero_point=-3, between=5),
        "clamped": h.conv_depthwise(rng, (6, 4, 4), 3, between=-10, clamp=(-10, 100), output_zero_point=-128),
        "strided": h.conv_depthwise(rng, (8, 9, 4), 4, stride=(2, 2)),
        "strided_even": h.conv_depthwise(rng, (9, 8, 4), 5, stride=(2, 2)),
        "strided_rows": h.conv_depthwise(rng, (10, 7, 4), 4, stride=(2, 1)),
        "strided_columns": h.conv_depthwise(rng, (6, 9, 4), 4, stride=(1, 2)),
        "stride_3": h.conv_depthwise(rng, (11, 10, 4), 2, stride=(3, 3)),
        "valid": h.conv_depthwise(rng, (8, 8, 4), 4, padding="valid"),
        "first": h.conv_depthwise(rng, (13, 12, 3), 6, (3, 3), conv_stride=(2, 2), zero_point=-1),
        "rows": h.conv_depthwise(rng, (14, 24, 3), 6, (3, 3), conv_stride=(2, 2), zero_point=-1),
        "rows_at_1": h.conv_depthwise(rng, (7, 16, 3), 5, (3, 3), between=5, stride=(2, 2)),
        "first_strided": h.conv_depthwise(rng, (14, 12, 1), 4, (5, 3), conv_stride=(1, 2), stride=(2, 2)),
        "dilated": h.conv_depthwise(rng, (9, 9, 4), 4, (3, 3), dilation=(2, 2), between=7),
        "window_inside": h.conv_depthwise(rng, (8, 9, 4), 4, (2, 2), conv_padding="valid"),
        "one_pixel": h.conv_depthwise(rng, (1, 1, 8), 4),
        "one_column": h.conv_depthwise(rng, (6, 1, 4), 2),
        "tall": h.conv_depthwise(rng, (40, 4, 4), 2),
        "tall_strided": h.conv_depthwise(rng, (41, 3, 4), 2, stride=(2, 2)),
        "far_channels": h.conv_depthwise(rng, (44, 50, 4), 2, between=1),
        "far_rows": h.conv_depthwise(rng, (5, 24, 4), 96),
        "far_rows_late": h.conv_depthwise(rng, (7, 24, 4), 83, stride=(2, 2)),
        "far_columns": h.conv_depthwise(rng, (5, 35, 4), 60),
        "far_rows_and_columns": h.conv_depthwise(rng, (37, 35, 4), 2),
        "long_rows": h.conv_depthwise(rng, (5, 18, 4), 36),
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """Of each layer one plan for every band, and every form of loops and strips that it has."""
    chosen: dict[str, tuple[Layer, Emitted]] = {}
    for name, layer in _layers().items():
        offered = plans(layer)
        # What reads rows where they lie differs in little else: of such layers only those plans.
        offered = tuple(plan for plan in offered if "shared" in plan.tile or not name.startswith("rows"))
        assert offered, name
        seen: set[object] = set()
        for number, plan in enumerate(offered):
            options = [plan.option(key) for key in ("chain", "form", "columns", "strip")]
            form = (*options, "loop of" in plan.tile, "shared" in plan.tile)
            forms = {("band", plan.option("band"), plan.option("columns")), form}
            if not forms <= seen:
                chosen[f"{name}_{number}"] = (layer, emit(layer, plan, f"{name}_{number}"))
            seen |= forms
    return chosen


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong planes, zeros, bands, strips or last tiles in the plain C, or a byte outside its memory."""
    emitted = _emitted()
    assert {e.plan.option("band") for _, e in emitted.values()} >= {0, 1, 2, 3, 4, 5, 7, 20}
    # Bands, strips and columns are what differs in C.
    names = (
        "odd",
        "signed",
        "clamped",
        "stride_3",
        "first",
        "rows",
        "dilated",
        "one_pixel",
        "tall_strided",
        "far_rows_late",
    )
    seen: set[object] = set()
    kept = {}
    for name, (layer, e) in emitted.items():
        form = (
            id(layer),
            *(e.plan.option(key) for key in ("band", "chain", "strip", "columns")),
            "shared" in e.plan.tile,
        )
        if name.startswith(names) and form not in seen:
            kept[name] = layer, e
            seen.add(form)
    h.check_on_host(tmp_path, kept, RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler, kinds=["random"])


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """Fusing that got slower than both layers apart, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers = {
        "first": (h.conv_depthwise(rng, (96, 96, 3), 8, (3, 3), conv_stride=(2, 2)), 0.97),
        "strided": (h.conv_depthwise(rng, (48, 48, 8), 16, stride=(2, 2)), 0.995),
        "middle": (h.conv_depthwise(rng, (24, 24, 16), 32), 0.96),
        "late": (h.conv_depthwise(rng, (6, 6, 60), 106), 0.98),
    }
    for name, (layer, share) in layers.items():
        offered = plans(layer)
        apart = sum(min(plan.cycles for plan in plans(part)) for part in (layer.conv, layer.depthwise))
        assert min(plan.cycles for plan in offered) <= share * apart
        # The fastest, the smallest, and one between.
        for plan in {offered[0], min(offered, key=lambda p: p.scratch_bytes), offered[len(offered) // 2]}:
            h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)


def test_bands_take_less_memory_than_the_tensor_between() -> None:
    """Planes that grow with the image although they come in bands."""
    layer = h.conv_depthwise(np.random.default_rng(2), (48, 48, 8), 16, stride=(2, 2))
    assert min(plan.scratch_bytes for plan in plans(layer)) < layer.conv.output.elements / 6


def test_preconditions_are_checked() -> None:
    """Fusing offered where a kernel would be wrong: groups, other windows, several outputs of a channel."""
    rng = np.random.default_rng(3)
    first = h.conv(rng, (8, 8, 4), 4)
    grouped = h.conv(rng, (8, 8, 4), 4, groups=2)
    depthwise = h.depthwise(rng, (8, 8, 4))
    assert plans(ConvDepthwise(first, depthwise))
    assert not plans(ConvDepthwise(grouped, depthwise))
    for other in (
        h.depthwise(rng, (8, 8, 4), (5, 5)),
        h.depthwise(rng, (8, 8, 4), dilation=(2, 2)),
        h.depthwise(rng, (8, 8, 4), multiplier=2),
        h.depthwise(rng, (8, 8, 4), stride=(4, 4)),
    ):
        assert not plans(ConvDepthwise(first, other))
