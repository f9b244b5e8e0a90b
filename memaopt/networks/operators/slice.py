"""SLICE: a box, by its constant first indices and sizes."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.attributes import Slice as Span
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.parted import Parted, part
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice


class Slice(Parted):
    """A size of -1 is all that is left."""

    kind: ClassVar[str] = "SLICE"
    options: ClassVar[Options | None] = Options("SliceOptions", 48, ())

    @classmethod
    def parts(cls, source: Source) -> list[StridedSlice]:
        source.expect(3, 3)
        shape, begin, sizes = source.tensor(0).shape, source.integers(1, "begin"), source.integers(2, "sizes")
        if len(begin) != len(shape) or len(sizes) != len(shape):
            raise source.refuse(f"begin {list(begin)} and sizes {list(sizes)} of {len(shape)} dimensions")
        lengths = [n - b if size == -1 else size for n, b, size in zip(shape, begin, sizes, strict=True)]
        if any(b < 0 or length < 1 or b + length > n for n, b, length in zip(shape, begin, lengths, strict=True)):
            raise source.refuse(f"begin {list(begin)} and sizes {list(sizes)} of {list(shape)}")
        return [part(source, 0, 0, {i: Span(b, 1, n) for i, (b, n) in enumerate(zip(begin, lengths, strict=True))})]
