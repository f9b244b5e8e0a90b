"""Pools of int16 activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.convolution import image_of
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.pool import Pool2D
from memaopt.networks.operators.sixteen.activations import check_int16, clamp16
from memaopt.problems.layers import PoolKind
from memaopt.problems.sixteen import Pool16


class Pool16x8(Pool2D):
    """What is left to a subclass: which one."""

    def check_types(self, graph: Graph) -> None:
        check_int16(graph, self)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Those of the types' check."""

    def check_arithmetic(self, graph: Graph) -> None:
        clamp16(graph, self)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return np.clip(self.reduced(graph, arguments[0]), *clamp16(graph, self))

    def is_identity(self, graph: Graph) -> bool:
        return False

    def lower(self, graph: Graph) -> Lowered | None:
        x, y = graph.tensor_of(self), graph.output_of(self)
        average = self.layer_kind is PoolKind.AVERAGE
        layer = Pool16(image_of(x), image_of(y), self.window(graph).layer(), clamp16(graph, self), average)
        return Lowered(layer, (self.input,), x.shape[0])
