"""Sums, products, tables, pooling, means: exact for every input, accesses as promised, cycles that can be trusted."""

import dataclasses
from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers
from hypothesis import given, settings
from hypothesis import strategies as st

from memaopt import fixedpoint, mcu
from memaopt.bench.waits import runs_of
from memaopt.kernels.elementwise.quantize import factors_of, outputs
from memaopt.kernels.products.products import prove_product
from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.kernels.sums.sums import prove_sum
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Dequantize, Layer, Lookup, Mean, Pool, PoolKind, Quantize
from memaopt.problems.step_functions import Requantization, Rescale

RNG = np.random.default_rng(9)
FAMILIES = (
    "weighted sum",
    "sum through table",
    "product",
    "channel sums",
    "few sums",
    "words",
    "few columns",
    "bytes",
    "lookup sixteens",
    "dequantize words",
    "quantize fours",
)
TABLE = np.random.default_rng(4).permutation(256).astype(np.uint8).view(np.int8)
OUTPUTS = tuple(TABLE.tolist())


def _sum(
    kind: BinaryKind,
    shape: tuple[int, ...],
    scales: tuple[float, float, float],
    zero_points: tuple[int, int, int],
    clamp: tuple[int, int] = (-128, 127),
    other: tuple[int, ...] | None = None,
    table: tuple[int, ...] = (),
) -> Binary:
    """ADD or SUB with TFLite's multipliers for these scales."""
    first, second, output = scales
    twice = 2 * max(first, second)
    real = (twice / (2**20 * output), first / twice, second / twice)
    rescales = [Rescale(*fixedpoint.quantize_multiplier(scale)) for scale in real]
    return Binary(kind, shape, other or shape, *zero_points, *rescales, minimum=clamp[0], maximum=clamp[1], table=table)


def _mul(
    first: tuple[int, ...],
    second: tuple[int, ...],
    scale: float,
    zero_points: tuple[int, int, int],
    clamp: tuple[int, int] = (-128, 127),
) -> Binary:
    """MUL with TFLite's multiplier for the ratio of scales."""
    rescale = Rescale(*fixedpoint.quantize_multiplier(float(np.float32(scale))))
    return Binary(BinaryKind.MUL, first, second, *zero_points, rescale, minimum=clamp[0], maximum=clamp[1])


def _mean(shape: tuple[int, ...], axes: tuple[int, ...], scale: float, zero_points: tuple[int, int]) -> Mean:
    count = int(np.prod([shape[axis] for axis in axes]))
    multiplier, shift = fixedpoint.quantize_multiplier(scale / count)
    q = Requantization(zero_points[1], multipliers=np.array([multiplier]), shifts=np.array([shift]))
    return Mean(shape, axes, zero_points[0], q)


def _pool(kind: PoolKind, image: tuple[int, int, int], kernel: tuple[int, int], **clamp: int) -> Pool:
    return Pool(kind, Image(*image), Image(1, 1, image[2]), Window(Pair(*kernel)), **clamp)


