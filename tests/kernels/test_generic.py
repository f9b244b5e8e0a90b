"""The kernels without preconditions: exact for every shape, and accesses as promised whatever the compiler."""

from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Dequantize, Layer, Lookup, Mean, Pool, PoolKind, Quantize, Softmax
from memaopt.problems.log_softmax import LogSoftmax
from memaopt.problems.movement import Movement, Piece, box
from memaopt.problems.step_functions import Requantization, Rescale

RNG = np.random.default_rng(20)


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(11)
    add = {"first": Rescale(1518500250, -1), "second": Rescale(2147000000, -2), "result": Rescale(1288490189, -18)}
    odd = Window(Pair(3, 2), Pair(2, 1), padding=Padding(1, 0))
    return {
        "conv": h.conv(rng, (7, 5, 3), 4, (3, 3)),
        "conv_strided": h.conv(rng, (9, 8, 2), 3, (5, 2), stride=(2, 3), zero_point=17, output_zero_point=-5),
        "conv_dilated": h.conv(rng, (9, 9, 1), 2, (3, 3), dilation=(2, 3), zero_point=3, clamp=(-60, 100)),
        "conv_valid": h.conv(rng, (6, 7, 4), 5, (3, 3), padding="valid", zero_point=127, output_zero_point=0),
        "conv_grouped": h.conv(rng, (5, 4, 6), 4, (2, 3), groups=2, zero_point=-1, output_zero_point=9),
        "conv_beside_the_image": h.conv(rng, (1, 1, 2), 3, (2, 2), dilation=(3, 3), zero_point=3),
        "depthwise": h.depthwise(rng, (7, 6, 3)),
        "depthwise_multiplied": h.depthwise(rng, (7, 6, 3), (5, 3), multiplier=2, stride=(2, 2), zero_point=4),
        "fully_connected": h.fully_connected(rng, 37, 5, rows=3, zero_point=-7, output_zero_point=3),
        "add": Binary(BinaryKind.ADD, (5, 4, 3), (5, 4, 3), -3, 7, 11, **add),
        "sub": Binary(BinaryKind.SUB, (5, 4, 3), (4, 1), 0, 127, -128, **add, minimum=-100),
        "add_table": Binary(
            BinaryKind.ADD, (3, 5), (5,), -3, 7, 11, **add, maximum=60, table=tuple(range(127, -129, -1))
        ),
        "mul": Binary(BinaryKind.MUL, (1,), (2, 3, 4), 3, -4, 5, Rescale(1518500250, -8), maximum=90),
        "average": Pool(PoolKind.AVERAGE, Image(5, 6, 3), Image(3, 6, 3), odd, -100, 90),
        "max": Pool(PoolKind.MAX, Image(5, 6, 3), Image(3, 6, 3), odd, -20, 127),
        "mean": Mean((3, 4, 5, 2), (0, 2), 3, _one(1717986918, -4)),
        "mean_all": Mean((3, 4), (0, 1), -128, _one(1717986918, -3)),
        "softmax": Softmax(3, 10, 1374389535, 23, -248),
        # Another multiplier than softmax's: a compiler may keep one of two equal tables.
        "log_softmax": LogSoftmax(3, 10, 1374389536, 23, -248),
        "log_softmax_far": LogSoftmax(2, 300, 2147483000, 24, -124),
        "softmax_steep": Softmax(2, 5, 1374389535, 27, -15),
        "lookup": Lookup(50, np.roll(np.arange(-128, 128), 3).astype(np.int8)),
        "quantize": Quantize(60, 0.037, -5),
        "dequantize": Dequantize(60, 0.037, -5),
    }


def _one(multiplier: int, shift: int) -> Requantization:
    return Requantization(-9, multipliers=np.array([multiplier]), shifts=np.array([shift]))


def _emitted(layers: dict[str, Layer]) -> dict[str, Emitted]:
    return {name: emit(layer, plans(layer)[0], name) for name, layer in layers.items()}


@pytest.fixture(scope="module")
def layers() -> dict[str, Layer]:
    return _layers()


@pytest.fixture(scope="module")
def host(layers: dict[str, Layer], tmp_path_factory: pytest.TempPathFactory) -> running.Host:
    return running.Host(tmp_path_factory.mktemp("host"), list(_emitted(layers).values()), flags=running.UNDEFINED)


