"""Packing against brute force: rectangles apart, and pairs that may overlap as far as a lead allows."""

from __future__ import annotations

import gc
import itertools
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memaopt
from memaopt.memory import packing
from memaopt.memory.liveness import Lead
from memaopt.memory.rectangles import Rectangle, Sharing
from memaopt.solver import empty_model


def brute_arena(rectangles: list[tuple[int, int, int]]) -> int:
    """The least height of a packing: every packing can be pushed down in some order of placement."""
    best = sum(size for *_, size in rectangles)
    for order in itertools.permutations(range(len(rectangles))):
        offsets: dict[int, int] = {}
        for i in order:
            first, last, size = rectangles[i]
            meets = [j for j in offsets if rectangles[j][0] <= last and first <= rectangles[j][1]]
            busy = [(offsets[j], rectangles[j][2]) for j in meets]
            spots = sorted({0, *(start + length for start, length in busy)})
            offsets[i] = next(s for s in spots if all(s + size <= o or o + n <= s for o, n in busy))
        best = min(best, max(offsets[i] + rectangles[i][2] for i in order))
    return best


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_packing_is_the_least(items: list[tuple[int, int, int]]) -> None:
    """Catches a packing that is not minimal although the solver says so."""
    rectangles = [(first, first + more, size) for first, more, size in items]
    live = max(sum(s for f, t, s in rectangles if f <= step <= t) for step in range(10))
    made = [Rectangle(f, t, 16 * s) for f, t, s in rectangles]
    _, arena, proven = packing.pack(made, [], 16, 16 * live, 5.0)
    assert proven != "none"
    assert arena == 16 * brute_arena(rectangles)


def test_packing_above_the_live_set_is_proven_by_exhaustion() -> None:
    """Catches a claim that the live set can always be met: here it is 5, and no packing is below 6."""
    items = [(5, 6, 2), (4, 6, 3), (0, 2, 3), (1, 4, 1), (0, 0, 2), (1, 3, 1), (3, 4, 1)]
    assert max(sum(s for f, t, s in items if f <= step <= t) for step in range(7)) == 5
    assert brute_arena(items) == 6
    made = [Rectangle(f, t, 16 * s) for f, t, s in items]
    _, arena, proven = packing.pack(made, [], 16, 16 * 5, 5.0)
    assert (arena, proven) == (16 * 6, "search")


def _clash(rectangles: list[Rectangle], pairs: list[Sharing], offsets: list[int], i: int, j: int) -> bool:
    """Whether two rectangles may not lie where they do."""
    a, b = rectangles[i], rectangles[j]
    if a.last < b.first or b.last < a.first or offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]:
        return False
    for before, after, (lead, step) in pairs:
        if {before, after} == {i, j}:
            distance = offsets[before] - offsets[after]
            return distance < lead or distance % step != 0
    return True


def exhaustive(rectangles: list[Rectangle], pairs: list[Sharing], most: int) -> int:
    """The least height, up to ``most``, with every offset tried."""

    def fits(height: int, offsets: list[int]) -> bool:
        i = len(offsets)
        if i == len(rectangles):
            return True
        for offset in range(height - rectangles[i].size + 1):
            placed = [*offsets, offset]
            if not any(_clash(rectangles, pairs, placed, j, i) for j in range(i)) and fits(height, placed):
                return True
        return False

    return next(h for h in range(max(r.size for r in rectangles), most + 1) if fits(h, []))


def _chain(rng: np.random.Generator) -> tuple[list[Rectangle], list[Sharing]]:
    """Outputs that begin where their input ends, most of them with a lead, and rectangles besides."""
    ends = np.cumsum(rng.integers(1, 3, int(rng.integers(2, 5))))
    starts = [0, *ends[:-1]]
    rectangles = [
        Rectangle(int(first), int(last), int(rng.integers(1, 5))) for first, last in zip(starts, ends, strict=True)
    ]
    pairs = [
        Sharing(i, i + 1, Lead(step * int(rng.integers(-3, 4)), step))
        for i in range(len(rectangles) - 1)
        if (step := int(rng.integers(1, 3))) and rng.integers(4)
    ]
    for _ in range(int(rng.integers(0, 3))):
        first = int(rng.integers(0, ends[-1] + 1))
        last = min(first + int(rng.integers(0, 3)), int(ends[-1]))
        rectangles.append(Rectangle(first, last, int(rng.integers(1, 4))))
    return rectangles, pairs


@given(st.integers(0, 100_000))
@settings(max_examples=80, deadline=None)
def test_packing_with_pairs_is_the_least(seed: int) -> None:
    """Catches a pair that may not overlap but does, one that may but does not, and others that meet where a pair has
    a step in common: all offsets are tried."""
    rectangles, pairs = _chain(np.random.default_rng(seed))
    total = sum(r.size for r in rectangles)
    offsets, arena, proven = packing.pack(rectangles, pairs, 1, max(r.size for r in rectangles), 5.0)
    for i, j in itertools.combinations(range(len(rectangles)), 2):
        assert not _clash(rectangles, pairs, offsets, i, j)
    assert proven != "none"
    assert arena == max(o + r.size for o, r in zip(offsets, rectangles, strict=True))
    assert arena == exhaustive(rectangles, pairs, total)


@pytest.mark.slow
def test_many_rectangles_take_seconds() -> None:
    """Catches an explosion: hundreds of operators in a row, and what lies across them."""
    rng = np.random.default_rng(4)
    rectangles = [Rectangle(i, i + 1, 16 * int(rng.integers(1, 200))) for i in range(400)]
    pairs = [Sharing(i, i + 1, Lead(16 * int(rng.integers(-20, 100)), 16)) for i in range(399)]
    rectangles += [Rectangle(i, min(i + 30, 400), 16 * int(rng.integers(1, 40))) for i in range(0, 400, 10)]
    offsets, _, _ = packing.pack(rectangles, pairs, 16, 16, 1.0)
    near = [(i, j) for i, j in itertools.combinations(range(440), 2) if rectangles[i].meets(rectangles[j])]
    assert not any(_clash(rectangles, pairs, offsets, i, j) for i, j in near)


def test_a_model_goes_when_nobody_has_it() -> None:
    """Catches a model of OR-Tools that reaches itself, and one that is made without this: each would keep megabytes
    until Python looks for circles, which commands hardly ever have it do."""
    model = empty_model()
    model.add(model.new_int_var(0, 9, "x") <= 5)
    there, enabled = weakref.ref(model), gc.isenabled()
    gc.disable()
    try:
        del model
        assert there() is None
    finally:
        if enabled:
            gc.enable()
    makers = {
        path.name
        for path in Path(memaopt.__file__).parent.rglob("*.py")
        if "CpModel()" in path.read_text(encoding="utf-8")
    }
    assert makers == {"solver.py"}
