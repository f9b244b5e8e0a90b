"""Addends by sign where no bits of them can be cleared: rare (rounding/cleared.py), so tests find none cleared here."""

from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest

from memaopt.kernels.registry import Emitted
from memaopt.kernels.rounding import cleared
from memaopt.problems.layers import Layer, MatMul
from memaopt.problems.step_functions import Rescale

RNG = np.random.default_rng(98)


def _layers() -> dict[str, tuple[str, Layer]]:
    """Of each family that has both forms."""
    rng, zero = np.random.default_rng(97), {"output_zero_point": 7}
    return {
        "raw": ("raw pairs", h.conv(rng, (3, 5, 6), 3, (2, 3), **zero)),
        "few": ("few channels", h.conv(rng, (3, 4, 9), 3, **zero)),
        "halfwords": ("halfword rows", h.conv(rng, (5, 6, 4), 3, (3, 3), **zero)),
        "chained": ("chained channels", h.conv(rng, (3, 4, 6), 5, output_zero_point=5)),
        "chained_by_two": ("chained channels", h.conv(rng, (2, 2, 6), 5, output_zero_point=5)),
        "inputs": ("few inputs", h.conv(rng, (3, 7, 3), 5, **zero)),
        "wide": ("wide tiles", h.conv(rng, (2, 5, 8), 5, **zero)),
        "halves": ("halves", _product(5)),
        "tiles": ("tiles of halves", _product(6)),
        "winograd": ("winograd", h.conv(rng, (7, 11, 8), 4, (3, 3), **zero)),
        "rows": ("raw rows", h.fully_connected(rng, 24, 7, in_double=False, **zero)),
        "taps": ("depthwise taps", h.depthwise(rng, (6, 6, 4), **zero)),
        "direct": ("depthwise direct", h.depthwise(rng, (9, 5, 4), **zero)),
        "line": ("depthwise line", h.depthwise(rng, (2, 15, 3), (1, 5), **zero)),
        "strided_line": ("depthwise line", h.depthwise(rng, (2, 28, 3), (1, 5), stride=(1, 2), **zero)),
        "column": ("depthwise column", h.depthwise(rng, (5, 1, 8), (5, 1), padding="valid", **zero)),
    }


def _product(zero_point: int) -> MatMul:
    return MatMul((1, 4, 16), (1, 16, 4), (False, False), 3, -4, zero_point, Rescale(1518500250, -7))


def test_addends_by_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong outputs, or accesses that differ from the promise, of a form that hardly any layer needs."""
    monkeypatch.setattr(cleared, "_prove", lambda *_: None)
    emitted: dict[str, tuple[Layer, Emitted]] = {}
    for name, (family, layer) in _layers().items():
        emitted |= h.every_plan({name: layer}, family)
    assert {entry[1].plan.requantization.split(", ", 1)[1] for entry in emitted.values()} == {"constants by sign"}
    h.check_on_board(tmp_path, emitted, RNG, "gcc")
