"""What a kernel family is: the plans that it offers for a layer, and the C text of the one that is chosen."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from memaopt.access import Access
from memaopt.kernels.plan import Emitted, Plan
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Layer


class Family(Protocol):
    """One way of computing a kind of layer. Adding a kernel is adding one of these and its template."""

    @property
    def name(self) -> str: ...

    @property
    def computes(self) -> type:
        """The class of layers that it is for."""
        ...

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        """The plans for a layer of that class: none where a precondition fails."""
        ...

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        """The C text of one of :meth:`plans`' plans, as function ``name``."""
        ...


def pareto(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """The plans that no other one of equal formats matches or beats in cycles, flash and memory."""

    def price(plan: Plan) -> tuple[float, ...]:
        apart = math.inf if plan.lead is None else max(plan.lead, 0)
        return plan.cycles, plan.flash_bytes, plan.scratch_bytes, plan.stack_bytes, not plan.in_place, apart

    kept: list[Plan] = []
    for plan in sorted(plans, key=price):
        formats = plan.input_format, plan.output_format
        if not any(
            (other.input_format, other.output_format) == formats
            and all(a <= b for a, b in zip(price(other), price(plan), strict=True))
            for other in kept
        ):
            kept.append(plan)
    return tuple(kept)


def plan_comment(title: str, plan: Plan, notes: Sequence[str] = ()) -> str:
    """The head comment of a layer: what it computes, how, and what it promises."""
    lines = [title, *notes, *facts(plan)]
    if plan.lead is not None:
        lines.append(_sharing(plan.lead, plan.lead_step))
    return "/* " + "\n * ".join(lines) + "\n */"


def facts(plan: Plan) -> list[str]:
    """A line for each thing that a plan says of itself: kernel, rounding, accesses, memory."""
    lines = [f"Kernel: {plan.family}{' ' + plan.tile if plan.tile else ''}."]
    if plan.requantization:
        lines.append(f"Requantisation: {plan.requantization}.")
    lines.append("Accesses:")
    lines.extend(f"  {name:<10} {_access(access)}" for name, access in plan.promise.buffers.items())
    memory = f"Memory: {plan.data_bytes:,} bytes of constants, {plan.scratch_bytes:,} of scratch"
    lines.append(memory + (f", {plan.stack_bytes:,} of stack." if plan.stack_bytes else "."))
    return lines


def _sharing(lead: int, step: int) -> str:
    where = f"at least {lead:,} bytes before the input" if lead > 0 else "where the input starts, or before it"
    every = f", at a multiple of {step} bytes from it" if step > 1 else ""
    return f"The output may share memory with the input if it starts {where}{every}."


def _access(access: Access) -> str:
    parts = []
    if access.loads:
        parts.append(f"{access.loads:,} loads ({access.load_bytes:,} bytes)")
    if access.stores:
        parts.append(f"{access.stores:,} stores ({access.store_bytes:,} bytes)")
    return ", ".join(parts)


def unary(name: str) -> str:
    """The prototype of a layer with one int8 input."""
    return f"void {name}(const int8_t *in, int8_t *out, void *scratch)"


def data_bytes(arrays: Sequence[Array]) -> int:
    """Bytes of a layer's constants."""
    return sum(array.nbytes for array in arrays)


def definitions(arrays: Sequence[Array]) -> str:
    """C definitions of a layer's constants."""
    return "\n".join(array.definition() for array in arrays)


def dimensions(shape: Sequence[int]) -> str:
    """``32x32x16``."""
    return "x".join(map(str, shape)) or "scalar"
