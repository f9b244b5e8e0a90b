"""The exact search by the size of the arena."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from memaopt.access import Access
from memaopt.choice import arenas, choice, labels
from memaopt.choice.arenas import Arenas
from memaopt.choice.choice import Budgets, Candidate, Stage
from memaopt.choice.in_ram import Where
from memaopt.choice.label_walk import Found, LabelWalk
from memaopt.choice.offers import Offers
from memaopt.choice.prices import price_of
from memaopt.kernels.registry import Plan, Promise

_COUNT = 4


def _offered(seed: int) -> tuple[list[Stage], Offers]:
    """Stages that are faster with a large arena and with code in RAM, which there is not enough of for both."""
    rng, access = np.random.default_rng(seed), Access(1, 1)
    stages = []
    for i in range(_COUNT):
        made = []
        for _ in range(5):
            cycles, code, arena = (int(rng.integers(low, high)) for low, high in ((1000, 9000), (100, 900), (1, 40)))
            names = (f"k{int(rng.integers(4))}",)
            plan = Plan("f", "", cycles, Promise((access,), access), code, 0, kernels=names, shared_bytes=400)
            made.append(Candidate(plan, 1, 16 * arena, 0, Where(code=bool(rng.integers(2)))))
        stages.append(Stage(tuple(made), ((i - 1,) if i else (99,)), i))
    return stages, Offers(stages, frozenset({99, _COUNT - 1}), Budgets(sram=1300, code_ram=1300))


def _best(stages: list[Stage]) -> int | None:
    best: int | None = None
    for taken in itertools.product(*(stage.candidates for stage in stages)):
        places = {(c.plan.kernels, c.where.code) for c in taken}
        if len(places) > len({kernels for kernels, _ in places}):
            continue
        if choice.sram_bytes(taken) <= 1300 and choice.ram_code_bytes(taken) <= 1300:
            price = sum(c.price("cycles") for c in taken)
            best = price if best is None else min(best, price)
    return best


def test_parts_by_arena_lose_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches choices between two parts, a part that is charged too large an arena, and a bound above a choice."""
    monkeypatch.setattr(labels, "_BEAMS", (1,))
    monkeypatch.setattr(arenas, "_BEAM", 1)
    searched, looks = Arenas.search, 0

    def counted(self: Arenas, walk: LabelWalk, whole: bool) -> Found:
        nonlocal looks
        looks += 1
        return searched(self, walk, whole)

    monkeypatch.setattr(Arenas, "search", counted)
    for seed in range(16):
        stages, offers = _offered(seed)
        best = _best(stages)
        found = labels.search(offers, price=price_of("cycles"))
        assert found.proven
        assert (found.value if found.picks else None) == best
        if best is not None:
            assert labels.search(offers, price=price_of("cycles"), below=best).picks is None
            assert labels.search(offers, price=price_of("cycles"), below=best + 1).value == best
    assert looks >= 8


def test_what_is_not_searched_is_not_called_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a proof where so many kernels are a question that the search does not begin, and a bound that is none."""
    monkeypatch.setattr(labels, "_BEAMS", (1,))
    monkeypatch.setattr(arenas, "_BEAM", 1)
    monkeypatch.setattr(arenas, "_HOPELESS", -1)
    hopeless = 0
    for seed in range(16):
        stages, offers = _offered(seed)
        best = _best(stages)
        found = labels.search(offers, price=price_of("cycles"))
        hopeless += found.hopeless
        assert found.hopeless != found.proven
        assert best is None or found.bound <= best <= found.value
    assert hopeless


def test_what_was_priced_since_is_not_taken_for_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a choice of candidates that all have their prices by now, with the value that their floors had before."""
    monkeypatch.setattr(labels, "_BEAMS", (1,))
    monkeypatch.setattr(arenas, "_BEAM", 1)
    for seed in range(16):
        stages, offers = _offered(seed)
        known: set[int] = set()

        def price(candidate: Candidate, known: set[int] = known) -> int:
            whole = candidate.price("cycles")
            return whole if id(candidate) in known else whole - whole % 1000 - 500 * (whole % 2)

        def settle(picks: tuple[int, ...], known: set[int] = known, stages: list[Stage] = stages) -> bool:
            asked = {id(stage.candidates[pick]) for stage, pick in zip(stages, picks, strict=True)}
            stays = asked <= known
            known |= asked
            return stays

        found = labels.search(offers, price=price, settle=settle)
        assert found.proven
        assert (found.value if found.picks else None) == _best(stages)
