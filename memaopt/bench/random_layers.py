"""Random layers of every kind, from a seed: what `bench waits` predicts and counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from memaopt import fixedpoint
from memaopt.alignment import align
from memaopt.kernels.registry import plans
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import (
    Conv,
    ConvDepthwise,
    Depthwise,
    Dequantize,
    FullyConnected,
    Layer,
    Lookup,
    Mean,
    Pool,
    PoolKind,
    Quantize,
    Softmax,
)
from memaopt.problems.movement import Movement, Piece
from memaopt.problems.step_functions import Requantization, Rescale

#: Multiply-accumulates of a layer, at most: so that counting a few hundred takes minutes.
_MOST_MACS = 1_500_000
_MOST_ELEMENTS = 16_384
#: Of a layer whose cycles for each are of interest, at least: of a smaller one its entry is what is measured.
LEAST_MACS = 10_000


def random_layers(count: int, seed: int = 0) -> Iterator[tuple[str, Layer]]:
    """``count`` layers with a name each that says what they are; the same for the same seed."""
    rng = np.random.default_rng(seed)
    kinds = itertools.cycle(_KINDS)
    for _ in range(count):
        yield next(kinds)(rng)


def products_of(count: int, seed: int = 0) -> Iterator[tuple[str, Conv | Depthwise | FullyConnected]]:
    """``count`` convolutions of every kind and fully connected layers of at least 10,000 multiply-accumulates."""
    rng = np.random.default_rng(seed)
    kinds = itertools.cycle((_conv, _depthwise, _conv, _grouped, _depthwise, _conv, _fully_connected))
    made = (next(kinds)(rng) for _ in itertools.count())
    large = (
        (name, layer)
        for name, layer in made
        if isinstance(layer, Conv | Depthwise | FullyConnected) and layer.macs >= LEAST_MACS
    )
    return itertools.islice(large, count)


def _requantization(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, in_double: bool) -> Requantization:
    """Scales that take the greatest accumulators of each channel to about the ends of int8."""
    greatest = np.maximum(np.maximum(np.abs(low), np.abs(high)), 1) / 3
    scales = np.minimum(rng.uniform(0.7, 1.3, greatest.size) * 160 / greatest, 0.9)
    zero_point = int(rng.choice([-128, -128, int(rng.integers(-60, 60))]))
    clamp = (-128, 127) if rng.random() < 0.8 else (zero_point, min(zero_point + int(rng.integers(60, 200)), 127))
    if in_double:
        return Requantization(zero_point, *clamp, scales=scales)
    multipliers, shifts = fixedpoint.quantize_multipliers(scales)
    return Requantization(zero_point, *clamp, multipliers=multipliers, shifts=shifts)


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """int8 weights as training leaves them: bell-shaped, in [-127, 127]."""
    return np.clip(np.rint(rng.normal(0, 35, shape)), -127, 127).astype(np.int8)


def _zero_point(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, -1, int(rng.integers(-100, 100))]))


def _window(
    rng: np.random.Generator, image: Image, kernel: tuple[int, int], stride: int, dilation: int
) -> tuple[Window, int, int]:
    """A window with SAME padding (or VALID, where it fits), and its output's height and width."""
    same = rng.random() < 0.7 or any((k - 1) * dilation + 1 > size for k, size in zip(kernel, image, strict=False))
    outputs, before = [], []
    for size, k in zip(image[:2], kernel, strict=True):
        span = (k - 1) * dilation + 1
        outputs.append(-(-size // stride) if same else (size - span) // stride + 1)
        before.append(max((outputs[-1] - 1) * stride + span - size, 0) // 2 if same else 0)
    window = Window(Pair(*kernel), Pair(stride, stride), Pair(dilation, dilation), Padding(*before))
    return window, outputs[0], outputs[1]


def conv_of(
    rng: np.random.Generator,
    image: Image,
    outputs: int,
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    groups: int = 1,
) -> Conv:
    """A convolution with random weights, padded or not."""
    window, height, width = _window(rng, image, kernel, stride, dilation)
    w, bias = _weights(rng, outputs, *kernel, image.channels // groups), rng.integers(-2000, 2001, outputs)
    shape, zero = Image(height, width, outputs), _zero_point(rng)
    q = Requantization(0, multipliers=np.zeros(outputs, np.int64), shifts=np.zeros(outputs, np.int64))
    bounds = Conv(image, shape, w, bias, window, zero, q, groups).range
    q = _requantization(rng, bounds.low, bounds.high, in_double=False)
    return Conv(image, shape, w, bias, window, zero, q, groups)


def depthwise_of(
    rng: np.random.Generator,
    image: Image,
    kernel: tuple[int, int],
    multiplier: int,
    stride: int,
    dilation: int,
    zero: int,
) -> Depthwise:
    """A depthwise convolution with random weights, padded or not."""
    window, height, width = _window(rng, image, kernel, stride, dilation)
    outputs = image.channels * multiplier
    w, bias = _weights(rng, *kernel, outputs), rng.integers(-500, 501, outputs)
    shape = Image(height, width, outputs)
    q = Requantization(0, multipliers=np.zeros(outputs, np.int64), shifts=np.zeros(outputs, np.int64))
    bounds = Depthwise(image, shape, w, bias, window, zero, q).range
    q = _requantization(rng, bounds.low, bounds.high, in_double=False)
    return Depthwise(image, shape, w, bias, window, zero, q)


def _side(rng: np.random.Generator, most: int, least: int = 3) -> int:
    """A size, small ones as likely as large ones."""
    return round(math.exp(rng.uniform(math.log(least), math.log(most))))


def _channels(rng: np.random.Generator, most: int) -> int:
    """Channels: mostly multiples of 8, as networks have them."""
    count = _side(rng, most, 1)
    return count if rng.random() < 0.3 else align(count, 8)


def _fitted(make: Callable[[], tuple[str, Layer, int]]) -> tuple[str, Layer]:
    """The first layer made whose work is in bounds."""
    while True:
        name, layer, work = make()
        if work <= _MOST_MACS and plans(layer):
            return name, layer


def _conv(rng: np.random.Generator) -> tuple[str, Layer]:
    def make() -> tuple[str, Layer, int]:
        kernel = [(1, 1), (3, 3), (3, 3), (1, 5), (5, 1), (5, 5), (2, 3), (1, 7)][int(rng.integers(8))]
        stride, dilation = int(rng.choice([1, 1, 1, 2])), 1 if max(kernel) == 1 else int(rng.choice([1, 1, 1, 2, 3]))
        image = Image(_side(rng, 40), _side(rng, 40), _channels(rng, 96))
        outputs = max(_channels(rng, 96), 2)
        work = image.elements * outputs * kernel[0] * kernel[1] // stride**2
        if work > _MOST_MACS or image.elements > _MOST_ELEMENTS:
            return "", Lookup(0, np.zeros(256, np.int8)), _MOST_MACS + 1
        layer = conv_of(rng, image, outputs, kernel, stride, dilation)
        return f"conv {_text(image)} to {outputs}, {layer.window.describe()}", layer, layer.macs

    return _fitted(make)


def _grouped(rng: np.random.Generator) -> tuple[str, Layer]:
    def make() -> tuple[str, Layer, int]:
        groups = int(rng.choice([2, 4]))
        image = Image(_side(rng, 12), _side(rng, 12), groups * _side(rng, 12, 1))
        outputs = groups * _side(rng, 12, 1)
        layer = conv_of(rng, image, outputs, (3, 3) if rng.random() < 0.5 else (1, 1), 1, 1, groups)
        return f"conv {_text(image)} to {outputs} in {groups} groups", layer, 4 * layer.macs

    return _fitted(make)


def _depthwise(rng: np.random.Generator) -> tuple[str, Layer]:
    def make() -> tuple[str, Layer, int]:
        kernel = [(3, 3), (3, 3), (5, 5), (1, 5), (5, 1), (7, 7)][int(rng.integers(6))]
        multiplier = int(rng.choice([1, 1, 1, 2, 8]))
        stride, dilation = int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 1, 2]))
        image = Image(_side(rng, 48), _side(rng, 48), _channels(rng, 64) if multiplier == 1 else _side(rng, 12, 1))
        elements = image.elements * multiplier
        if elements * kernel[0] * kernel[1] > _MOST_MACS or elements > 2 * _MOST_ELEMENTS:
            return "", Lookup(0, np.zeros(256, np.int8)), _MOST_MACS + 1
        layer = depthwise_of(rng, image, kernel, multiplier, stride, dilation, _zero_point(rng))
        times = f", multiplier {multiplier}" if multiplier > 1 else ""
        return f"depthwise {_text(image)}{times}, {layer.window.describe()}", layer, 2 * layer.macs

    return _fitted(make)


def _fused(rng: np.random.Generator) -> tuple[str, Layer]:
    def make() -> tuple[str, Layer, int]:
        image = Image(_side(rng, 32, 4), _side(rng, 32, 4), _channels(rng, 32))
        outputs, kernel = max(_channels(rng, 48), 2), (1, 1) if rng.random() < 0.7 else (3, 3)
        if image.elements * outputs * kernel[0] * kernel[1] > _MOST_MACS or image.elements > _MOST_ELEMENTS:
            return "", Lookup(0, np.zeros(256, np.int8)), _MOST_MACS + 1
        conv = conv_of(rng, image, outputs, kernel, 1, 1)
        q = conv.requantization
        depthwise = depthwise_of(rng, conv.output, (3, 3), 1, int(rng.choice([1, 2])), 1, q.zero_point)
        layer = ConvDepthwise(conv, depthwise)
        name = f"conv {_text(image)} to {outputs}, {conv.window.describe()}; depthwise {depthwise.window.describe()}"
        return name, layer, layer.macs

    return _fitted(make)


def _fully_connected(rng: np.random.Generator) -> tuple[str, Layer]:
    k, m, rows = _side(rng, 900, 8), _side(rng, 200, 2), int(rng.choice([1, 1, 1, 4]))
    return f"fully connected {rows}x{k} to {m}", fully_connected_of(rng, rows, k, m)


def fully_connected_of(rng: np.random.Generator, rows: int, k: int, m: int) -> FullyConnected:
    """A fully connected layer with random weights."""
    w, bias, zero = _weights(rng, m, k), rng.integers(-2000, 2001, m), _zero_point(rng)
    q = Requantization(0, multipliers=np.zeros(m, np.int64), shifts=np.zeros(m, np.int64))
    bounds = FullyConnected(rows, w, bias, zero, q).range
    q = _requantization(rng, bounds.low, bounds.high, in_double=True)
    return FullyConnected(rows, w, bias, zero, q)


def _binary(rng: np.random.Generator) -> tuple[str, Layer]:
    kind = list(BinaryKind)[int(rng.integers(3))]
    shape = (_side(rng, 16), _side(rng, 16), _channels(rng, 64))
    second = (1, 1, shape[2]) if rng.random() < 0.25 else shape
    x, y, z = (int(rng.integers(-100, 100)) for _ in range(3))

    def rescale(scale: float) -> Rescale:
        multipliers, shifts = fixedpoint.quantize_multipliers(np.array([scale]))
        return Rescale(int(multipliers[0]), int(shifts[0]))

    if kind is BinaryKind.MUL:
        layer = Binary(kind, shape, second, x, y, z, rescale(rng.uniform(0.002, 0.02)))
    else:
        first, other = rng.uniform(0.2, 0.5, 2)
        result = rescale(rng.uniform(1, 2) * 2.0**-19)
        layer = Binary(kind, shape, second, x, y, z, result, rescale(first), rescale(other))
    return f"{kind} {_text(shape)} and {_text(second)}", layer


def _pool(rng: np.random.Generator) -> tuple[str, Layer]:
    kind = list(PoolKind)[int(rng.integers(2))]
    image = Image(_side(rng, 24), _side(rng, 24), _channels(rng, 48))
    size = int(rng.choice([2, 2, 3]))
    window, height, width = _window(rng, image, (size, size), 2, 1)
    layer = Pool(kind, image, Image(height, width, image.channels), window)
    return f"{kind} pool {_text(image)}, {window.describe()}", layer


def _mean(rng: np.random.Generator) -> tuple[str, Layer]:
    shape = (_side(rng, 14), _side(rng, 14), _side(rng, 128, 4))
    count = shape[0] * shape[1]
    multipliers, shifts = fixedpoint.quantize_multipliers(np.array([rng.uniform(0.5, 1.0) / count]))
    axes = (0, 1) if rng.random() < 0.8 else (1,)
    q = Requantization(int(rng.integers(-50, 50)), multipliers=multipliers, shifts=shifts)
    return f"mean {_text(shape)} over {axes}", Mean(shape, axes, _zero_point(rng), q)


def _lookup(rng: np.random.Generator) -> tuple[str, Layer]:
    elements = _side(rng, _MOST_ELEMENTS, 16)
    return f"lookup {elements}", Lookup(elements, rng.integers(-128, 128, 256).astype(np.int8))


def _softmax(rng: np.random.Generator) -> tuple[str, Layer]:
    rows, depth = _side(rng, 64, 1), _side(rng, 128, 2)
    return f"softmax {rows}x{depth}", Softmax(rows, depth, 1 << 30, 22, -124)


def _movement(rng: np.random.Generator) -> tuple[str, Layer]:
    """Transposes of two axes, and copies into a larger image."""
    h, w, c = _side(rng, 16), _side(rng, 16), _channels(rng, 32)
    if rng.random() < 0.5:
        steps = ((w * c, c, 1), (c, h * c, 1))
        tables = [tuple(np.arange(n) * s for n, s in zip((h, w, c), step, strict=True)) for step in steps]
        return f"transpose {_text((h, w, c))}", Movement(
            "TRANSPOSE", h * w * c, (Piece(0, (h, w, c), tables[0], tables[1]),)
        )
    steps = ((w * c, c, 1), ((w + 2) * c, c, 1))
    tables = [tuple(np.arange(n) * s for n, s in zip((h, w, c), step, strict=True)) for step in steps]
    piece = Piece(0, (h, w, c), tables[0], tables[1], 0, (w + 2) * c + c)
    return f"pad {_text((h, w, c))}", Movement("PAD", (h + 2) * (w + 2) * c, (piece,), -7)


def _quantize(rng: np.random.Generator) -> tuple[str, Layer]:
    elements = _side(rng, 4096, 16)
    if rng.random() < 0.5:
        return f"quantize {elements}", Quantize(elements, 0.0471, int(rng.integers(-100, 100)))
    return f"dequantize {elements}", Dequantize(elements, 0.0471, int(rng.integers(-100, 100)))


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


#: Half of all are convolutions and depthwise convolutions, where nearly all cycles go.
_KINDS: tuple[Callable[[np.random.Generator], tuple[str, Layer]], ...] = (
    _conv, _depthwise, _conv, _fully_connected, _depthwise, _binary, _conv, _fused, _depthwise, _pool,
    _conv, _mean, _depthwise, _lookup, _conv, _softmax, _fused, _movement, _depthwise, _grouped, _conv, _quantize,
)  # fmt: skip
