"""PAD: constant padding with the output's zero point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Links, Shape, depth, plain
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Pad(Moving):
    """(before, after) for each dimension."""

    kind: ClassVar[str] = "PAD"
    version: ClassVar[int] = 2
    fills: ClassVar[bool] = True

    paddings: tuple[tuple[int, int], ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        return cls(**source.common(), paddings=read_paddings(source))

    def write(self, graph: Graph) -> Form:
        return Form({"paddings": self.paddings})

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        if len(self.paddings) != len(shape):
            raise self.refuse(graph, f"{len(self.paddings)} paddings for {len(shape)} dimensions")
        return tuple(size + before + after for size, (before, after) in zip(shape, self.paddings, strict=True))

    def check_arithmetic(self, graph: Graph) -> None:
        if min((min(pair) for pair in self.paddings), default=0) < 0:
            raise self.refuse(graph, "negative padding; 0 or more is supported")

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        x = arguments[0]  # np.pad takes no scalars
        shape = [before + size + after for size, (before, after) in zip(x.shape, self.paddings, strict=True)]
        y = np.full(shape, self.fill(graph), x.dtype)
        inside = zip(x.shape, self.paddings, strict=True)
        y[tuple(slice(before, before + size) for size, (before, _) in inside)] = x
        return y

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        x, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        before = tuple(a for a, _ in self.paddings)
        return [movement.box(0, x, output, shape=x, output_start=before)]

    def links(self, graph: Graph) -> Links | None:
        if self.paddings[-1:] != ((0, 0),):
            return None
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def is_identity(self, graph: Graph) -> bool:
        return graph.tensor_of(self).elements == graph.output_of(self).elements

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"paddings {plain(self.paddings)}",)


def read_paddings(source: Source) -> tuple[tuple[int, int], ...]:
    """The second operand: (before, after) for each dimension of the first."""
    flat = source.integers(1, "paddings")
    dimensions = len(source.tensor(0).shape)
    if source.tensor(1).shape != (dimensions, 2) or any(not 0 <= value < 1 << 31 for value in flat):
        raise source.refuse(
            f"paddings {list(flat)}; two numbers, 0 or more, for each of {dimensions} dimensions are supported"
        )
    return tuple(zip(flat[::2], flat[1::2], strict=True))
