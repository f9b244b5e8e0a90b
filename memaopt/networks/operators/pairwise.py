"""Operators on two tensors, broadcast against each other as numpy does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.bounded import Activated
from memaopt.networks.operators.elementwise import Elementwise, Int8Table
from memaopt.networks.operators.folded import is_known
from memaopt.networks.operators.form import ACTIVATION, Form
from memaopt.networks.operators.operator import EVERY_INT8, Array, Links, Shape, depth
from memaopt.networks.operators.source import Source


class Pairwise(Elementwise, Activated):
    """What is left to a subclass: the arithmetic of two elements, and its layer."""

    arity: ClassVar[tuple[int, int]] = (2, 2)
    of_integers: ClassVar[np.ufunc | None] = None
    """What it computes of integers that mean themselves; they wrap."""

    @classmethod
    def known(cls, source: Source) -> Array | None:
        source.expect(2, 2)
        first, second = source.tensor(0), source.tensor(1)
        if cls.of_integers is None or not (is_known(first) and is_known(second)):
            return None
        if source.activation(source.options()) is not Activation.NONE:
            raise source.refuse("a fused activation of integers; none is supported")
        try:
            with np.errstate(over="ignore"):
                return np.asarray(cls.of_integers(first.values, second.values))
        except ValueError:
            shapes = f"{list(first.shape)} and {list(second.shape)}"
            raise source.refuse(f"shapes {shapes} do not broadcast") from None

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        common = source.common(source.inputs)
        return cls(**common, activation=source.activation(source.options()))

    def write(self, graph: Graph) -> Form:
        return Form(options={ACTIVATION.name: self.activation.name})

    def output_shape(self, graph: Graph) -> Shape:
        first, second = graph.tensor_of(self).shape, graph.tensor_of(self, 1).shape
        longest = max(len(first), len(second))
        a, b = ((1,) * (longest - len(s)) + s for s in (first, second))
        if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
            raise self.refuse(graph, f"shapes {list(first)} and {list(second)} do not broadcast")
        return tuple(max(x, y) for x, y in zip(a, b, strict=True))

    def table(self, graph: Graph) -> Int8Table:
        tensors = list(graph.tensors)
        for index in (*self.inputs, self.output):
            tensor = tensors[index]
            if tensor.is_constant:
                tensors[index] = dataclasses.replace(tensor, shape=(1,), data=tensor.values.reshape(-1)[:1])
            else:
                tensors[index] = dataclasses.replace(tensor, shape=EVERY_INT8.shape)
        data = tuple(dict.fromkeys(i for i in self.inputs if not graph.tensors[i].is_constant))
        small = Graph(graph.name, tuple(tensors), (self,), data, (self.output,))
        arguments = [tensors[i].values if tensors[i].is_constant else EVERY_INT8 for i in self.inputs]
        return self.evaluate(small, arguments).astype(np.int8)

    def links(self, graph: Graph) -> Links | None:
        outputs = depth(graph.output_of(self))
        inputs = [graph.tensors[i] for i in self.inputs]
        if any(tensor.is_constant or depth(tensor) != outputs for tensor in inputs):
            return None
        return dict.fromkeys(self.inputs, np.arange(outputs))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return self.clamp_words()

    def centred(self, graph: Graph, arguments: Sequence[Array], position: int) -> Int64Array:
        """An input less its zero point."""
        result: Int64Array = arguments[position].astype(np.int64) - graph.tensor_of(self, position).zero_point
        return result

    def ends(self, graph: Graph) -> dict[str, Any]:
        """What the layers of all such operators have: shapes, zero points and clamp."""
        first, second = graph.tensor_of(self, 0), graph.tensor_of(self, 1)
        low, high = self.clamp(graph)
        return {
            "first_shape": first.shape,
            "second_shape": second.shape,
            "first_zero_point": first.zero_point,
            "second_zero_point": second.zero_point,
            "zero_point": self.computed(graph).zero_point,
            "minimum": low,
            "maximum": high,
        }
