"""Kernels that few layers have: exact for random and extreme inputs, accesses as promised, cycles to be trusted."""

from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest

from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.embedding import Embedding
from memaopt.problems.geometry import Image, Pair
from memaopt.problems.layers import ArgExtreme, Extreme, FloatLookup, L2Norm, Layer, MatMul, Mean, PoolKind
from memaopt.problems.lstm import Lstm
from memaopt.problems.resize import Resize
from memaopt.problems.step_functions import Requantization, Rescale

_RNG = np.random.default_rng(17)
_TENTH = Rescale(1717986918, -3)
_FLOATS = _RNG.normal(0, 3, 256).astype(np.float32)


def _lstm(batch: int, steps: int, inputs: int, units: int, *, time_major: bool = False, clip: int = 20000) -> Lstm:
    def rescales() -> tuple[Rescale, ...]:
        return tuple(Rescale(int(m), -3) for m in _RNG.integers(1 << 30, 1 << 31, 4))

    weights = (_RNG.integers(-127, 128, (units, count, 4)).astype(np.int8) for count in (inputs, units))
    biases = (_RNG.integers(-most, most, (units, 4)) for most in (3000, 900))
    hidden = Rescale(1518500250, -21)
    return Lstm(batch, steps, time_major, *weights, *biases, rescales(), rescales(), 3, clip, hidden, 5)


