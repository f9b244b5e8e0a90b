"""What a library keeps from run to run, in its caller's memory: what resetting it takes, and what it holds then."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import NetworkPlan
from memaopt.kernels.text.c import Array
from memaopt.networks import reference


@dataclass(frozen=True)
class KeptState:
    """What resetting a state takes: its offset, and the bytes that it holds again and again, as C has them."""

    offset: int
    bytes: int
    symbol: str
    array: str
    period: int
    value: int


def kept_states(plan: NetworkPlan) -> list[KeptState]:
    """The states as they are before the first run. Equal bytes need no array, equal rows one row."""
    made = []
    for number, (state, offset) in enumerate(zip(plan.graph.states, plan.states.offsets, strict=True)):
        data = np.frombuffer(np.ascontiguousarray(state.initial).tobytes(), np.int8)
        period = _period(data, state.initial.shape, state.initial.itemsize)
        symbol = f"{plan.name}_reset_{number}"
        array = (
            "" if period == 1 else Array("int8_t", symbol, data[:period], "what a state holds at first").definition()
        )
        for copy in range(state.copies):
            at = offset + copy * plan.states.apart.get(state.copies, 0)
            made.append(KeptState(at, len(data), symbol, "" if copy else array, period, int(data[0])))
    return made


def _period(data: npt.NDArray[np.int8], shape: tuple[int, ...], itemsize: int) -> int:
    """The least number of bytes, one or those of some axes, that all of it repeats."""
    if (data == data[0]).all():
        return 1
    sizes = [itemsize * int(np.prod(shape[axis:], dtype=np.int64)) for axis in range(len(shape), -1, -1)]
    return next(size for size in sizes if (data.reshape(-1, size) == data[:size]).all())


def reset_words(plan: NetworkPlan) -> str:
    """What a reset leaves, for the header's comment."""
    if plan.push is None:
        return ": the network's own initial values"
    if plan.push.fill == "first":
        return ": the first frame then fills the window"
    return ": the window is full of the input's zero point"


def initial_states(plan: NetworkPlan, values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """What the states hold after a reset when the first inputs come: a first frame may fill the window."""
    push = plan.push
    if push is None or push.fill == "zero":
        return [state.initial for state in plan.source.states]
    frames = values[0].reshape(push.hop, -1)
    same = np.repeat(frames[:1], push.hop, axis=0).reshape(values[0].shape)
    *_, (given, _) = reference.runs(plan.source, itertools.repeat([same], push.warming + 1))
    return given[1:]  # in a window of one frame no copy differs from another
