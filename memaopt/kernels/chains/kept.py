"""Parts of a chain whose constants are copied into SRAM once, before the first step: those that are worth it, and the
kernels then."""

from __future__ import annotations

from collections.abc import Iterable

from memaopt.kernels import staging
from memaopt.kernels.chains.packed import packed_order
from memaopt.kernels.chains.pricing import Chosen, placed_bytes


def worth_keeping(chosen: Chosen) -> dict[int, int]:
    """The parts that read fewer constants if these are copied once, with the bytes that they then take; those first
    that save most for their bytes."""
    found: dict[int, int] = {}
    worth: dict[int, float] = {}
    for part, plan in enumerate(chosen.plans):
        if plan is not None and staging.copies_of(plan):
            kept = staging.kept(plan)
            saved = chosen.order.bands[part] * plan.promise.parameters.bytes - kept.data_bytes
            if saved > 0:
                found[part], worth[part] = kept.kernel_bytes, saved / plan.data_bytes
    return {part: found[part] for part in sorted(found, key=lambda part: -worth[part])}


def keeping_of(chosen: Chosen, parts: Iterable[int], apart: bool, *, packed: bool = False) -> Chosen | None:
    """A choice of kernels with the constants of some parts kept, ``apart`` or not. The places of its packed buffers are
    found anew, if they are ``packed`` or were; None if that is more than offsets reach."""
    streams = {part: plan for part in parts if (plan := chosen.plans[part]) is not None}
    kept = {part: staging.kept(plan, apart=apart) for part, plan in streams.items()}
    plans = tuple(kept.get(part, plan) for part, plan in enumerate(chosen.plans))
    chosen, old = chosen._replace(plans=plans, apart=apart), chosen.order
    if old.packing is None and not packed:
        return chosen
    order = packed_order(old.shape, old.heights, placed_bytes(chosen))
    return None if order is None else chosen._replace(order=order)
