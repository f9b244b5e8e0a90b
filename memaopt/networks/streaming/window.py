"""Where the window of a network lies: the axis that slides, and the hop, found where there is no doubt."""

from __future__ import annotations

from typing import Self, cast

from memaopt.errors import InputError
from memaopt.inputs import Strict, any_of
from memaopt.networks.graph import Graph
from memaopt.networks.simplify.simplify import simplify
from memaopt.networks.streaming.push import Push, TimeWindow, push_of
from memaopt.networks.streaming.rows import least_hop
from memaopt.problems.words import AXES, FILLS, Axis, Fill
from memaopt.spelling import option


class Stream(Strict):
    """How a window slides: along which axis of the input, by how many frames a push (None: the least multiple of
    all strides along it), and what it holds before it is full.
    """

    axis: Axis = "auto"
    hop: int | None = None
    fill: Fill = "zero"

    @classmethod
    def asked(cls, axis: str | None, hop: int | None = None, fill: str | None = None) -> Self | None:
        """What somebody asks for in words, None for no stream; InputError for a word that there is not."""
        if axis is None:
            if hop is not None or fill is not None:
                raise InputError(
                    f"{option('hop' if hop is not None else 'fill')} has no effect without {option('stream')}"
                )
            return None
        for what, given, there in (("stream", axis, AXES), ("fill", fill or "zero", FILLS)):
            if given not in there:
                raise InputError(f"{option(what)} {given!r}: there are {', '.join(there)}")
        return cls(axis=cast("Axis", axis), hop=hop, fill=cast("Fill", fill or "zero"))

    @classmethod
    def asked_of_several(cls, text: str | None, hop: int | None = None, fill: str | None = None) -> dict[str, Self]:
        """What somebody asks for of several networks, as in ``wake=rows,door=auto``, by name; those not named do not
        slide. InputError for anything else.
        """
        if text is None:
            cls.asked(None, hop, fill)
            return {}
        found: dict[str, Self] = {}
        for part in text.split(","):
            name, equals, axis = (word.strip() for word in part.partition("="))
            slides = cls.asked(axis, hop, fill) if name and equals else None
            if slides is None or name in found:
                asked = option("stream", text)
                raise InputError(f"{asked}: of several networks say which slide, as in wake=rows,door=auto")
            found[name] = slides
        return found

    def describe(self) -> str:
        """In a few words."""
        hop = "the least hop" if self.hop is None else f"hop {self.hop}"
        held = {"zero": "zeros", "first": "the first frame"}[self.fill]
        return f"along {self.axis}, {hop}, filled with {held} at first"


def streamed(graph: Graph, asked: Stream) -> tuple[Push, Stream]:
    """The network of one push, and how it slides, with nothing left open. InputError, with what would do, if there is
    no such network, or a push would compute the whole window again.
    """
    whole = simplify(graph, drop_channels=False).graph
    axis, window = window_of(whole, asked.axis)
    hop = least_hop(whole, window.tensor, window.axis) if asked.hop is None else asked.hop
    push = push_of(whole, window, hop, asked.fill)
    if not push.graph.states or push.macs >= push.window_macs > 0:
        even, live = push.work.steps, sorted(push.work.live)
        uneven = (whole.operators[i] for i in live if i not in even)
        first = next((op for op in uneven if not op.alias), None)
        why = (
            "every row that windows share depends on padding"
            if first is None
            else f"{whole.place(first)} reads the whole window"
        )
        raise InputError(
            f"{graph.name}: hop {hop}: a push would compute all of the window again: {why}; convolutions along "
            f"time without padding, or padded before the window alone, would do{', a shorter hop may' * (hop > 1)}"
        )
    return push, Stream(axis=axis, hop=hop, fill=asked.fill)


def window_of(graph: Graph, axis: Axis) -> tuple[Axis, TimeWindow]:
    """The axis and the window of a network with one input; InputError if the axis is not clear, or not the input's."""
    if len(graph.inputs) != 1 or graph.states:
        kept = "keeps states of its own" if graph.states else f"has {len(graph.inputs)} inputs"
        raise InputError(f"{graph.name} {kept}; a network without states and with one input would do")
    given = tensor = graph.inputs[0]
    shape = graph.tensors[given].shape
    readers = graph.consumers.get(given, ())
    if (
        len(shape) < 3
        and shape[-1:] == (graph.tensors[given].elements,)
        and len(readers) == 1
        and graph.operators[readers[0]].alias
    ):
        tensor = graph.operators[readers[0]].output
        shape = graph.tensors[tensor].shape
    images = {3: {"rows": 1}, 4: {"rows": 1, "columns": 2}}.get(len(shape), {})
    sizes = {name: shape[at] for name, at in images.items() if shape[0] == 1}
    described = graph.tensors[tensor].describe()
    if axis == "auto":
        clear = [name for name, size in sizes.items() if size > 1]
        if len(clear) != 1:
            would = "rows or columns would do" if clear else "an input [1, time, ...] would do"
            raise InputError(f"{graph.name}: the input {described} has no clear axis of time; {would}")
        axis = "columns" if clear[0] == "columns" else "rows"
    if sizes.get(axis, 1) == 1:
        there = any_of([name for name, size in sizes.items() if size > 1] or ["an input [1, time, ...]"])
        raise InputError(f"{graph.name}: the input {described} has no {axis} to slide along; {there} would do")
    if tensor != given and images[axis] != 1:
        raise InputError(f"{graph.name}: frames of a flat input are its rows; rows would do")
    return axis, TimeWindow(given, tensor, images[axis], shape[images[axis]])
