"""Operators of a file that are read as others: each of their outputs is a part of the input, an operator of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from memaopt.networks.operators.attributes import Slice
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice


class Parted(ABC):
    """What is left to a subclass: :meth:`parts`."""

    kind: ClassVar[str]
    options: ClassVar[Options | None] = None

    @classmethod
    @abstractmethod
    def parts(cls, source: Source) -> list[StridedSlice]:
        """The operators that compute its outputs; UnsupportedModelError if that is not what a constant says."""


def part(source: Source, position: int, output: int, slices: dict[int, Slice]) -> StridedSlice:
    """An output that is an input's elements in ``slices`` of some axes, and all of the others."""
    shape = source.tensor(position).shape
    every = tuple(slices.get(axis, Slice(0, 1, size)) for axis, size in enumerate(shape))
    common = source.common((source.inputs[position],)) | {"outputs": (source.outputs[output],)}
    return StridedSlice(**common, slices=every)


def checked_axis(source: Source, position: int, axis: int) -> int:
    """The axis of an input, counted from its first one."""
    dimensions = len(source.tensor(position).shape)
    if not -dimensions <= axis < dimensions:
        raise source.refuse(f"axis {axis} of {dimensions} dimensions")
    return axis % dimensions


def consecutive(source: Source, position: int, axis: int, sizes: list[int]) -> list[StridedSlice]:
    """One output for each of the sizes, side by side along an axis."""
    whole = source.tensor(position).shape[axis]
    if sum(sizes) != whole or min(sizes, default=0) < 1 or len(sizes) != len(source.outputs):
        raise source.refuse(f"parts of {sizes} for {len(source.outputs)} outputs of an axis of {whole}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    slices = [Slice(start, 1, size) for start, size in zip(starts, sizes, strict=True)]
    return [part(source, position, i, {axis: piece}) for i, piece in enumerate(slices)]
