"""MIRROR_PAD: what lies inside, mirrored at the edge; the edge itself again (SYMMETRIC) or not (REFLECT)."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.gathered import Gathered, Tables, strides
from memaopt.networks.operators.operator import Shape, plain
from memaopt.networks.operators.pad import read_paddings
from memaopt.networks.operators.source import Source


class MirrorPad(Gathered):
    """(before, after) for each dimension."""

    kind: ClassVar[str] = "MIRROR_PAD"
    options: ClassVar[Options | None] = Options("MirrorPadOptions", 77, (Field("mode", 1, "MirrorPadMode"),))

    paddings: tuple[tuple[int, int], ...]
    mode: str

    @classmethod
    def read(cls, source: Source) -> Self:
        mode = source.options().get("mode", "REFLECT")
        if mode not in ("REFLECT", "SYMMETRIC"):
            raise source.refuse(f"mode {mode}; REFLECT and SYMMETRIC are supported")
        return cls(**source.common(), paddings=read_paddings(source), mode=mode)

    def write(self, graph: Graph) -> Form:
        return Form({"paddings": self.paddings}, {"mode": self.mode})

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        if len(self.paddings) != len(shape):
            raise self.refuse(graph, f"{len(self.paddings)} paddings for {len(shape)} dimensions")
        least = 1 if self.mode == "REFLECT" else 0
        if any(max(pair) > size - least for size, pair in zip(shape, self.paddings, strict=True)):
            raise self.refuse(graph, f"paddings {plain(self.paddings)} mirror more than {list(shape)} has")
        return tuple(size + before + after for size, (before, after) in zip(shape, self.paddings, strict=True))

    def tables(self, graph: Graph) -> Tables:
        shape = graph.tensor_of(self).shape
        again = 0 if self.mode == "REFLECT" else 1
        tables = []
        for size, (before, after), step in zip(shape, self.paddings, strides(shape), strict=True):
            at = np.arange(-before, size + after, dtype=np.int64)
            at = np.where(at < 0, -at - again, at)
            tables.append(np.where(at >= size, 2 * (size - 1) + again - at, at) * step)
        return tuple(tables)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"paddings {plain(self.paddings)}", self.mode.lower())
