"""What a plan moves between the core and each memory, layer by layer, and what it cannot do without.

The least of a layer is its :attr:`~memaopt.problems.layer.Layer.operands`, whoever computes it: each input element
that an output depends on and each weight once, each output once. No kernel is below it, be it Winograd's or a chain of
rows, which do fewer multiplications than a layer has and so pass below bounds that count those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from memaopt.access import Access
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.placement import FLASH, SRAM, sites
from memaopt.inputs import Strict

_Bytes = Annotated[int, Field(ge=0)]


class Crossing(Strict):
    """Bytes between the core and a memory: those promised, and those that no kernel does without."""

    bytes: _Bytes
    least: _Bytes


class MovedBytes(Strict):
    """What is promised to cross, by memory; ``gap`` is how far all of it lies above the least, as a fraction."""

    memories: dict[str, Crossing]
    bytes: _Bytes
    least: _Bytes
    gap: Annotated[float, Field(ge=0)]

    @classmethod
    def of(cls, memories: Mapping[str, Crossing]) -> MovedBytes:
        """That of these memories together."""
        moved, least = sum(each.bytes for each in memories.values()), sum(each.least for each in memories.values())
        return cls(memories=dict(memories), bytes=moved, least=least, gap=moved / least - 1 if least else 0.0)


def describe(traffic: MovedBytes) -> str:
    """In words, by memory: ``flash 1,200 bytes, 2.0 times the least; sram ...``."""
    return "; ".join(
        f"{name} {each.bytes:,} bytes" + (f", {each.bytes / each.least:.1f} times the least" if each.least else "")
        for name, each in traffic.memories.items()
        if each.bytes
    )


def layer_traffic(plan: NetworkPlan, layer: LayerPlan) -> MovedBytes:
    """What one layer of a network moves in one inference; its constant operands are in flash."""
    graph, outside = plan.graph, _outside(plan)
    needed, promise = layer.lowered.layer.operands, layer.promise
    parameters = SRAM if layer.where.data else outside if layer.where.outside else FLASH
    homes = [FLASH if graph.tensors[i].is_constant else _home(plan, i) for i in layer.lowered.inputs]
    written = _home(plan, layer.op.output)
    moved = [*zip(homes, promise.inputs, strict=True), (parameters, promise.parameters)]
    moved += [(written, promise.output), (SRAM, promise.scratch), (SRAM, promise.stack), (FLASH, promise.channels)]
    # The weights are read again by each call, but need not be.
    least = [(home, size * layer.batch) for home, size in zip(homes, needed.inputs, strict=True)]
    least += [(written, needed.output * layer.batch), (parameters, needed.weights)]
    return MovedBytes.of(
        {
            home: Crossing(
                bytes=sum((access for place, access in moved if place == home), Access()).bytes,
                least=sum(size for place, size in least if place == home),
            )
            for home in _homes(plan)
        }
    )


def _outside(plan: NetworkPlan) -> str:
    """The name of the memory outside the chip; empty if nothing can be there."""
    return "" if plan.outside is None else plan.outside.name


def _home(plan: NetworkPlan, tensor: int) -> str:
    """The memory that an activation lies in."""
    beyond = sites(plan.placement, plan.mcu).tensors
    return SRAM if beyond is None or not plan.is_away(tensor) else beyond.name


def _homes(plan: NetworkPlan) -> tuple[str, ...]:
    beyond = sites(plan.placement, plan.mcu).tensors
    names = (_outside(plan), "" if beyond is None else beyond.name, FLASH, SRAM)
    return tuple(dict.fromkeys(name for name in names if name))


def network_traffic(plan: NetworkPlan) -> MovedBytes:
    """What all layers move: the least is theirs, layer by layer."""
    found = [layer_traffic(plan, layer) for layer in plan.layers]
    return MovedBytes.of(
        {
            home: Crossing(
                bytes=sum(each.memories[home].bytes for each in found),
                least=sum(each.memories[home].least for each in found),
            )
            for home in _homes(plan)
        }
    )


def compulsory_bytes(plan: NetworkPlan) -> int:
    """What the network moves at least, in whatever order the rows of its layers are computed, each layer whole: each
    layer's weights once, what is read of its inputs and constants, its outputs.
    """
    graph, roots = plan.graph, plan.roots
    read: dict[int, int] = {}
    weights, written = 0, set()
    for layer in plan.layers:
        needed = layer.lowered.layer.operands
        weights += needed.weights
        written.add(layer.op.output)
        for tensor, size in zip(layer.lowered.inputs, needed.inputs, strict=True):
            first = roots.get(tensor, tensor)
            read[first] = max(read.get(first, 0), size * layer.batch)
    ends = sum(size for i, size in read.items() if i in graph.inputs or graph.tensors[i].is_constant)
    outputs = {roots[i] for i in graph.outputs if i in roots} & written
    return weights + ends + sum(graph.tensors[i].nbytes for i in outputs)