@pytest.mark.parametrize("name", _layers())
@pytest.mark.parametrize("kind", ["random", "low", "high", "extreme"])
def test_host_equals_numpy(name: str, kind: str, layers: dict[str, Layer], host: running.Host) -> None:
    """A loop bound, zero point, clamp, rounding or stride that is off by one."""
    layer = layers[name]
    emitted = emit(layer, plans(layer)[0], name)
    inputs = h.inputs_of(RNG, layer, kind)
    got = host.run(emitted, inputs, h.output_of(layer))
    np.testing.assert_array_equal(got, oracle.expected(layer, *inputs))


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("optimise", ["-O3", "-Os"])
def test_board_counts_what_is_promised(compiler: str, optimise: str, layers: dict[str, Layer], tmp_path: Path) -> None:
    """An access that the compiler merges, repeats or leaves out, or a promise that is no exact count."""
    emitted = _emitted(layers)
    board = running.OnBoard(tmp_path, list(emitted.values()), compiler, optimise)
    for name, layer in layers.items():
        inputs = h.inputs_of(RNG, layer)
        got, run = board.run(emitted[name], inputs, h.output_of(layer))
        np.testing.assert_array_equal(got, oracle.expected(layer, *inputs), err_msg=name)
        assert running.counted(emitted[name], run) == emitted[name].plan.promise.buffers, name


def test_softmax_by_words(tmp_path: Path) -> None:
    """Catches a difference that borrows of its neighbour, a rounding of sums that are powers of two, bytes besides
    words that are taken twice, a row too long for one exponent, and a price that is far from what is counted."""
    sizes = ((3, 16, 23), (2, 128, 21), (1, 128, 30), (5, 49, 27), (1, 98, 20), (3, 127, 23))
    layers: dict[str, Layer] = {
        f"softmax_{depth}_{shift}": Softmax(rows, depth, 1374389540 + i, shift, -(500 >> max(shift - 20, 0)) - 1)
        for i, (rows, depth, shift) in enumerate(sizes)
    }
    emitted = h.every_plan(layers, "softmax by words")
    h.check_on_host(tmp_path, emitted, RNG)
    h.check_on_board(tmp_path, emitted, RNG, running.COMPILER, cycles_within=0.15)
    assert not [p for n in (12, 132) for p in plans(Softmax(2, n, 1374389535, 23, -248)) if "words" in p.family]


def _movements() -> dict[str, tuple[Movement, list[np.ndarray], np.ndarray]]:
    """Each with its inputs and numpy's answer."""
    x, y = (RNG.integers(-128, 128, s).astype(np.int8) for s in ((3, 4, 5), (3, 2, 5)))
    padded = np.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=-7)
    rows, columns = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 3])
    resized = x[rows][:, columns]
    resize = Piece(
        0, (5, 4, 5), (rows * 20, columns * 5, np.arange(5)), (np.arange(5) * 20, np.arange(4) * 5, np.arange(5))
    )
    strided = x[2::-2, 1:4:2, ::3]
    return {
        "pad": (
            Movement(
                "PAD", padded.size, (box(0, x.shape, padded.shape, shape=x.shape, output_start=(1, 0, 1)),), fill=-7
            ),
            [x],
            padded,
        ),
        "concatenation": (
            Movement(
                "CONCATENATION",
                90,
                (
                    box(0, x.shape, (3, 6, 5), shape=x.shape),
                    box(1, y.shape, (3, 6, 5), shape=y.shape, output_start=(0, 4, 0)),
                ),
            ),
            [x, y],
            np.concatenate([x, y], axis=1),
        ),
        "transpose": (
            Movement("TRANSPOSE", 60, (box(0, x.shape, (5, 3, 4), shape=(5, 3, 4), permutation=(2, 0, 1)),)),
            [x],
            x.transpose(2, 0, 1),
        ),
        "slice": (
            Movement(
                "STRIDED_SLICE",
                strided.size,
                (box(0, x.shape, strided.shape, shape=strided.shape, input_start=(2, 1, 0), input_step=(-2, 2, 3)),),
            ),
            [x],
            strided,
        ),
        "resize": (Movement("RESIZE_NEAREST_NEIGHBOR", resized.size, (resize,)), [x], resized),
        "copy": (Movement("RESHAPE", 60, (box(0, x.shape, x.shape, shape=x.shape),)), [x], x),
    }


@pytest.mark.parametrize("family", ["move", "move runs"])
def test_movements_on_host_and_board(family: str, tmp_path: Path) -> None:
    """A wrong stride, offset, run, table or fill of PAD, CONCATENATION, TRANSPOSE, STRIDED_SLICE or RESIZE."""
    cases, emitted = _movements(), {}
    for name, (layer, _, _) in cases.items():
        for plan in plans(layer):
            if plan.family == family:
                emitted[name] = emit(layer, plan, name)
    assert len(emitted) >= 4
    host = running.Host(tmp_path, list(emitted.values()), flags=running.UNDEFINED)
    board = running.OnBoard(tmp_path, list(emitted.values()))
    for name, e in emitted.items():
        layer, inputs, wanted = cases[name]
        got = host.run(e, inputs, h.output_of(layer))
        np.testing.assert_array_equal(got, wanted.ravel(), err_msg=name)
        got, run = board.run(e, inputs, h.output_of(layer))
        np.testing.assert_array_equal(got, wanted.ravel(), err_msg=name)
        assert running.counted(e, run) == e.plan.promise.buffers, name
