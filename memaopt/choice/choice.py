"""The choice of kernels as an optimisation: one plan for each operator, the best together under the budgets.

Every operator has one of its plans (kernel family, tile, activation formats), with a place for its code and constants.
A tensor has one format, so its producer and all its readers agree on it; the network's ends are plain
int8. Two operators computed as one agree on the format ``fused`` (see fusion.py).

Flash is what the plans' constants and code take, a kernel that several layers share counted once. SRAM is the
largest arena that an operator needs, the largest stack, and what was placed in RAM. Here is what a choice is and what
it takes; :mod:`memaopt.choice.labels` finds the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from memaopt.access import Access
from memaopt.choice import in_ram, invoke
from memaopt.choice.in_ram import IN_FLASH, Where, code_room, constants_room
from memaopt.kernels.registry import Plan
from memaopt.models.fetching import FlashTiming
from memaopt.problems.objectives import is_sum, weights_of
from memaopt.problems.words import Objective

Proof = Literal["enumeration", "solver", "none"]
#: What a byte from outside the chip counts under ``bytes``, beside one on it.
OUTSIDE_WEIGHT = 1 << 14
_NOTHING = Access()


@dataclass(frozen=True)
class Candidate:
    """A plan of an operator, run ``batch`` times: the arena that it needs (tensors alive and scratch), its stack,
    where its code and constants live, and the machine that it waits for them on (None: it never waits). ``away``: what
    one call accesses of tensors outside the chip, and the cycles that waits."""

    plan: Plan
    batch: int
    arena_bytes: int
    stack_bytes: int = 0
    where: Where = IN_FLASH
    machine: FlashTiming | None = None
    away: Access = _NOTHING
    away_cycles: int = 0

    @cached_property
    def stall_cycles(self) -> int:
        """The cycles that it waits for its code, its constants, and tensors outside."""
        if self.machine is None:
            return 0
        inside = in_ram.stall_cycles(self.plan, self.batch, self.where, self.machine)
        return inside + self.batch * self.away_cycles

    @cached_property
    def pays(self) -> bool:
        """Whether what it copies saves more than the copies cost."""
        return self.machine is None or in_ram.pays(self.plan, self.where, self.machine)

    @cached_property
    def sram_bytes(self) -> int:
        """What this operator alone needs."""
        return self.arena_bytes + self.stack_bytes + self.ram_bytes

    @cached_property
    def ram_bytes(self) -> int:
        """Kept in RAM for code and constants."""
        return ram_bytes([self]) if self.where.code or self.where.data else 0

    @property
    def cycles(self) -> int:
        """Predicted with the machine's wait states, for all calls, those themselves included."""
        return self._own_cycles + self.stall_cycles

    @property
    def _own_cycles(self) -> int:
        """Predicted without wait states; what another layer computes has no code and is not called."""
        return self.plan.cycles * self.batch + (invoke.call_cycles(self.batch) if self.plan.code else 0)

    @property
    def moved_bytes(self) -> int:
        """Bytes that the promise moves, for all calls."""
        return self.batch * self.plan.promise.total.bytes

    @property
    def outside_bytes(self) -> int:
        """Those of them that come from outside the chip."""
        constants = self.plan.promise.parameters.bytes if self.where.outside else 0
        return self.batch * (constants + self.away.bytes)

    @cached_property
    def flash_bytes(self) -> int:
        """What it takes of the flash alone."""
        return self.plan.flash_bytes - (self.plan.data_bytes if self.where.outside else 0)

    def price(self, objective: Objective) -> int:
        """What is minimised. Energy is power times time while all memories are on the chip, so it prices cycles."""
        return self._moved_price if objective == "bytes" else self._price(objective, self.cycles)

    def floor(self, objective: Objective) -> int:
        """What :meth:`price` is not below, found without a look at the code."""
        return self._moved_price if objective == "bytes" else self._price(objective, self._floor)

    def least(self, objective: Objective) -> int:
        """A better :meth:`floor`, found without executing the code."""
        return self._moved_price if objective == "bytes" else self._price(objective, self._least)

    @property
    def _moved_price(self) -> int:
        """Bytes moved, those from outside at their weight."""
        return self.moved_bytes + (OUTSIDE_WEIGHT - 1) * self.outside_bytes

    @cached_property
    def _floor(self) -> int:
        """What :attr:`cycles` are not below, whatever the code is."""
        waits = 0 if self.machine is None else in_ram.constants_stall(self.plan, self.batch, self.where, self.machine)
        return self._own_cycles + waits + self.batch * self.away_cycles

    @cached_property
    def _least(self) -> int:
        """What :attr:`cycles` of such code are not below."""
        waits = 0 if self.machine is None else in_ram.least_stall(self.plan, self.batch, self.where, self.machine)
        return self._own_cycles + waits + self.batch * self.away_cycles

    def _price(self, objective: Objective, cycles: int) -> int:
        """So many cycles, and the bytes by memory that the objective weighs, at their weights."""
        if not is_sum(objective):
            return cycles
        weights = weights_of(objective)
        assert weights is not None
        return weights.cycles * cycles + sum(weight * self._moved(memory) for memory, weight in weights.bytes)

    def _moved(self, memory: str) -> int:
        """Bytes to and from flash, where its parameters are unless they were copied, or to and from SRAM; all other
        names are of the memory outside."""
        parameters = self.batch * self.plan.promise.parameters.bytes
        flash = 0 if self.where.data or self.where.outside else parameters
        flash += self.batch * self.plan.promise.channels.bytes
        rest = {"flash": flash, "sram": self.moved_bytes - flash - self.outside_bytes}
        return rest.get(memory, self.outside_bytes)


