"""What plans say of the code and the stack around their kernels, against what the compiler makes of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from layers_helpers import conv, conv_depthwise, depthwise, fully_connected
from stack_helpers import framed_elsewhere, overclaimed

from memaopt.kernels.plan import Plan
from memaopt.kernels.registry import FAMILIES, by_dma, fetched, in_parts, packed, plans, slid
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.custom import DESCRIPTION_TEXT, CodeFile, CustomCode, CustomLayer, CustomTensor
from memaopt.problems.dense_band import DenseBand
from memaopt.problems.detection import Detection
from memaopt.problems.embedding import Embedding
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.joined import JoinedDepthwise
from memaopt.problems.layers import (
    ArgExtreme,
    Conv,
    Dequantize,
    Extreme,
    FloatLookup,
    L2Norm,
    Layer,
    Lookup,
    MatMul,
    Mean,
    Pool,
    PoolKind,
    Quantize,
    Softmax,
)
from memaopt.problems.log_softmax import LogSoftmax
from memaopt.problems.lstm import Lstm
from memaopt.problems.movement import Movement, Piece, box
from memaopt.problems.resize import Resize
from memaopt.problems.running import RunningMean
from memaopt.problems.selection import Selection
from memaopt.problems.sixteen import (
    Binary16,
    Conv16,
    Depthwise16,
    FromFloat16,
    FullyConnected16,
    Mean16,
    Pool16,
    Range16,
    Rescaled,
    Softmax16,
    ToFloat16,
)
from memaopt.problems.step_functions import Requantization, Rescale

#: Rows, sum and columns of products whose operands are packed by columns and one by one.
_PRODUCTS = ((16, 16, 16), (8, 7, 12), (4, 8, 2), (1, 4, 8), (5, 6, 7))
#: Plans of a layer and a family that are measured: the first, the last and some between.
_MOST_PLANS = 6


def _layers() -> Iterator[Layer]:
    """Those whose C was the largest of some hundred random ones, and others of other forms."""
    rng = np.random.default_rng(4)
    yield conv(rng, (9, 9, 8), 12, (5, 5), stride=(2, 2))
    yield conv(rng, (8, 5, 2), 8, (3, 3), padding="valid")
    yield conv(rng, (3, 7, 12), 14, groups=2)
    yield conv(rng, (4, 4, 512), 8, (3, 3))
    yield conv(rng, (8, 8, 16), 8, (3, 3))
    yield conv(rng, (11, 7, 8), 2, (3, 3))
    yield conv(rng, (11, 8, 12), 6, (3, 3), padding="valid", groups=6)
    yield depthwise(rng, (35, 29, 7), (7, 7))
    yield depthwise(rng, (20, 16, 18))
    yield conv_depthwise(rng, (13, 8, 8), 8, (3, 3))
    yield conv_depthwise(rng, (13, 24, 3), 8, (3, 3))
    yield conv(rng, (12, 12, 16), 8, (3, 3))
    yield conv(rng, (11, 5, 3), 96)
    yield conv(rng, (10, 40, 3), 5, (3, 3))
    yield conv(rng, (8, 24, 3), 8, (3, 3), stride=(2, 2))
    yield from (conv(rng, (5, 9, 1), m) for m in (3, 8, 64))
    yield depthwise(rng, (14, 5, 3), multiplier=2, stride=(2, 2))
    yield depthwise(rng, (9, 8, 1), (1, 5), multiplier=8)
    yield depthwise(rng, (9, 17, 3), (1, 5), multiplier=2, output_zero_point=3)
    yield conv(rng, (9, 8, 1), 8, (1, 5))
    yield from (conv(rng, (7, 5, k), 24) for k in (2, 3, 4, 8))
    yield depthwise(rng, (49, 1, 4), (9, 1), padding="valid")
    yield from (conv(rng, (1, 1, k), m) for k, m in ((24, 4), (40, 40), (4000, 8)))
    yield from (_in_double(conv(rng, (5, 9, 1), 2, kernel, stride=(2, 2))) for kernel in ((1, 1), (3, 3)))
    yield from (fully_connected(rng, k, m) for k, m in ((37, 9), (500, 16), (4000, 6)))
    yield from (fully_connected(rng, k, m, rows=rows) for k, m, rows in ((1, 2, 6), (2, 1, 10), (9, 2, 9), (8, 8, 2)))
    yield from (*_customs(), *_detections(rng))
    # Sizes that claims were too low for: groups and sets called channel by channel, padded planes, few strips, rows
    # of three that GCC writes out, two elements left over.
    yield depthwise(rng, (2, 35, 14), (9, 1), multiplier=8)
    yield depthwise(rng, (3, 40, 14), (3, 1), multiplier=3)
    yield conv(rng, (21, 6, 1), 1, (5, 1), stride=(3, 1))
    yield conv(rng, (8, 3, 3), 1, (4, 3), stride=(2, 1), zero_point=3)
    left = conv(rng, (7, 24, 3), 5, (3, 3))
    yield dataclasses.replace(
        left, output=Image(6, 24, 5), window=dataclasses.replace(left.window, padding=Padding(0, 1))
    )
    yield Quantize(6, 0.0116, 25, True)
    yield from _pairs()
    yield from (Movement(what, elements, pieces, -7) for what, elements, pieces in _moved())
    yield from (Lookup(n, np.arange(256).astype(np.uint8).view(np.int8)) for n in (20, 4562))
    yield FloatLookup(77, rng.normal(0, 3, 256).astype(np.float32))
    yield from (Quantize(n, 0.037, -5) for n in (2, 7))
    yield from (Dequantize(n, 0.0471, 25) for n in (2, 770))
    for kind in PoolKind:
        yield Pool(kind, Image(8, 9, 12), Image(4, 4, 12), Window(Pair(2, 3), Pair(2, 2)))
        yield Pool(kind, Image(4, 4, 2), Image(3, 3, 2), Window(Pair(2, 2)))
        yield Pool(kind, Image(4, 6, 3), Image(2, 3, 3), Window(Pair(2, 2), Pair(2, 2)))
        yield Pool(kind, Image(9, 3, 2), Image(5, 2, 2), Window(Pair(3, 3), Pair(2, 2), padding=Padding(1, 1)))
    yield Pool(PoolKind.AVERAGE, Image(12, 8, 1), Image(12, 8, 1), Window(Pair(1, 1)))
    for channels in (12, 3):
        yield Pool(PoolKind.AVERAGE, Image(8, 6, channels), Image(1, 1, channels), Window(Pair(8, 6)))
    yield from (_lstm(rng, *sizes) for sizes in ((3, 9, 5, 12), (2, 9, 2, 12), (2, 4, 1, 2), (2, 2, 12, 12)))
    yield from _sixteen(rng)
    yield L2Norm(7, 33, 5)
    for size in (1, 7, 64):
        yield Embedding(4, rng.integers(-128, 128, (9, size)).astype(np.int8), from_end=size == 64)
    yield Resize(Image(5, 7, 1), Image(9, 3, 1), Pair(569, 2389), True)
    yield from (Resize(Image(4, 4, c), Image(8, 8, c), Pair(512, 512), False) for c in (3, 16))
    yield MatMul((1, 3, 2, 4, 5), (3, 1, 5, 6), (False, False), 3, -4, 5, Rescale(1518500250, -9))
    yield from (MatMul((2, k, m), (2, k, n), (True, False), 3, -4, 5, Rescale(1518500250, -9)) for m, k, n in _PRODUCTS)
    yield from (Softmax(2, depth, 1374389535, 23, -248) for depth in (10, 16, 49, 127, 128))
    yield from (LogSoftmax(2, depth, 1374389535, 23, -248) for depth in (1, 2, 10))
    q = Requantization(-3, multipliers=np.array([1717986918]), shifts=np.array([-4]))
    for shape, axes in (
        ((7,), (0,)),
        ((4, 4, 8), (0, 1)),
        ((7, 3, 9), (0, 1)),
        ((8, 7, 74), (1,)),
        ((2, 7, 2), (1,)),
        ((2, 3, 4, 5, 2), (0, 2, 4)),
        ((4, 63), (1,)),
        ((2, 47), (1,)),
    ):
        yield Mean(shape, axes, 5, q)
        yield Extreme(PoolKind.MIN, shape, axes)
    yield from (ArgExtreme(PoolKind.MAX, shape, size) for shape in ((4, 7, 3), (2, 3, 3)) for size in (4, 8))
    yield conv_depthwise(rng, (21, 16, 4), 4, (3, 3))
    yield conv_depthwise(rng, (14, 16, 8), 8)
    yield from (JoinedDepthwise(depthwise(rng, (n, 1, 8), (n, 1), padding="valid"), n - 1, n < 9) for n in (3, 24))
    for n in (1, 4, 8):
        yield RunningMean(Pool(PoolKind.AVERAGE, Image(80, 1, 6), Image(1, 1, 6), Window(Pair(80, 1))), n)
        yield from (RunningMean(Mean((rows, 6), (0,), 5, q), n) for rows in (80, 1 << 18))
    yield from (
        DenseBand(fully_connected(rng, k, m), bands) for k, m, bands in ((480, 10, 12), (45, 3, 3), (3072, 4, 2))
    )


def _in_double(layer: Conv) -> Conv:
    scales = np.full(layer.output.channels, 0.0031)
    return dataclasses.replace(layer, requantization=Requantization(-3, scales=scales))


def _pairs() -> Iterator[Layer]:
    """Sums, through tables and not, products and others, with elements left over and in loops."""
    rescales = Rescale(1288490189, -18), Rescale(1518500250, -1), Rescale(2147000000, -2)
    table = tuple(range(127, -129, -1))
    for shapes in (
        ((6, 3), (6, 3)),
        ((15, 9, 30), (15, 9, 30)),
        ((5, 4, 16), (5, 1, 16)),
        ((2, 3, 4), (1,)),
        ((4, 3, 16), (4, 3, 1)),
        ((3, 21, 12), (3, 1, 12)),
        ((3, 8, 11, 3), (3, 8, 11, 1)),
    ):
        sum_ = Binary(BinaryKind.ADD, *shapes, -3, 7, 11, *rescales)
        yield from (sum_, dataclasses.replace(sum_, table=table))
        yield Binary(BinaryKind.MUL, *shapes, -3, 7, 11, Rescale(1518500250, -6))
        yield Binary(BinaryKind.MINIMUM, *shapes, -3, 7, 11, rescales[0])
    for kind in (BinaryKind.DIV, BinaryKind.GREATER):
        yield Binary(kind, (2, 2, 2, 3), (2, 1, 2, 1), -3, 7, 0, Rescale(1518500250, 2), *rescales[1:])
        yield Binary(kind, (5, 4, 6), (5, 1, 6), -3, 7, 0, Rescale(1518500250, -6), *rescales[1:])
    for shapes in (((30,), (30,), (30,)), ((5, 1, 4), (3, 4), (1,))):
        yield Selection(*shapes)
    yield Binary(BinaryKind.PRELU, (6, 5, 8), (8,), 3, -5, 7, Rescale(1518500250, -6), Rescale(1518500250, 0))
    yield Binary(
        BinaryKind.SQUARED_DIFFERENCE, (2, 2, 2, 5), (2, 1, 2, 1), 3, 9, 0, Rescale(1518500250, -9), *rescales[1:], 7
    )
    even = Rescale(1 << 30, 0)
    yield Binary(
        BinaryKind.SQUARED_DIFFERENCE, (5, 33), (5, 1), 3, 9, 0, Rescale(1518500250, -20), even, rescales[1], 7
    )


def _moved() -> Iterator[tuple[str, int, tuple[Piece, ...]]]:
    """PAD of four axes, CONCATENATION and TRANSPOSE."""
    start = (0, 1, 0, 2)
    yield "PAD", 2 * 15 * 4 * 22, (box(0, (2, 14, 4, 20), (2, 15, 4, 22), shape=(2, 14, 4, 20), output_start=start),)
    pieces = tuple(box(i, (2, 11, 10), (8, 11, 10), shape=(2, 11, 10), output_start=(2 * i, 0, 0)) for i in range(4))
    yield "CONCATENATION", 8 * 11 * 10, pieces
    yield "TRANSPOSE", 60, (box(0, (3, 4, 5), (5, 3, 4), shape=(5, 3, 4), permutation=(2, 0, 1)),)


def _detections(rng: np.random.Generator) -> Iterator[Detection]:
    """Of int8 and float, all classes together and each by itself."""
    anchors, table = rng.random((9, 4)).astype(np.float32), rng.normal(0, 1, 256).astype(np.float32)
    for tables, regular, classes in itertools.product(((table, table), (None, None)), (False, True), (1, 7)):
        rest = (regular, 0.3, 0.5, (10.0, 9.0, 5.0, 4.0), anchors, *tables)
        yield Detection(9, 5, classes, 1, 4, 3, 6, *rest)


def _customs() -> Iterator[CustomLayer]:
    """Calls of C of the user's, with few and many tensors."""
    for inputs, outputs in ((1, 1), (3, 2), (6, 1)):
        tensors = [CustomTensor("int8_t", "int8", (4, 5), 0.5, 3)] * (inputs + outputs)
        code = CustomCode("Own", f"own_{inputs}_{outputs}", (CodeFile("own.h", ""),))
        yield CustomLayer(code, tuple(tensors[:inputs]), tuple(tensors[inputs:]), b"12")


