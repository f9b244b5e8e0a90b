"""closed form = CP-SAT = exhaustive = brute force, and none of them below the lower bounds."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from models_helpers import brute_force, every_schedule, machine_with, problems, spaces, spaces_with_schedule

from memaopt.errors import InfeasibleError
from memaopt.kernels.schedule import STACK_BYTES, Schedule, Space, space
from memaopt.machines.mcu import mcu
from memaopt.models import closed_form, cp_sat, exhaustive
from memaopt.models.blocks import smallest_blocks, useful_blocks
from memaopt.models.bounds import gap, io_bytes, lower_bounds
from memaopt.models.feasibility import why_infeasible
from memaopt.models.prices import kernel_cost, price_of, staging_cost
from memaopt.models.replay import simulate
from memaopt.models.traffic import (
    Counts,
    ceil_div,
    external_bytes,
    register_bytes,
    runs_over_blocks,
    schedule_counts,
    tiles_over_blocks,
)
from memaopt.models.walks import walk_of
from memaopt.problems.gemm import Gemm, gemm

#: Random spaces for each comparison: more by MEMAOPT_EXAMPLES.
_EXAMPLES = int(os.environ.get("MEMAOPT_EXAMPLES", "12"))
_ALL_OUTSIDE = {"a": "qspi", "b": "qspi", "c": "qspi"}
_ALL_INSIDE = {"a": "sram", "b": "sram", "c": "sram"}


def _objectives(where: Space, *, solver: bool) -> set[tuple[int, ...] | None]:
    """What each model answers, None for infeasible; its schedule must be feasible and cost what it says."""
    found: set[tuple[int, ...] | None] = set()
    for model in (closed_form, exhaustive, *([cp_sat] if solver else [])):
        try:
            answer = model.solve(where)
        except InfeasibleError:
            found.add(None)
            continue
        assert answer.proven, (answer, where)
        assert why_infeasible(where, answer.schedule) is None
        assert price_of(where, answer.schedule) == answer.objective
        found.add(answer.objective)
    return found


@settings(max_examples=_EXAMPLES, deadline=None)
@given(spaces(most=8))
def test_closed_form_and_exhaustive_equal_brute_force(where: Space) -> None:
    """Catches any block, order or kernel dropped that was needed, on both sides of feasibility."""
    assert _objectives(where, solver=False) == {brute_force(where)}


@settings(max_examples=_EXAMPLES, deadline=None)
@given(spaces(most=7))
def test_cp_sat_equals_brute_force(where: Space) -> None:
    """Catches a constraint model that says something else than the statement of the problem."""
    assert _objectives(where, solver=True) == {brute_force(where)}


@settings(max_examples=_EXAMPLES // 2, deadline=None)
@given(spaces(most=70))
def test_the_three_models_agree_on_larger_sizes(where: Space) -> None:
    """Catches errors that need many trips to show, where brute force is too slow."""
    assert len(_objectives(where, solver=True)) == 1


@settings(max_examples=_EXAMPLES, deadline=None)
@given(spaces(most=200))
def test_closed_form_and_exhaustive_agree_on_larger_sizes(where: Space) -> None:
    """Catches a breakpoint missed by the closed form's case analysis."""
    assert len(_objectives(where, solver=False)) == 1


@settings(max_examples=5, deadline=None)
@given(spaces(most=2, objectives=("bytes",), small=True))
def test_no_schedule_replayed_moves_less(where: Space) -> None:
    """Catches a cost function and models that agree on something which is not what a schedule does.

    Nothing but the replay's counts is used: each schedule is walked, and dropped if its tiles do not fit.
    """
    counted = []
    for schedule in every_schedule(where):
        made = simulate(where, schedule)
        spills = made.moves["C"] > where.problem.elements("C")
        if made.tile_bytes <= where.capacity and (where.may_spill or not spills):
            outside = sum(moved.bytes for name, moved in made.accesses.items() if name[0] in where.staged)
            counted.append((outside, made.register_bytes))
    if where.may_spill:
        assert _objectives(where, solver=False) == {min(counted) if counted else None}


@pytest.mark.parametrize("sizes", [*itertools.product((1, 3), repeat=3), (1, 40, 1), (7, 1, 1), (1, 1, 33)])
@pytest.mark.parametrize("places", [_ALL_INSIDE, _ALL_OUTSIDE, {"a": "flash", "b": "sram", "c": "qspi"}])
def test_degenerate_sizes(sizes: tuple[int, int, int], places: dict[str, str]) -> None:
    """Catches loops of one trip, vectors of one element and columns of one row that are not handled."""
    for dtype in ("f32", "q15", "s8"):
        problem = gemm(*sizes, dtype=dtype, placement=places)
        inside = sum(problem.bytes_of(x) for x, name in zip("ABC", places.values(), strict=True) if name == "sram")
        where = space(problem, machine_with(STACK_BYTES + inside + 40, core=9, fpu=11))
        assert _objectives(where, solver=False) == {brute_force(where)}


