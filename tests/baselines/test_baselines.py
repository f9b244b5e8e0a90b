"""Baselines: right on ragged sizes and at extremes, touching memory as their descriptions say; CMSIS-DSP by hash."""

import itertools
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from board_helpers import compilers
from cli_helpers import Cli

from baselines import cmsis_dsp, cmsis_nn
from baselines.kernels import CMSIS_NN, Kernel, kernels
from baselines.programs import Program
from memaopt.errors import InfeasibleError, InputError, MissingToolError
from memaopt.machines.mcu import mcu
from memaopt.problems.gemm import DTYPES, Dtype, Gemm, Placement, gemm
from memaopt.problems.reference import Channels, GemmData, random_data

_MCU = mcu("stm32l4r5")
_IN_SRAM = Placement(a="sram", b="sram", c="sram")


@cache
def _program(dtype: Dtype, cmsis: bool, compiler: str | None = None) -> Program:
    return Program(_MCU, dtype, cmsis=cmsis, compiler=compiler)


@pytest.fixture(scope="session")
def archive() -> Path:
    """CMSIS-DSP's archive; what needs it is skipped where it cannot be had."""
    try:
        return cmsis_dsp.archive()
    except MissingToolError as error:
        pytest.skip(str(error))


def _problem(m: int, k: int, n: int, dtype: Dtype) -> Gemm:
    return gemm(m, k, n, dtype=dtype, placement=_IN_SRAM)


def _kernel(name: str, dtype: Dtype) -> Kernel:
    return next(kernel for kernel in kernels(dtype) if kernel.name == name)


