"""Whatever is offered assembles: Thumb-2's limits as the assemblers have them, and every kernel at any size."""

from __future__ import annotations

import dataclasses
import math
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import layers_helpers as h
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers
from emit_helpers import MACHINE
from hypothesis import given, settings
from hypothesis import strategies as st

from memaopt.board import find_compiler
from memaopt.errors import InfeasibleError
from memaopt.kernels.gemm.kernel import text
from memaopt.kernels.registry import Plan, emit, plans, source_file
from memaopt.kernels.schedule import BUFFERINGS, IN_BLOCKS, ORDERS, REGISTER_LEVEL, Schedule, space
from memaopt.kernels.text import thumb
from memaopt.kernels.text.assembly import add_imm
from memaopt.models.feasibility import why_infeasible
from memaopt.models.nest import nest_of
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.gemm import gemm
from memaopt.problems.geometry import Image, Pair, Window
from memaopt.problems.layers import Conv, Layer, Mean, Pool, PoolKind
from memaopt.problems.step_functions import Requantization, Rescale

_AROUND = (
    0,
    1,
    3,
    4,
    7,
    8,
    16,
    31,
    32,
    124,
    126,
    128,
    252,
    254,
    255,
    256,
    257,
    508,
    1004,
    1016,
    1020,
    1021,
    1022,
    1024,
    1028,
    4092,
    4094,
    4095,
    4096,
    4097,
    0x8000,
    0xFFFF,
    0x10000,
    0xFF00FF,
    0xFF00FF00,
    0x1010101,
)
_VALUES = sorted({sign * value for value in _AROUND for sign in (1, -1)})
_FORMS = (
    *(f"{op} r0, r1, #{{}}" for op in ("add", "add.w", "adds", "addw", "sub", "sub.w", "subs", "subw", "rsb")),
    *(f"{op} r0, r1, #{{}}" for op in ("eor", "and", "bic", "orr", "lsl", "lsr", "asr", "ror")),
    *(f"{op} r0, #{{}}" for op in ("mov", "mvn", "movw", "movt", "cmp", "cmp.w", "cmn", "tst")),
    *(f"{op} r0, [r1, #{{}}]" for op in ("ldr", "ldr.w", "ldrb", "ldrh", "ldrsb", "ldrsh", "str", "strb", "strh.w")),
    "ldr r0, [r1, #{}]!", "ldr r0, [r1], #{}", "strb r0, [r1], #{}", "ldr r0, [r1, r2, lsl #{}]",
    "ldrd r0, r2, [r1, #{}]", "strd r0, r2, [r1], #{}", "vldr s0, [r1, #{}]", "vstr s0, [r1, #{}]",
    "ssat r0, #{}, r1", "usat r0, #{}, r1", "ssat r0, #8, r1, asr #{}", "usat r0, #8, r1, lsl #{}",
    "ubfx r0, r1, #{}, #8", "ubfx r0, r1, #0, #{}", "add r0, r1, r2, lsl #{}", "add r0, r1, r2, asr #{}",
    "bfi r0, r1, #{}, #8", "pkhbt r0, r1, r2, lsl #{}", "sxtb16 r0, r1, ror #{}", "sxtab16 r0, r1, r2, ror #{}",
)  # fmt: skip


