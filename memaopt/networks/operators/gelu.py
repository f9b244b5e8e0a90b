"""GELU: x times the normal distribution function of x, or its approximation by TANH."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.c_library import float_function
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.unary import Unary, float_table

_HALF, _ONE, _CUBIC = np.float32(0.5), np.float32(1), np.float32(0.044715)
_MINUS_ROOT_HALF, _ROOT_2_OVER_PI = np.float32(-math.sqrt(0.5)), np.float32(math.sqrt(2 / math.pi))


class Gelu(Unary):
    kind: ClassVar[str] = "GELU"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("GeluOptions", 116, (Field("approximate", 1),))

    approximate: bool = False

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        return cls(**source.common(), approximate=bool(source.options().get("approximate", False)))

    def write(self, graph: Graph) -> Form:
        return Form(options={"approximate": self.approximate})

    def table(self, graph: Graph) -> Int8Table:
        return float_table(graph, self, _by_tanh if self.approximate else _by_erfc)

    def check_arithmetic(self, graph: Graph) -> None:
        self.table(graph)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return ("approximate",) if self.approximate else ()


def _by_erfc(x: np.float32) -> np.float32:
    return _HALF * x * float_function("erfc")(float(x * _MINUS_ROOT_HALF))


def _by_tanh(x: np.float32) -> np.float32:
    return _HALF * x * (_ONE + float_function("tanh")(float(_ROOT_2_OVER_PI * (x + _CUBIC * x * x * x))))