def test_nothing_is_staged_when_all_is_in_sram() -> None:
    """Catches external traffic, or a gap, where there is none."""
    where = space(gemm(16, 27, 30, placement=_ALL_INSIDE), mcu("stm32l4r5"))
    answer = closed_form.solve(where)
    assert answer.objective[0] == 0
    assert lower_bounds(where).external_bytes == 0
    assert gap(0, 0) == 0.0
    assert (answer.schedule.mc, answer.schedule.kc, answer.schedule.nc) == (16, 27, 30)


def test_external_bytes_come_first() -> None:
    """Catches a kernel of less register traffic preferred to fewer external bytes when its accumulators do not fit."""
    # 4-byte accumulators, which every kernel but a C-stationary one needs, do not fit beside all of A and B.
    problem = gemm(8, 40, 8, dtype="q15", placement=_ALL_OUTSIDE)
    where = space(problem, machine_with(STACK_BYTES + 2 * (8 * 40 + 40 * 8 + 64)))
    for model in (closed_form, cp_sat, exhaustive):
        answer = model.solve(where)
        assert answer.objective[0] == 2 * (8 * 40 + 40 * 8 + 64)
        assert answer.schedule.family.stationary == "C"


@settings(max_examples=300, deadline=None)
@given(spaces_with_schedule(most=60))
def test_no_schedule_beats_the_bounds(drawn: tuple[Space, Schedule]) -> None:
    """Catches a bound that is none: any feasible schedule below it disproves it."""
    where, schedule = drawn
    if why_infeasible(where, schedule) is None:
        c, bounds = schedule_counts(where, schedule), lower_bounds(where)
        assert external_bytes(where, walk_of(where, schedule), c) >= bounds.external_bytes
        assert register_bytes(where, schedule.family, (schedule.tile,), c) >= bounds.register_bytes


@settings(max_examples=100, deadline=None)
@given(problems(most=200), st.integers(STACK_BYTES + 16, 4096))
@example(gemm(200, 200, 200, dtype="f32"), 1024)
@example(gemm(200, 200, 200, dtype="q15"), 1024)
@example(gemm(200, 200, 200, dtype="s8"), 1024)
def test_no_optimum_beats_the_bounds(problem: Gemm, sram: int) -> None:
    """Catches the same where it is tightest: the optimum with everything outside and little SRAM."""
    outside = gemm(problem.m, problem.k, problem.n, dtype=problem.dtype, placement=_ALL_OUTSIDE)
    where = space(outside, machine_with(sram, external=1 << 22))
    schedule = closed_form.solve(where).schedule
    c, bounds = schedule_counts(where, schedule), lower_bounds(where)
    assert external_bytes(where, walk_of(where, schedule), c) >= bounds.external_bytes
    assert register_bytes(where, schedule.family, (schedule.tile,), c) >= bounds.register_bytes