def _check_ragged(dtype: Dtype, cmsis: bool, compiler: str | None = None) -> None:
    sizes = itertools.product((1, 2, 3, 4, 5, 11), (1, 2, 3, 5, 8, 9), (1, 2, 3, 4, 5, 7, 11))
    for m, k, n in sizes:
        problem = _problem(m, k, n, dtype)
        data = random_data(problem, seed=m * k + n)
        for kernel in kernels(dtype):
            if (kernel.origin == "CMSIS-DSP") == cmsis:
                assert _program(dtype, cmsis, compiler).run(kernel, problem, data).correct, (kernel.name, problem.name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_are_right_on_ragged_sizes(dtype: Dtype) -> None:
    """Catches an edge of a tile left out, computed twice or written beyond C's rows."""
    _check_ragged(dtype, cmsis=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cmsis_dsp_is_right_on_ragged_sizes(dtype: Dtype, archive: Path) -> None:
    """Catches wrong descriptors, a scratch buffer that is too small, and intrinsics that do another thing."""
    _check_ragged(dtype, cmsis=True)


@pytest.mark.skipif("zig" not in compilers(), reason="needs zig")
@pytest.mark.parametrize(("dtype", "name"), [("f32", "MEMA 5x1x5"), ("q15", "MEMA 4x2x2"), ("s8", "inner 2x4x2")])
def test_clang_builds_the_same(dtype: Dtype, name: str) -> None:
    """Catches C that only GCC takes, or that Clang turns into calls to slow helpers."""
    problem = _problem(11, 18, 13, dtype)
    ran = _program(dtype, False, "zig").run(_kernel(name, dtype), problem, random_data(problem))
    assert ran.correct
    assert ran.ideal_cycles < 8 * problem.macs


@pytest.mark.parametrize("low", [-32768, 32767])
def test_q15_saturates_and_wraps_as_stated(low: int) -> None:
    """Catches saturation left out (one product of -1 by -1 is beyond 16 bits) and sums that do not wrap alike."""
    for k in (1, 2, 3, 5):
        problem = _problem(5, k, 3, "q15")
        data = GemmData(np.full((5, k), low, np.int16), np.full((k, 3), -32768, np.int16), None)
        for kernel in kernels("q15"):
            if kernel.origin != "CMSIS-DSP":
                assert _program("q15", False).run(kernel, problem, data).correct, (kernel.name, k)


def test_s8_requantises_at_the_extremes() -> None:
    """Catches a rounding that is off on ties and on negative sums, and shifts by 0 and to the left."""
    problem = _problem(6, 4, 3, "s8")
    channels = Channels(
        np.array([0, 1, -1, 12345, -12345, 0], np.int32),
        np.array([1 << 30, 1 << 30, 1 << 30, (1 << 31) - 1, 1 << 30, 1 << 30], np.int32),
        np.array([0, 1, 1, 0, 0, 2], np.int32),
        np.array([0, 0, 0, 10, 9, 0], np.int32),
    )
    rng = np.random.default_rng(3)
    for a, b in ((-127, -128), (127, -128), (127, 127), (None, None)):
        weights = rng.integers(-3, 4, (6, 4)) if a is None else np.full((6, 4), a)
        inputs = rng.integers(-3, 4, (3, 4)) if b is None else np.full((3, 4), b)
        data = GemmData(weights.astype(np.int8), inputs.astype(np.int8), channels)
        for kernel in kernels("s8"):
            if kernel.origin != "CMSIS-DSP":
                assert _program("s8", False).run(kernel, problem, data).correct, (kernel.name, a, b)


def test_the_checks_can_fail() -> None:
    """Catches a check that accepts anything: one bit of the result changed, or another kernel's arithmetic."""
    problem = _problem(3, 4, 5, "q15")
    data = random_data(problem)
    exact, fast = _kernel("naive", "q15"), _kernel("arm_mat_mult_fast_q15", "q15")
    sums = data.a.astype(np.int64) @ data.b.astype(np.int64)
    wrapped = (sums + 2**31) % 2**32 - 2**31
    truncated = (wrapped >> 15).astype(np.int16)
    assert fast.is_correct(problem, data, truncated)
    assert not exact.is_correct(problem, data, truncated)
    truncated[1, 2] ^= 1
    assert not fast.is_correct(problem, data, truncated)


def test_outer_product_kernels_move_what_the_paper_says() -> None:
    """Catches a kernel that reloads A or B, or spills: each is read once for a tile of the other's dimension."""
    m, k, n = 20, 12, 30
    problem = _problem(m, k, n, "f32")
    ran = _program("f32", False).run(_kernel("MEMA 5x1x5", "f32"), problem, random_data(problem))
    assert ran.buffers["A"].loads == m * k * n // 5
    assert ran.buffers["B"].loads == k * n * m // 5
    assert (ran.buffers["C"].loads, ran.buffers["C"].stores) == (0, m * n)
    problem = _problem(m, k, n, "q15")
    ran = _program("q15", False).run(_kernel("MEMA 4x2x2", "q15"), problem, random_data(problem))
    assert ran.buffers["A"].loads == m * k // 2 * n // 2
    assert ran.buffers["B"].loads == k * n // 2 * m // 4
    assert (ran.buffers["C"].loads, ran.buffers["C"].stores) == (0, m * n)


def test_transposing_is_counted() -> None:
    """Catches a transposed B prepared before the clock starts."""
    problem = _problem(6, 9, 7, "q15")
    ran = _program("q15", False).run(_kernel("inner 2x4x2", "q15"), problem, random_data(problem))
    assert ran.buffers["scratch"].stores == problem.elements("B")
    assert ran.buffers["B"].loads == problem.elements("B")


def test_operands_that_do_not_fit_are_refused() -> None:
    """Catches operands that overlap the stack."""
    problem = _problem(400, 396, 4, "f32")
    with pytest.raises(InfeasibleError, match="enlarge it"):
        _program("f32", False).run(_kernel("naive", "f32"), problem, random_data(problem))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it, and a pip that sees no index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "memaopt"


def _one_line(failing: Callable[[], object], error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        failing()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_wrong_hash_in_the_cache_is_one_clear_line(empty_cache: Path) -> None:
    """Catches an archive used unchecked because it was there already."""
    empty_cache.mkdir()
    (empty_cache / cmsis_dsp.ARCHIVE).write_bytes(b"another file")
    said = _one_line(cmsis_dsp.archive, InputError)
    assert cmsis_dsp.SHA256 in said
    assert "delete the file" in said


def test_wrong_hash_from_the_index_is_refused_and_not_kept(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an archive that pip fetched with another content: it must not get into the cache."""
    folder = empty_cache.parent / "links"
    folder.mkdir()
    (folder / cmsis_dsp.ARCHIVE).write_bytes(b"not what was pinned")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    said = _one_line(cmsis_dsp.archive, MissingToolError)
    assert f"not the pinned {cmsis_dsp.SHA256}" in said
    assert not (empty_cache / cmsis_dsp.ARCHIVE).exists()


def test_no_index_is_one_clear_line(empty_cache: Path) -> None:
    """Catches pip's whole output, or a traceback, where there is no network."""
    said = _one_line(cmsis_dsp.archive, MissingToolError)
    assert said.startswith(f"CMSIS-DSP {cmsis_dsp.VERSION} cannot be had")
    assert not empty_cache.exists()


def test_no_pip_is_one_clear_line(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an interpreter without pip."""
    monkeypatch.setattr(sys, "executable", shutil.which("false") or "/nonexistent")
    assert "cannot be had" in _one_line(cmsis_dsp.archive, MissingToolError)


def test_rest_of_the_table_without_cmsis_dsp(empty_cache: Path, cli: Cli) -> None:
    """Catches a benchmark that fails as a whole because one baseline cannot be had, or that does not say so."""
    done = cli("bench layers --layer 6x7x8 --dtype q15 --json")
    assert done.code == 0
    assert set(done.json["layers"][0]["entries"]) == {"memaopt", "naive", "inner 2x4x2", "MEMA 4x2x2"}
    assert [note for note in done.json["notes"] if "cannot be had" in note]


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    """Catches a compiler's error in place of a line that says what is missing."""
    with pytest.raises(InputError, match="no checkout of CMSIS-NN: Source/ConvolutionFunctions"):
        Program(_MCU, "s8", nn=tmp_path)


def test_the_wrapper_gives_a_checkout_what_it_wants(tmp_path: Path) -> None:
    """Catches operands, biases, multipliers and shifts that are not where CMSIS-NN's interface has them."""
    stand_in = Path(__file__).parent / "cmsis_nn"
    for name in (*cmsis_nn.SOURCES, "Include/arm_nnfunctions.h"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        own = stand_in / Path(name).name
        (tmp_path / name).write_text(own.read_text("utf-8") if own.exists() else "")
    program = Program(_MCU, "s8", nn=tmp_path)
    for sizes in ((5, 9, 3), (8, 16, 7)):
        problem = gemm(*sizes, dtype="s8")
        assert program.run(CMSIS_NN, problem, random_data(problem)).correct
