"""Images scaled to another size between their pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.problems.geometry import Image, Pair
from memaopt.problems.layer import OfImage
from memaopt.problems.operands import Operands

RESIZE_UNIT = 1 << 10
"""Parts of a position that RESIZE_BILINEAR counts in."""


class Neighbours(NamedTuple):
    """For each output index along an axis: the input's before and behind, and how far behind the first, in parts."""

    lower: Int64Array
    upper: Int64Array
    part: Int64Array


@dataclass(frozen=True)
class Resize(OfImage):
    """RESIZE_BILINEAR: ``step`` parts of an input's row and column from one output's to the next, from 0 or, with
    ``half_pixels``, from the middle of the first output's; ties away from zero.
    """

    shape: Image
    output: Image
    step: Pair
    half_pixels: bool

    def positions(self, axis: int) -> Neighbours:
        """Where outputs lie along rows (0) or columns (1). C's divisions truncate."""
        at = np.arange(self.output[axis], dtype=np.int64) * self.step[axis]
        if self.half_pixels:
            at += self.step[axis] // 2 - RESIZE_UNIT // 2
        lower = np.maximum(at, 0) // RESIZE_UNIT
        above = at + RESIZE_UNIT - 1
        upper = np.minimum(np.sign(above) * (np.abs(above) // RESIZE_UNIT), self.shape[axis] - 1)
        return Neighbours(lower, upper, at - lower * RESIZE_UNIT)

    @property
    def operands(self) -> Operands:
        rows, columns = (
            len(np.union1d(at.lower, at.upper[at.part > 0])) for at in (self.positions(axis) for axis in (0, 1))
        )
        return Operands((rows * columns * self.shape.channels,), self.output.elements)

    def apply(self, images: npt.ArrayLike) -> Int64Array:
        """The outputs of images [batch, height, width, channels]."""
        x = np.asarray(images, np.int64)
        rows, columns = self.positions(0), self.positions(1)
        below, behind = rows.part[:, None, None], columns.part[:, None]
        lines = x[:, rows.lower] * (RESIZE_UNIT - below) + x[:, rows.upper] * below
        total = lines[:, :, columns.lower] * (RESIZE_UNIT - behind) + lines[:, :, columns.upper] * behind
        half = RESIZE_UNIT * RESIZE_UNIT // 2
        rounded: Int64Array = np.sign(total) * ((np.abs(total) + half) // RESIZE_UNIT**2)
        return rounded
