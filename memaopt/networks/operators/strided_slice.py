"""STRIDED_SLICE: masks are resolved, axes are added and dropped by the output's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.errors import InputError
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Slice
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array, Shape, plain
from memaopt.networks.operators.source import Source
from memaopt.problems import movement

_MASKS = ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")


class StridedSlice(Moving):
    """One slice for each input dimension."""

    kind: ClassVar[str] = "STRIDED_SLICE"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options(
        "StridedSliceOptions", 32, (*(Field(name, 4) for name in _MASKS), Field("offset", 1))
    )
    counts_scale: ClassVar[bool] = False

    slices: tuple[Slice, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(4, 4)
        options = source.options()
        begin, end, strides = (source.integers(i, role) for i, role in ((1, "begin"), (2, "end"), (3, "strides")))
        if not len(begin) == len(end) == len(strides) <= 31 or 0 in strides:
            raise source.refuse(f"begin {list(begin)}, end {list(end)}, strides {list(strides)} do not go together")
        if options.get("offset"):
            raise source.refuse("end given as an offset; absolute ends are supported")
        masks = [options.get(name, 0) for name in _MASKS]
        return cls(**source.common(), slices=_slices(source, begin, end, strides, masks))

    def write(self, graph: Graph) -> Form:
        # an end below 0 means "counted from the end", so a slice that runs to index 0 ends at -size - 1
        sizes = graph.tensor_of(self).shape
        strides = [s.step if s.length > 1 else 1 for s in self.slices]
        ends = [s.start + step * s.length for s, step in zip(self.slices, strides, strict=True)]
        end = [e if e >= 0 else e - size for e, size in zip(ends, sizes, strict=True)]
        operands = {"begin": [s.start for s in self.slices], "end": end, "strides": strides}
        return Form(operands, {"shrinkAxisMask": self._dropped(graph)})

    def _dropped(self, graph: Graph) -> int:
        """The mask of axes that the output's shape does not have any more."""
        lengths, output = [s.length for s in self.slices], list(graph.output_of(self).shape)
        mask = 0
        for axis, length in enumerate(lengths):
            if output and output[0] == length and len(output) <= len(lengths) - axis:
                output.pop(0)
            else:
                mask |= 1 << axis
        if output or any(length > 1 and mask >> axis & 1 for axis, length in enumerate(lengths)):
            raise InputError(f"{graph.place(self)}: {lengths} with axes of 1 dropped is not the output's shape")
        return mask

    def output_shape(self, graph: Graph) -> Shape:
        return self.regrouped(graph, tuple(s.length for s in self.slices))

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        result = arguments[0]
        for axis, (start, step, length) in enumerate(self.slices):
            if (start, step, length) != (0, 1, result.shape[axis]):
                result = np.take(result, start + step * np.arange(length), axis=axis)
        return result

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        lengths = tuple(s.length for s in self.slices)
        start, step = tuple(s.start for s in self.slices), tuple(s.step for s in self.slices)
        x = graph.tensor_of(self).shape
        return [movement.box(0, x, lengths, shape=lengths, input_start=start, input_step=step)]

    def is_identity(self, graph: Graph) -> bool:
        sizes = graph.tensor_of(self).shape
        return all(s.length == n and (s.step == 1 or n == 1) for s, n in zip(self.slices, sizes, strict=True))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"slices {plain(self.slices)}",)


def _slices(
    source: Source, begin: tuple[int, ...], end: tuple[int, ...], strides: tuple[int, ...], masks: list[int]
) -> tuple[Slice, ...]:
    """Resolve the masks to one slice for each input dimension (new axes only show in the output's shape)."""
    shape = source.tensor(0).shape
    begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_mask = masks
    entries = range(len(begin))
    ellipses = [i for i in entries if ellipsis_mask >> i & 1]
    if len(ellipses) > 1:
        raise source.refuse("more than one ellipsis; one is supported")
    named = [i for i in entries if i not in ellipses and not new_axis_mask >> i & 1]
    if len(named) > len(shape):
        raise source.refuse(f"{len(named)} slices of {len(shape)} dimensions")
    before = named if not ellipses else [i for i in named if i < ellipses[0]]
    after = [i for i in named if i not in before]
    order: list[int | None] = [*before, *[None] * (len(shape) - len(named)), *after]
    slices = []
    for size, i in zip(shape, order, strict=True):
        if i is None:
            slices.append(Slice(0, 1, size))
            continue
        step = strides[i]
        low, high = (0, size) if step > 0 else (-1, size - 1)
        start = begin[i] + size if begin[i] < 0 else begin[i]
        start = min(max(start, low), high)
        if begin_mask >> i & 1:
            start = 0 if step > 0 else size - 1
        stop = end[i] + size if end[i] < 0 else end[i]
        stop = min(max(stop, low), high)
        if end_mask >> i & 1:
            stop = size if step > 0 else -1
        if shrink_mask >> i & 1:
            if step < 0:
                raise source.refuse("a dropped axis with a negative stride; a positive one is supported")
            stop, step = start + 1, 1
        slices.append(Slice(start, step, len(range(start, stop, step)) if 0 <= start < size else 0))
    if any(s.length == 0 for s in slices):
        raise source.refuse("a slice is empty")
    return tuple(slices)
