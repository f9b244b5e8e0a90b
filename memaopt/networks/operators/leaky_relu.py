"""LEAKY_RELU: what is below the zero point times alpha."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.elementwise import Int8Table
from memaopt.networks.operators.floating import Floating
from memaopt.networks.operators.form import Field, Form, Options
from memaopt.networks.operators.operator import plain
from memaopt.networks.operators.quantization import float_rescale
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.unary import centred
from memaopt.problems.step_functions import Rescale


class LeakyRelu(Floating):
    kind: ClassVar[str] = "LEAKY_RELU"
    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options("LeakyReluOptions", 75, (Field("alpha", 4, real=True),))

    alpha: float

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        return cls(**source.common(), alpha=source.required("LeakyReluOptions")["alpha"])

    def write(self, graph: Graph) -> Form:
        return Form(options={"alpha": self.alpha})

    def real(self, x: np.float32) -> np.float32:
        return x if x > 0 else x * np.float32(self.alpha)

    def table(self, graph: Graph) -> Int8Table:
        """A negative alpha multiplies by its magnitude and negates, so that rounding is symmetric."""
        x = centred(graph, self)
        identity, alpha = float_rescale(graph, self), float_rescale(graph, self, self.alpha)
        below = Rescale(abs(alpha.multiplier), alpha.shift).apply(x)
        scaled = np.where(x >= 0, identity.apply(x), -below if alpha.multiplier < 0 else below)
        table: Int8Table = np.clip(scaled + graph.output_of(self).zero_point, -128, 127).astype(np.int8)
        return table

    def check_table(self, graph: Graph) -> None:
        float_rescale(graph, self)
        float_rescale(graph, self, self.alpha)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"alpha {plain(self.alpha)}",)
