"""How far before its input a layer's output must start for the two to share memory.

A layer that walks its image upwards is done with an input byte before it writes far beyond it. Output byte k, written
while input byte j is still to be read, must not lie on it; if the output starts ``lead`` bytes or more before the
input, it never does:

    lead = max over writes (end of the bytes written - lowest input byte read later)

Each family gives the order of its reads and writes, in steps that read first and then write, as its driver makes them.
"""

from collections.abc import Sequence

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.problems.geometry import Image, Window


def lead_of(reads: Sequence[int] | Int64Array, ends: Sequence[int] | Int64Array, input_bytes: int) -> int:
    """The lead, in bytes, of steps that each read input bytes from ``reads`` on (``input_bytes`` or more: none) and
    then write output bytes below ``ends``. At least -``input_bytes``: from there on they are apart anyhow.
    """
    later = np.minimum.accumulate(np.asarray(reads, np.int64)[::-1])[::-1][1:]
    written = np.asarray(ends, np.int64)[:-1][later < input_bytes]
    return max(int((written - later[later < input_bytes]).max(initial=-input_bytes)), -input_bytes)


def lowest(window: Window, shape: Image, output: Image) -> Int64Array:
    """The first input byte under the window at each output position [height, width]; the image's size if none is."""
    rows, columns = (
        _first(size, outputs, kernel, stride, dilation, before)
        for size, outputs, kernel, stride, dilation, before in zip(
            shape[:2], output[:2], window.kernel, window.stride, window.dilation, window.padding, strict=True
        )
    )
    inside = (rows < shape.height)[:, None] & (columns < shape.width)[None, :]
    offsets = (rows[:, None] * shape.width + columns[None, :]) * shape.channels
    return np.where(inside, offsets, shape.elements)


def _first(size: int, outputs: int, kernel: int, stride: int, dilation: int, before: int) -> Int64Array:
    """The first row (or column) inside the image under each output; its size if there is none."""
    at = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation - before
    inside: Int64Array = np.where((at >= 0) & (at < size), at, size)
    return np.asarray(inside.min(axis=1), np.int64)


def window_lead(window: Window, shape: Image, output: Image, channels: Sequence[int] | Int64Array, wrote: int) -> int:
    """The lead of a kernel that goes position by position, in steps of ``wrote`` output channels; ``channels`` has the
    input channel that each step of a position starts to read at.
    """
    first = lowest(window, shape, output).ravel()[:, None]
    reads = np.where(first < shape.elements, first + np.asarray(channels, np.int64), shape.elements)
    ends = np.arange(1, reads.size + 1, dtype=np.int64) * wrote
    return lead_of(reads.ravel(), ends, shape.elements)
