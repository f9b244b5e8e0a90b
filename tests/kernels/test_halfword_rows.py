"""Convolutions of up to three outputs over rows of halfwords: exact on host and board, and worth it."""

from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.halfword_rows.products import Columns, scheduled
from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.layers import Conv

RNG = np.random.default_rng(5)
FAMILY = "halfword rows"


def _layers() -> dict[str, Conv]:
    rng = np.random.default_rng(0)
    lowest = h.conv(rng, (4, 5, 8), 3, (3, 3), zero_point=5)
    lowest.weights[:, 1] = -128
    made = {"lowest": lowest, "one_column": h.conv(rng, (9, 1, 4), 1, (2, 1), zero_point=3)}
    made |= {
        "deep": h.conv(rng, (4, 4, 88), 2, (3, 2), zero_point=-1, clamp=(-128, 60)),
        "dilated": h.conv(rng, (9, 9, 8), 1, (3, 2), dilation=(2, 3), stride=(1, 2), output_zero_point=-5),
        "valid": h.conv(rng, (9, 11, 4), 2, (3, 3), padding="valid", stride=(2, 1), zero_point=127),
        "column": h.conv(rng, (9, 13, 12), 3, (5, 1), zero_point=-1, output_zero_point=3),
        "groups": h.conv(rng, (5, 6, 20), 10, (3, 3), groups=5, zero_point=4),
        "seven": h.conv(rng, (5, 9, 28), 4, (3, 3), groups=4, zero_point=-7),
        "threes": h.conv(rng, (5, 7, 9), 6, (3, 3), groups=3, output_zero_point=2),
        "blocks": h.conv(rng, (5, 7, 8), 5, (3, 3), zero_point=-2, output_zero_point=2),
        "blocks_of_groups": h.conv(rng, (5, 7, 12), 12, (3, 3), groups=3, zero_point=5),
        "blocks_by_words": h.conv(rng, (4, 5, 24), 12, (3, 3), groups=2, output_zero_point=2),
        "one_input": h.conv(rng, (6, 8, 1), 2, (2, 3), zero_point=3),
    }
    for m in (1, 2, 3):
        made |= {
            f"signed_{m}": h.conv(rng, (12, 9, 8), m, (3, 3), zero_point=7, output_zero_point=9, clamp=(-40, 90)),
            f"pairs_{m}": h.conv(rng, (5, 8, 12), 6 * m, (3, 3), groups=6, zero_point=-9, output_zero_point=1),
        }
    made["wide"] = h.conv(rng, (3, 4, 512), 2, (1, 3), zero_point=3)
    return made


def _emitted() -> dict[str, tuple[Conv, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


@pytest.mark.slow
def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """Wrong layout of weights, order of halfwords, folding of offsets or padding, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler)


@pytest.mark.slow
def test_cycles(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    rng = np.random.default_rng(1)
    layers: dict[str, tuple[Conv, float]] = {
        "image_1": (h.conv(rng, (16, 16, 16), 1, (3, 3), output_zero_point=3), 1.35),
        "image_3": (h.conv(rng, (16, 16, 16), 3, (3, 3)), 1.15),
        "groups": (h.conv(rng, (16, 16, 32), 32, (3, 3), groups=16, padding="valid"), 1.5),
        "stride": (h.conv(rng, (33, 33, 8), 2, (3, 3), stride=(2, 2)), 1.7),
        "short_rows": (h.conv(rng, (13, 7, 4), 1, (3, 3), stride=(2, 2)), 3.5),
        "line": (h.conv(rng, (24, 24, 8), 1, (1, 5)), 1.5),
        "fours": (h.conv(rng, (16, 16, 32), 32, (3, 3), groups=8), 1.5),
        "seven": (h.conv(rng, (16, 16, 28), 4, (3, 3), groups=4), 1.8),
        "large": (h.conv(rng, (24, 24, 8), 1, (5, 5)), 1.05),
    }
    for name, (layer, limit) in layers.items():
        plan = min(plans(layer), key=lambda p: p.cycles)
        assert plan.family == FAMILY, name
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)
        assert plan.cycles / layer.macs <= limit, (name, plan.cycles / layer.macs)


def test_every_product_is_made_once() -> None:
    """A schedule that leaves out a product, or has another value in a register by then."""
    for columns in (Columns(4, 3, 1, 1), Columns(3, 5, 2, 2), Columns(6, 1, 3, 1)):
        for registers in (4, 6):
            held, made, weight = dict[int, tuple[int, int | None]](), list[tuple[int, ...]](), 0
            groups = scheduled(columns, 1, registers, 2)
            for group in groups or ():
                for load in group.loads:
                    held[load.register] = (weight, None) if load.column is None else (load.word, load.column)
                    weight += load.column is None
                for product in group.products:
                    of_weight, of_input = held[product.weight], held[product.input]
                    word, tap = divmod(of_weight[0], columns.taps)
                    assert of_input == (word, columns.column(product.position, tap))
                    made.append((product.position, word, tap))
            assert groups is None or len(set(made)) == len(made) == columns.positions * columns.taps * 2


def test_others_are_refused() -> None:
    """A kernel offered for more channels than it has registers for, or where nothing is read twice."""
    rng = np.random.default_rng(3)
    for layer in (
        h.conv(rng, (4, 4, 16), 9, (3, 3)),
        h.conv(rng, (4, 4, 65), 1, (3, 3)),
        h.conv(rng, (4, 4, 16), 1),
    ):
        assert not [plan for plan in plans(layer) if plan.family == FAMILY]
