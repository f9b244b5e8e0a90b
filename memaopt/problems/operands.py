"""What a call reads and writes: its operands whole, and the least of them, whatever the values are.

An input element counts if a window covers it or a table reaches it, a weight if its tap ever lies on the image and not
only in the padding: counts of geometry. Tables and parameters of channels do not count, for code can hold those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memaopt.problems.geometry import Image, Window

Outputs = tuple[Iterable[int], Iterable[int]]
"""Rows and columns of an output that are asked for."""


class Operand(NamedTuple):
    """An array that a call is given, by the name of its elements' type in numpy."""

    shape: tuple[int, ...]
    dtype: str = "int8"

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Operands:
    """Bytes of one call: of each input those that are read at least, of the output, of the weights at a byte each."""

    inputs: tuple[int, ...]
    output: int
    weights: int = 0

    @property
    def bytes(self) -> int:
        """What crosses, whoever computes the layer: everything once."""
        return sum(self.inputs) + self.output + self.weights


def covered(outputs: Iterable[int], size: int, kernel: int, stride: int, dilation: int, before: int) -> list[int]:
    """The indices below ``size`` along an axis that the windows of these outputs cover, in order."""
    at = (p * stride + tap * dilation - before for p in outputs for tap in range(kernel))
    return sorted({index for index in at if 0 <= index < size})


def whole(output: Image) -> tuple[range, range]:
    """All rows and columns of outputs."""
    return range(output.height), range(output.width)


def used(weights: int, outputs: Outputs, image: Image, window: Window) -> int:
    """Of so many ``weights`` those whose taps lie on ``image`` for any of these rows and columns of outputs."""
    taps = 1
    for d, wanted in enumerate(outputs):
        starts = [p * window.stride[d] - window.padding[d] for p in wanted]
        offsets = (tap * window.dilation[d] for tap in range(window.kernel[d]))
        taps *= sum(any(0 <= start + offset < image[d] for start in starts) for offset in offsets)
    return weights // math.prod(window.kernel) * taps


def axes(outputs: Outputs, image: Image, window: Window) -> tuple[list[int], list[int]]:
    """The rows and the columns of ``image`` that windows at these rows and columns of outputs cover."""
    rows, columns = (
        covered(wanted, image[d], window.kernel[d], window.stride[d], window.dilation[d], window.padding[d])
        for d, wanted in enumerate(outputs)
    )
    return rows, columns
