"""Replays a network on a memory plan, byte by byte, knowing nothing of how the plan was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from memaopt.errors import FalseClaimError
from memaopt.memory.liveness import InPlace, Leads, no_leads
from memaopt.networks.graph import Graph

if TYPE_CHECKING:  # a plan asks for the replay of itself
    from memaopt.memory.plan import MemoryPlan

_NOBODY, _SCRATCH = -1, -2


def replay(
    plan: MemoryPlan,
    graph: Graph,
    scratch: Mapping[int, int],
    in_place: InPlace,
    external: frozenset[int],
    leads: Leads = no_leads,
) -> None:
    """Raise FalseClaimError unless every operator finds its inputs intact and its output fits.

    An output may lie on an input that it overwrites in place, or that it starts far enough before (``leads``).

    Each byte of the arena remembers whose value it holds; those between two edges of buffers hold the same, so that an
    arena costs no more than its buffers, whatever is said of its size. An alias has its source's value, so they share a
    label.
    """
    ranges = _ranges(plan, graph, scratch, external)
    work = {s.operator: (s.offset, s.offset + s.size) for s in plan.scratch}
    edges = sorted({edge for taken in (*ranges.values(), *work.values()) for edge in taken})
    number = {edge: i for i, edge in enumerate(edges)}
    owner = np.full(len(edges), _NOBODY, np.int64)
    label: dict[int, int] = {}

    def within(taken: tuple[int, int]) -> slice:
        return slice(number[taken[0]], number[taken[1]])

    def intact(tensor: int) -> bool:
        return bool((owner[within(ranges[tensor])] == label[tensor]).all())

    for tensor in graph.inputs:
        if tensor in ranges:
            label[tensor] = tensor
            owner[within(ranges[tensor])] = tensor
    if not all(intact(tensor) for tensor in graph.inputs if tensor in ranges):
        raise FalseClaimError("the memory plan puts two inputs of the network into the same bytes")
    for position in plan.order:
        op = graph.operators[position]
        where = graph.place(op)
        inputs = [tensor for tensor in dict.fromkeys(op.inputs) if tensor in ranges]
        for tensor in inputs:
            if not intact(tensor):
                name = graph.tensors[tensor].name
                raise FalseClaimError(f"the memory plan lets {name!r} be overwritten before {where}")
        if position in work:
            if any(_overlap(work[position], ranges[tensor]) for tensor in [*inputs, op.output] if tensor in ranges):
                raise FalseClaimError(f"the memory plan lets the scratch of {where} meet its inputs or output")
            owner[within(work[position])] = _SCRATCH
        if op.output not in ranges:
            continue
        target = ranges[op.output]
        if op.alias and op.input in ranges and ranges[op.input][0] == target[0]:
            label[op.output] = label[op.input]
            continue
        allowed = {op.inputs[i] for i in in_place(graph, op)}
        lead = leads(graph, op)
        for tensor in inputs:
            distance = ranges[tensor][0] - target[0]
            shared = tensor in allowed and distance == 0
            if lead is not None and op.inputs.count(tensor) == 1 and tensor == op.inputs[0]:
                shared = shared or (distance >= lead.bytes and distance % lead.step == 0)
            if _overlap(ranges[tensor], target) and not shared:
                name = graph.tensors[tensor].name
                raise FalseClaimError(f"the memory plan lets {where} write over its input {name!r}")
        label[op.output] = op.output
        owner[within(target)] = op.output
    for tensor in graph.outputs:
        if tensor in ranges and not intact(tensor):
            raise FalseClaimError(f"the memory plan lets the output {graph.tensors[tensor].name!r} be overwritten")


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _ranges(
    plan: MemoryPlan, graph: Graph, scratch: Mapping[int, int], external: frozenset[int]
) -> dict[int, tuple[int, int]]:
    """The bytes of each tensor, after checking order, sizes, alignment and completeness."""
    if plan.alignment < 1 or plan.alignment & (plan.alignment - 1):
        raise FalseClaimError(f"the memory plan is aligned to {plan.alignment}, which is not a power of two")
    if sorted(plan.order) != list(range(len(graph.operators))):
        raise FalseClaimError("the memory plan's order is not a permutation of the operators")
    written, ran = {*graph.inputs}, set[int]()
    for position in plan.order:
        op = graph.operators[position]
        if any(reader not in ran for reader in graph.after.get(position, ())):
            raise FalseClaimError(f"the memory plan lets {graph.place(op)} write a state before all have read it")
        ran.add(position)
        if any(tensor in graph.producers and tensor not in written for tensor in op.inputs):
            raise FalseClaimError(f"the memory plan runs {graph.place(op)} before its inputs are there")
        written.update(op.outputs)
    ranges: dict[int, tuple[int, int]] = {}
    for buffer in plan.buffers:
        _check_range(plan, f"the buffer of tensors {list(buffer.tensors)}", buffer.offset, buffer.size)
        for tensor in buffer.tensors:
            if tensor in ranges:
                raise FalseClaimError(f"the memory plan has tensor {tensor} twice")
            if tensor not in graph.activations or graph.tensors[tensor].nbytes > buffer.size:
                raise FalseClaimError(f"the memory plan has {buffer.size} bytes for tensor {tensor}, which do not do")
            ranges[tensor] = (buffer.offset, buffer.offset + graph.tensors[tensor].nbytes)
    outside = {*external, *graph.outside, *graph.nowhere}
    for op in graph.operators:
        if op.alias and op.input in outside:
            outside.add(op.output)
    missing = [t for t in graph.activations if t not in ranges and t not in outside]
    if missing:
        raise FalseClaimError(f"the memory plan has no bytes for tensor {graph.tensors[missing[0]].name!r}")
    sizes = {s.operator: s.size for s in plan.scratch}
    if len(sizes) != len(plan.scratch):
        raise FalseClaimError("the memory plan has scratch of one operator twice")
    for position, size in scratch.items():
        if sizes.get(position, 0) < size:
            given = sizes.get(position, 0)
            raise FalseClaimError(f"the memory plan has {given} bytes of scratch for operator {position}, not {size}")
    for s in plan.scratch:
        _check_range(plan, f"the scratch of operator {s.operator}", s.offset, s.size)
    return ranges


def _check_range(plan: MemoryPlan, what: str, offset: int, size: int) -> None:
    if offset < 0 or offset + size > plan.arena_bytes or offset % plan.alignment:
        raise FalseClaimError(
            f"the memory plan puts {what} at bytes {offset} to {offset + size} of {plan.arena_bytes}, "
            f"aligned to {plan.alignment}"
        )
