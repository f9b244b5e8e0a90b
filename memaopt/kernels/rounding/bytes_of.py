"""How kernels that make single bytes round: without an addend where that is proven, and clamps by two saturations.

With clamps an output is made as its distance to the least one, so that USAT has that bound; RSB, USAT and RSB have the
other, where only the last byte counts.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from memaopt.kernels.rounding import cleared, requantize
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.rounding.thresholds import StepFunction
from memaopt.problems.step_functions import AccumulatorRange


class ByteRounding(NamedTuple):
    proven: Proven
    output: Output

    @property
    def added(self) -> bool:
        """Whether it has an addend; else constant channels must have no weights."""
        return not self.output.bare


@lru_cache(maxsize=256)
def byte_rounding(requantization: StepFunction, span: AccumulatorRange, scale: int) -> ByteRounding | None:
    """None if none is found."""
    bare = requantize.prove_multiply(requantization, span, scale)
    proven = cleared.prove_multiply_add(requantization, span, scale) if bare is None else bare
    if proven is None:
        return None
    if proven.clamp_low or proven.clamp_high:
        offset = np.full(len(span.low), -requantization.minimum)
        distances = cleared.prove_multiply_add(requantization, span, scale, offset)
        if distances is not None:
            return ByteRounding(distances, Output.distances(distances, requantization))
    return ByteRounding(proven, Output.of(proven, requantization))
