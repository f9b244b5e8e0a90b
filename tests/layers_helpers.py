"""Layers for tests: random ones, their outputs by plain numpy, and runners on the host and on the board."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from layers_reference_helpers import as_conv, conv_accumulators, expected, unrounded
from layers_run_helpers import COMPILER, UNDEFINED, Host, OnBoard, counted

from memaopt import fixedpoint
from memaopt.board import Timing
from memaopt.kernels.registry import Emitted, Format, Plan, emit, plans
from memaopt.kernels.text.standard import WARNINGS as WARNINGS
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.embedding import Embedding
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
from memaopt.problems.sixteen import (
    FromFloat16,
)
from memaopt.problems.step_functions import Requantization, Rescale


def requantization(
    rng: np.random.Generator,
    accumulators: np.ndarray,
    *,
    zero_point: int = -128,
    clamp: tuple[int, int] = (-128, 127),
    in_double: bool = False,
) -> Requantization:
    """Scales that spread the accumulators [..., M] over the outputs and saturate a few of them."""
    flat = np.abs(accumulators.reshape(-1, accumulators.shape[-1]))
    scales = rng.uniform(0.7, 1.3, flat.shape[1]) * 160 / np.maximum(flat.max(axis=0), 1)
    if in_double:
        return Requantization(zero_point, *clamp, scales=scales)
    multipliers, shifts = fixedpoint.quantize_multipliers(scales)
    return Requantization(zero_point, *clamp, multipliers=multipliers, shifts=shifts)


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """int8 weights as training leaves them: bell-shaped, in [-127, 127]."""
    return np.clip(np.rint(rng.normal(0, 35, shape)), -127, 127).astype(np.int8)


def output_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """Outputs along an axis and the padding before it, as TFLite's SAME and VALID have it."""
    span = (kernel - 1) * dilation + 1
    if padding == "valid":
        return (size - span) // stride + 1, 0
    outputs = -(-size // stride)
    return outputs, max((outputs - 1) * stride + span - size, 0) // 2


def window(
    image: Image, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: str
) -> tuple[Window, int, int]:
    """A window and its output's height and width."""
    (height, top), (width, left) = (
        output_size(size, k, s, d, padding) for size, k, s, d in zip(image[:2], kernel, stride, dilation, strict=True)
    )
    return Window(Pair(*kernel), Pair(*stride), Pair(*dilation), Padding(top, left)), height, width


def conv(
    rng: np.random.Generator,
    image: tuple[int, int, int],
    outputs: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "same",
    groups: int = 1,
    zero_point: int = -128,
    output_zero_point: int = -128,
    clamp: tuple[int, int] = (-128, 127),
) -> Conv:
    """A random convolution."""
    shape = Image(*image)
    view, height, width = window(shape, kernel, stride, dilation, padding)
    w = weights(rng, outputs, *kernel, shape.channels // groups)
    bias = rng.integers(-2000, 2001, outputs)
    layer = Conv(shape, Image(height, width, outputs), w, bias, view, zero_point, unrounded(outputs), groups)
    sample = rng.integers(-128, 128, shape).astype(np.int8)
    q = requantization(rng, conv_accumulators(layer, sample), zero_point=output_zero_point, clamp=clamp)
    return Conv(shape, layer.output, w, bias, view, zero_point, q, groups)


def depthwise(
    rng: np.random.Generator,
    image: tuple[int, int, int],
    kernel: tuple[int, int] = (3, 3),
    *,
    multiplier: int = 1,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "same",
    zero_point: int = -128,
    output_zero_point: int = -128,
    clamp: tuple[int, int] = (-128, 127),
) -> Depthwise:
    """A random depthwise convolution."""
    shape = Image(*image)
    view, height, width = window(shape, kernel, stride, dilation, padding)
    outputs = shape.channels * multiplier
    w, bias = weights(rng, *kernel, outputs), rng.integers(-500, 501, outputs)
    output = Image(height, width, outputs)
    layer = Depthwise(shape, output, w, bias, view, zero_point, unrounded(outputs))
    sample = rng.integers(-128, 128, shape).astype(np.int8)
    q = requantization(rng, conv_accumulators(as_conv(layer), sample), zero_point=output_zero_point, clamp=clamp)
    return Depthwise(shape, output, w, bias, view, zero_point, q)


def conv_depthwise(
    rng: np.random.Generator,
    image: tuple[int, int, int],
    outputs: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    conv_stride: tuple[int, int] = (1, 1),
    conv_padding: str = "same",
    dilation: tuple[int, int] = (1, 1),
    zero_point: int = -128,
    between: int = -128,
    clamp: tuple[int, int] = (-128, 127),
    stride: tuple[int, int] = (1, 1),
    padding: str = "same",
    output_zero_point: int = -128,
) -> ConvDepthwise:
    """A random convolution and a random 3x3 depthwise one that reads it; ``between`` is the zero point there."""
    first = conv(
        rng,
        image,
        outputs,
        kernel,
        stride=conv_stride,
        padding=conv_padding,
        dilation=dilation,
        zero_point=zero_point,
        output_zero_point=between,
        clamp=clamp,
    )
    second = depthwise(
        rng,
        tuple(first.output),
        stride=stride,
        padding=padding,
        zero_point=between,
        output_zero_point=output_zero_point,
    )
    return ConvDepthwise(first, second)


def fully_connected(
    rng: np.random.Generator,
    k: int,
    m: int,
    *,
    rows: int = 1,
    zero_point: int = -128,
    output_zero_point: int = -128,
    clamp: tuple[int, int] = (-128, 127),
    in_double: bool = True,
) -> FullyConnected:
    """A random fully connected layer, rounded once as TFLite's, or twice."""
    w, bias = weights(rng, m, k), rng.integers(-2000, 2001, m)
    sample = rng.integers(-128, 128, (64, k)) - zero_point
    q = requantization(
        rng, sample @ w.T.astype(np.int64) + bias, zero_point=output_zero_point, clamp=clamp, in_double=in_double
    )
    return FullyConnected(rows, w, bias, zero_point, q)


def random_input(rng: np.random.Generator, size: int, kind: str = "random") -> np.ndarray:
    """int8 data: uniform, or all at an extreme, or alternating between both."""
    match kind:
        case "random":
            return rng.integers(-128, 128, size).astype(np.int8)
        case "low":
            return np.full(size, -128, np.int8)
        case "high":
            return np.full(size, 127, np.int8)
        case _:
            return np.where(rng.integers(0, 2, size), 127, -128).astype(np.int8)


def _floats(rng: np.random.Generator, size: int, scale: float, spread: int, kind: str) -> np.ndarray:
    """Floats some steps of the scale from 0; extreme ones lie at ties and beside them, are far beyond or no number."""
    if kind != "extreme":
        return rng.normal(0, spread * scale, size).astype(np.float32)
    ties = (rng.integers(-2 * spread, 2 * spread, size) + np.float32(0.5)) * np.float32(scale)
    beside = np.nextafter(ties, np.where(rng.integers(0, 2, size), np.inf, -np.inf).astype(np.float32))
    wild = rng.choice(np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45, -1e-45], np.float32), size)
    chosen = np.select([rng.integers(0, 3, size) == 0, rng.integers(0, 2, size) == 0], [ties, wild], beside)
    return chosen.astype(np.float32)


