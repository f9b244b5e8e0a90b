"""SQUEEZE: axes of 1 are dropped."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import Shape
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.source import Source


class Squeeze(Reshape):
    kind: ClassVar[str] = "SQUEEZE"
    options: ClassVar[Options | None] = Options("SqueezeOptions", 30, (Field("squeezeDims", 4, vector=True),))

    @classmethod
    def read(cls, source: Source) -> Self:
        shape, output = source.tensor(0).shape, source.output().shape
        if output != cls.sizes(source):
            given = _given(source) or "all axes"
            raise source.refuse(f"squeezing {given} of {list(shape)} does not give {list(output)}")
        return cls(**source.common())

    @classmethod
    def sizes(cls, source: Source) -> Shape:
        source.expect(1, 1)
        given, shape = _given(source), source.tensor(0).shape
        axes = {axis % len(shape) for axis in given} if shape else set()
        return tuple(n for axis, n in enumerate(shape) if (axis not in axes if given else n != 1))

    def write(self, graph: Graph) -> Form:
        """The axes of 1 whose removal gives the output's shape, first ones first."""
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        if shape == output and 1 in shape:  # no axes would mean all of them
            raise InputError(f"{graph.place(self)}: no axis is dropped, so .tflite has no form for it")
        remaining, axes = list(output), []
        for axis, size in enumerate(shape):
            if remaining and remaining[0] == size:
                remaining.pop(0)
            else:
                axes.append(axis)
        return Form(options={"squeezeDims": axes})


def _given(source: Source) -> list[int]:
    return list(source.options().get("squeezeDims", ()))
