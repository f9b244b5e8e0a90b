"""MEAN over any axes."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.quantization import SAFE, checked_left_shift, double_rescale
from memaopt.networks.operators.summed import Summed
from memaopt.problems.step_functions import Rescale


class Mean(Summed):
    kind: ClassVar[str] = "MEAN"
    widest: ClassVar[int] = 255
    """Of an element above its zero point."""

    def rescale(self, graph: Graph) -> Rescale:
        """The division by the count is folded into the multiplier."""
        count = self.count(graph)
        multiplier, shift = double_rescale(graph, self)
        if count * self.widest > SAFE:
            raise self.refuse(graph, f"the sum of {count} elements does not fit 32 bits")
        more = min(count.bit_length() - 1, 32, 31 + shift)
        divided = Rescale((multiplier << more) // count, shift - more)
        return checked_left_shift(graph, self, divided, count * self.widest)
