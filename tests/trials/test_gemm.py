"""Emitted C on the virtual board: every access is the promised one, every element right, whatever the schedule."""

import os

import pytest
from board_helpers import compilers
from emit_helpers import Case, case, certificate_of, random_cases

from memaopt.problems.gemm import DTYPES, OPERANDS, Dtype, Operand
from memaopt.trials import gemm as trial

#: Cases for each dtype and stationary operand; the traits below must all be among them.
_COUNT = int(os.environ.get("MEMAOPT_GEMM_CASES", "16"))
_TRAITS = {
    *("single", "double", "ragged blocks", "ragged tiles", "ragged steps", "all staged", "none staged"),
    *("m there and back", "k there and back", "n there and back", "two blocks there and back"),
    *("more blocks there and back", "spilling to external memory"),
    *(f"{x} at level {level}" for x in OPERANDS for level in range(5)),
}


def _check(made: Case, compiler: str | None = None) -> trial.GemmTrial:
    """Counted = promised, access for access, and the result is right."""
    certificate = certificate_of(made)
    tried = trial.run(certificate, compiler=compiler)
    assert tried.counted == certificate.traffic.buffers, made
    assert tried.equal
    assert tried.correct, made
    return tried


def _cases(dtype: Dtype, stationary: Operand) -> list[Case]:
    """Three straight schedules and one whose loop runs there and back, by turns."""
    there_and_back = random_cases(dtype, stationary, _COUNT // 4, 1, turning=True)
    return [*random_cases(dtype, stationary, _COUNT - _COUNT // 4, 1), *there_and_back]


@pytest.mark.parametrize("stationary", OPERANDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_schedules_do_what_they_promise(dtype: Dtype, stationary: Operand) -> None:
    """Catches any access too many, any wrong edge, order, buffer or partial sum, in any kernel family."""
    for made in _cases(dtype, stationary):
        _check(made)


def test_the_random_schedules_cover_every_trait() -> None:
    """Catches a generator that never makes a case which the test above is meant for."""
    for dtype in DTYPES:
        made = [c for stationary in OPERANDS for c in _cases(dtype, stationary)]
        wanted = _TRAITS | ({"sums of several blocks in SRAM"} if dtype != "f32" else set())
        assert not wanted - set().union(*(c.traits for c in made))
        assert {"".join(c.schedule.order) for c in made} == {"mkn", "mnk", "kmn", "knm", "nmk", "nkm"}


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_compiler_makes_the_same_accesses(dtype: Dtype, compiler: str) -> None:
    """Catches code around the kernels that one compiler turns into other accesses than the other."""
    for made in random_cases(dtype, "C", 2, seed=1):
        _check(made, compiler)


_FAR = [
    # Rows of A that lie further apart than an immediate offset reaches.
    ((5, 1400, 3), "q15-c", (4, 2, 2), "sram"),
    ((4, 1400, 2), "q15-a", (2, 8, 1), "sram"),
    ((6, 1300, 3), "f32-c", (5, 1, 4), "flash"),
    ((9, 1400, 5), "s8-c", (4, 4, 1), "sram"),
    ((9, 1400, 5), "s8-c", (1, 4, 3), "sram"),
    ((3, 4200, 3), "s8-c", (2, 4, 2), "flash"),
    # Rows of B and C likewise.
    ((3, 5, 2100), "q15-c", (4, 2, 2), "flash"),
    ((3, 9, 700), "q15-c", (2, 2, 3), "flash"),
    ((3, 5, 2100), "q15-b", (1, 2, 3), "flash"),
    ((3, 6, 1100), "f32-c", (3, 2, 4), "flash"),
    ((2, 7, 1100), "f32-a", (2, 3, 1), "flash"),
    ((2, 7, 1100), "f32-b", (1, 3, 2), "flash"),
    ((2100, 5, 3), "s8-c", (2, 4, 2), "flash"),
    ((2100, 9, 3), "s8-a", (2, 4, 1), "flash"),
]


@pytest.mark.parametrize(("sizes", "kernel", "tile", "home_of_a"), _FAR)
def test_far_strides(sizes: tuple[int, int, int], kernel: str, tile: tuple[int, int, int], home_of_a: str) -> None:
    """Catches offsets beyond what a load or an add can encode."""
    _check(case(sizes, kernel, tile, homes=(home_of_a, "sram", "sram")))


def test_far_partial_sums() -> None:
    """Catches offsets beyond what a load or an add can encode, in rows of accumulators."""
    homes = ("flash", "flash", "sram")
    _check(case((3, 9, 1100), "q15-a", (2, 4, 1), block=(3, 5, 1100), order="kmn", homes=homes))


@pytest.mark.parametrize("buffering", ["single", "double"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_spilled_sums_return(dtype: Dtype, buffering: str) -> None:
    """Catches partial sums lost, or counted in the wrong memory, on their way out of SRAM and back."""
    tile = {"f32": (3, 2, 3), "q15": (4, 2, 2), "s8": (2, 4, 2)}[dtype]
    homes = ("qspi", "qspi", "qspi")
    made = case((7, 21, 9), f"{dtype}-c", tile, block=(4, 5, 3), order="kmn", homes=homes, buffering=buffering)
    assert "spilling to external memory" in made.traits
    tried = _check(made)
    assert "C_partial" in tried.counted or dtype == "f32"


@pytest.mark.parametrize(
    ("dtype", "tile"),
    [("f32", (5, 1, 4)), ("q15", (4, 2, 2)), ("q15", (2, 2, 3)), ("s8", (2, 4, 2)), ("s8", (4, 4, 1))],
)
def test_a_longer_reduction_touches_the_stack_no_more(dtype: Dtype, tile: tuple[int, int, int]) -> None:
    """Catches spills inside an inner loop: the stack's traffic must not depend on how often it runs."""
    stacks = []
    for k in (32, 128):
        made = case((2 * tile[0] + 1, k, 2 * tile[2] + 1), f"{dtype}-c", tile)
        tried = _check(made)
        stacks.append((tried.around, tried.counted["stack"]))
    assert stacks[0] == stacks[1]