def _layers() -> dict[str, Layer]:
    three, two = Window(Pair(3, 3), padding=Padding(1, 1)), Window(Pair(2, 2), Pair(2, 2))
    return {
        "add": _sum(BinaryKind.ADD, (5, 7, 3), (0.031073, 0.044219, 0.052511), (-3, 100, -128)),
        "sub": _sum(BinaryKind.SUB, (4, 4, 8), (0.09, 0.02, 0.07), (5, -128, 11), (-20, 90)),
        "add_few": _sum(BinaryKind.ADD, (7,), (0.5, 0.1, 0.3), (0, 0, 3)),
        "add_alike": _sum(BinaryKind.ADD, (5, 7, 3), (0.031, 0.031, 0.0447), (-3, 100, -128)),
        "add_alike_few": _sum(BinaryKind.ADD, (7,), (0.3, 0.3, 0.1), (-128, 127, 3)),
        "add_channels": _sum(BinaryKind.ADD, (3, 5, 24), (0.031073, 0.044219, 0.052511), (-3, 100, 0), other=(24,)),
        "add_table": _sum(BinaryKind.ADD, (5, 7, 3), (0.031073, 0.044219, 0.052511), (-3, 100, 0), table=OUTPUTS),
        "add_table_few": _sum(BinaryKind.ADD, (5,), (0.031073, 0.044219, 0.052511), (-3, 100, 0), table=OUTPUTS[::-1]),
        "sub_table_channels": _sum(
            BinaryKind.SUB,
            (24,),
            (0.21013, 0.0030171, 0.10079),
            (127, -128, 0),
            (-90, 80),
            other=(5, 24),
            table=OUTPUTS,
        ),
        "mul": _mul((5, 7, 3), (5, 7, 3), 0.0141, (3, -20, 5)),
        "mul_relu": _mul((8, 8, 8), (8, 8, 8), 0.0043, (-128, -128, -128)),
        "mul_clamped": _mul((47,), (47,), 0.0079, (127, 5, 11), (-20, 90)),
        "mul_gate": _mul((2, 5, 3, 16), (2, 1, 1, 16), 0.0039, (-5, -128, -7)),
        "add_rows": _sum(BinaryKind.ADD, (3, 5, 24), (0.031, 0.044, 0.0525), (-3, 100, 0), other=(3, 5, 1)),
        "sub_scalar": _sum(BinaryKind.SUB, (1,), (0.09, 0.02, 0.07), (5, -128, 11), (-20, 90), other=(2, 16)),
        "sub_table_rows": _sum(
            BinaryKind.SUB, (4, 1), (0.21, 0.003, 0.1), (127, -128, 0), other=(4, 32), table=OUTPUTS
        ),
        "mul_rows": _mul((5, 7, 1), (5, 7, 48), 0.0043, (3, -128, 9)),
        "mul_planes": _mul((3, 2, 4, 8), (3, 1, 1, 1), 0.0079, (127, 5, 11), (-20, 90)),
        "mul_channels": _mul((24,), (3, 5, 24), 0.02, (0, 0, 0), (-128, 100)),
        "add_three_channels": _sum(BinaryKind.ADD, (9, 7, 3), (0.031, 0.044, 0.0525), (-3, 100, 0), other=(3,)),
        "sub_one_for_all": _sum(BinaryKind.SUB, (1, 1), (0.09, 0.02, 0.07), (5, -128, 11), (-20, 90), other=(17, 29)),
        "sub_batches": _sum(BinaryKind.SUB, (3, 1, 13), (0.09, 0.02, 0.07), (5, -128, 11), other=(3, 20, 13)),
        "add_table_channels": _sum(
            BinaryKind.ADD, (5, 5, 13), (0.031, 0.044, 0.0525), (-3, 100, 0), other=(13,), table=OUTPUTS
        ),
        "add_odd_rows": _sum(BinaryKind.ADD, (7, 5, 11), (0.031, 0.044, 0.0525), (-3, 100, 0), other=(7, 5, 1)),
        "mul_odd_rows": _mul((2, 8, 6, 1), (2, 8, 6, 3), 0.0079, (127, 5, 11), (-20, 90)),
        "mul_few_rows": _mul((2, 3, 3), (2, 3, 1), 0.0079, (127, 5, 11)),
        "mul_positive": _mul((95,), (95,), 0.0043, (-128, -128, -128)),
        "mul_positive_clamped": _mul((3, 32), (3, 32), 0.0043, (-128, -128, 3), (-90, 100)),
        "mul_few": _mul((7,), (7,), 0.0141, (3, -20, 5)),
        "lookup": Lookup(333, TABLE),
        "lookup_again": Lookup(333, TABLE),  # its table is an equal one
        "lookup_turn": Lookup(16, TABLE),
        "dequantize": Dequantize(31, 0.037, -128),
        "dequantize_turn": Dequantize(4, 3e-39, 127),
        "dequantize_zero": Dequantize(8, 1.5, 0),
        "quantize": Quantize(403, 0.037, -5),
        "quantize_turn": Quantize(4, 3e-9, 127),
        "quantize_power": Quantize(402, 0.0078125, -128),
        "quantize_even": Quantize(401, 0.0471, 25, even=True),
        "quantize_even_power": Quantize(400, 0.5, 0, even=True),
        "average": _pool(PoolKind.AVERAGE, (25, 5, 8), (25, 5)),
        "average_clamped": _pool(PoolKind.AVERAGE, (7, 7, 12), (7, 7), minimum=-100, maximum=-5),
        "average_22": _pool(PoolKind.AVERAGE, (3, 3, 22), (3, 3)),
        "average_odd": _pool(PoolKind.AVERAGE, (4, 3, 13), (4, 3)),
        "average_few": _pool(PoolKind.AVERAGE, (5, 5, 7), (5, 5), minimum=-100, maximum=100),
        "average_one": _pool(PoolKind.AVERAGE, (1, 1, 4), (1, 1)),
        "average_up": dataclasses.replace(_pool(PoolKind.AVERAGE, (4, 4, 12), (4, 4)), ties_up=True),
        "mean": _mean((1, 8, 8, 32), (1, 2), 1.3, (-5, 7)),
        "mean_in_parts": _mean((1, 19, 31, 12), (1, 2), 1.3, (-5, 7)),
        "mean_of_batches_in_parts": _mean((2, 257, 7), (1,), 0.9, (100, -128)),
        "average_in_parts": _pool(PoolKind.AVERAGE, (20, 20, 13), (20, 20), minimum=-100, maximum=100),
        "mean_rows": _mean((3, 85, 4), (0, 1), 1.0, (0, 3)),
        "mean_of_rows": _mean((1, 5, 9, 12), (2,), 0.9, (3, -128)),
        "mean_of_columns": _mean((3, 4, 6, 7), (1, 2), 0.9, (-128, 5)),
        "mean_far": _mean((7, 7, 16), (0, 1), 0.9, (100, -128)),
        "mean_of_height": _mean((9, 5, 3), (0,), 0.9, (3, -128)),
        "mean_of_one": _mean((3, 1, 61, 1), (1, 2), 0.9, (-128, 100)),
        "mean_of_two": _mean((1, 19, 31, 2), (1, 2), 1.3, (-5, 7)),
        "mean_of_three": _mean((3, 5, 9, 3), (1, 2), 0.9, (100, -128)),
        "mean_of_few": _mean((3, 1, 3, 3), (2,), 0.9, (3, 5)),
        "average_one_channel": _pool(PoolKind.AVERAGE, (13, 23, 1), (13, 23)),
        "average_two_channels": _pool(PoolKind.AVERAGE, (3, 7, 2), (3, 7), minimum=-100, maximum=-5),
        "average_three_channels": _pool(PoolKind.AVERAGE, (17, 16, 3), (17, 16), minimum=-100),
        "windows": Pool(PoolKind.AVERAGE, Image(9, 7, 8), Image(9, 7, 8), three),
        "windows_up": Pool(PoolKind.AVERAGE, Image(8, 6, 4), Image(4, 3, 4), two, ties_up=True),
        "windows_max": Pool(PoolKind.MAX, Image(9, 7, 4), Image(9, 7, 4), three, -100, 90),
        "windows_odd": Pool(
            PoolKind.AVERAGE,
            Image(6, 5, 3),
            Image(3, 3, 3),
            Window(Pair(3, 3), Pair(2, 2), padding=Padding(1, 1)),
            -90,
            100,
        ),
        "windows_far": Pool(PoolKind.AVERAGE, Image(4, 40, 300), Image(2, 20, 300), two),
        "windows_large": Pool(
            PoolKind.MAX, Image(9, 12, 5), Image(4, 5, 5), Window(Pair(7, 8), Pair(2, 2), padding=Padding(2, 2))
        ),
        "halved": Pool(PoolKind.MAX, Image(8, 6, 12), Image(4, 3, 12), two),
        **{
            f"halved_{kind}_{channels}": Pool(
                kind, Image(7, 15, channels), Image(3, 7, channels), Window(Pair(rows, 2), Pair(2, 2)), *clamp
            )
            for kind in PoolKind
            for channels, rows, clamp in ((1, 3, (-128, 90)), (2, 2, (-100, 90)), (3, 3, (-128, 127)))
        },
    }


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    emitted = {}
    for name, layer in _layers().items():
        for number, plan in enumerate(p for p in plans(layer) if p.family in FAMILIES):
            emitted[f"{name}_{number}"] = (layer, emit(layer, plan, f"{name}_{number}"))
        assert f"{name}_0" in emitted, f"no fast kernel for {name}"
    return emitted