def _refused(compiler: str, lines: list[str], folder: Path) -> set[int]:
    """The numbers of the lines that an assembler refuses, from 0."""
    source = folder / "lines.s"
    source.write_text("\n".join([".syntax unified", ".thumb", ".cpu cortex-m4", ".fpu fpv4-sp-d16", *lines]) + "\n")
    found = find_compiler(compiler)
    command = [*found.command, *found.target, "-c", str(source), "-o", str(folder / "lines.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {int(n) - 5 for n in re.findall(r"lines\.s:(\d+):(?:\d+:)? error", done.stderr, re.IGNORECASE)}


def _accepts(line: str) -> bool:
    try:
        thumb.check(line)
    except thumb.OutOfReachError:
        return False
    return True


def test_limits_are_those_of_the_assemblers(tmp_path: Path) -> None:
    """Catches a limit that is too wide (what is emitted would not assemble) or too narrow (what would, is refused)."""
    lines = [form.format(value) for form in _FORMS for value in _VALUES]
    positive = [value > 0 for _ in _FORMS for value in _VALUES]
    accepted = [_accepts(line) for line in lines]
    refused = [_refused(compiler, lines, tmp_path) for compiler in compilers()]
    wide = [line for n, line in enumerate(lines) if accepted[n] and any(n in by for by in refused)]
    assert not wide
    if len(refused) == 2:
        # The templates have no use for negative values in most of the forms.
        taken = [positive[n] and not any(n in by for by in refused) for n in range(len(lines))]
        narrow = [line for n, line in enumerate(lines) if taken[n] and not accepted[n]]
        assert not narrow
    assert 0.2 < sum(accepted) / len(lines) < 0.8


@pytest.mark.parametrize(
    "text",
    [
        "vfnma.f32 s0, s1, s2",
        "ldmia r0!, {r1}",
        "ldmia r0!, {r0-r3}",
        "b 1f",
        "ldr r0, [r1, #4096]",
        "1:\n.rept 70000\nmov r0, r1\nmov r0, r1\nmov r0, r1\nmov r0, r1\n.endr\nbne 1b",
        ".set .Lk, 0\n.rept 1024\nldr r0, [r1, #4] \n ldr r0, [r1, #4 + .Lk]\n.set .Lk, .Lk + 4\n.endr",
    ],
)
def test_out_of_reach_is_found(text: str) -> None:
    """Catches an unknown instruction, list, label, offset or distance that passes; also in the last of many turns."""
    with pytest.raises(thumb.OutOfReachError):
        thumb.check(text)


def test_an_addition_without_a_spare_register_is_refused() -> None:
    """Catches a constant out of reach that would be loaded into a register without a name."""
    assert add_imm("r0", "r0", 0x12345678, "r1").startswith("movw r1")
    for scratch in ("", "r0"):
        with pytest.raises(ValueError, match="no scratch register"):
            add_imm("r0", "r0", 0x12345678, scratch)


_SIZES = st.sampled_from((1, 2, 3, 5, 8, 13, 28, 31, 64, 112, 160, 225, 700, 2100))
_CHANNELS = st.sampled_from((1, 2, 3, 4, 7, 8, 16, 31, 48, 96, 129, 255, 256, 512, 1025))
_KERNELS = st.sampled_from(((1, 1), (3, 3), (3, 3), (1, 5), (5, 1), (2, 3), (7, 7), (1, 64)))
_STRIDES = st.sampled_from(((1, 1), (1, 1), (2, 2), (3, 1), (1, 4)))
_ZERO_POINTS = st.sampled_from((-128, 0, 5, 127))
_CLAMPS = st.sampled_from(((-128, 127), (-100, 90)))


@st.composite
def _images(draw: st.DrawFn) -> tuple[int, int, int]:
    """An image of at most 200,000 elements; what is too much is taken off its largest sides."""
    sizes = [draw(_SIZES), draw(_SIZES), draw(_CHANNELS)]
    while math.prod(sizes) > 200_000:
        sizes[sizes.index(max(sizes))] //= 2
    return sizes[0], sizes[1], sizes[2]


@st.composite
def _layers(draw: st.DrawFn) -> Layer:
    rng, image = np.random.default_rng(0), draw(_images())
    zero_points = {"zero_point": draw(_ZERO_POINTS), "output_zero_point": draw(_ZERO_POINTS)}
    dilation, clamp = draw(st.sampled_from(((1, 1), (1, 1), (2, 3)))), draw(_CLAMPS)
    kernel, outputs = draw(_KERNELS), min(draw(_CHANNELS), max(200_000 // (image[0] * image[1]), 1))
    windows = {"stride": draw(_STRIDES), "padding": draw(st.sampled_from(("same", "valid")))}
    if any((k - 1) * d >= size for k, d, size in zip(kernel, dilation, image[:2], strict=True)):
        kernel = (1, 1)
    outputs = min(outputs, max(60_000 // (math.prod(kernel) * image[2]), 1))
    match draw(st.sampled_from(("conv", "depthwise", "both", "fully connected", "mean", "pool", "other"))):
        case "conv":
            return h.conv(rng, image, outputs, kernel, dilation=dilation, clamp=clamp, **zero_points, **windows)
        case "depthwise":
            multiplier = draw(st.sampled_from((1, 1, 2)))
            return h.depthwise(
                rng, image, kernel, multiplier=multiplier, dilation=dilation, clamp=clamp, **zero_points, **windows
            )
        case "both":
            return h.conv_depthwise(
                rng,
                image,
                outputs,
                kernel,
                conv_stride=windows["stride"],
                conv_padding=windows["padding"],
                dilation=dilation,
                between=draw(_ZERO_POINTS),
                clamp=clamp,
                stride=draw(_STRIDES),
                **zero_points,
            )
        case "fully connected":
            return h.fully_connected(rng, draw(_SIZES), min(draw(_CHANNELS), 60), clamp=clamp, **zero_points)
        case "mean":
            q = Requantization(-3, *clamp, multipliers=np.array([1717986918]), shifts=np.array([-4]))
            return Mean((1, *image), (1, 2), 5, q)
        case "pool":
            kind = draw(st.sampled_from(PoolKind))
            return Pool(kind, Image(*image), Image(1, 1, image[2]), Window(Pair(*image[:2])), *clamp)
        case _:
            rescale = Rescale(1518500250, -1), Rescale(2147000000, -2)
            first = Rescale(1288490189, -18)
            return Binary(BinaryKind.ADD, image, image, -3, 7, 11, first, *rescale, minimum=clamp[0], maximum=clamp[1])


def _form(plan: Plan) -> tuple[object, ...]:
    """What tells a plan's code from another's, sizes apart."""
    return plan.family, plan.input_format, plan.output_format, re.sub(r"\d+", "", plan.tile)


@given(_layers())
@settings(max_examples=60, deadline=None)
def test_every_plan_offered_can_be_rendered(layer: Layer) -> None:
    """Catches a plan with an offset, an immediate or a branch out of Thumb-2's reach: the check is within rendering."""
    for number, plan in enumerate(plans(layer)):
        emit(layer, plan, f"layer_{number}")


def _with_small_weights(layer: Conv) -> Conv:
    """So that sums fit where many channels meet."""
    return dataclasses.replace(layer, weights=layer.weights // 16)


@pytest.mark.parametrize("compiler", compilers())
def test_every_form_assembles_at_large_sizes(compiler: str, tmp_path: Path) -> None:
    """The same by the assemblers themselves: one plan of each form of many layers, all in one file."""
    rng = np.random.default_rng(1)
    layers: list[Layer] = [
        h.conv(rng, (5, 700, 3), 5, (3, 3), zero_point=3),
        h.conv(rng, (3, 2100, 2), 4, (2, 3), dilation=(1, 16)),
        h.conv(rng, (3, 676, 3), 12, (3, 3)),
        h.conv(rng, (7, 9, 255), 3, (3, 3), stride=(2, 2)),
        h.conv(rng, (5, 5, 48), 1025),
        h.conv(rng, (8, 70, 16), 4, (3, 3)),
        h.conv(rng, (6, 12, 168), 8, (3, 3)),
        _with_small_weights(h.conv(rng, (6, 12, 168), 16, (3, 3))),
        h.conv(rng, (4, 8, 4), 1376, (3, 3)),
        h.depthwise(rng, (3, 1400, 4)),
        h.depthwise(rng, (65, 70, 5), stride=(2, 2), zero_point=3),
        h.depthwise(rng, (12, 9, 1025), (5, 5)),
        h.depthwise(rng, (20, 1100, 2), (5, 3), multiplier=2),
        h.depthwise(rng, (1, 700, 1), (1, 64), dilation=(1, 3)),
        h.conv_depthwise(rng, (56, 56, 4), 6),
        h.conv_depthwise(rng, (20, 64, 4), 48, stride=(2, 2)),
        h.conv_depthwise(rng, (130, 162, 1), 2, (3, 3)),
        h.fully_connected(rng, 1600, 9),
        h.fully_connected(rng, 2044, 3, zero_point=3),
        Mean((1, 5, 5, 2052), (1, 2), 5, h.requantization(rng, np.array([[2000]]))),
    ]
    emitted, seen = [], set()
    for number, layer in enumerate(layers):
        for plan in plans(layer):
            if (number, _form(plan)) not in seen:
                seen.add((number, _form(plan)))
                emitted.append(emit(layer, plan, f"layer_{number}_{len(emitted)}"))
    source, found = tmp_path / "layers.c", find_compiler(compiler)
    source.write_text(source_file(emitted))
    options = [*found.target, "-std=c11", "-O1", "-ffreestanding", *running.WARNINGS]
    subprocess.run([*found.command, *options, "-c", str(source), "-o", str(tmp_path / "layers.o")], check=True)


def _schedules(seed: int, count: int) -> Iterator[tuple[object, Schedule]]:
    """Schedules of products of any size, in a memory of any size, staged or not."""
    rng, machine = random.Random(seed), MACHINE.with_sizes(sram=1 << 26)
    while count:
        dtype = rng.choice(("f32", "q15", "s8"))
        m, k, n = (int(math.exp(rng.uniform(0, math.log(9000)))) for _ in range(3))
        placement = dict(zip("abc", (rng.choice(("sram", "qspi")) for _ in range(3)), strict=True))
        fields = {"clamp": rng.choice(((-128, 127), (-50, 60)))} if dtype == "s8" else {}
        try:
            problem = gemm(m, k, n, dtype=dtype, placement=placement, **fields)
            where = space(problem, machine, "bytes", rng.choice(BUFFERINGS))
        except InfeasibleError:
            continue
        family, tile = rng.choice(where.kernels)
        mc, kc, nc = (rng.choice((size, rng.randint(1, size))) for size in (m, k, n))
        hold = rng.choice((IN_BLOCKS, tuple(rng.randint(0, REGISTER_LEVEL) for _ in "ABC")))
        schedule = where.schedule(rng.choice(ORDERS), hold, False, (mc, kc, nc), family, tile)
        if why_infeasible(where, schedule) is None:
            count -= 1
            yield where, schedule


def test_every_gemm_kernel_can_be_rendered() -> None:
    """Catches a stride out of reach in a kernel of a matrix product: any tile, any sizes, operands staged or not."""
    for where, schedule in _schedules(0, 150):
        made = nest_of(where, schedule)
        for kernel in made.kernels:
            thumb.check(text(made.problem, made.family, schedule.tile, kernel, made.strides))
