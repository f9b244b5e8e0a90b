"""Convolutions of one channel by 1x1 as tables: exact on host and board, and offered where they are right."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, plans
from memaopt.problems.geometry import Padding
from memaopt.problems.layers import Conv, Layer

RNG = np.random.default_rng(5)
FAMILY = "table rows"


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    sizes = {"four": (1, 2, 4), "odd": (5, 7, 8), "many": (4, 6, 32), "large": (16, 16, 16)}
    sizes |= {f"large_{m}": (16, 16, m) for m in (1, 2, 3)}
    sizes |= {f"few_{m}_{width}": (3, width, m) for m in (1, 2, 3) for width in (4, 6, 5)}
    made: dict[str, Layer] = {
        name: h.conv(rng, (height, width, 1), m, zero_point=-9, output_zero_point=5, clamp=(-60, 127))
        for name, (height, width, m) in sizes.items()
    }
    return made


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    return h.every_plan(_layers(), FAMILY)


def test_every_plan_on_the_host(tmp_path: Path) -> None:
    """A wrong row, or bytes of a word in another order, in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", compilers())
def test_every_plan_on_the_board(compiler: str, tmp_path: Path) -> None:
    """The same in assembly, accesses that differ from the promise, or cycles from the prediction."""
    emitted = _emitted()
    large = h.check_on_board_and_large(tmp_path, emitted, RNG, compiler)
    for (layer, e), most in zip(large.values(), (1.1, 4.6, 2.4, 3), strict=True):
        assert isinstance(layer, Conv)
        assert e.plan.cycles < most * layer.macs


def test_others_have_no_table() -> None:
    """A table for two channels in, for groups of bytes that are no words, or for positions left out."""
    rng = np.random.default_rng(1)
    none = [
        h.conv(rng, (5, 4, 2), 8),
        h.conv(rng, (5, 4, 1), 6),
        h.conv(rng, (5, 4, 1), 5),
        h.conv(rng, (6, 4, 1), 8, stride=(2, 1)),
        h.conv(rng, (6, 4, 1), 8, (1, 2)),
    ]
    padded = h.conv(rng, (6, 4, 1), 8)
    window = dataclasses.replace(padded.window, padding=Padding(1, 0))
    for layer in (*none, dataclasses.replace(padded, window=window)):
        assert FAMILY not in {plan.family for plan in plans(layer)}