def test_on_the_host(tmp_path: Path) -> None:
    """Wrong rounding, overflow of a 16-bit sum, or a tail left out in the plain C."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(compiler: str, tmp_path: Path) -> None:
    """A wrong register, offset or loop in the assembly, or accesses that differ from the promise."""
    h.check_on_board(tmp_path, _emitted(), RNG, compiler, kinds=("random", "low", "high", "extreme"))


def test_every_pair_of_inputs(tmp_path: Path) -> None:
    """A pair of inputs for which the factors of a sum are wrong, in either precision."""
    x = np.repeat(np.arange(-128, 128), 256).astype(np.int8)
    y = np.tile(np.arange(-128, 128), 256).astype(np.int8)
    layers = {
        "coarse_or_fine": _sum(BinaryKind.ADD, (65536,), (0.031073, 0.044219, 0.052511), (-3, 100, -128)),
        "alike": _sum(BinaryKind.ADD, (65536,), (0.031073, 0.031073, 0.052511), (-3, 100, -128)),
        "alike_ties": _sum(BinaryKind.ADD, (65536,), (0.25, 0.25, 0.5), (-3, 100, 7)),
        "ties": _sum(BinaryKind.ADD, (65536,), (0.25, 0.5, 0.5), (-3, 100, 7)),
        "unequal": _sum(BinaryKind.SUB, (65536,), (0.21013, 0.0030171, 0.10079), (127, -128, 0)),
        "through_table": _sum(
            BinaryKind.SUB, (65536,), (0.21013, 0.0030171, 0.10079), (127, -128, 0), (-50, 90), table=OUTPUTS
        ),
        "both_signs": _mul((65536,), (65536,), 0.0071, (5, -3, -1)),
        "ties_of_products": _mul((65536,), (65536,), 2**-8, (0, 0, 0)),
    }
    emitted = [emit(layer, plans(layer)[-1], name) for name, layer in layers.items()]
    families = [*["weighted sum"] * 5, "sum through table", "product", "product"]
    assert [e.plan.family for e in emitted] == families
    board = running.OnBoard(tmp_path, emitted)
    for layer, e in zip(layers.values(), emitted, strict=True):
        got, _ = board.run(e, [x, y], h.output_of(layer))
        np.testing.assert_array_equal(got, oracle.expected(layer, x, y))
        if e.plan.family == "weighted sum" and layer.first != layer.second:
            fine = prove_sum(layer, fine=True)
            assert fine is not None
            assert fine.fine


@given(
    st.one_of(st.floats(-18, -0.001), st.integers(-18, -1)),
    st.tuples(*[st.one_of(st.sampled_from([-128, 0, 127]), st.integers(-128, 127))] * 3),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_products_are_always_proven(power: float, zero_points: tuple[int, int, int], relu: bool) -> None:
    """Constants that differ from the reference for some pair, of which this tries each in plain integers, and scales
    (powers of two, where ties are) for which none are found."""
    layer = _mul((8,), (8,), 2.0**power, zero_points, (zero_points[2] if relu else -128, 127))
    found = prove_product(layer)
    assert found is not None
    assert 0 < found.m < 1 << 31
    x = np.arange(-128, 128)[:, None]
    if found.k is None:
        p = (x - zero_points[0]) * (x.T - zero_points[1])
        total = (2 * p * found.m + (1 << 31) >> 32) + found.c - found.negative * (p < 0)
    else:
        t = (256 * x * found.m >> 16) + found.k
        assert np.abs(t).max() < 1 << 31
        total = (t * (x.T - zero_points[1]) >> 16) + found.c
    assert np.abs(total).max() < 1 << 31
    got = np.clip(np.clip(total >> found.shift, -128, 127), layer.minimum, layer.maximum)
    np.testing.assert_array_equal(got, layer.apply(x, x.T))


@given(
    st.one_of(st.floats(-40, 40), st.integers(-40, 40)),
    st.integers(-128, 127),
    st.booleans(),
    st.lists(st.floats(width=32), min_size=1, max_size=200),
)
@settings(max_examples=40, deadline=None)
def test_quotients_are_always_proven(power: float, zero_point: int, even: bool, floats: list[float]) -> None:
    """A scale without factors, and a float that they and the division round apart: beside each tie, and any."""
    layer = Quantize(4, float(np.float32(2.0**power)), zero_point, even)
    found = factors_of(layer)
    assert found is not None
    ties = (np.arange(-300, 300) + 0.5).astype(np.float32) * np.float32(layer.scale)
    nearby = [np.nextafter(ties, np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.concatenate([ties, *nearby, np.array([*floats, np.inf, -np.inf, np.nan], np.float32)])
    np.testing.assert_array_equal(outputs(layer, found, x), layer.apply(x))


@pytest.mark.parametrize(
    "layer",
    [
        _sum(BinaryKind.ADD, (93,), (0.031, 0.0447, 0.0521), (-3, 9, 8)),
        _sum(BinaryKind.SUB, (93,), (0.031, 0.0447, 0.0521), (-3, 9, 8), table=OUTPUTS),
        _mul((93,), (93,), 0.0141, (3, -20, 5)),
        Lookup(93, TABLE),
    ],
)
def test_in_place(layer: Layer, tmp_path: Path) -> None:
    """A kernel that reads an element of its input after the output has taken its place."""
    offered = [plan for plan in plans(layer) if plan.in_place]
    emitted = [emit(layer, plan, f"layer_{i}") for i, plan in enumerate(offered)]
    board = running.OnBoard(tmp_path, emitted).board
    at = running.MCU.sram.base + 0x1000
    for e in emitted:
        inputs = h.inputs_of(RNG, layer)
        for i, x in enumerate(inputs):
            board.write(at + 256 * i, x.tobytes())
        board.call(e.name, at, *(at + 256 * i for i in range(1, len(inputs))), at, 0)
        got = np.frombuffer(board.read(at, 93), np.int8)
        np.testing.assert_array_equal(got, oracle.expected(layer, *inputs), err_msg=e.plan.family)


@pytest.mark.parametrize("kind", [BinaryKind.ADD, BinaryKind.SUB])
@pytest.mark.parametrize("zero_points", [(-128, -128, -128), (3, 100, -7)])
def test_sums_of_powers_of_two_are_proven(kind: BinaryKind, zero_points: tuple[int, int, int]) -> None:
    """Scales in whose sums one of four is a tie, at 57 cycles an element: those of all inputs, or of one of them."""
    for scales in ((0.25, 0.5, 0.5), (0.03125, 0.25, 0.0625), (0.0078125, 0.25, 0.0625), (0.03125, 0.4496, 0.125)):
        layer = _sum(kind, (64,), scales, zero_points)
        assert plans(layer)[-1].family == "weighted sum", scales


def test_ties_fall_back() -> None:
    """The sum offered where the reference's own roundings break ties, which no factors reproduce."""
    layer = _sum(BinaryKind.ADD, (8,), (0.031, 0.044, 0.052), (-3, 100, -128))
    assert prove_sum(layer, fine=False) is None
    assert prove_sum(layer, fine=True) is None
    assert [plan.family for plan in plans(layer)] == ["generic"]