def _lstm(rng: np.random.Generator, batch: int, steps: int, inputs: int, units: int) -> Lstm:
    weights = (rng.integers(-127, 128, (units, count, 4)).astype(np.int8) for count in (inputs, units))
    biases = (rng.integers(-900, 900, (units, 4)) for _ in range(2))
    rescales = [tuple(Rescale(1518500250 + gate, 2 * gate - 3) for gate in range(4)) for _ in range(2)]
    return Lstm(batch, steps, False, *weights, *biases, *rescales, 3, 20000, Rescale(1518500250, -21), 5)


def _sixteen(rng: np.random.Generator) -> Iterator[Layer]:
    for shape, outputs, size in (((10, 10, 3), 2, 3), ((5, 9, 1), 1, 1), ((5, 5, 3), 2, 2)):
        weights = rng.integers(-127, 128, (outputs, size, size, shape[2])).astype(np.int8)
        image = Image(shape[0] + 3 - size, shape[1] + 3 - size, outputs)
        window = Window(Pair(size, size), padding=Padding(1, 1))
        scales = np.full(outputs, 1518500250), np.full(outputs, -9)
        whole = Conv16(Image(*shape), image, weights, np.arange(outputs), window, *scales, Range16(-30000, 32767))
        yield from (whole, dataclasses.replace(whole, narrow=True))
        for multiplier in (1, 2):
            channels = shape[2] * multiplier
            taps = rng.integers(-127, 128, (size, size, channels)).astype(np.int8)
            scales = np.full(channels, 1518500250), np.full(channels, -9)
            planes = Image(*image[:2], channels)
            yield Depthwise16(Image(*shape), planes, taps, np.arange(channels), window, *scales, Range16(-30000, 32767))
    for rows, depth in ((2, 16), (3, 20)):
        weights = rng.integers(-127, 128, (2, depth)).astype(np.int8)
        full = FullyConnected16(rows, weights, np.arange(2), np.full(2, 0.003), Range16())
        yield from (full, dataclasses.replace(full, narrow=True))
    two, three = Window(Pair(2, 2), Pair(2, 2)), Window(Pair(3, 3), padding=Padding(1, 1))
    for average, n in itertools.product((False, True), (1, 8)):
        yield Pool16(Image(8, 8, n), Image(4, 4, n), two, Range16(0, 9000), average)
        yield Pool16(Image(8, 8, n), Image(8, 8, n), three, Range16(0, 9000), average)
    sums, each = Rescale(1518500250, -15), Rescale(1518500250, -1)
    for first, second in (((6, 3), (6, 3)), ((5, 4, 16), (5, 1, 16)), ((2, 3, 4), (1,))):
        for kind in (BinaryKind.ADD, BinaryKind.MUL):
            yield Binary16(Binary(kind, first, second, 0, 0, 0, sums, each, each, 15, -32768, 32767))
    yield from (ends(n, 0.01) for n in (2, 50) for ends in (FromFloat16, ToFloat16))
    for sizes, axes in (((8, 8, 8), (0, 1)), ((200, 2), (1,)), ((6, 6, 6), (0, 1, 2))):
        yield Mean16(sizes, axes, sums)
    yield from (Rescaled(n, 2, 1, 0, Rescale(1518500250, shift), 3) for n in (2, 7, 300) for shift in (3, -4))
    yield Softmax16(2, 2, 1374389535, 3, np.arange(513), np.arange(513))


