"""What a kernel family is: the plans that it offers for a layer, and the C text of the one that is chosen."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from memaopt.kernels.emitted import Emitted
from memaopt.kernels.plan import Plan
from memaopt.kernels.text.c import Array


@runtime_checkable
class Family(Protocol):
    """One way of computing a kind of layer. Adding a kernel is adding one of these and its template."""

    @property
    def name(self) -> str: ...

    @property
    def computes(self) -> type:
        """The class of layers that it is for."""
        ...

    def plans(self, layer: Any) -> tuple[Plan, ...]:
        """The plans for a layer of that class: none where a precondition fails."""
        ...

    def emit(self, layer: Any, plan: Plan, name: str) -> Emitted:
        """The C text of one of :meth:`plans`' plans, as function ``name``."""
        ...


@runtime_checkable
class InParts(Protocol):
    """A family that can also stage parts of a layer's constants: block after block of output channels, or those of some
    layers of a chain."""

    def in_parts(self, layer: Any, plan: Plan) -> Iterable[Plan]:
        """One of :meth:`Family.plans`' plans in that way, with several sizes of what is staged."""
        ...


@runtime_checkable
class ByDma(Protocol):
    """A family whose blocks of constants a DMA can copy, each while the one before it is computed with."""

    def by_dma(self, layer: Any, plan: Plan) -> Iterable[Plan]:
        """One of :meth:`Family.plans`' plans in that way, with several sizes of blocks."""
        ...


@runtime_checkable
class Slides(Protocol):
    """A family that copies rows of its input into strips, which can also slide (:mod:`memaopt.kernels.strips`)."""

    def slid(self, layer: Any, plan: Plan) -> Plan | None:
        """One of :meth:`Family.plans`' plans with strips that slide; None where it reads each row once anyway."""
        ...


def pareto(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """The plans that no other one of equal formats, on the same cores, matches or beats in cycles, flash and memory."""

    def price(plan: Plan) -> tuple[float, ...]:
        apart = math.inf if plan.lead is None else max(plan.lead, 0)
        return plan.cycles, plan.flash_bytes, plan.scratch_bytes, plan.stack_bytes, not plan.in_place, apart

    kept: list[Plan] = []
    for plan in sorted(plans, key=price):
        formats = plan.input_format, plan.output_format
        if not any(
            (other.input_format, other.output_format) == formats
            and other.fpu in (None, plan.fpu)
            and all(a <= b for a, b in zip(price(other), price(plan), strict=True))
            for other in kept
        ):
            kept.append(plan)
    return tuple(kept)


def data_bytes(arrays: Sequence[Array]) -> int:
    """Bytes of a layer's constants."""
    return sum(array.nbytes for array in arrays)


def dimensions(shape: Sequence[int]) -> str:
    """``32x32x16``."""
    return "x".join(map(str, shape)) or "scalar"
