"""Constants of s8 products: read in any form, refused where they do not fit the product."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli

from memaopt.errors import InputError
from memaopt.problems import reference
from memaopt.problems.gemm import Gemm, Weights, gemm

_A = [[1, -2, 3], [-128, 127, 0]]
_CHANNELS = {"bias": (5, -6), "multiplier": (1 << 30, 3 << 29), "shift": (-4, 1)}


def test_rows_arrays_and_base64_are_the_same() -> None:
    """Catches weights that are read in another order, or with another sign, in one of the forms."""
    rows = Weights.checked({"a": _A, **{name: list(given) for name, given in _CHANNELS.items()}}, "rows")
    arrays = Weights.of(np.array(_A, np.int8), *(np.array(given) for given in _CHANNELS.values()))
    again = Weights.model_validate_json(rows.model_dump_json(), strict=True)
    assert rows == arrays == again
    a, channels = reference.constants(gemm(2, 3, 4, dtype="s8", input_zero_point=2, weights=rows))
    assert a.tolist() == _A
    assert channels.bias.tolist() == [5 - 2 * 2, -6 + 2 * 1]
    assert (channels.left.tolist(), channels.right.tolist()) == ([0, 1], [4, 0])


def test_random_ones_unless_given() -> None:
    """Catches s8 products without constants, and products of other types with some."""
    assert gemm(2, 3, 4, dtype="s8").weights == Weights()
    assert gemm(2, 3, 4, dtype="s8", weights="argument").weights is None
    assert gemm(2, 3, 4, dtype="q15").weights is None
    made = gemm(2, 3, 4, dtype="s8", weights="argument")
    assert Gemm.model_validate_json(made.model_dump_json()) == made
    for fields in ({"input_zero_point": 1}, {"output_zero_point": -1}, {"clamp": (0, 127)}):
        with pytest.raises(InputError, match="no effect on q15: they are of s8"):
            gemm(2, 3, 4, **fields)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": _A, **_CHANNELS, "bias": [1]}, "bias has 1 entries, not M = 2"),
        ({"a": [[1, 2]], **_CHANNELS}, "a has 2 bytes, not M x K = 6"),
        ({"a": [[1, 2, 128], [0, 0, 0]], **_CHANNELS}, "neither base64 nor rows of int8"),
        ({"a": [[1, 2, "x"], [0, 0, 0]], **_CHANNELS}, "neither base64 nor rows of int8"),
        ({"a": "?", **_CHANNELS}, "a is not base64"),
        ({"bias": [1, 2]}, "bias, multiplier, shift are given without a"),
        ({"a": _A, **_CHANNELS, "shift": [40, 0]}, "shift.0"),
        ({"a": _A, **_CHANNELS, "scales": [1]}, "scales"),
        ({"a": _A, **_CHANNELS, "seed": 3}, "seed has no effect beside a"),
    ],
)
def test_what_does_not_fit_is_refused(weights: dict[str, object], message: str, tmp_path: Path, cli: Cli) -> None:
    """Catches weights of another product, found out when C is written or never."""
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        gemm(2, 3, 4, dtype="s8", weights=Weights.checked(weights, "w"))
    file = tmp_path / "w.json"
    file.write_text(json.dumps(weights))
    assert message in cli.refused("solve", "gemm", "2x3x4", "--dtype", "s8", "--weights", file)
