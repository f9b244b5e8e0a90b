"""LOOKUP: each element by a table that stands for several operators."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import field_validator

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.elementwise import Int8Table, checked_table
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.unary import Unary


class Lookup(Unfiled, Unary):
    """``values`` are the outputs of the inputs -128 to 127; ``of`` names the operators that it stands for."""

    kind: ClassVar[str] = "LOOKUP"
    counts_scale: ClassVar[bool] = False
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.UINT8)

    values: tuple[int, ...]
    of: str = ""

    @field_validator("values")
    @classmethod
    def _check_values(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return checked_table(values)

    def table(self, graph: Graph) -> Int8Table:
        return np.array(self.values, np.int8)

    def check_types(self, graph: Graph) -> None:
        for index, role in ((self.input, "input"), (self.output, "output")):
            self.expect(graph, index, role, *self.dtypes)

    def check_arithmetic(self, graph: Graph) -> None:
        """There is none."""

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"of {self.of}",)
