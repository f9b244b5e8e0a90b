"""Averages over a window that slides, from sums that go on: what is new is added, what leaves the window taken off."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.problems.content import ByContent
from memaopt.problems.layers import Layer, Mean, Pool
from memaopt.problems.operands import Operand
from memaopt.problems.step_functions import Average


@dataclass(frozen=True, eq=False)
class RunningMean(Layer, ByContent):
    """``whole`` averages all positions, channel by channel, of which ``moved`` are new ones; sums are of the others.

    Besides, the sums become those of all positions but the oldest ``moved`` ones, which leave the window: of the others
    of the next call.
    """

    whole: Pool | Mean
    moved: int

    @property
    def channels(self) -> int:
        return self.whole.shape[-1]

    @property
    def count(self) -> int:
        """Positions that an output is of."""
        return math.prod(self.whole.shape) // self.channels

    @property
    def takes(self) -> tuple[Operand, ...]:
        rows = Operand((self.moved, self.channels))
        return Operand((self.channels,), "int32"), rows, rows

    @property
    def gives(self) -> Operand:
        return Operand((self.channels,))

    def apply(self, sums: npt.ArrayLike, leaving: npt.ArrayLike, new: npt.ArrayLike) -> Int64Array:
        """The outputs [channels] for sums [channels] and positions [moved, channels]; what leaves has no share."""
        del leaving
        whole, total = self.whole, np.asarray(sums, np.int64).reshape(-1) + self._sum(new)
        if isinstance(whole, Pool):
            return Average(self.count, whole.minimum, whole.maximum, ties_up=whole.ties_up).apply(total)
        centred = total - self.count * whole.input_zero_point
        outputs: Int64Array = whole.requantization.apply(centred[:, None])[:, 0]
        return outputs

    def after(self, sums: npt.ArrayLike, leaving: npt.ArrayLike, new: npt.ArrayLike) -> Int64Array:
        """What the sums become."""
        after: Int64Array = np.asarray(sums, np.int64).reshape(-1) + self._sum(new) - self._sum(leaving)
        return after

    def _sum(self, positions: npt.ArrayLike) -> Int64Array:
        found: Int64Array = np.asarray(positions, np.int64).reshape(self.moved, self.channels).sum(axis=0)
        return found
