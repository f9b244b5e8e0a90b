"""What no chain of layers costs less than, found from its parts without making its plans.

A part's constants come in for each of its bands, or once, and are then kept in SRAM, as far as there is room. Each
figure of a part is the least of any kernel and height of bands, so that together they are a bound. A closer look is
at one height for all parts after the other: at kernels whose formats agree, that have room beside the rows that they
read, with what the chain itself does, and at what their constants wait, which is found by executing their loads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.choice import in_ram
from memaopt.choice.choice import OUTSIDE_WEIGHT, Budgets, Candidate
from memaopt.choice.problem import Problem
from memaopt.choice.segments import ChainAt
from memaopt.choice.stages import Outer, places_of
from memaopt.kernels.chains.order import HEIGHTS, band_height
from memaopt.kernels.registry import Plan, plans
from memaopt.kernels.staging import least_words
from memaopt.memory import liveness
from memaopt.models.fetching import FlashTiming
from memaopt.models.least_waits import least_loading
from memaopt.models.outside import least_loading as outside_loading
from memaopt.models.waits import timing
from memaopt.problems.bands import Rows
from memaopt.problems.objectives import is_sum
from memaopt.problems.words import Objective


class PartFloor(NamedTuple):
    """What a part costs at least beside its constants, and for these if they come in for each band; what they cost if
    they are kept, and the bytes that they then take (None: they cannot be)."""

    own: int
    streamed: int = 0
    kept: int = 0
    size: int | None = None


def part_floor(
    bands: Iterable[tuple[int, Plan]], own: Callable[[Plan], int], constants: Callable[[Access, int], int]
) -> PartFloor:
    """The floor of a part whose ``bands`` are so many of such plans. ``own``: what a band costs beside its constants;
    ``constants``: what loads of constants cost at least, which take so many bytes."""
    found = list(bands)
    streamed = [count * constants(plan.promise.parameters, plan.data_bytes) for count, plan in found]
    copied = [(words, plan) for _, plan in found if (words := least_words(plan))]
    least, sizes = min(streamed), [plan.data_bytes for _, plan in copied]
    kept = min((constants(loads(words, 4), 4 * words) for words, _ in copied), default=least)
    return PartFloor(
        min(count * own(plan) for count, plan in found), least, min(kept, least), min(sizes) if sizes else None
    )


def chain_floor(parts: Sequence[PartFloor], room: int | None) -> int:
    """The floor of a chain with ``room`` bytes for constants that it keeps (None: without a limit): as if a part of an
    array could be kept, where that saves most for its bytes."""
    total = float(sum(part.own + part.streamed for part in parts))
    left = float("inf") if room is None else float(max(room, 0))
    saving = [(part.streamed - part.kept, part.size) for part in parts if part.size is not None]
    for saved, size in sorted(saving, key=lambda each: -each[0] / max(each[1], 1)):
        share = min(1.0, left / max(size, 1))
        total, left = total - share * saved, left - share * size
    return int(total)


@dataclass(frozen=True, eq=False)
class Floors:
    """What the chains of a problem's network cost at least."""

    problem: Problem
    objective: Objective
    #: Of parts of which so many rows are needed.
    _parts: dict[tuple[Rows, int], PartFloor] = field(default_factory=dict)
    #: Plans of bands by their ids, with what each costs.
    _bands: dict[int, tuple[Plan, int]] = field(default_factory=dict)
    #: By chains and tensors outside.
    _found: dict[tuple[int, int, frozenset[int]], dict[float, int | None]] = field(default_factory=dict)

    @cached_property
    def machine(self) -> FlashTiming:
        """What waits."""
        assert self.problem.mcu is not None
        return timing(self.problem.mcu, self.problem.sites.outside)

    def quick(self, limits: Budgets, segment: ChainAt) -> int | None:
        """What no candidate of a chain within the limits costs less than; None if there can be none."""
        room = _room(limits, segment)
        if room is not None and room < 0:
            return None
        floor = 0  # some weights of a sum may be
        if not is_sum(self.objective):
            floor = chain_floor(self._part_floors(segment), room) + self._ends_floor(segment)
        size = _bytes(_most(limits))
        return _higher(floor, (least for most, least in self._known(segment).items() if most >= size))

    def least(self, limits: Budgets, segment: ChainAt) -> int | None:
        """A better :meth:`quick`, where cycles are the price."""
        found, most, known = self._known(segment), _most(limits), self.quick(limits, segment)
        if known is None or _bytes(most) in found:
            return known
        least = segment.least(most, self._band_floor)
        if least is not None:
            apart = [floor._replace(own=0) for floor in self._part_floors(segment)]
            constants = 0 if self._streams else chain_floor(apart, _room(limits, segment))
            least = max(known, least + constants + self._ends_floor(segment))
        found[_bytes(most)] = least
        return least

    def closer(self, limits: Budgets) -> Callable[[ChainAt], int | None] | None:
        """:meth:`least` within the limits; None where that is no better than :meth:`quick`."""
        exact = is_sum(self.objective) or self.objective == "bytes"
        return None if exact else partial(self.least, limits)

    def _known(self, segment: ChainAt) -> dict[float, int | None]:
        """What :meth:`least` is within so many bytes, as far as that was found: within fewer it is no less."""
        return self._found.setdefault((segment.first, segment.last, segment.away), {})

    def candidates(self, segment: ChainAt) -> Iterator[Candidate]:
        """Those of a chain that reads and writes plain int8."""
        mcu, allowed = self.problem.mcu, self.problem.sites
        assert mcu is not None
        outer = Outer(segment.away, self._roots, allowed.tensors)
        for plan, arena, stack in segment.ways(
            mcu.core.has_fpu, allowed.outside is not None, allowed.tensors is not None
        ):
            moved = outer.accesses(plan, (segment.input,), segment.output)
            waits = outer.waits(moved)
            for where in places_of(plan, self.problem.limits, allowed):
                yield Candidate(plan, 1, arena, stack, where, self.machine, moved, waits)

    def _ends_floor(self, segment: ChainAt) -> int:
        """What a chain's input and output cost at least because they are outside, if they are."""
        moved = self._least_moved(segment)
        if not moved:
            return 0
        if self.objective == "bytes":
            return (OUTSIDE_WEIGHT - 1) * moved.bytes
        return Outer(segment.away, self._roots, self.problem.sites.tensors).waits(
            Access(loads=moved.load_bytes // 4, stores=moved.store_bytes // 4)
        )

    def _least_moved(self, segment: ChainAt) -> Access:
        """What a chain accesses outside at least, byte by byte: all that it depends on, and its output."""
        needed, moved = segment.chain.operands, Access()
        if self._roots.get(segment.input) in segment.away:
            moved += loads(needed.inputs[0], 1)
        if self._roots.get(segment.output) in segment.away:
            moved += stores(needed.output, 1)
        return moved

    @cached_property
    def _roots(self) -> dict[int, int]:
        return liveness.roots_of(self.problem.graph)

    @property
    def _streams(self) -> bool:
        """Whether all constants of chains come out of flash for each band."""
        return not self.problem.limits.constants_ram and self.problem.sites.outside is None

    def _band_floor(self, plan: Plan) -> int:
        """What a band costs that a plan computes, with its constants where these come in for each band."""
        if id(plan) not in self._bands:
            waits = in_ram.band_stall(plan, self.machine) if self._streams else 0
            self._bands[id(plan)] = plan, plan.cycles + waits
        return self._bands[id(plan)][1]

    def _part_floors(self, segment: ChainAt) -> list[PartFloor]:
        parts = zip(segment.shape.parts, segment.needed, strict=True)
        return [self._part_floor(rows, needed) for rows, needed in parts if rows is not None]

    def _part_floor(self, rows: Rows, needed: int) -> PartFloor:
        if (rows, needed) not in self._parts:
            heights = {band_height(rows.height, most) for most in HEIGHTS}
            bands = [(-(-needed // h), plan) for h in heights for plan in plans(rows.band(h)) if plan.runs_on(False)]
            moved = self.objective == "bytes"
            own = (lambda plan: plan.promise.total.bytes) if moved else (lambda plan: plan.cycles)
            constants = self._moved_floor if moved else self._waits_floor
            self._parts[rows, needed] = part_floor(bands, own, constants)
        return self._parts[rows, needed]

    def _moved_floor(self, parameters: Access, _: int) -> int:
        """What loads of constants count at least beyond their bytes."""
        return (OUTSIDE_WEIGHT - 1) * parameters.bytes if all(self.problem.sites.choices) else 0

    def _waits_floor(self, parameters: Access, size: int) -> int:
        """What loads of constants that take so many bytes wait at least. A chain has the constants of all its parts, so
        that it waits for them no less than they do one by one."""
        if self.problem.limits.constants_ram:
            return 0
        outside, inside = self.machine.outside, self.machine._replace(outside=None)
        waits = [
            outside_loading(parameters, outside) if beyond and outside else least_loading(parameters, size, inside)
            for beyond in self.problem.sites.choices
        ]
        return int(min(waits))


def _higher(floor: int, others: Iterable[int | None]) -> int | None:
    """The highest of floors; None if one says that there is nothing."""
    found = list(others)
    return None if None in found else max(floor, *(each or 0 for each in found), 0)


def _bytes(most: int | None) -> float:
    """So many bytes, where None is no limit."""
    return math.inf if most is None else most


def _most(limits: Budgets) -> int | None:
    """The most bytes of arena that a step may take."""
    return min((limit for limit in (limits.arena, limits.sram) if limit is not None), default=None)


def _room(limits: Budgets, segment: ChainAt) -> int | None:
    """What of it a chain leaves for constants, at most."""
    most = _most(limits)
    return None if most is None else most - segment.arena_floor
