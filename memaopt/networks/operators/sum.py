"""SUM over any axes."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.quantization import SAFE, checked_left_shift, double_rescale
from memaopt.networks.operators.summed import Summed
from memaopt.problems.step_functions import Rescale


class Sum(Summed):
    """As TFLite Micro has it; LiteRT's kernels add in float, and wrap or read bytes as unsigned."""

    kind: ClassVar[str] = "SUM"
    micro: ClassVar[bool] = True

    def rescale(self, graph: Graph) -> Rescale:
        count = self.count(graph)
        if graph.tensor_of(self).same_quantization(graph.output_of(self)):
            raise self.refuse(graph, "input and output are quantised alike; TFLite then adds bytes, whatever they mean")
        if count * 255 > SAFE:
            raise self.refuse(graph, f"the sum of {count} elements does not fit 32 bits")
        return checked_left_shift(graph, self, double_rescale(graph, self), count * 255)
