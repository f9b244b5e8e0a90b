"""The best choice of kernels, exactly and without a solver: a shortest path whose labels carry what they have used.

Stages are walked in execution order. A *label* is a choice for the stages so far: its price, its bytes of flash, of
code and constants in RAM, its largest arena and stack, the kernels that it has already paid for. Labels meet in a
*state*: the formats of the tensors that are still read, and the clashes that they may still complete. A label goes
where another one of its state is no worse in anything, where it cannot end within the budgets, and where even the
Lagrangian bound of the stages to come is not below the best end that is known. Nothing else is dropped, so what is
left is the optimum; if there is more to look at than ``MOST_LABELS``, the answer says that it is not proven.

The bound prices each resource (:mod:`memaopt.choice.relaxation`). Of each budget that is short it also knows what is to
go for every amount of it that is left (:mod:`memaopt.choice.knapsack`). As soon as an end is known, the rows go with
which the bound is not below it, and the shared kernels with all of which it is not; where a kernel then has one user,
or is there in any case, it is no longer a question, and labels need not tell it. Where RAM is short, choices are told
apart by their arena (:mod:`memaopt.choice.arenas`). All numbers are integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memaopt.choice.arenas import Arenas, PriceChangedError, Settle
from memaopt.choice.clashes import Clash
from memaopt.choice.dominance import TooMuchError
from memaopt.choice.label_stages import Layers
from memaopt.choice.label_walk import Found, LabelWalk, Least
from memaopt.choice.offers import Offers, Price
from memaopt.choice.relaxation import Relaxation

#: Labels that are made in all before the search gives up, and those kept in a state while it looks for a first answer.
MOST_LABELS = 4_000_000
_BEAMS = (24, 96, 400)
#: The last of them where it is known that no proof will come of it.
_LAST = 96


def search(
    offers: Offers,
    *,
    price: Price | None = None,
    least: Least = "price",
    clashes: Sequence[Clash] = (),
    below: int | None = None,
    most: int = MOST_LABELS,
    settle: Callable[[tuple[int, ...]], bool] | None = None,
    whole: bool = True,
    walk: LabelWalk | None = None,
) -> Found:
    """The choice of the least price (or flash, arena, SRAM) within the budgets that no clash rules out.

    ``below``: only a value below it is looked for. ``clashes`` raise the arena of the choices that meet them.
    ``settle`` says of picks whether what ``price`` gave for them stays; where it does not, the search is made again.
    Where not the ``whole`` is searched, the answer is a good one and not proven. ``walk``: that of all this.
    """
    # What may be asked for prices is first looked at in part.
    beams: tuple[int | None, ...] = _BEAMS if below is None else _BEAMS[:1] if settle is not None else ()
    if whole:
        beams = *beams, None
    prices, best = price or (lambda _: 0), Found(None, 0, 0, False)

    def priced(found: Found) -> tuple[int | None, bool]:
        if settle is None or found.picks is None:
            return found.value, True
        settled = settle(found.picks)
        while not settled:
            settled = settle(found.picks)
        asked = [prices(stage.candidates[pick]) for stage, pick in zip(offers.stages, found.picks, strict=True)]
        value = None if None in asked else sum(each or 0 for each in asked)
        # All may have had its price before, and after the walk was made.
        return value, value == found.value

    walk = walk or walk_of(offers, clashes, prices, least)
    while True:
        try:
            return _search(walk, best, below if best.picks is None else best.value, beams, most, priced)
        except PriceChangedError as changed:
            best, walk = changed.best, walk_of(offers, clashes, prices, least)


def walk_of(offers: Offers, clashes: Sequence[Clash], price: Price, least: Least = "price") -> LabelWalk:
    """The walk over all that is offered."""
    return LabelWalk(Layers(offers, clashes, price), least)


def _search(
    walk: LabelWalk, best: Found, below: int | None, beams: Sequence[int | None], most: int, settle: Settle
) -> Found:
    """What :func:`search` finds with these prices below what is known; PriceChangedError if one of them changes."""
    bound, hopeless = 0, False
    for number, beam in enumerate(beams):
        # What cannot end below the best that is known need not be looked at.
        walk = walk if below is None else walk.within(below)
        if walk.impossible or (below is not None and walk.bound() >= below):
            return best._replace(bound=best.value, proven=True, hopeless=False)
        bound = max(bound, walk.bound())
        if below is not None and not hopeless and (number > 0 or beam is None) and walk.price_of_ram:
            found = Arenas(best, below, settle, most).search(walk, whole=None in beams)
            if not found.hopeless:
                return found
            if found.picks != best.picks:
                return found
            best, hopeless, bound = found, True, max(bound, found.bound)
        if hopeless and (beam is None or beam > _LAST):
            break
        try:
            found = walk.run(below, beam, most)
        except TooMuchError:
            break
        if found.picks is not None:
            value, stays = settle(found)
            if value is not None and (below is None or value < below):
                best, below = Found(found.picks, value, 0, False, hopeless), value
            if not stays:
                raise PriceChangedError(best)
        if found.proven or (best.picks is not None and best.value <= bound):
            return best._replace(bound=best.value, proven=True, hopeless=False)
    return best._replace(bound=bound)


def lower_bound(offers: Offers, price: Price) -> int:
    """A price that no choice within the budgets is below: the Lagrangian bound, in no time."""
    walk = LabelWalk(Layers(offers, (), price), "price")
    return 0 if walk.impossible else walk.bound()


def left(offers: Offers, price: Price, clashes: Sequence[Clash], below: int | None) -> list[tuple[int, ...]]:
    """For each stage, the candidates that a choice (below a price, if one is given) may have, as far as the Lagrangian
    bound tells; none if there is no such choice."""
    walk = LabelWalk(Layers(offers, clashes, price), "price")
    if below is not None and not walk.impossible:
        walk = walk.within(below)
    if walk.impossible or (below is not None and walk.bound() >= below):
        return []
    return [tuple(sorted(row.pick for row in rows)) for rows in walk.layers.rows]


def relaxed(offers: Offers, price: Price) -> tuple[Layers, list[Relaxation]] | None:
    """The stages and their Lagrangian bounds, whose multipliers are found roughly, in no time; None if there is no
    choice at all."""
    walk = LabelWalk(Layers(offers, (), price), "price", rough=True)
    return None if walk.impossible else (walk.layers, walk.relaxed)


def likely(offers: Offers, price: Price, below: int | None) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
    """Picks that may be near the best or exceed a budget, in no time, and which budgets are short; None if there are
    no picks at all, or none below a price if one is given."""
    found = relaxed(offers, price)
    if found is None or (below is not None and any(relaxation.bound() >= below for relaxation in found[1])):
        return None
    layers, best = found[0], found[1][-1]
    short = tuple(name for name, multiplier in best.taken.items() if multiplier > 1)
    return tuple(row.pick for row in layers.path(best.weights, best.to_go)), short
