"""Reads the bytes of a ``.tflite`` file into a :class:`~memaopt.networks.graph.Graph`.

Three gates: the bytes are verified structurally (flatbuffer.py), the tables become tensors and operators (which read
themselves from a Source), and the graph is checked for what memaopt supports (checks.py). A file that is not valid
ends at the first fault; what is not supported is collected, all of it. Time and memory are bounded by the limits in
limits.py.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy.typing as npt

from memaopt.errors import InputError, MemaoptError, UnsupportedModelError
from memaopt.networks import checks, limits
from memaopt.networks.formats.tflite import flatbuffer, unsigned, variables, wrapped
from memaopt.networks.formats.tflite.enumerations import BUILTIN_OPERATORS, name_of
from memaopt.networks.formats.tflite.flow import FLOW, FlowStep
from memaopt.networks.formats.tflite.placed import Network, PlacedOperator, network_of, step_of
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.formats.tflite.schema import IDENTIFIER, MODEL, VERSION
from memaopt.networks.formats.tflite.tensors import TensorReader
from memaopt.networks.formats.tflite.values import indices, line, options_of
from memaopt.networks.graph import DType, Graph, State, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.custom import Custom, with_outputs
from memaopt.networks.operators.folded import held
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.registry import (
    CUSTOM,
    FOLDED,
    KEEPING,
    KEPT,
    NOWHERE,
    OPERATORS,
    PARTED,
    READ,
    SEVERAL,
    SIXTEEN,
)
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.source import Source
from memaopt.networks.reading import PLAIN, Reading, Unread, Wanted
from memaopt.networks.refusals import Refusal, collected, way_for
from memaopt.networks.together import kept_together
from memaopt.printable import counted
from memaopt.spelling import option

_ETHOS_U = "ethos-u"
_UNUSED = Tensor("(unused)", (1,), DType.INT8)


def parse(data: bytes, name: str = "network") -> Graph:
    """The network in the bytes of a ``.tflite`` file; ``name`` is for messages and becomes the graph's name.

    Raises InputError if the bytes are not a valid file, UnsupportedModelError for all that memaopt does not support.
    """
    return examine(data, name).whole()


def examine(data: bytes, name: str = "network", asked: Wanted = PLAIN) -> Reading:
    """What the bytes of a ``.tflite`` file hold, supported or not; InputError if they are not a valid file, or have not
    what is asked of them."""
    if len(data) > limits.MAX_FILE_BYTES:
        raise InputError(f"{name} has {len(data):,} bytes; at most {limits.MAX_FILE_BYTES:,} are supported")
    flatbuffer.verify(data, MODEL, IDENTIFIER, name)
    try:
        return _Reader(data, name, asked).reading()
    except MemaoptError:
        raise
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        # The verifier should make this impossible; a file that slips through still gets one clear line.
        raise InputError(f"{name} is not a valid .tflite file: {type(error).__name__}: {error}") from error


class _Reader:
    """One file, as it is read."""

    def __init__(self, data: bytes, name: str, asked: Wanted) -> None:
        self.name = name
        self.asked = asked.subgraph
        self.customs = {f"CUSTOM {code.name}": code for code in asked.customs}
        self.model = Record.root(data, MODEL)
        self.codes = self.model.records("operator_codes")
        self.tensors = TensorReader(name, self.model.records("buffers"))
        self.variables = variables.Variables()
        self.remembered: list[State] = []
        """The states of operators that keep a tensor of their own."""
        self.run: frozenset[int] = frozenset()
        """The subgraphs that are the network: the main one, and those that it runs."""
        self.once: set[int] = set()
        """The subgraphs that CALL_ONCE runs."""

    def reading(self) -> Reading:
        """The main subgraph's operators as far as they can be read, checked."""
        version = self.model.number("version")
        if version != VERSION:
            raise UnsupportedModelError(f"{self.name} has schema version {version}; {VERSION} is supported")
        subgraphs = self.model.records("subgraphs")
        if not subgraphs:
            raise UnsupportedModelError(
                f"{self.name} has 0 subgraphs; one, and those that CALL_ONCE runs, are supported"
            )
        refusals: list[Refusal] = []
        self.main = self._main(subgraphs)
        network = self._network(subgraphs, refusals)
        placed, records, self.run = network.operators, network.tensors, network.sections
        inputs, outputs = indices(subgraphs[self.main], "inputs"), network.outputs
        total = len(placed)
        kinds = [each.step.kind for each in placed]
        self._demand_customs(kinds)
        used = {*inputs, *outputs}
        for step in (each.step for each in placed):
            used.update(step.inputs, step.outputs, step.intermediates)
        tensors = []
        for i, record in enumerate(records):
            tensors.append(self.tensors.read(record, i) if i in used else _UNUSED)
            if self.tensors.constant_bytes > limits.MAX_CONSTANT_BYTES:
                raise UnsupportedModelError(
                    f"the constants take more than {limits.MAX_CONSTANT_BYTES:,} bytes, the most that is supported"
                )
        nodes = [
            unsigned.Node(step.kind, step.inputs, step.outputs)
            for step in (each.step for each in placed)
            if step.kind not in self.customs
        ]
        flipped = unsigned.flip(tensors, nodes)
        operators: list[Operator] = []
        unread: list[Unread] = []
        for i, (kind, each) in enumerate(zip(kinds, placed, strict=True)):
            before = len(refusals)
            if kind in FLOW:  # of which there is a refusal
                unread.append(Unread(i, kind, each.step.inputs, each.step.outputs))
                continue
            refusals += self._unusable(each.step, i, total)
            with collected(refusals, i):
                if len(refusals) == before and kind in KEPT:
                    operators += self._kept(each, i, total, tensors)
                elif len(refusals) == before:
                    for op in self._operator(each, i, total, tensors):
                        old = flipped.intersection((*op.inputs, *op.outputs))
                        place = f"operator {i} of {total} ({kind})"
                        operators += unsigned.computed(op, kind, place, tensors) if old else [op]
            if len(refusals) > before:
                unread.append(Unread(i, kind, each.step.inputs, each.step.outputs))
        states: tuple[State, ...] = ()
        if not refusals:
            with collected(refusals):
                operators, states = self.variables.states(operators, tensors, outputs)
                states += tuple(self.remembered)
        operators = wrapped.from_the_end(operators, tensors, outputs)
        operators, inputs, outputs = unsigned.with_ends(operators, inputs, outputs, flipped, tensors)
        touched = {t for op in operators for t in (*op.inputs, *op.outputs)}
        touched |= {t for op in unread for t in (*op.inputs, *op.outputs)}
        refusals += [r for t in (*inputs, *outputs) if t not in touched for r in self.tensors.refusals.get(t, ())]
        for end in (tensors[t] for t in outputs if t >= 0 and tensors[t].is_constant):
            refusals.append(Refusal(f"output {end.name!r} is a constant, whatever the inputs are"))
        given, wanted = inputs, outputs
        if refusals:
            wanted = tuple(t for t in outputs if t >= 0 and not tensors[t].is_constant)
            written = {t for op in operators for t in op.outputs}
            needed = {t for op in operators for t in op.inputs} | {*inputs, *outputs}
            given = tuple(sorted(t for t in needed - written if t >= 0 and not tensors[t].is_constant))
            wanted = wanted or given[:1]
        else:
            given = (*inputs, *(state.read for state in states))
            wanted = (*outputs, *(state.written for state in states))
        graph = kept_together(
            Graph(self.name, tuple(tensors), tuple(operators), given, wanted, () if refusals else states)
        )
        refusals += checks.refusals(graph, (*inputs, *outputs) if not refusals else ())
        return Reading(graph, inputs, outputs, tuple(unread), tuple(refusals), self._notes(len(subgraphs)))

    def _network(self, subgraphs: Sequence[Record], refusals: list[Refusal]) -> Network:
        """The network with its loops written out, or as it is where they cannot be."""
        read = partial(network_of, subgraphs, self.main, self.tensors.buffers, self._kind, self.name)
        with collected(refusals):
            return read()
        return read(as_is=True)

    def _demand_customs(self, kinds: Sequence[str]) -> None:
        """InputError for C of an operator that there is none of."""
        for kind, code in self.customs.items():
            if kind not in kinds:
                there = sorted({k.removeprefix("CUSTOM ") for k in kinds if k.startswith("CUSTOM ")})
                others = f"its custom operators are {', '.join(there)}" if there else "it has no custom operator"
                raise InputError(f"{option('custom', [code.name])}: {self.name} has no operator of that name; {others}")

    def _notes(self, subgraphs: int) -> tuple[str, ...]:
        """What of the file is left out: subgraphs that nothing in the first one runs, or nothing that was read."""
        others = subgraphs - len(self.run | self.once)
        if not others:
            return ()
        which = self.asked or "the first"
        return (f"of {subgraphs} subgraphs {others} {'is' if others == 1 else 'are'} not read: {which} is the network",)

    def _main(self, subgraphs: Sequence[Record]) -> int:
        """Which subgraph is the network; InputError for one that there is not."""
        asked, count = self.asked, len(subgraphs)
        if not asked:
            return 0
        named = {line(each.text("name")): number for number, each in enumerate(subgraphs)}
        for each in self.model.records("signature_defs"):
            named[line(each.text("signature_key"))] = int(each.number("subgraph_index"))
        found = named.get(asked, int(asked) if re.fullmatch(r"\d{1,6}", asked) else count)
        if found >= count:
            there = ", ".join(f"{name} ({number})" for name, number in named.items() if name)
            given, there_are = option("subgraph", asked), counted(count, "subgraph")
            raise InputError(f"{given}: {self.name} has {there_are}: {there or 'unnamed'}")
        return found

    def _unusable(self, step: FlowStep, location: int, total: int) -> list[Refusal]:
        """What stands in the way of an operator before its attributes are looked at: its kind, or its tensors."""
        kind = step.kind
        if kind == f"CUSTOM {_ETHOS_U}":
            compiled = "was compiled for an Ethos-U by Vela; hand in the file from before that"
            return [Refusal(f"operator {location} of {total} {compiled}", location)]
        if kind not in READ and kind not in self.customs:
            subject = f"operator {kind}"
            what = f"operator {location} of {total} is {kind}, which is not supported"
            why = NOWHERE.get(kind) or f"supported are {', '.join(sorted(READ))}"
            return [Refusal(f"{what}{way_for(subject) or f'; {why}'}", location, subject)]
        if kind in KEPT:
            return []  # of what a handle is nothing is known, or needed
        tensors = dict.fromkeys((*step.inputs, *step.outputs))
        takes = kind in KEEPING or (kind in OPERATORS and OPERATORS[kind].keeps_state)
        kept = () if takes else self.tensors.kept.intersection(tensors)
        what = f"operator {location} of {total} ({kind}) has a state that it keeps, which is not supported"
        return [
            *(r._replace(location=location) for t in tensors for r in self.tensors.refusals.get(t, ())),
            *(Refusal(what, location, f"state of {kind}") for _ in kept),
        ]

    def _kind(self, accessor: Record, location: int, total: int) -> str:
        """The operator's TFLite name."""
        index = accessor.number("opcode_index")
        if index >= len(self.codes):
            raise InputError(
                f"{self.name} is not a valid .tflite file: operator {location} of {total} has code {index} of "
                f"{len(self.codes)}"
            )
        code = self.codes[index]
        value = max(code.number("builtin_code"), code.number("deprecated_builtin_code"))
        kind = name_of(BUILTIN_OPERATORS, value, "code")
        if kind != "CUSTOM":
            return kind
        name = line(code.text("custom_code"))
        own = f"CUSTOM {name}"
        return own if own in self.customs else CUSTOM.get(name, own)

    def _operator(self, placed: PlacedOperator, location: int, total: int, tensors: list[Tensor]) -> list[Operator]:
        """The operators that compute it; none where what it writes is known, which its tensor then holds."""
        kind = placed.step.kind
        source = self._source(placed, location, f"operator {location} of {total} ({kind})", tensors)
        outputs = source.outputs
        if kind in self.customs:
            if not outputs:
                raise source.refuse("it has no output")
            custom = Custom(**source.common(source.inputs), code=self.customs[kind], options_data=source.custom)
            return with_outputs(custom, outputs, tensors)
        if kind in SEVERAL:
            return SEVERAL[kind].parts(source)
        if kind in KEEPING:
            remembered = KEEPING[kind].parts(source)
            self.remembered += remembered.states
            return remembered.operators
        if kind in PARTED:
            parts = PARTED[kind].parts(source)
            return [op for op in parts if not self._known(source, op.output, op.of_known(tensors))]
        value = FOLDED[kind].value(source) if kind in FOLDED else OPERATORS[kind].known(source)
        if value is not None and self._known(source, outputs[0], value):
            return []
        first = source.inputs[0] if source.inputs else -1
        ends = (first, *outputs) if kind == "QUANTIZE" else (first,)
        sixteen = any(t >= 0 and tensors[t].dtype is DType.INT16 for t in ends)
        regroups = OPERATORS[kind]
        if issubclass(regroups, Reshape) and outputs and self.tensors.open[outputs[0]]:
            self.tensors.settle(outputs[0], regroups.sizes(source), tensors)
        op = (SIXTEEN.get(kind, OPERATORS[kind]) if sixteen else OPERATORS[kind]).read_as(source).read(source)
        if not isinstance(op, Reshape):
            self.tensors.settle(op.output, self._natural(op, tensors), tensors)
        return [op]

    def _source(self, placed: PlacedOperator, location: int, place: str, tensors: list[Tensor]) -> Source:
        """An operator as it reads itself."""
        step, record = placed
        kind, outputs = step.kind, step.outputs
        if any(index < 0 for index in outputs):
            raise UnsupportedModelError(f"{place}: an output is missing")
        options = None if kind in self.customs or record is None else READ[kind].options
        return Source(
            kind=kind,
            location=location,
            place=place,
            inputs=step.inputs,
            outputs=outputs,
            tensors=tensors,
            intermediates=step.intermediates,
            values=lambda: options_of(record, place, options) if record is not None and options is not None else None,
            custom=placed.custom_options,
        )

    def _kept(self, placed: PlacedOperator, location: int, total: int, tensors: list[Tensor]) -> list[Operator]:
        """What an operator about variables takes in the network; CALL_ONCE runs its subgraph here and now."""
        kind = placed.step.kind
        source = self._source(placed, location, f"operator {location} of {total} ({kind})", tensors)
        if kind != "CALL_ONCE":
            return self.variables.apply(source)
        number, subgraphs = source.required("CallOnceOptions")["initSubgraphIndex"], self.model.records("subgraphs")
        if not 0 <= number < len(subgraphs) or number == self.main:
            raise source.refuse(f"it runs subgraph {number} of {len(subgraphs)}")
        self.once.add(number)
        self.variables.initial.update(variables.assigned(self._sources(subgraphs[number], number)))
        return []

    def _sources(self, subgraph: Record, number: int) -> list[Source]:
        """The operators of a subgraph that runs once."""
        reader = TensorReader(self.name, self.tensors.buffers)
        tensors = [reader.read(record, i) for i, record in enumerate(subgraph.records("tensors"))]
        self.tensors.constant_bytes += reader.constant_bytes
        accessors, sources = subgraph.records("operators"), []
        for i, accessor in enumerate(accessors):
            kind = self._kind(accessor, i, len(accessors))
            place = f"operator {i} of {len(accessors)} ({kind}) of subgraph {number}"
            step = step_of(accessor, number, i, kind)
            if any(not -1 <= t < len(tensors) for t in (*step.inputs, *step.outputs)):
                raise InputError(f"{self.name} is not a valid .tflite file: {place} uses a tensor that there is not")
            if kind not in READ:
                raise UnsupportedModelError(f"{place} is not supported")
            sources.append(self._source(PlacedOperator(step, accessor), i, place, tensors))
        return sources

    def _natural(self, op: Operator, tensors: list[Tensor]) -> Shape:
        """An output's shape by the operator's inputs, if the file leaves some of it open."""
        if not self.tensors.open[op.output]:
            return ()
        data = tuple(i for i in dict.fromkeys(op.inputs) if not tensors[i].is_constant) or (len(tensors),)
        return op.output_shape(Graph(self.name, (*tensors, _UNUSED), (op,), data, op.outputs))

    def _known(self, source: Source, index: int, value: npt.NDArray[Any] | None) -> bool:
        """Whether a value is known; if so the tensor holds it."""
        if value is None:
            return False
        tensor = source.tensors[index]
        if tensor.is_constant or tensor.dtype is DType.OPAQUE:
            raise source.refuse(f"it writes tensor {tensor.name!r}, which is a constant")
        source.tensors[index] = dataclasses.replace(tensor, data=unsigned.frozen(held(source, tensor, value)))
        self.tensors.constant_bytes += tensor.nbytes
        return True