@dataclass(frozen=True)
class Stage:
    """One operator: its candidates, and the tensors (alias roots) whose format it reads and writes.

    None stands for a constant, whose bytes are plain int8.
    """

    candidates: tuple[Candidate, ...]
    inputs: tuple[int | None, ...]
    output: int

    @cached_property
    def kernels(self) -> Mapping[tuple[tuple[str, ...], bool], Candidate]:
        """Kernels that others may share, by their names and whether they are in RAM, with the first that has them."""
        found: dict[tuple[tuple[str, ...], bool], Candidate] = {}
        for candidate in self.candidates:
            if candidate.plan.kernels:
                found.setdefault((candidate.plan.kernels, candidate.where.code), candidate)
        return found


@dataclass(frozen=True)
class Budgets:
    """Bytes of flash, SRAM, those kept there for copied code and constants, and the arena; None is no limit.

    ``flash_overhead`` is what the rest of the library takes.
    """

    flash: int | None = None
    sram: int | None = None
    flash_overhead: int = 0
    code_ram: int | None = None
    arena: int | None = None
    constants_ram: int | None = None


@dataclass(frozen=True)
class Choice:
    """The index of the candidate of each stage, its price, and what no choice is below.

    ``proof`` says why nothing is cheaper: ``enumeration`` (all choices were looked at, but for those that others
    replace), else ``solver``, else ``none``.
    """

    picks: tuple[int, ...]
    price: int
    bound: int
    proof: Proof


def fits(candidate: Candidate, budgets: Budgets) -> bool:
    """Whether the candidate alone is within the SRAM and the arena."""
    sram = budgets.sram is None or candidate.sram_bytes <= budgets.sram
    return sram and (budgets.arena is None or candidate.arena_bytes <= budgets.arena)


def sram_bytes(taken: Sequence[Candidate], arena: int | None = None) -> int:
    """What candidates need together with an arena; if none is given, with that of tensors packed without gaps."""
    if arena is None:
        arena = max((c.arena_bytes for c in taken), default=0)
    return arena + max((c.stack_bytes for c in taken), default=0) + ram_bytes(taken)


class Placed(Protocol):
    """A plan, and where its code and constants live."""

    @property
    def plan(self) -> Plan: ...
    @property
    def where(self) -> Where: ...


def flash_bytes(taken: Sequence[Placed], overhead: int = 0) -> int:
    """Constants and code in flash together; kernels of the same names are there once."""
    plans = [c.plan for c in taken]
    shared = {plan.kernels: plan.shared_bytes for plan in plans if plan.kernels}
    own = sum(plan.flash_bytes - (plan.shared_bytes if plan.kernels else 0) for plan in plans)
    return overhead + own + sum(shared.values()) - outside_constants(taken)


def outside_constants(taken: Sequence[Placed]) -> int:
    """Constants outside the chip, without what alignment takes."""
    return sum(c.plan.data_bytes for c in taken if c.where.outside)


def ram_code_bytes(taken: Sequence[Placed]) -> int:
    """Kept in RAM for code; a kernel that several layers share is there once."""
    shared = {c.plan.kernels: code_room(c.plan) for c in taken if c.where.code and c.plan.kernels}
    own = sum(code_room(c.plan) for c in taken if c.where.code and not c.plan.kernels)
    return sum(shared.values()) + own


def ram_constant_bytes(taken: Sequence[Placed]) -> int:
    """Kept in RAM for constants."""
    return sum(constants_room(c.plan) for c in taken if c.where.data)


def ram_bytes(taken: Sequence[Placed]) -> int:
    """Kept in RAM for code and constants."""
    return ram_code_bytes(taken) + ram_constant_bytes(taken)
