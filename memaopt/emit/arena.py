"""Names for where tensors and scratch memory lie in a network's arena, so that no emitted call has a bare number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memaopt.choice.network_plan import NetworkPlan

_LONGEST = 40  # characters of a tensor's own name


@dataclass(frozen=True)
class Place:
    """A constant of C: an offset in the arena, or in the state, and what lies there."""

    symbol: str
    offset: int
    comment: str
    base: str = "base"


def tensor_places(plan: NetworkPlan) -> dict[int, Place]:
    """Of each tensor that a layer reads or writes in the arena or the state, in the order of execution."""
    graph, found, taken = plan.graph, dict[int, Place](), set[str]()
    for layer in plan.layers:
        for tensor in (*layer.lowered.inputs, layer.op.output):
            if tensor in found or tensor in graph.nowhere or graph.tensors[tensor].is_constant:
                continue
            symbol = f"{_prefix(plan)}AT_{_own_name(graph.tensors[tensor].name)}"
            symbol = f"{symbol}_{tensor}" if symbol in taken else symbol
            taken.add(symbol)
            base = kept_as(plan, tensor) if tensor in graph.outside else "outer" if plan.is_away(tensor) else "base"
            found[tensor] = Place(symbol, plan.place(tensor), graph.tensors[tensor].describe(), base)
    return found


def kept_as(plan: NetworkPlan, tensor: int) -> str:
    """What C calls the memory that a kept tensor's offset counts from: the state, or that of the copies whose turn it
    is."""
    copies = plan.graph.states[plan.graph.outside[tensor]].copies
    return "kept" if copies == 1 else f"kept_{copies}"


def scratch_places(plan: NetworkPlan) -> dict[int, Place]:
    """Of each layer that has scratch memory, by its number."""
    offsets = {number: plan.memory.scratch_offset(layer.position) for number, layer in enumerate(plan.layers)}
    return {
        number: Place(f"{_prefix(plan)}SCRATCH_{number}", offset, f"{plan.layers[number].plan.scratch_bytes:,} bytes")
        for number, offset in offsets.items()
        if offset is not None
    }


def _prefix(plan: NetworkPlan) -> str:
    """Where one file has several networks, what tells their places apart."""
    return "" if plan.home is None else f"{plan.name.upper()}_"


def _own_name(name: str) -> str:
    """``model/activation_3/Relu;model/batch_normalization_3/...`` is ACTIVATION_3_RELU: of the names that a converter
    joined the first, and of its path the end.
    """
    parts = [part for part in re.split(r"\W+", name.split(";")[0], flags=re.ASCII) if part]
    return "_".join(parts[-2:])[:_LONGEST].strip("_").upper() or "TENSOR"
