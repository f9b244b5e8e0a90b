"""Operators that clamp their int8 outputs."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import field_validator

from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators.attributes import EVERY_BYTE, Activation, Bounds
from memaopt.networks.operators.operator import Operator, plain
from memaopt.networks.operators.quantization import activation_range


class Bounded(Operator):
    """``bounds``, where given, stand in place of any fused activation: no file has them, they come from operators
    that were folded into this one.
    """

    adds_zero_point: ClassVar[bool] = True
    """Whether it computes clamp(zero point + what is independent of it)."""

    bounds: Bounds | None = None

    @field_validator("bounds")
    @classmethod
    def _check_bounds(cls, bounds: Bounds | None) -> Bounds | None:
        if bounds is not None and not -128 <= bounds.minimum <= bounds.maximum <= 127:
            raise ValueError(f"bounds {list(bounds)} are no range of int8")
        return bounds

    @property
    def fused(self) -> bool:
        return self.bounds is not None

    def clamp(self, graph: Graph) -> Bounds:
        """The range that is left of the outputs."""
        return EVERY_BYTE if self.bounds is None else self.bounds

    def clamped_to(self, graph: Graph, bounds: Bounds) -> Self:
        """The operator with these bounds in place of its own."""
        return self.model_copy(update={"bounds": None if bounds == EVERY_BYTE else bounds})

    def clamp_words(self) -> tuple[str, ...]:
        return () if self.bounds is None else (f"clamp {plain(self.bounds)}",)


class Activated(Bounded):
    """An operator with a fused activation."""

    activation: Activation = Activation.NONE

    def computed(self, graph: Graph) -> Tensor:
        """The tensor whose quantisation the operator computes in: its output, but where a table follows in it."""
        return graph.output_of(self)

    def clamp(self, graph: Graph) -> Bounds:
        if self.bounds is not None:
            return self.bounds
        return activation_range(graph, self, self.activation, self.computed(graph))

    def clamped_to(self, graph: Graph, bounds: Bounds) -> Self:
        """With a fused activation that makes these bounds, or else with the bounds themselves."""
        for activation in Activation:
            if activation_range(graph, self, activation, self.computed(graph)) == bounds:
                return self.model_copy(update={"bounds": None, "activation": activation})
        return self.model_copy(update={"activation": Activation.NONE, "bounds": bounds})

    def clamp_words(self) -> tuple[str, ...]:
        fused = () if self.activation is Activation.NONE else (str(self.activation),)
        return (*super().clamp_words(), *fused)