def test_the_io_bound_is_the_papers_and_more() -> None:
    """Catches a slip in the formula: the paper's 2MNK/sqrt(S) - 2S elements at least, S = 1024 words of 4 bytes, and 3S
    more where the last stretch is whole."""
    paper = 4 * (2 * 100**3 // 32 - 2 * 1024)
    assert paper <= io_bytes(gemm(100, 100, 100, dtype="f32"), 4096) <= paper + 3 * 4096
    assert io_bytes(gemm(128, 128, 128, dtype="f32"), 4096) == 4 * (2 * 128**3 // 32 + 1024)
    # Narrow operands beside 4-byte partial sums: 2 * 2 * 2 * 100^3 / 64 - 2 * 4096 - 2 * 100^2 bytes.
    narrow = 8 * 100**3 // 64 - 2 * 4096 - 2 * 100**2
    assert narrow <= io_bytes(gemm(100, 100, 100, dtype="q15"), 4096) <= narrow + 3 * 4096
    # What fits is at least as long as the shortest edge of a box: 3 * 2^2 words.
    assert io_bytes(gemm(2, 2, 2, dtype="f32"), 4096) == 4 * 3 * 4


def test_the_io_bound_is_within_reach() -> None:
    """Catches a bound so weak that it says nothing: the optimum of a large problem lies within a third of it."""
    where = space(gemm(512, 512, 512, dtype="f32", placement=_ALL_OUTSIDE), machine_with(16 << 10, external=1 << 22))
    best, bound = closed_form.solve(where).objective[0], lower_bounds(where).external_io
    assert bound <= best <= 4 * bound // 3
    assert gap(best, bound) == pytest.approx(best / bound - 1)


@settings(max_examples=200, deadline=None)
@given(spaces_with_schedule(most=40), st.integers(0, Counts._fields.index("lk")), st.integers(1, 9))
def test_more_trips_or_tiles_never_cost_less(drawn: tuple[Space, Schedule], which: int, more: int) -> None:
    """Catches cost data under which dropping dominated blocks, as all three models' bounds do, would be wrong."""
    where, schedule = drawn
    assume(not schedule.turning)  # what a turn saves depends on its block: tests/models/test_turning.py
    c = schedule_counts(where, schedule)
    larger = Counts(*(count + more * (i == which) for i, count in enumerate(c)))
    family, tile = schedule.family, schedule.tile
    assert 0 < kernel_cost(where, family, tile, c) <= kernel_cost(where, family, tile, larger)
    path = walk_of(where, schedule)
    assert 0 <= staging_cost(where, path, c) <= staging_cost(where, path, larger)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.integers(1, 20))
def test_breakpoints_dominate_every_block(size: int, tile: int) -> None:
    """Catches a block dropped although no smaller-or-equal one is as good in trips, in register tiles and in runs."""
    smallest = smallest_blocks(size)
    assert set(smallest.tolist()) == {
        min(b for b in range(1, size + 1) if ceil_div(size, b) == t)
        for t in {ceil_div(size, b) for b in range(1, size + 1)}
    }
    blocks = np.arange(1, size + 1)
    for counting in ((tiles_over_blocks,), (tiles_over_blocks, runs_over_blocks)):
        useful = set(useful_blocks(size, smallest, tile, runs=len(counting) > 1).tolist())
        counted = [np.asarray(count(size, blocks, tile)) for count in counting]
        assert useful == set(exhaustive.breakpoints(size, *counted).tolist())
        for block in range(1, size + 1):
            assert any(
                kept <= block
                and ceil_div(size, kept) == ceil_div(size, block)
                and all(count[kept - 1] <= count[block - 1] for count in counted)
                for kept in useful
            )


def test_the_kernel_follows_the_shape() -> None:
    """Catches a stationarity that is never chosen; the figures are done by hand."""

    def chosen(m: int, k: int, n: int, dtype: str) -> tuple[str, int]:
        answer = closed_form.solve(space(gemm(m, k, n, dtype=dtype, placement=_ALL_INSIDE), machine_with(1 << 19)))
        return str(answer.schedule.family.stationary), answer.objective[1]

    # 13 columns of B stay: B once, A for each of 5 tiles of columns, C out once; 5 calls of 45 words.
    assert chosen(64, 2, 64, "f32") == ("B", 4 * (2 * 64 + 5 * 64 * 2 + 64 * 64 + 5 * 45))
    # 5 columns of B stay: B once, A for each of 13 tiles of columns, C out once (5 rows of A move as much); 13 calls.
    assert chosen(64, 2, 64, "q15") == ("B", 2 * (64 * 2 + 13 * 2 * 64 + 64 * 64) + 4 * 13 * 25)
    # 6x4 accumulators stay: A for each of 16 tiles of columns, B for each of 11 tiles of rows; 11 calls save 57 words.
    assert chosen(64, 64, 64, "f32") == ("C", 4 * (16 * 64 * 64 + 11 * 64 * 64 + 64 * 64 + 11 * 57))


def test_too_few_registers_is_one_clear_line() -> None:
    """Catches a traceback where no kernel fits the registers."""
    where = space(gemm(4, 4, 4), machine_with(1 << 16, core=3, fpu=2))
    for model in (closed_form, cp_sat, exhaustive):
        with pytest.raises(InfeasibleError, match="3 core and 2 FPU registers"):
            model.solve(where)


def test_a_machine_that_takes_no_energy() -> None:
    """Catches a division by the greatest divisor of costs that are all 0: then every schedule is as good."""
    machine = mcu("stm32l4r5")
    memories = tuple(memory.model_copy(update={"energy_pj_per_byte": 0.0}) for memory in machine.memories)
    free = machine.model_copy(update={"power_mw": 0.0, "power_range_mw": None, "memories": memories})
    where = space(Gemm(m=3, k=4, n=5), free, "energy")
    answers = [model.solve(where) for model in (closed_form, cp_sat, exhaustive)]
    assert [answer.objective for answer in answers] == [(0,)] * 3
