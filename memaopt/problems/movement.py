"""Operators that only move elements: boxes of them, by tables of offsets."""

import math
from dataclasses import dataclass, field

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.problems.content import ByContent
from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand, Operands


@dataclass(frozen=True, eq=False)
class Piece(ByContent):
    """A box of elements moved from one input to the output: for each index of ``shape``,
    output[output_offset + sum(output_tables[d][i_d])] = input[input_offset + sum(input_tables[d][i_d])].
    """

    source: int
    shape: tuple[int, ...]
    input_tables: tuple[Int64Array, ...]
    output_tables: tuple[Int64Array, ...]
    input_offset: int = 0
    output_offset: int = 0

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def read(self) -> Int64Array:
        """The indices of the input that are read, once for each element."""
        found = np.array([self.input_offset], np.int64)
        for table in self.input_tables:
            found = np.add.outer(found, table).reshape(-1)
        return found

    def without_ones(self) -> "Piece":
        """The same elements without the axes of size 1: what their tables add is in the offsets."""
        kept = [d for d, size in enumerate(self.shape) if size != 1]
        fixed = [d for d, size in enumerate(self.shape) if size == 1]
        return Piece(
            self.source,
            tuple(self.shape[d] for d in kept),
            tuple(self.input_tables[d] for d in kept),
            tuple(self.output_tables[d] for d in kept),
            self.input_offset + sum(int(self.input_tables[d][0]) for d in fixed),
            self.output_offset + sum(int(self.output_tables[d][0]) for d in fixed),
        )

    def in_bytes(self, size: int) -> "Piece":
        """The same boxes where each element has ``size`` bytes: the offsets are those of bytes, along one more axis."""
        if size == 1:
            return self
        inner = np.arange(size, dtype=np.int64)
        return Piece(
            self.source,
            (*self.shape, size),
            (*(table * size for table in self.input_tables), inner),
            (*(table * size for table in self.output_tables), inner),
            self.input_offset * size,
            self.output_offset * size,
        )


@dataclass(frozen=True, eq=False)
class Movement(Layer, ByContent):
    """Operators that only move elements, in bytes. What no piece writes (padding) becomes ``fill``."""

    what: str
    elements: int
    pieces: tuple[Piece, ...] = field(default_factory=tuple)
    fill: int = 0

    @property
    def sources(self) -> int:
        return 1 + max((piece.source for piece in self.pieces), default=0)

    @property
    def takes(self) -> tuple[Operand, ...]:
        """Each input as far as it is read."""
        return tuple(Operand((1 + int(elements.max(initial=-1)),)) for elements in self._read)

    @property
    def gives(self) -> Operand:
        return Operand((self.elements,))

    @property
    def operands(self) -> Operands:
        return Operands(tuple(elements.size for elements in self._read), self.elements)

    @property
    def _read(self) -> list[Int64Array]:
        """Of each input the elements that any piece reads, each once."""
        nothing = np.empty(0, np.int64)
        return [
            np.unique(np.concatenate([nothing, *(piece.read for piece in self.pieces if piece.source == source)]))
            for source in range(self.sources)
        ]


def box(
    source: int,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    *,
    shape: tuple[int, ...],
    input_start: tuple[int, ...] | None = None,
    input_step: tuple[int, ...] | None = None,
    output_start: tuple[int, ...] | None = None,
    permutation: tuple[int, ...] | None = None,
) -> Piece:
    """The piece that moves a box of ``shape`` between two tensors of equal rank.

    Output index o_d = output_start[d] + i_d reads input index input_start[p] + i_d * input_step[p] of the input
    axis p = permutation[d] (d itself by default).
    """
    rank = len(shape)
    axes = permutation or tuple(range(rank))
    start, step = input_start or (0,) * rank, input_step or (1,) * rank
    to = output_start or (0,) * rank
    input_strides = [math.prod(input_shape[d + 1 :]) for d in range(rank)]
    output_strides = [math.prod(output_shape[d + 1 :]) for d in range(rank)]
    return Piece(
        source,
        shape,
        tuple(np.arange(shape[d], dtype=np.int64) * step[axes[d]] * input_strides[axes[d]] for d in range(rank)),
        tuple(np.arange(shape[d], dtype=np.int64) * output_strides[d] for d in range(rank)),
        sum(s * stride for s, stride in zip(start, input_strides, strict=True)),
        sum(s * stride for s, stride in zip(to, output_strides, strict=True)),
    )
