"""The operators of a file as they stand in the network, loops written out: their tensors, and their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError
from memaopt.networks.formats.tflite.enumerations import TENSOR_TYPES, name_of
from memaopt.networks.formats.tflite.flow import FLOW, MADE, File, Flat, FlowStep, Section, flatten
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.formats.tflite.values import indices, options_of

_INTEGERS = {"INT32": "<i4", "INT64": "<i8", "BOOL": "?"}


class PlacedOperator(NamedTuple):
    """An operator, and its record in the file; None for one that no file has."""

    step: FlowStep
    record: Record | None

    @property
    def custom_options(self) -> bytes:
        return b"" if self.record is None else bytes(self.record.numbers("custom_options"))


class Network(NamedTuple):
    """The operators in their order; the tensors' records, and for each its subgraph and place there; the outputs; and
    the subgraphs that took part."""

    operators: tuple[PlacedOperator, ...]
    tensors: tuple[Record, ...]
    places: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    sections: frozenset[int]


def step_of(record: Record, section: int, position: int, kind: str) -> FlowStep:
    """An operator with the tensors of its own subgraph."""
    inputs, outputs, inner = (indices(record, name) for name in ("inputs", "outputs", "intermediates"))
    return FlowStep(section, position, kind, inputs, outputs, inner)


def network_of(
    subgraphs: Sequence[Record],
    main: int,
    buffers: Sequence[Record],
    kind_of: Callable[[Record, int, int], str],
    name: str,
    *,
    as_is: bool = False,
) -> Network:
    """The subgraph ``main`` with what it runs of others in its place, unless it is wanted ``as_is``; ``kind_of`` names
    an operator at a place of so many. InputError for a file that uses tensors or subgraphs that there are not,
    UnsupportedModelError for what cannot be written out."""

    @cache
    def tensors(number: int) -> list[Record]:
        return subgraphs[number].records("tensors")

    @cache
    def operators(number: int) -> list[Record]:
        return subgraphs[number].records("operators")

    @cache
    def section(number: int) -> Section:
        if not 0 <= number < len(subgraphs):
            raise InputError(f"{name} is not a valid .tflite file: subgraph {number} of {len(subgraphs)} is used")
        records, branches = operators(number), {}
        steps = [step_of(r, number, i, kind_of(r, i, len(records))) for i, r in enumerate(records)]
        for step, record in zip(steps, records, strict=True):
            if step.kind in FLOW:
                options = options_of(record, f"operator {step.position} ({step.kind})", FLOW[step.kind]) or {}
                first, second = (options.get(field.name, 0) for field in FLOW[step.kind].fields)
                branches[step.position] = (first, second)
        graph = subgraphs[number]
        made = Section(indices(graph, "inputs"), indices(graph, "outputs"), tuple(steps), branches)
        used = {t for step in steps for t in (*step.inputs, *step.outputs, *step.intermediates)}
        for index in used.union(made.inputs, made.outputs):
            if not -1 <= index < len(tensors(number)):
                count = len(tensors(number))
                raise InputError(f"{name} is not a valid .tflite file: tensor {index} of {count} is used")
        return made

    def data(number: int, tensor: int) -> npt.NDArray[Any]:
        at = tensors(number)[tensor].number("buffer")
        return buffers[at].numbers("data") if at < len(buffers) else np.zeros(0, np.uint8)

    def kind(number: int, tensor: int) -> str:
        return name_of(TENSOR_TYPES, tensors(number)[tensor].number("type"), "type")

    def integers(number: int, tensor: int) -> npt.NDArray[Any] | None:
        found, dtype = data(number, tensor), _INTEGERS.get(kind(number, tensor))
        if dtype is None or not len(found) or len(found) % np.dtype(dtype).itemsize:
            return None
        return np.frombuffer(found.tobytes(), dtype)

    first = section(main)
    if not as_is and any(step.kind in FLOW for step in first.steps):
        constant, floats = (lambda s, t: len(data(s, t)) > 0), (lambda s, t: kind(s, t) == "FLOAT32")
        file = File(section, integers, constant, floats, lambda s, t: next(iter(indices(tensors(s)[t], "shape")), 0))
        flat = flatten(file, main, len(tensors(main)))
    else:
        own = tuple((main, index) for index in range(len(tensors(main))))
        flat = Flat(own, first.steps, first.outputs, frozenset((main,)))
    placed = tuple(
        PlacedOperator(step, None if step.section == MADE else operators(step.section)[step.position])
        for step in flat.steps
    )
    records = tuple(tensors(s)[t] for s, t in flat.tensors)
    return Network(placed, records, flat.tensors, flat.outputs, flat.sections)
