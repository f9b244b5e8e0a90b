"""LOG_SOFTMAX, and the exponentials that SOFTMAX shares with it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.problems.layer import OfRows
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN


def exponentials(multiplier: int, left_shift: int, least_difference: int) -> Int64Array:
    """exp of the differences 0, -1, ... -255, rescaled to Q5.26, in Q0.31; 0 below the least that counts."""
    difference = -np.arange(256, dtype=np.int64)
    counted = difference >= least_difference
    kept = np.where(counted, difference, 0)
    scaled = fixedpoint.saturating_rounding_doubling_high_mul(kept << left_shift, multiplier)
    return np.where(counted, fixedpoint.exp_on_negative_values(scaled), 0)


@dataclass(frozen=True)
class LogSoftmax(OfRows):
    """LOG_SOFTMAX along the last axis: rescaled differences to the row's greatest element, less the logarithm of the
    sum of their exponentials, in 1/16, with 127 as 0. Differences below ``least_difference`` give -128.
    """

    rows: int
    depth: int
    multiplier: int
    left_shift: int
    least_difference: int

    @cached_property
    def exponentials(self) -> Int64Array:
        """exp of the differences 0, -1, ... -255 in Q0.31."""
        return exponentials(self.multiplier, self.left_shift, self.least_difference)

    def apply(self, x: npt.ArrayLike) -> Int64Array:
        """The outputs [rows, depth]."""
        values = np.asarray(x, np.int64).reshape(self.rows, self.depth)
        differences = values - values.max(axis=1, keepdims=True)
        terms = fixedpoint.rounding_divide_by_pot(self.exponentials[-differences], 12)
        logarithms = fixedpoint.log_of_sum(terms.sum(axis=1, keepdims=True))
        counted = differences >= self.least_difference
        kept = np.where(counted, differences, 0)
        scaled = fixedpoint.saturating_rounding_doubling_high_mul(kept << self.left_shift, self.multiplier)
        outputs = fixedpoint.rounding_divide_by_pot(scaled - logarithms, 22) + INT8_MAX
        return np.where(counted, np.clip(outputs, INT8_MIN, INT8_MAX), INT8_MIN)
