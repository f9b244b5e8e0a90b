"""AVERAGE_POOL_2D: the mean over the part of the window that lies inside the image; no rescaling."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.pool import Pool2D
from memaopt.problems import layers
from memaopt.problems.layers import PoolKind
from memaopt.problems.step_functions import Average


class AveragePool2D(Pool2D):
    """``ties_up``: a mean midway between two integers is the greater one, as of uint8; no file of int8 has that."""

    kind: ClassVar[str] = "AVERAGE_POOL_2D"
    layer_kind: ClassVar[PoolKind] = PoolKind.AVERAGE

    ties_up: bool = False

    @property
    def fused(self) -> bool:
        return self.ties_up or super().fused

    def reduce(self, part: Array) -> Array:
        """The rounded mean of the stored values, without their zero point."""
        average = Average(part.shape[1] * part.shape[2], ties_up=self.ties_up)
        return average.apply(part.sum(axis=(1, 2), dtype=np.int64))

    def layer(self, graph: Graph) -> layers.Pool:
        return dataclasses.replace(super().layer(graph), ties_up=self.ties_up)