#: Any channel of a DMA: what starts a copy and waits for it is as long with every one.
_CHANNEL = "".join(
    f"#define MEMAOPT_DMA_{name} {value}\n"
    for name, value in {
        "CHANNEL": "0x40020080u",
        "START": "0x4ac1u",
        "RUNNING": "0x1u",
        "STATUS": "0x40020000u",
        "CLEAR": "0x40020004u",
        "DONE": "0x2000000u",
    }.items()
)


def _some(layer: Layer) -> Iterator[Plan]:
    """Of each family the first plan, the last, and a few between; the first one packed, in blocks of channels, with
    strips that slide, and with a copy of its input."""
    every = plans(layer)
    for family in dict.fromkeys(plan.family for plan in every):
        offered = [plan for plan in every if plan.family == family]
        at = np.linspace(0, len(offered) - 1, min(len(offered), _MOST_PLANS))
        yield from (offered[round(i)] for i in at)
        yield from (narrow for apart in (False, True) if (narrow := packed(offered[0], apart)))
        if (once := slid(layer, offered[0])) is not None:
            yield from (once, *in_parts(layer, once)[:3])
            yield from [whole] if (whole := fetched(offered[0], layer.takes[0].bytes)) else []
        yield from (*in_parts(layer, offered[0])[:3], *by_dma(layer, offered[0])[:1])


@pytest.mark.slow
def test_code_and_stack_are_no_more_than_claimed(tmp_path: Path) -> None:
    """Catches a layer whose C takes more flash than a budget was told, or with its kernel more of the stack; and a
    family that nobody measured.
    """
    chosen = [(layer, plan) for layer in (*_layers(), *framed_elsewhere()) for plan in _some(layer)]
    measured = {(plan.family, type(layer)) for layer, plan in chosen}
    assert {(family.name, family.computes) for family in FAMILIES} <= measured
    head = DESCRIPTION_TEXT + "".join(f"{layer.declared};\n" for layer in _customs()) + _CHANNEL
    assert not (over := overclaimed(tmp_path, chosen, head)), "\n".join(map(str, over))
