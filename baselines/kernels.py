"""The kernels that memaopt is compared with: what each computes, exactly, and how it is called."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.problems import reference
from memaopt.problems.gemm import Dtype, Gemm

Origin = Literal["written", "paper", "CMSIS-DSP", "CMSIS-NN"]
_Expected = Callable[[reference.GemmData], reference.Array]


class Kernel(NamedTuple):
    """One baseline.

    ``function`` is its C name; ``origin`` says whether it was written for this comparison, after the MEMA paper's
    description, or is CMSIS-DSP's or CMSIS-NN's. ``scratch``: whether it transposes B, in its own time, into a buffer
    of B's size. ``channel_minor``: whether B is [N,K] and C [N,M]. ``expected`` is its result if it does not round as
    memaopt does.
    """

    name: str
    dtype: Dtype
    origin: Origin
    function: str
    text: str
    scratch: bool = False
    channel_minor: bool = False
    expected: _Expected | None = None

    def is_correct(self, problem: Gemm, data: reference.GemmData, result: reference.Array) -> bool:
        """Whether ``result`` is what the kernel's arithmetic gives: to the last bit, or for f32 within the bound."""
        if self.expected is None:
            return reference.wrong_elements(problem, data, result) == 0
        return bool(np.array_equal(result, self.expected(data)))


def _sums(data: reference.GemmData) -> reference.Array:
    return np.asarray(data.a.astype(np.int64) @ data.b.astype(np.int64))


def _fast_q15(data: reference.GemmData) -> reference.Array:
    """32-bit sums modulo 2^32, shifted, and the low halfword kept."""
    return np.asarray((fixedpoint.wrap_int32(_sums(data)) >> 15).astype(np.int16))


def _wide_q15(data: reference.GemmData) -> reference.Array:
    """64-bit sums, shifted and saturated."""
    return np.asarray(np.clip(_sums(data) >> 15, -(1 << 15), (1 << 15) - 1).astype(np.int16))


def _q7(data: reference.GemmData) -> reference.Array:
    """32-bit sums, shifted and saturated; B is [N,K] in ``data``."""
    sums = data.a.astype(np.int64) @ data.b.astype(np.int64).T
    return np.asarray(np.clip(sums >> 7, -(1 << 7), (1 << 7) - 1).astype(np.int8))


_PAPER = "the MEMA paper's outer-product kernel"

KERNELS: tuple[Kernel, ...] = (
    Kernel("naive", "f32", "written", "naive_f32", "three loops"),
    Kernel("inner 2x8x2", "f32", "written", "inner_f32_2x8x2", "inner products of 2 rows and 2 columns"),
    Kernel("arm_mat_mult_f32", "f32", "CMSIS-DSP", "arm_mat_mult_f32", "CMSIS-DSP"),
    Kernel("MEMA 5x1x5", "f32", "paper", "outer_f32_5x1x5", f"{_PAPER}, VFMA"),
    Kernel("naive", "q15", "written", "naive_q15", "three loops"),
    Kernel("inner 2x4x2", "q15", "written", "inner_q15_2x4x2", "inner products, B transposed first", scratch=True),
    Kernel(
        "arm_mat_mult_q15", "q15", "CMSIS-DSP", "arm_mat_mult_q15", "CMSIS-DSP, 64-bit sums", True, expected=_wide_q15
    ),
    Kernel(
        "arm_mat_mult_fast_q15", "q15", "CMSIS-DSP", "arm_mat_mult_fast_q15", "CMSIS-DSP, 32-bit sums", True,
        expected=_fast_q15,
    ),
    Kernel("MEMA 4x2x2", "q15", "paper", "outer_q15_4x2x2", f"{_PAPER}, SMLAD"),
    Kernel("naive", "s8", "written", "naive_s8", "three loops", channel_minor=True),
    Kernel("inner 2x4x2", "s8", "written", "inner_s8_2x4x2", "inner products, SXTB16 and SMLAD", channel_minor=True),
    Kernel(
        "arm_mat_mult_q7", "s8", "CMSIS-DSP", "arm_mat_mult_q7", "CMSIS-DSP, shifted by 7 and saturated", True,
        expected=_q7,
    ),
)  # fmt: skip


#: Runs where a checkout of CMSIS-NN is given.
CMSIS_NN = Kernel(
    "arm_convolve_1x1_s8_fast", "s8", "CMSIS-NN", "cmsis_nn_1x1", "CMSIS-NN's 1x1 convolution", channel_minor=True
)


def kernels(dtype: Dtype) -> tuple[Kernel, ...]:
    """The baselines that compute ``dtype``."""
    return tuple(kernel for kernel in KERNELS if kernel.dtype == dtype)