def _of_int16(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    if kind == "extreme":
        return rng.choice([-32768, 32767], size).astype(np.int16)
    return rng.integers(-32768, 32768, size).astype(np.int16)


def inputs_of(rng: np.random.Generator, layer: Layer, kind: str = "random") -> list[np.ndarray]:
    """Inputs for a layer."""
    match layer:
        case Embedding():
            return [rng.integers(-layer.rows if layer.from_end else -2, layer.rows + 2, layer.count).astype(np.int32)]
        case Quantize() | FromFloat16():
            spread = 60 if isinstance(layer, Quantize) else 20000
            return [_floats(rng, layer.elements, layer.scale, spread, kind)]
    made = {"int8": random_input, "int16": _of_int16}
    return [made[each.dtype](rng, each.size, kind) for each in layer.takes]


def output_of(layer: Layer) -> np.ndarray:
    """An array of the output's size and type."""
    return np.zeros(layer.gives.size, layer.gives.dtype)


def in_format(data: np.ndarray, format_: Format, channels: int) -> np.ndarray:
    """An NHWC activation's bytes as the format stores them."""
    stored = data.view(np.uint8).reshape(-1, channels).copy()
    if format_ is Format.RAW:
        stored[:, ::2] ^= 0x80
    return stored.ravel().view(np.int8)


def every_plan(layers: dict[str, Layer], family: str) -> dict[str, tuple[Layer, Emitted]]:
    """All plans of one family for each layer, emitted; each layer must have at least one."""
    emitted = {}
    for name, layer in layers.items():
        chosen = [plan for plan in plans(layer) if plan.family == family]
        assert chosen, f"{family} offers nothing for {name}"
        for number, plan in enumerate(chosen):
            emitted[f"{name}_{number}"] = (layer, emit(layer, plan, f"{name}_{number}"))
    return emitted


def expected_in_format(layer: Layer, plan: Plan, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The reference's output as the plan stores it."""
    wanted = expected(layer, *inputs)
    if not isinstance(layer, Conv | Depthwise):
        return wanted.astype(output_of(layer).dtype)
    return in_format(wanted.astype(np.int8), plan.output_format, layer.output.channels)


def stored_inputs(layer: Layer, plan: Plan, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The inputs as the plan reads them."""
    if not isinstance(layer, Conv | Depthwise):
        return list(inputs)
    return [in_format(inputs[0], plan.input_format, layer.shape.channels)]


def check_on_host(folder: Path, emitted: dict[str, tuple[Layer, Emitted]], rng: np.random.Generator) -> None:
    """The plain C of every layer, on random and extreme inputs.

    Not optimised, which takes a quarter of the time with these checks: of compilers that take undefined behaviour for
    impossible it says nothing. Layers with leads are built with -O2, and networks.
    """
    host = Host(folder, [e for _, e in emitted.values()], flags=["-O0", *UNDEFINED, "-fno-sanitize=alignment"])
    for name, (layer, e) in emitted.items():
        for kind in ("random", "low", "high", "extreme"):
            inputs = inputs_of(rng, layer, kind)
            got = host.run(e, stored_inputs(layer, e.plan, inputs), output_of(layer))
            np.testing.assert_array_equal(got, expected_in_format(layer, e.plan, inputs), err_msg=f"{name}, {kind}")


def check_on_board(
    folder: Path,
    emitted: dict[str, tuple[Layer, Emitted]],
    rng: np.random.Generator,
    compiler: str,
    *,
    cycles_within: float | None = None,
    kinds: Sequence[str] = ("random", "extreme"),
) -> None:
    """Outputs and accesses of every layer on the board, and its cycles where a tolerance is given.

    A plan's cycles are those with constants in RAM: what tables beside the code cost the board is taken off.
    """
    board = OnBoard(folder, [e for _, e in emitted.values()], compiler)
    for name, (layer, e) in emitted.items():
        for kind in kinds:
            inputs = inputs_of(rng, layer, kind)
            got, run = board.run(e, stored_inputs(layer, e.plan, inputs), output_of(layer))
            np.testing.assert_array_equal(got, expected_in_format(layer, e.plan, inputs), err_msg=f"{name}, {kind}")
            assert counted(e, run) == e.plan.promise.buffers, name
        if cycles_within is not None:
            cycles = run.cycles - run.memories["flash"].loads * Timing().table_sixteenths // 16
            assert abs(e.plan.cycles / cycles - 1) <= cycles_within, (name, e.plan.cycles, cycles)


def check_on_board_and_large(
    folder: Path, emitted: dict[str, tuple[Layer, Emitted]], rng: np.random.Generator, compiler: str
) -> dict[str, tuple[Layer, Emitted]]:
    """Outputs and accesses of every layer on the board; of those called large the cycles too, to 3 %: these."""
    check_on_board(folder, emitted, rng, compiler)
    large = {name: each for name, each in emitted.items() if name.startswith("large")}
    check_on_board(folder, large, rng, compiler, cycles_within=0.03, kinds=["random"])
    return large


def check_plan(folder: Path, name: str, layer: Layer, plan: Plan, rng: np.random.Generator, within: float) -> None:
    """One plan on the board as the usual compiler builds it: on random inputs, and its cycles."""
    emitted = {name: (layer, emit(layer, plan, name))}
    check_on_board(folder, emitted, rng, COMPILER, cycles_within=within, kinds=["random"])


def _variant(plan: Plan) -> str:
    return "loop" if " by " in plan.tile or "loop" in plan.tile else ""


def every_family() -> dict[str, tuple[Layer, Emitted]]:
    """One plan of each family, and one layer for eac"""
    rng = np.random.default_rng(0)
    two = Window(Pair(2, 2), Pair(2, 2))
    q = Requantization(-3, multipliers=np.array([1717986918]), shifts=np.array([-4]))
    rescale = Rescale(1518500250, -1), Rescale(2147000000, -2)
    sum_ = Binary(BinaryKind.ADD, (5, 4, 4), (5, 4, 4), -3, 7, 11, Rescale(1288490189, -18), *rescale)
    mul = Binary(BinaryKind.MUL, (5, 4, 4), (5, 4, 4), -3, 7, 11, Rescale(1518500250, -6))
    through_table = dataclasses.replace(sum_, table=tuple(range(127, -129, -1)))
    image = Image(8, 6, 12)
    layers = [
        conv(rng, (8, 9, 8), 4, (3, 3), zero_point=3, output_zero_point=-9),
        conv(rng, (6, 7, 3), 4, (3, 3)),
        depthwise(rng, (7, 6, 5)),
        depthwise(rng, (7, 6, 5), (5, 5)),
        fully_connected(rng, 37, 9),
        sum_,
        through_table,
        mul,
        Pool(PoolKind.AVERAGE, image, Image(4, 3, 12), two),
        Pool(PoolKind.MAX, image, Image(4, 3, 12), two),
        Pool(PoolKind.AVERAGE, image, Image(1, 1, 12), Window(Pair(8, 6))),
        Mean((4, 4, 8), (0, 1), 5, q),
        Softmax(2, 10, 1374389535, 23, -248),
        Lookup(20, np.arange(256).astype(np.uint8).view(np.int8)),
        Quantize(20, 0.037, -5),
        Dequantize(20, 0.037, -5),
        conv(rng, (6, 7, 8), 2, (3, 3), output_zero_point=-9),
        conv(rng, (4, 12, 3), 5, (3, 3)),
    ]
    emitted, seen = {}, set()
    for number, layer in enumerate(layers):
        for plan in plans(layer):
            key = (type(layer), plan.family, _variant(plan), getattr(layer, "kind", None))
            if key not in seen and plan.input_format == plan.output_format == "s8":
                seen.add(key)
                name = f"layer_{number}_{len(emitted)}"
                emitted[name] = (layer, emit(layer, plan, name))
    return emitted


def patch_layers(rng: np.random.Generator) -> dict[str, Layer]:
    """Convolutions of every form that a kernel of patches has to take: odd sizes, holes, strides, padding, signs."""
    return {
        "odd": conv(rng, (7, 5, 6), 5, (3, 3), zero_point=3, output_zero_point=-9),
        "narrow": conv(rng, (5, 2, 4), 6, (3, 3), zero_point=3, output_zero_point=-9, clamp=(-20, 90)),
        "one_position": conv(rng, (1, 1, 10), 4, zero_point=-3),
        "dilated": conv(rng, (9, 9, 5), 4, (3, 2), dilation=(2, 2), stride=(1, 2)),
        "valid": conv(rng, (9, 11, 8), 7, (3, 3), padding="valid", stride=(2, 1)),
        "one_channel": conv(rng, (9, 11, 1), 6, (5, 5), zero_point=-1),
        "signed": conv(rng, (4, 7, 33), 9, output_zero_point=5),
        "tall_column": conv(rng, (11, 3, 8), 5, (3, 1), zero_point=3),
    }
