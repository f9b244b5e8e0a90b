"""The cost function and the promised accesses, held against a replay that counts and knows no formula."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_helpers import machine_with, schedules_in, spaces, spaces_with_schedule

from memaopt.access import Access, loads, stores
from memaopt.errors import InfeasibleError
from memaopt.kernels.gemm.families import BY_NAME
from memaopt.kernels.schedule import STACK_BYTES, Schedule, Space, space
from memaopt.models import closed_form
from memaopt.models.accesses import promise, run_accesses
from memaopt.models.feasibility import least_tiles, why_infeasible
from memaopt.models.replay import replay, simulate
from memaopt.models.traffic import external_bytes, external_bytes_of, footprint, passes, register_bytes, schedule_counts
from memaopt.models.walks import visits, walk_of
from memaopt.problems.gemm import INDEXED_BY, OPERANDS, gemm


def _space(m: int, k: int, n: int, dtype: str, places: str, sram: int = 1 << 16) -> Space:
    """A space with A, B and C in the memories whose initials are given: f, s or q."""
    names = {"f": "flash", "s": "sram", "q": "qspi"}
    placement = {x: names[letter] for x, letter in zip("abc", places, strict=True)}
    return space(gemm(m, k, n, dtype=dtype, placement=placement), machine_with(sram))


def _schedule(order: str, mc: int, kc: int, nc: int, kernel: str, mr: int, kr: int, nr: int) -> Schedule:
    a, b, c = order
    return Schedule(order=(a, b, c), mc=mc, kc=kc, nc=nc, kernel=kernel, mr=mr, kr=kr, nr=nr)  # type: ignore[arg-type]


@settings(max_examples=500, deadline=None)
@given(spaces_with_schedule())
def test_replay_equals_promise(drawn: tuple[Space, Schedule]) -> None:
    """Catches a promised access that the nest does not make, or one it makes that nobody promised."""
    assert promise(*drawn) == replay(*drawn)


@settings(max_examples=40, deadline=None)
@given(spaces(most=70), st.data())
def test_replay_equals_promise_on_larger_blocks(where: Space, data: st.DataObject) -> None:
    """Catches errors that need several full tiles and several middle blocks to show."""
    schedule = data.draw(schedules_in(where))
    assert promise(where, schedule) == replay(where, schedule)


@settings(max_examples=300, deadline=None)
@given(spaces_with_schedule())
def test_bytes_of_the_formulas_are_bytes_of_the_replay(drawn: tuple[Space, Schedule]) -> None:
    """Catches a cost function that prices other bytes than the nest moves, operand by operand."""
    where, schedule = drawn
    c, path, replayed = schedule_counts(where, schedule), walk_of(where, schedule), simulate(where, schedule)
    made = replayed.accesses
    nothing = Access()
    for operand in where.staged:
        moved = made[operand].bytes + (made.get("C_partial", nothing).bytes if operand == "C" else 0)
        assert moved == external_bytes_of(where, operand, path, c)
    crossing = sum(made[x].bytes for x in where.staged) + made.get("C_partial", nothing).bytes
    assert crossing == external_bytes(where, path, c)
    # What the kernels do to a staged operand's tile is all that happens to the tile, less its copies in and out.
    kernels = made.get("channels", nothing).bytes
    if "C" not in where.tiled(schedule):
        kernels += made.get("C_partial", nothing).bytes
    for operand in OPERANDS:
        tile = made.get(f"{operand.lower()}_tile", nothing).bytes
        if operand not in where.tiled(schedule):
            kernels += made[operand].bytes + tile
        else:
            kernels += tile - external_bytes_of(where, operand, path, c)
    moved, stack = register_bytes(where, schedule.family, (schedule.tile,), c), made["stack"].bytes
    assert moved == replayed.register_bytes
    # What copies do to the stack is not theirs.
    assert kernels < moved <= kernels + stack
    assert moved == kernels + stack or where.staged


@settings(max_examples=300, deadline=None)
@given(spaces_with_schedule())
def test_footprint_is_what_the_replay_holds(drawn: tuple[Space, Schedule]) -> None:
    """Catches tiles that are larger than the SRAM the formula sets aside for them."""
    where, schedule = drawn
    path, accumulating = walk_of(where, schedule), passes(schedule.family, schedule_counts(where, schedule)) > 1
    need = footprint(where, path, schedule.mc, schedule.kc, schedule.nc, int(accumulating))
    assert simulate(where, schedule).tile_bytes == need


@settings(max_examples=200, deadline=None)
@given(spaces_with_schedule())
def test_moves_are_visits(drawn: tuple[Space, Schedule]) -> None:
    """Catches a nest that keeps, or fetches again, a tile where the visits formula says otherwise."""
    where, schedule = drawn
    trips, moves = schedule_counts(where, schedule).trips, simulate(where, schedule).moves
    path = walk_of(where, schedule)
    for operand in where.tiled(schedule):
        tiles = 1
        for d in INDEXED_BY[operand]:
            tiles *= trips[d] if path.blocked[operand, d] else 1
        times = visits(path, trips, operand)
        turns = trips[schedule.order[0]] - 1 if any(x == operand for x, _ in path.turns) else 0
        assert moves[operand] == tiles * (2 * times - 1 if operand == "C" else times) - turns


def test_counts_done_by_hand_q15_all_in_sram() -> None:
    """5x3x3 with 2x2x2 tiles: K = 3 is a pair and a single, N = 3 is a tile of two and a ragged one."""
    where = _space(5, 3, 3, "q15", "sss")
    made = promise(where, _schedule("mkn", 5, 3, 3, "q15-c", 2, 2, 2))
    assert made == {
        # 5 rows of a pair and a single element, for each of 2 register tiles along N.
        "A": Access(loads=5 * 2 * 2, load_bytes=5 * 3 * 2 * 2),
        # For each of 3 register tiles along M, 3 rows: a pair in the full tile and a single in the ragged one.
        "B": Access(loads=3 * 3 * 2, load_bytes=3 * 3 * 3 * 2),
        "C": Access(stores=15, store_bytes=30),
        # For each of 3 rows of tiles a call for the full one and one for the ragged one: 11 registers, 3 arguments.
        "stack": loads(6 * (11 + 3), 4) + stores(6 * 11, 4),
    }


def test_counts_done_by_hand_s8_staged_and_spilling() -> None:
    """2x8x2 in blocks of 1x4x1, k outermost: both partial sums and results of C leave SRAM."""
    where = _space(2, 8, 2, "s8", "qqq")
    made = promise(where, _schedule("kmn", 1, 4, 1, "s8-c", 1, 4, 1))
    assert made == {
        # 4 blocks of A, each held over n: a run of 4 bytes each is one word.
        "A": Access(loads=4, load_bytes=16),
        "a_tile": Access(loads=8, load_bytes=32, stores=4, store_bytes=16),
        # 4 blocks of B, each moved for both m.
        "B": Access(loads=8, load_bytes=32),
        "b_tile": Access(loads=8, load_bytes=32, stores=8, store_bytes=32),
        # 4 tiles of one element leave as a word, come back, and leave for good as a byte.
        "C": Access(stores=4, store_bytes=4),
        "C_partial": Access(loads=4, load_bytes=16, stores=4, store_bytes=16),
        # The kernel stores 4 words, loads 4 and stores 4 bytes; copies load 4 words and 4 bytes and store 4 words.
        "c_tile": Access(loads=4 + 4 + 4, load_bytes=16 + 16 + 4, stores=4 + 4 + 4, store_bytes=16 + 4 + 16),
        # 4 tiles of one element: a bias at the start, three parameters at the end.
        "channels": Access(loads=16, load_bytes=64),
        # 8 calls of kernels: 11 registers, 3 arguments, and once more where the channels are; 24 copies: 6 and 2.
        "stack": loads(8 * (11 + 4) + 24 * (6 + 2), 4) + stores(8 * 11 + 24 * 6, 4),
    }


def test_counts_done_by_hand_f32_stationary_a() -> None:
    """4x2x3 with a 2x1x1 tile of A held: C is passed over twice, once for each step of K."""
    where = _space(4, 2, 3, "f32", "fss")
    made = promise(where, _schedule("mnk", 4, 2, 3, "f32-a", 2, 1, 1))
    assert made == {
        "A": Access(loads=8, load_bytes=32),
        "a_tile": Access(loads=8, load_bytes=32, stores=8, store_bytes=32),
        "B": Access(loads=2 * 6, load_bytes=2 * 24),
        "C": Access(loads=12, load_bytes=48, stores=24, store_bytes=96),
        # 4 tiles of A: 6 core and 16 FPU registers, an argument; and a copy.
        "stack": loads(4 * (22 + 1) + 6 + 2, 4) + stores(4 * 22 + 6, 4),
    }


@pytest.mark.parametrize(("length", "accesses"), [(1, 1), (2, 1), (3, 2), (4, 1), (5, 2), (7, 3), (8, 2), (11, 4)])
def test_a_run_is_words_then_a_halfword_then_a_byte(length: int, accesses: int) -> None:
    """Catches copies counted element by element."""
    assert run_accesses(length) == accesses


@settings(max_examples=60, deadline=None)
@given(spaces(objectives=("bytes",)), st.integers(1, 4000))
def test_more_sram_never_means_more_traffic(where: Space, extra: int) -> None:
    """Catches a capacity constraint, or a case analysis, that is not monotone."""
    more = where.machine.with_sizes(sram=where.machine.sram.size + extra)
    larger = space(where.problem, more, "bytes", where.buffering)
    try:
        before = closed_form.solve(where).objective
    except InfeasibleError:
        return
    assert closed_form.solve(larger).objective <= before


@settings(max_examples=60, deadline=None)
@given(spaces(most=40, objectives=("bytes",)))
def test_the_least_sram_that_is_said_to_do_does(where: Space) -> None:
    """Catches a wrong figure in the message for too little SRAM: it does, and a byte less does not."""
    tight = where.machine.with_sizes(sram=where.machine.sram.size - where.capacity)
    if least_tiles(where) == 0:
        assert why_infeasible(where, closed_form.solve(where).schedule) is None
        return
    with pytest.raises(InfeasibleError, match="the least that would do is") as caught:
        closed_form.solve(space(where.problem, tight, "bytes", where.buffering))
    least = int(str(caught.value).split("would do is ")[1].split(" bytes")[0].replace(",", ""))
    enough = where.machine.with_sizes(sram=least)
    closed_form.solve(space(where.problem, enough, "bytes", where.buffering))
    with pytest.raises(InfeasibleError):
        closed_form.solve(space(where.problem, where.machine.with_sizes(sram=least - 1), "bytes", where.buffering))


def test_why_infeasible_names_each_reason() -> None:
    """Catches a schedule outside the space that is taken for one inside."""
    where = _space(8, 8, 8, "q15", "qqq", sram=STACK_BYTES + 64)
    good = _schedule("mnk", 2, 2, 2, "q15-c", 2, 2, 2)
    assert why_infeasible(where, good) is None
    for change, reason in (
        ({"mc": 9}, "larger than M"),
        ({"buffering": "double"}, "buffering"),
        ({"mr": 9, "nr": 4}, "registers"),
        ({"kernel": "s8-c", "kr": 4}, "a kernel of s8, not of q15"),
        ({"mc": 8, "kc": 8}, "bytes of SRAM"),
    ):
        reasons = why_infeasible(where, good.model_copy(update=change))
        assert reasons is not None
        assert reason in reasons
    full = machine_with(STACK_BYTES + 64, external=8 * 8 * 2 * 3)
    no_room = space(where.problem, full)
    assert "no room" in str(why_infeasible(no_room, good.model_copy(update={"order": ("k", "m", "n")})))
    assert set(BY_NAME) >= {"f32-a", "q15-b", "s8-c"}