def test_cycles_of_layers_of_real_networks(tmp_path: Path) -> None:
    """A kernel that got slower, or a cost that an optimiser could not trust."""
    halves = Window(Pair(2, 2), Pair(2, 2))
    layers = {
        "residual": (_sum(BinaryKind.ADD, (32, 32, 16), (0.031073, 0.044219, 0.052511), (-3, 100, -128)), 5.7 * 16384),
        "alike": (_sum(BinaryKind.ADD, (32, 32, 16), (0.031, 0.031, 0.0447), (-3, 100, -128)), 4.8 * 16384),
        "alike_few": (_sum(BinaryKind.ADD, (24,), (0.031, 0.031, 0.0447), (-3, 100, -128)), 200),
        "positive_product": (_mul((32, 32, 16), (32, 32, 16), 0.0043, (-128, -128, -128)), 5.95 * 16384),
        "left_over": (_sum(BinaryKind.ADD, (13, 3), (0.031073, 0.044219, 0.052511), (-3, 100, 0)), 8.7 * 39),
        "three_channels": (
            _sum(BinaryKind.ADD, (16, 16, 3), (0.031073, 0.044219, 0.052511), (-3, 100, 0), other=(3,)),
            7.1 * 768,
        ),
        "odd_rows": (
            _sum(BinaryKind.ADD, (16, 16, 13), (0.031073, 0.044219, 0.052511), (-3, 100, 0), other=(16, 16, 1)),
            11.7 * 3328,
        ),
        "three_gates": (_mul((1, 16, 16, 3), (1, 1, 1, 3), 0.0039, (-5, -128, -7)), 9.0 * 768),
        "product": (_mul((32, 32, 16), (32, 32, 16), 0.0141, (3, -20, 5)), 7.5 * 16384),
        "gate": (_mul((1, 16, 16, 64), (1, 1, 1, 64), 0.0039, (-5, -128, -128)), 8.0 * 16384),
        "channels": (
            _sum(BinaryKind.ADD, (16, 16, 64), (0.031073, 0.044219, 0.052511), (-3, 100, 0), other=(64,)),
            6.8 * 16384,
        ),
        "sum_through_table": (
            _sum(BinaryKind.ADD, (32, 32, 16), (0.031073, 0.044219, 0.052511), (-3, 100, 0), table=OUTPUTS),
            7.9 * 16384,
        ),
        "table": (Lookup(16400, TABLE), 3.4 * 16400),
        "floats": (Dequantize(1030, 0.037, -5), 7.6 * 1030),
        "to_bytes": (Quantize(1000, 0.037, -5), 11.8 * 1000),
        "keyword_spotting": (_pool(PoolKind.AVERAGE, (25, 5, 64), (25, 5)), 8000),
        "large_images": (_mean((32, 32, 16), (0, 1), 1.3, (-5, 7)), 1.1 * 16384),
        "odd_channels": (_pool(PoolKind.AVERAGE, (3, 3, 22), (3, 3)), 600),
        "images": (_pool(PoolKind.AVERAGE, (8, 8, 64), (8, 8)), 4400),
        "gray": (_mean((32, 32, 1), (0, 1), 1.3, (-5, 7)), 950),
        "colours": (_pool(PoolKind.AVERAGE, (32, 32, 3), (32, 32)), 3150),
        "gray_halved": (Pool(PoolKind.AVERAGE, Image(24, 24, 1), Image(12, 12, 1), halves), 7.4 * 144),
        "colours_halved": (Pool(PoolKind.AVERAGE, Image(24, 24, 3), Image(12, 12, 3), halves), 8.0 * 432),
        "greatest_colours": (Pool(PoolKind.MAX, Image(24, 24, 3), Image(12, 12, 3), halves), 5.3 * 432),
        "columns": (_mean((16, 16, 3), (0,), 1.3, (-5, 7)), 1.6 * 768),
    }
    for name, (layer, limit) in layers.items():
        plan = min(plans(layer), key=lambda p: p.cycles)
        h.check_plan(tmp_path, name, layer, plan, RNG, 0.03)
        assert plan.cycles <= limit