_LAYERS: dict[str, Layer] = {
    "resize": Resize(Image(6, 5, 12), Image(12, 10, 12), Pair(512, 512), True),
    "resize_gray": Resize(Image(10, 10, 1), Image(20, 20, 1), Pair(512, 512), False),
    "resize_two": Resize(Image(6, 5, 2), Image(12, 10, 2), Pair(512, 512), True),
    "resize_down": Resize(Image(9, 12, 5), Image(4, 7, 5), Pair(2304, 1755), False),
    "fours": Resize(Image(6, 5, 12), Image(12, 10, 12), Pair(512, 512), True),
    "fours_of_eight": Resize(Image(3, 2, 8), Image(24, 4, 8), Pair(128, 512), False),
    "fours_of_a_pixel": Resize(Image(1, 1, 4), Image(2, 3, 4), Pair(512, 341), True),
    "fours_of_a_line": Resize(Image(1, 6, 8), Image(4, 12, 8), Pair(256, 512), True),
    "fours_by_thirds": Resize(Image(3, 1, 8), Image(9, 4, 8), Pair(341, 256), True),
    "fours_of_corners": Resize(Image(9, 12, 4), Image(4, 7, 4), Pair(2731, 1877), False),
    **{
        f"means_{axes[0]}_{depth}": Mean(
            shape,
            axes,
            zero_point,
            Requantization(-3, multipliers=np.array([(1 << 31) // depth]), shifts=np.array([1])),
        )
        for shape, axes, depth, zero_point in (
            ((9, 64), (1,), 64, 5),
            ((5, 39), (1,), 39, -128),
            ((7, 1, 3, 4), (2, 3), 12, 127),
            ((2, 70), (0, 1), 140, 0),
            ((9, 3), (1,), 3, 5),
            ((7, 6), (1,), 6, -128),
        )
    },
    **{
        f"extremes_{kind}_{i}": Binary(kind, *shapes, 0, 0, 0, Rescale(0, 0))
        for kind in (BinaryKind.MINIMUM, BinaryKind.MAXIMUM)
        for i, shapes in enumerate((((3, 43), (3, 43)), ((5, 32), (5, 1)), ((16,), (4, 16))))
    },
    **{
        # Of the coarser scale some forty bytes are one, so that many are equal.
        f"bounds_{kind}_{i}": Binary(
            kind, *shapes, 3, -7, 0, Rescale(0, 0), Rescale(1518500250, shift), Rescale(1288490189, shift), left_shift=8
        )
        for kind in BinaryKind
        if kind.comparison
        for i, (shapes, shift) in enumerate(((((3, 27), (3, 27)), -13), (((5, 32), (5, 1)), -6)))
    },
    "matmul": MatMul((2, 1, 7, 12), (3, 5, 12), (False, True), 3, -2, 5, Rescale(1518500250, -7)),
    "matmul_turned": MatMul((3, 12, 7), (3, 12, 5), (True, False), -128, 127, -9, Rescale(1518500250, -8)),
    "arg_max": ArgExtreme(PoolKind.MAX, (3, 12, 1), 8),
    "arg_min": ArgExtreme(PoolKind.MIN, (2, 9, 5), 4),
    "l2_norm": L2Norm(3, 20, -7),
    "l2_norm_far": L2Norm(2, 300, 127),
    "greatest": Extreme(PoolKind.MAX, (5, 7, 6), (0, 2)),
    "least": Extreme(PoolKind.MIN, (2, 9, 3, 8), (1, 3), -20, 90),
    "lstm": _lstm(2, 4, 12, 8),
    "lstm_time_first": _lstm(3, 3, 7, 6, time_major=True, clip=0),
    **{
        f"rows_{size}": Embedding(count, _RNG.integers(-128, 128, (33, size)).astype(np.int8), from_end=count == 7)
        for count, size in ((1, 64), (9, 3), (7, 16), (11, 50), (6, 96))
    },
    "floats": FloatLookup(77, _FLOATS),
    "slopes": Binary(BinaryKind.PRELU, (6, 5, 8), (8,), 3, -5, 7, Rescale(1518500250, -6), Rescale(1518500250, 0)),
    "same_squares": Binary(
        BinaryKind.SQUARED_DIFFERENCE, (77,), (77,), -20, -20, -128, Rescale(1318500250, -12), _TENTH, _TENTH, 7
    ),
    **{
        f"differences_{i}": Binary(
            BinaryKind.SQUARED_DIFFERENCE, *shapes, *zeros, -128, Rescale(1518500250, shift), *rescales, 7
        )
        for i, (shapes, zeros, shift, rescales) in enumerate(
            (
                (((5, 4, 9), (5, 4, 9)), (-128, -128), -21, (Rescale(1 << 30, 0), Rescale(1 << 30, -1))),
                (((4, 48), (4, 1)), (3, 127), -22, (Rescale(1518500250, -2), Rescale(1 << 30, 0))),
                (((24,), (6, 24)), (0, 9), -20, (Rescale(1 << 30, 0), Rescale(1 << 30, 0))),
            )
        )
    },
    "squares": Binary(
        BinaryKind.SQUARED_DIFFERENCE, (6, 32), (6, 1), 3, -5, -128, Rescale(1518500250, -10), _TENTH, _TENTH, 7
    ),
}


#: Layers that are there for one family.
_ALONE = {
    "fours": "fours",
    "differences": "squares",
    "means": "row sums",
    "extremes": "extremes by words",
    "bounds": "bounds",
}


def _taken(name: str, number: int, family: str) -> bool:
    alone = _ALONE.get(name.partition("_")[0])
    return family == alone if alone else number == 0 or family == "proven"


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """Each layer by its first plan, and by that whose rounding is proven; those of one family by that alone."""
    return {
        f"{name}_{number}": (layer, emit(layer, plan, f"{name}_{number}"))
        for name, layer in _LAYERS.items()
        for number, plan in enumerate(plans(layer))
        if _taken(name, number, plan.family)
    }


def test_both_ways_are_tried() -> None:
    """Catches PRELU or SQUARED_DIFFERENCE without the proven rounding, which is half as long."""
    proven = {layer.kind for layer, e in _emitted().values() if e.plan.family == "proven" and isinstance(layer, Binary)}
    assert proven == {BinaryKind.PRELU, BinaryKind.SQUARED_DIFFERENCE}
    assert sum(e.plan.family in _ALONE.values() for _, e in _emitted().values()) == 33


def test_on_host(tmp_path: Path) -> None:
    """Catches an index, a sign or a rounding that is not the reference's."""
    h.check_on_host(tmp_path, _emitted(), np.random.default_rng(1))


@pytest.mark.slow
def test_on_board(tmp_path: Path) -> None:
    """Catches an access that is not promised, and cycles that mislead a choice between chips and settings."""
    h.check_on_board(tmp_path, _emitted(), np.random.default_rng(2), running.COMPILER, cycles_within=0.12)
