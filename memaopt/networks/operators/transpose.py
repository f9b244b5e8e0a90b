"""TRANSPOSE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Shape, plain
from memaopt.networks.operators.source import Source
from memaopt.problems import movement


class Transpose(Moving):
    """output.shape[i] = input.shape[permutation[i]]."""

    kind: ClassVar[str] = "TRANSPOSE"
    version: ClassVar[int] = 2
    counts_scale: ClassVar[bool] = False

    permutation: tuple[int, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        permutation = source.integers(1, "permutation")
        dimensions = len(source.tensor(0).shape)
        if any(not -dimensions <= axis < dimensions for axis in permutation):
            raise source.refuse(f"permutation {list(permutation)} of {dimensions} dimensions")
        return cls(**source.common(), permutation=tuple(axis % dimensions for axis in permutation))

    def write(self, graph: Graph) -> Form:
        return Form({"permutation": self.permutation})

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        if sorted(self.permutation) != list(range(len(shape))):
            raise self.refuse(graph, f"{list(self.permutation)} does not permute {len(shape)} axes")
        return tuple(shape[axis] for axis in self.permutation)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return arguments[0].transpose(self.permutation)

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        x, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        return [movement.box(0, x, output, shape=output, permutation=self.permutation)]

    def is_identity(self, graph: Graph) -> bool:
        order = [axis for axis in self.permutation if graph.tensor_of(self).shape[axis] > 1]
        return order == sorted(order)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"permutation {plain(self.permutation)}",)
