"""MUL of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.fixedpoint16 import INT16_MIN
from memaopt.networks.graph import Graph
from memaopt.networks.operators.mul import Mul
from memaopt.networks.operators.sixteen.pairwise import Pairwise16
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.sixteen import Binary16


class Mul16(Pairwise16, Mul):
    kind: ClassVar[str] = "MUL"
    widest: ClassVar[int] = -INT16_MIN

    def layer16(self, graph: Graph) -> Binary16:
        return Binary16(Binary(**self.ends16(graph), kind=BinaryKind.MUL, result=self.rescale(graph)))
