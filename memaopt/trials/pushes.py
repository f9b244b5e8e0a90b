"""A network that keeps a state, pushed on and on: what each push has to give, and gives on the virtual board."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit.states import initial_states
from memaopt.networks import reference
from memaopt.trials.places import RUBBISH, bases_of, differing, kept_symbol

if TYPE_CHECKING:
    from memaopt.board import Board

_Array = npt.NDArray[Any]


def with_states(plan: NetworkPlan, inputs: Iterable[Sequence[_Array]]) -> Iterator[list[_Array]]:
    """Each push's inputs with what the pushes before it left in the states; as they are where nothing is kept."""
    if not plan.source.states:
        yield from (list(values) for values in inputs)
        return
    first, *others = inputs
    pushes = reference.runs(plan.source, [first, *others], initial_states(plan, first))
    yield from (given for given, _ in pushes)


def expected(plan: NetworkPlan, inputs: Sequence[Sequence[_Array]]) -> Iterator[list[_Array]]:
    """The outputs of each push: where a window slides, those of the network as it was read, on the whole window."""
    if plan.push is None:
        kept = initial_states(plan, inputs[0])
        yield from (found[: len(plan.source.wanted)] for _, found in reference.runs(plan.source, inputs, kept))
        return
    whole = plan.push.whole if plan.model is None else plan.model.graph
    for window in plan.push.windows(frames for (frames,) in inputs):
        yield reference.run(whole, [np.ascontiguousarray(window)])


def wrong_bytes(
    plan: NetworkPlan,
    board: Board,
    inputs: Sequence[Sequence[_Array]],
    progress: Callable[[int, int], None] | None,
) -> int:
    """The wrong bytes of one push after another from a reset on, with nothing put right between them."""
    bases, wrong = bases_of(plan, board), 0
    board.write(bases.state, RUBBISH * plan.state_bytes)
    board.call(f"{plan.name}_reset", bases.state)
    at = [bases.of(plan, t) for t in plan.graph.wanted]
    for number, (values, outputs) in enumerate(zip(inputs, expected(plan, inputs), strict=True)):
        board.write(bases.arena, RUBBISH * plan.arena_bytes)
        given = [bases.of(plan, t) for t in plan.graph.given]
        if number == 0 and plan.push is not None and plan.push.fill == "first":
            given = [board.symbols[kept_symbol(plan) + "_first"]]
        for address, value in zip(given, values, strict=True):
            board.write(address, np.ascontiguousarray(value).tobytes())
        passed = given if number == 0 else [0] * len(given)
        run = board.call(f"{plan.name}_push", bases.state, *passed, *[0] * len(at))
        wrong += int(run.r0 != 0) + sum(
            differing(board, address, value) for address, value in zip(at, outputs, strict=True)
        )
        if progress is not None:
            progress(number + 1, len(inputs))
    return wrong
