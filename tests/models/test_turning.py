"""Loops that run there and back: what stays at each turn, by hand and by walking."""

import itertools

import pytest
from models_helpers import machine_with

from memaopt.kernels.schedule import Schedule, space
from memaopt.models import closed_form, cp_sat, exhaustive
from memaopt.models.feasibility import why_infeasible
from memaopt.models.replay import simulate
from memaopt.models.turning import kept_length, lengths
from memaopt.problems.gemm import gemm

_OUTSIDE = {"a": "qspi", "b": "qspi", "c": "qspi"}


@pytest.mark.parametrize("size", range(2, 12))
def test_what_stays_is_what_a_walk_finds(size: int) -> None:
    """Catches an end mistaken for the other, or a block that is shorter where it need not be."""
    for block, sweeps in itertools.product(range(1, size), range(1, 7)):
        there = lengths(size, block)
        assert sum(there) == size
        assert len(there) == -(-size // block)
        assert max(there) == there[-1] == block
        ends = [there[-1], there[0]]
        assert kept_length(size, block, len(there), sweeps) == sum(ends[i % 2] for i in range(sweeps - 1))
        # The closed form takes the largest block that fits.
        assert kept_length(size, block, len(there), sweeps) >= max(
            kept_length(size, less, -(-size // less), sweeps) for less in range(1, block + 1)
        )
    assert kept_length(size, size, 1, 5) == 0


def test_a_turn_keeps_what_no_straight_nest_can() -> None:
    """Catches a model that leaves turns out: 64x576x64 in 16 KiB, by hand.

    A C of 64x32 sums takes 8,192 bytes of the 15,872, so 60 of k of one operand fit, 64 wide, and need not come again.
    """
    where = space(gemm(64, 576, 64, dtype="q15", placement=_OUTSIDE), machine_with(16 << 10))
    known = closed_form.solve(where)
    assert known.objective[0] == 2 * (64 * 576 + 64 * 64 + 64 * 576 + 64 * (576 - 60))
    for answer in (known, exhaustive.solve(where), cp_sat.solve(where, known)):
        assert answer.proven
        assert answer.objective == known.objective
        assert isinstance(answer.schedule, Schedule)
        assert answer.schedule.turning
        assert answer.schedule.block[answer.schedule.order[1]] == 60
    assert simulate(where, known.schedule).tile_bytes == where.capacity  # type: ignore[arg-type]


def test_why_a_loop_does_not_turn() -> None:
    """Catches a schedule that turns where nothing stays, or where the emitted nest cannot."""
    where = space(gemm(8, 8, 8, dtype="q15", placement=_OUTSIDE), machine_with(4096))
    good = Schedule(order=("m", "k", "n"), mc=4, kc=4, nc=8, turning=True, kernel="q15-c", mr=2, kr=2, nr=2)
    assert why_infeasible(where, good) is None
    for change, reason in (
        ({"nc": 4}, "where m and k run more than once and n once"),
        ({"mc": 8}, "where m and k run more than once and n once"),
        ({"order": ("k", "m", "n")}, "C has none"),
        ({"hold": (3, 0, 3)}, "B has none"),
    ):
        assert reason in str(why_infeasible(where, good.model_copy(update=change)))
    for objective, buffering in (("cycles", "single"), ("bytes", "double")):
        other = space(where.problem, where.machine, objective, buffering)
        assert not other.may_turn
        changed = good.model_copy(update={"buffering": buffering})
        assert "single buffering alone" in str(why_infeasible(other, changed))
