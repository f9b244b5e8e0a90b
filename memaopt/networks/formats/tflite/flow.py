"""Control flow that is known before a network runs: WHILE of so many turns written out, IF as the branch it takes.

Of an IF whose condition is computed both branches run, and SELECT_V2 takes what is asked for: branches have no effect
but their outputs. Operators of the other subgraphs then stand in the first one, each with tensors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.registry import OPERATORS

Indices = tuple[int, ...]
FLOW = {
    "IF": Options("IfOptions", 92, (Field("thenSubgraphIndex", 4), Field("elseSubgraphIndex", 4))),
    "WHILE": Options("WhileOptions", 93, (Field("condSubgraphIndex", 4), Field("bodySubgraphIndex", 4))),
}
"""The operators that run other subgraphs, and the options that say which two."""
MADE = -1
"""The section of an operator that no subgraph has."""
_DEEPEST = 8
_MOST_CALLS = 4 * limits.MAX_OPERATORS  # turns of a body without operators are bounded by nothing else
_CHOOSES = "SELECT_V2"


class FlowStep(NamedTuple):
    """An operator: its subgraph and its place there, its kind and its tensors."""

    section: int
    position: int
    kind: str
    inputs: Indices
    outputs: Indices
    intermediates: Indices = ()


class Section(NamedTuple):
    """A subgraph. ``branches`` are the two that an operator at a place runs."""

    inputs: Indices
    outputs: Indices
    steps: tuple[FlowStep, ...]
    branches: dict[int, tuple[int, int]]


class Flat(NamedTuple):
    """A network without control flow: for each tensor the subgraph that describes it and its index there; the operators
    in their order; the outputs; and the subgraphs that took part."""

    tensors: tuple[tuple[int, int], ...]
    steps: tuple[FlowStep, ...]
    outputs: Indices
    sections: frozenset[int]


class File(NamedTuple):
    """How the file is asked: for a subgraph by its number, for a constant's elements (None for a tensor that is
    computed, or not of integers), whether a tensor is a constant, and of floats, and how many rows it has."""

    section: Callable[[int], Section]
    integers: Callable[[int, int], npt.NDArray[Any] | None]
    is_constant: Callable[[int, int], bool]
    is_float: Callable[[int, int], bool]
    rows: Callable[[int, int], int]


def flatten(file: File, main: int, count: int) -> Flat:
    """The subgraph ``main``, which has so many tensors, with what it runs of others in their place.

    UnsupportedModelError for loops whose number of turns is computed, or that are too long.
    """
    flow = _Flow(file, main, count)
    outputs = flow.run(main, {index: index for index in range(count)}, 0)
    return Flat(
        steps=tuple(flow.settled(outputs)),
        tensors=tuple(flow.tensors),
        outputs=outputs,
        sections=frozenset(flow.sections),
    )


def _computed(kind: str, values: list[npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """What an operator makes of integers that are known; None for one that is not known here."""
    if kind == "RESHAPE":
        return values[0]
    if kind == "CONCATENATION":
        return np.concatenate([value.reshape(-1) for value in values])
    of_integers = getattr(OPERATORS.get(kind), "of_integers", None)
    if of_integers is None or len(values) != of_integers.nin:
        return None
    if len({value.size for value in values} - {1}) > 1:
        return None  # their shapes are not known here
    with np.errstate(over="ignore"):
        return np.asarray(of_integers(*values))


class _Flow:
    """The network as it grows. ``known`` are the integers that are known of tensors."""

    def __init__(self, file: File, main: int, count: int) -> None:
        self.file = file
        self.tensors = [(main, index) for index in range(count)]
        self.steps: list[FlowStep] = []
        self.sections = {main}
        self.calls = 0
        self.constants: dict[tuple[int, int], int] = {}
        self.known: dict[int, npt.NDArray[Any]] = {}
        self.slices: dict[int, tuple[int, int, int]] = {}
        """Of a tensor that is a part of another: that, its first row and how many rows it has."""
        self.written: dict[int, dict[int, int]] = {}
        """Of a tensor whose rows are written one by one: the tensors that were written so far."""

    def run(self, number: int, names: dict[int, int], depth: int) -> Indices:
        """Append a subgraph's operators; its outputs. ``names`` are the network's tensors, by the subgraph's own."""
        section = self.file.section(number)
        self.sections.add(number)

        def at(tensors: Indices) -> Indices:
            return tuple(-1 if t < 0 else self._named(names, number, t) for t in tensors)

        for step in section.steps:
            where = f" of subgraph {number}" if depth else ""
            place = f"operator {step.position} of {len(section.steps)} ({step.kind}){where}"
            inputs = at(step.inputs)
            if step.kind not in FLOW:
                self._add(
                    step._replace(inputs=inputs, outputs=at(step.outputs), intermediates=at(step.intermediates)), place
                )
                continue
            if depth == _DEEPEST:
                raise UnsupportedModelError(f"{place}: more than {_DEEPEST} subgraphs run each other")
            branches = section.branches[step.position]
            if step.kind == "WHILE":
                made = self._loop(branches, inputs, place, depth)
            else:
                made = self._choice(branches, inputs, partial(at, step.outputs), place, depth)
            if len(made) != len(step.outputs):
                raise UnsupportedModelError(f"{place}: {len(made)} outputs of its subgraph for {len(step.outputs)}")
            names.update(zip(step.outputs, made, strict=True))
        return at(section.outputs)

    def settled(self, outputs: Indices) -> list[FlowStep]:
        """The operators that lead to ``outputs``; a choice of floats that are then quantised is one of what both are
        quantised to."""
        readers: dict[int, list[FlowStep]] = {}
        for step in self.steps:
            for t in step.inputs:
                readers.setdefault(t, []).append(step)
        chosen = {
            step.outputs[0]: step
            for step in self.steps
            if step.section == MADE and self.file.is_float(*self.tensors[step.outputs[0]])
        }
        late = {
            t
            for t in chosen
            if t not in outputs and {(step.kind, len(step.outputs)) for step in readers.get(t, ())} == {("QUANTIZE", 1)}
        }
        found: list[FlowStep] = []
        for step in self.steps:
            if step.inputs and step.inputs[0] in late:
                choice = chosen[step.inputs[0]]
                each = [(t, self._new(*self.tensors[step.outputs[0]])) for t in choice.inputs[1:]]
                found += [step._replace(inputs=(t,), outputs=(made,)) for t, made in each]
                step = choice._replace(inputs=(choice.inputs[0], *(made for _, made in each)), outputs=step.outputs)
            if step.section != MADE or step.outputs[0] not in late:
                found.append(step)
        return self._read(found, outputs)

    def _read(self, steps: list[FlowStep], outputs: Indices) -> list[FlowStep]:
        """The operators without rows that were written into what is not whole, and nobody reads."""
        left = {"CONCATENATION", "SLICE"} if self.written else set()
        found, read = [], set(outputs)
        for step in reversed(steps):
            if step.kind not in left or not read.isdisjoint(step.outputs):
                found.append(step)
                read.update(step.inputs)
        return found[::-1]

    def _called(self, number: int, given: Indices, place: str, depth: int) -> Indices:
        """A subgraph's outputs for these inputs."""
        inputs = self.file.section(number).inputs
        self.calls += 1
        if self.calls > _MOST_CALLS:
            raise UnsupportedModelError(f"{place}: written out, subgraphs run more than {_MOST_CALLS:,} times")
        if len(inputs) != len(given):
            raise UnsupportedModelError(f"{place}: {len(given)} inputs for a subgraph of {len(inputs)}")
        return self.run(number, dict(zip(inputs, given, strict=True)), depth + 1)

    def _loop(self, branches: tuple[int, int], given: Indices, place: str, depth: int) -> Indices:
        condition, body = branches
        while True:
            before = len(self.steps)
            asked = self._called(condition, given, place, depth)
            value = self._value(asked[0]) if len(asked) == 1 else None
            if value is None or value.size != 1:
                raise UnsupportedModelError(
                    f"{place}: whether it goes on is computed; a loop whose number of turns is known is supported"
                )
            del self.steps[before:]
            if not value.reshape(-1)[0]:
                return given
            given = self._called(body, given, place, depth)

    def _choice(
        self, branches: tuple[int, int], given: Indices, outputs: Callable[[], Indices], place: str, depth: int
    ) -> Indices:
        value = self._value(given[0]) if given else None
        if value is not None and value.size == 1:
            return self._called(branches[0 if value.reshape(-1)[0] else 1], given[1:], place, depth)
        first, second = (self._called(branch, given[1:], place, depth) for branch in branches)
        made = outputs()
        for a, b, out in zip(first, second, made, strict=False):
            self._add(FlowStep(MADE, 0, _CHOOSES, (given[0], a, b), (out,)), place)
        return made if len(first) == len(second) else ()

    def _add(self, step: FlowStep, place: str) -> None:
        self.steps.append(step)
        if len(self.steps) > limits.MAX_OPERATORS:
            raise UnsupportedModelError(
                f"{place}: written out, the network has more than {limits.MAX_OPERATORS:,} operators"
            )
        values = [self._value(t) for t in step.inputs]
        if not step.outputs:
            return
        if values and not any(value is None for value in values):
            found = _computed(step.kind, [value for value in values if value is not None])
            if found is not None:
                self.known[step.outputs[0]] = found
        if step.kind == "SLICE" and len(values) == 3 and values[1] is not None:
            first, size = int(values[1].reshape(-1)[0]), values[2]
            count = -1 if size is None else int(size.reshape(-1)[0])
            self.slices[step.outputs[0]] = (step.inputs[0], first, count)
        if step.kind == "CONCATENATION" and len(step.inputs) == 3:
            self._row(step)

    def _row(self, step: FlowStep) -> None:
        """Rows before one, the one, and those behind it are a tensor with that row written; where all rows are, a
        concatenation of them is the same."""
        before, row, behind = step.inputs
        whole, first, count = self.slices.get(before, (-1, -1, -1))
        other, start, _ = self.slices.get(behind, (-2, -1, -1))
        if whole != other or first != 0 or count < 0 or start != count + 1:
            return
        rows = {**self.written.get(whole, {}), count: row}
        self.written[step.outputs[0]] = rows
        if len(rows) == self.file.rows(*self.tensors[whole]):
            self.steps[-1] = step._replace(inputs=tuple(rows[i] for i in sorted(rows)))

    def _named(self, names: dict[int, int], section: int, tensor: int) -> int:
        """The network's tensor for a subgraph's, a new one where it is met first; constants are there once."""
        if tensor not in names:
            key = (section, tensor)
            if self.file.is_constant(*key):
                if key not in self.constants:
                    self.constants[key] = self._new(*key)
                names[tensor] = self.constants[key]
            else:
                names[tensor] = self._new(*key)
        return names[tensor]

    def _new(self, section: int, tensor: int) -> int:
        self.tensors.append((section, tensor))
        return len(self.tensors) - 1

    def _value(self, tensor: int) -> npt.NDArray[Any] | None:
        if tensor < 0:
            return None
        return self.known[tensor] if tensor in self.known else self.file.integers(*self.tensors[tensor])
