"""The inputs and outputs of a network, as the templates of its library see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks.graph import C_TYPES, DType
from memaopt.printable import in_comment


@dataclass(frozen=True)
class End:
    """An input or output of the network, as the templates see it; ``away``: in the arena outside the chip."""

    parameter: str
    suffix: str
    macro: str
    type: str
    comment: str
    elements: int
    bytes: int
    shape: tuple[int, ...]
    offset: int
    scale: str
    zero_point: int
    dtype: DType
    by_rows: bool = False
    away: bool = False

    @property
    def place(self) -> str:
        """The macro that has its offset: of one outside it is another, so that no text takes it for the arena's."""
        return f"{self.macro}_{'OUTER_' * self.away}OFFSET"

    @property
    def base(self) -> str:
        """What C calls the memory that the offset counts from."""
        return "outer" if self.away else "base"

    @property
    def rows(self) -> int:
        """Of an image."""
        return self.shape[1]

    @property
    def least(self) -> int:
        return int(np.iinfo(self.dtype.numpy).min)

    @property
    def most(self) -> int:
        return int(np.iinfo(self.dtype.numpy).max)

    @property
    def classes(self) -> bool:
        """Whether it may be one value for each class."""
        return self.elements > 1 and self.elements == self.shape[-1]


def ends(plan: NetworkPlan) -> tuple[list[End], list[End]]:
    """The inputs and the outputs, in the order of the parameters of ``invoke``."""
    return _ends(plan, plan.graph.given, "input"), _ends(plan, plan.graph.wanted, "output")


def _ends(plan: NetworkPlan, tensors: Sequence[int], what: str) -> list[End]:
    made = []
    for number, index in enumerate(tensors):
        tensor = plan.graph.tensors[index]
        suffix = f"_{number}" if len(tensors) > 1 else ""
        quantized = (tensor.dtype.is_byte or tensor.dtype is DType.INT16) and len(tensor.scales) == 1
        made.append(
            End(
                parameter=f"{'in' if what == 'input' else 'out'}{number if len(tensors) > 1 else ''}",
                suffix=suffix,
                macro=f"{plan.name.upper()}_{what.upper()}{suffix}",
                type=C_TYPES[tensor.dtype],
                comment=in_comment(f"The {what}{' ' + str(number) if len(tensors) > 1 else ''}: {tensor.describe()}"),
                elements=tensor.elements,
                bytes=tensor.nbytes,
                shape=tensor.shape,
                offset=0 if index in plan.graph.nowhere else plan.place(index),
                scale=_float(float(tensor.scale)) if quantized else "",
                zero_point=tensor.zero_point if quantized else 0,
                dtype=tensor.dtype,
                by_rows=index in plan.graph.nowhere,
                away=plan.is_away(index),
            )
        )
    return made


def _float(value: float) -> str:
    text = repr(float(np.float32(value)))
    return (text if "." in text or "e" in text else text + ".0") + "f"
