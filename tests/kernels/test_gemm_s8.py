"""s8 is TFLite's int8 1x1 CONV_2D: its reference kernel, memaopt's numpy and the emitted C agree to the last bit."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from emit_helpers import MACHINE, Case, OnBoard, kernels_of
from tensors_helpers import activation, constant, single

from memaopt import fixedpoint
from memaopt.kernels.gemm.families import RegisterTile
from memaopt.kernels.schedule import Schedule, space
from memaopt.networks import operators as ops
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.formats.tflite.writer import write
from memaopt.problems import reference
from memaopt.problems.gemm import OPERANDS, Gemm, gemm


class _Convolution(NamedTuple):
    """A 1x1 convolution as TFLite sees it, and the Gemm and operands that are the same."""

    problem: Gemm
    data: reference.GemmData
    file: bytes

    def tflite(self) -> reference.Array:
        """C [N,M] from the reference kernel."""
        result = Oracle(self.file).run([self.data.b.reshape(1, 1, self.problem.n, self.problem.k)])[0]
        return result.reshape(self.problem.n, self.problem.m)


def _random(rng: np.random.Generator) -> _Convolution:
    """Random sizes, zero points, activations and scales of both sides of 1, so shifts to the left as well."""
    m, k, n = (int(v) for v in rng.integers(1, (12, 40, 10)))
    zero_in, zero_out = (int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))])) for _ in range(2))
    a = rng.integers(-127, 128, (m, k)).astype(np.int8)
    b = rng.integers(-128, 128, (n, k)).astype(np.int8)
    bias = rng.integers(-3000, 3000, m).astype(np.int32)
    scale_in, scale_out = (np.float32(rng.uniform(0.01, 0.1)) for _ in range(2))
    fused = list(ops.Activation)[rng.integers(4)]
    return _convolution(a, b, bias, np.exp2(rng.uniform(-14, 5, m)), (scale_in, zero_in), (scale_out, zero_out), fused)


def _extreme() -> _Convolution:
    """Sums up to the limits of int32 (all from the bias: weights are 0) with every shift to the right."""
    sums = (-(2**31), 2**31 - 1, 2**31 - 2**20, 2**30, -(2**30), 1, -1)
    every = np.array(list(product(sums, (0.5, 0.75, 1 - 2**-24), range(31))))
    bias, effective = every[:, 0].astype(np.int32), every[:, 1] * np.exp2(-every[:, 2])
    quantisation = (np.float32(0.5), 0)
    a, b = np.zeros((len(bias), 3), np.int8), np.full((2, 3), 77, np.int8)
    return _convolution(a, b, bias, effective, quantisation, quantisation, ops.Activation.NONE)


def _convolution(
    a: reference.Array,
    b: reference.Array,
    bias: reference.Array,
    effective: reference.Array,
    of_input: tuple[np.float32, int],
    of_output: tuple[np.float32, int],
    fused: ops.Activation,
) -> _Convolution:
    """A [M,K] and B [N,K] with (scale, zero point) at both ends; ``effective`` [M]: the scales from sum to output."""
    (m, k), n = a.shape, len(b)
    (scale_in, zero_in), (scale_out, zero_out) = of_input, of_output
    scales = (effective * scale_out / scale_in).astype(np.float32)
    tensors = [
        activation("x", (1, 1, n, k), float(scale_in), zero_in),
        constant("weights", a.reshape(m, 1, 1, k), scales),
        constant("bias", bias, scales * scale_in),
        activation("y", (1, 1, n, m), float(scale_out), zero_out),
    ]
    file = write(single(ops.Conv2D, tensors, 1, activation=fused))
    # What TFLite derives from the file (kernel_util.cc): each product and quotient in double precision.
    exact = [float(np.float64(scale_in) * np.float64(s) / np.float64(scale_out)) for s in scales]
    quantised = [fixedpoint.quantize_multiplier(value) for value in exact]
    problem = gemm(
        m,
        k,
        n,
        dtype="s8",
        input_zero_point=zero_in,
        output_zero_point=zero_out,
        clamp=_clamp(fused, scale_out, zero_out),
        placement={"a": "flash", "b": "sram", "c": "sram"},
        weights="argument",
    )
    multiplier, shift = (np.array(part) for part in zip(*quantised, strict=True))
    folded = reference.fold_zero_point(problem, a, bias)
    channels = reference.Channels(folded, multiplier, np.maximum(shift, 0), np.maximum(-shift, 0))
    return _Convolution(problem, reference.GemmData(a, b, channels), file)


def _clamp(fused: ops.Activation, scale: np.float32, zero_point: int) -> tuple[int, int]:
    """The int8 range of an activation: TFLite's CalculateActivationRangeQuantized."""
    low, high = {"NONE": (None, None), "RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[
        fused.name
    ]

    def quantise(value: float | None, default: int) -> int:
        if value is None:
            return default
        nearest = fixedpoint.round_half_away_from_zero(np.float32(value) / scale)
        return int(np.clip(zero_point + nearest, -128, 127))

    return quantise(low, -128), quantise(high, 127)


def _case(problem: Gemm, kernel: str, tile: RegisterTile) -> Case:
    sizes = {"mc": problem.m, "kc": problem.k, "nc": problem.n}
    schedule = Schedule(order=("m", "n", "k"), **sizes, kernel=kernel, mr=tile.mr, kr=tile.kr, nr=tile.nr)
    return Case(space(problem, MACHINE), schedule)


@pytest.mark.parametrize("seed", range(8))
def test_numpy_equals_tflite(seed: int) -> None:
    """Catches any difference in rounding, shifting, zero points, clamps or the folding of zero points into biases."""
    rng = np.random.default_rng(seed)
    for _ in range(25):
        made = _random(rng)
        np.testing.assert_array_equal(reference.multiply(made.problem, made.data), made.tflite())


@pytest.mark.parametrize("seed", range(12))
def test_emitted_c_equals_tflite(seed: int, tmp_path: Path) -> None:
    """Catches an emitted kernel or requantisation that is right only on the emitted test vector."""
    made = _random(np.random.default_rng(100 + seed))
    kernels = kernels_of(space(made.problem, MACHINE), OPERANDS[seed % 3])
    family, tile = kernels[seed * 7 % len(kernels)]
    program = OnBoard(_case(made.problem, family.name, tile), tmp_path)
    np.testing.assert_array_equal(program.multiply(made.data), made.tflite())


@pytest.mark.parametrize("define", [{}, {"MEMAOPT_NO_ASM": 1}], ids=["assembly", "portable"])
def test_extreme_sums_equal_tflite(define: dict[str, int], tmp_path: Path) -> None:
    """Catches 32-bit overflow on the way from an extreme sum, which a file may ask for, to the clamp."""
    made = _extreme()
    expected = made.tflite()
    assert {-128, 0, 127} < set(expected.ravel().tolist())
    np.testing.assert_array_equal(reference.multiply(made.problem, made.data), expected)
    program = OnBoard(_case(made.problem, "s8-c", RegisterTile(2, 4, 2)), tmp_path, **define)
    np.testing.assert_array_equal(program.multiply(made.data), expected)
