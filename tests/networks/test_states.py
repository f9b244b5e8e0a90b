"""The operators that write states stand behind all that reads what was kept."""

from __future__ import annotations

import numpy as np
import pytest

from memaopt.networks import reference
from memaopt.networks.graph import Graph, State
from memaopt.networks.operators import Operator, Reshape
from memaopt.networks.states import copied, with_writers
from memaopt.networks.zoo.builder import Builder


@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize("alias", [False, True])
def test_states_written_from_each_other_are_read_first(circle: bool, alias: bool) -> None:
    """Catches a state that is written before an alias of it is read, or before another state takes its value."""
    b = Builder("states", (1, 4), seed=1)
    operators: list[Operator] = []
    reads = [len(b.tensors), len(b.tensors) + 1]
    b.tensors += [b._like(0, name, (1, 4)) for name in ("first", "second")]
    sources = list(reads)
    if alias:
        for position, read in enumerate(reads):
            sources[position] = len(b.tensors)
            b.tensors.append(b._like(0, f"alias{position}", (1, 4)))
            operators.append(Reshape(inputs=(read,), outputs=(sources[position],)))
    # The first state becomes the second one, or the input; the second one becomes the first.
    taken = (sources[1] if circle else 0, sources[0])
    writers = {read: copied(b.tensors, t, f"next{read}") for read, t in zip(reads, taken, strict=True)}
    operators = with_writers(b.tensors, operators, writers)
    held = [np.full((1, 4), value, np.int8) for value in (1, 2)]
    states = tuple(State(r, writers[r].output, h) for r, h in zip(reads, held, strict=True))
    ends = tuple(state.written for state in states)
    graph = Graph("states", tuple(b.tensors), tuple(operators), (0, *reads), ends, states)
    x = np.full((1, 4), 3, np.int8)
    found = reference.run(graph, [x, *held])
    assert [int(value[0, 0]) for value in found] == [2 if circle else 3, 1]
