"""States of a network that is being made: where the operators stand that write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from memaopt.networks.graph import Tensor
from memaopt.networks.operators import Operator, Slice, StridedSlice


def with_writers(
    tensors: list[Tensor], operators: Sequence[Operator], writers: Mapping[int, Operator]
) -> list[Operator]:
    """The operators, with the writer of each state by the tensor that is read of it: behind all that reads the state or
    an alias of it, other writers included, and behind what the writer reads.

    Where states are written from each other in a circle, one is copied first, into a new tensor of ``tensors``.
    """
    made, pending, state = list(operators), dict(writers), {read: read for read in writers}
    for op in operators:
        if op.alias and op.input in state:
            state[op.output] = state[op.input]
    while pending:
        awaited = {state.get(t) for read, writer in pending.items() for t in writer.inputs if state.get(t) != read}
        free = next((read for read in pending if read not in awaited), None)
        if free is None:
            read, writer = next(iter(pending.items()))
            copy = copied(tensors, writer.input, f"{tensors[writer.input].name}/before", writer.location)
            made.append(copy)
            pending[read] = writer.model_copy(update={"inputs": (copy.output,)})
            continue
        writer, last = pending.pop(free), 0
        for position, op in enumerate(made, start=1):
            if op.output in writer.inputs or any(state.get(t) == free for t in op.inputs):
                last = position
        made.insert(last, writer)
    return made


def copied(tensors: list[Tensor], source: int, name: str, location: int = 0) -> StridedSlice:
    """A copy of a tensor into a new one, which is appended to ``tensors``."""
    tensors.append(dataclasses.replace(tensors[source], name=name, data=None))
    slices = tuple(Slice(0, 1, size) for size in tensors[source].shape)
    return StridedSlice(inputs=(source,), outputs=(len(tensors) - 1,), slices=slices, location=location)