def test_what_a_row_looks_up_again_is_cached() -> None:
    """Catches an element for each row whose table seems to be read anywhere for each of the row's, a third too high."""
    rescales = Rescale(1518500250, -21), Rescale(1 << 30, 0), Rescale(1 << 30, -1)
    layer = Binary(BinaryKind.SQUARED_DIFFERENCE, (16, 32), (16, 1), 3, -5, -128, *rescales, 7)
    (run,) = runs_of("squares", layer, [mcu("stm32l4r5", "stock")], running.COMPILER)
    assert run.kernel == "squares 8"
    assert abs(run.error) <= 0.03


@pytest.mark.parametrize(
    ("layer", "tile", "limit"),
    [
        (_mul((16, 32), (16, 1), 0.0141, (3, -20, 5)), 8, 5800),
        (_mul((16, 32), (16, 1), 0.0043, (-128, -128, -128)), 16, 5100),
        (_mul((64, 64), (64, 64), 0.0141, (3, -20, 5)), 32, 31_500),
    ],
    ids=["a row", "positive", "long"],
)
def test_products_fit_the_cache_of_code(layer: Binary, tile: int, limit: int) -> None:
    """Turns of more elements than a cache of 1 KiB holds beside what is around them, for rows that come back to it."""
    (run,) = runs_of("product", layer, [mcu("stm32l4r5", "stock")], running.COMPILER)
    assert (run.kernel, run.where) == (f"product {tile}", "flash")
    assert run.counted <= limit
    assert abs(run.error) <= 0.03
