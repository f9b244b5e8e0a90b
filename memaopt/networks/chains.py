"""Operators of a network as one: those of a chain, whose tensors between them nobody else sees.

No file has such an operator; it is put in the place of others where a network is computed depth first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from pydantic import SerializeAsAny

from memaopt.errors import InputError
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Lowered, Operator
from memaopt.networks.operators.convolution import image_of
from memaopt.networks.operators.of_no_file import Unfiled
from memaopt.networks.operators.operator import Array, Shape
from memaopt.problems.geometry import Image
from memaopt.problems.layers import FullyConnected, LayerChain, Part

Chains = tuple[tuple[int, int], ...]
"""Ranges of positions of operators, each from the first to before the last."""


def space_of(chains: Chains) -> str:
    """What a choice with these chains is the best of: where there are none, layers by themselves alone are compared."""
    return "in this order, layer by layer or depth first" if chains else "layer by layer in this order"


class DepthFirst(Unfiled):
    """``operators`` in execution order: the only input is the first one's, the output that of the last."""

    kind: ClassVar[str] = "DEPTH_FIRST"

    operators: tuple[SerializeAsAny[Operator], ...]

    def output_shape(self, graph: Graph) -> Shape:
        return graph.output_of(self).shape

    def check_arithmetic(self, graph: Graph) -> None:
        for op in self.operators:
            op.check_arithmetic(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        values = {self.input: arguments[0]}
        for op in self.operators:
            found = op.evaluate(graph, [values[t] if t in values else graph.tensors[t].values for t in op.inputs])
            output = graph.output_of(op)
            values[op.output] = found.reshape(output.shape).astype(output.dtype.value)
        return values[self.output]

    def lower(self, graph: Graph) -> Lowered | None:
        chain = chain_of(graph, self.operators)
        return None if chain is None else Lowered(chain, (self.input,))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return tuple(op.kind for op in self.operators)

    def macs(self, graph: Graph) -> int:
        return sum(op.macs(graph) for op in self.operators)


def lowered(graph: Graph, operators: Sequence[Operator]) -> tuple[Lowered | None, ...]:
    """What operators compute, as layers; None of those that are none."""
    return tuple(None if op.alias else op.lower(graph) for op in operators)


def chain_of(
    graph: Graph, operators: Sequence[Operator], layers: Sequence[Lowered | None] | None = None
) -> LayerChain | None:
    """Operators as a chain; None unless each computes an int8 image from those of others, or from one from outside.
    The last one may be fully connected, of such an image flattened. ``layers``: what they are :func:`lowered` to, where
    that is known."""
    if operators[-1].alias:
        return None
    tensors, flat = [operators[0].input], dict[int, int]()
    parts = []
    for op, low in zip(operators, layers or lowered(graph, operators), strict=True):
        if op.alias and op.input in tensors[1:]:
            flat[op.output] = op.input
            continue
        if low is None or low.batch != 1:
            return None
        dense = isinstance(low.layer, FullyConnected) and op is operators[-1]
        read = [flat.get(t, t) if dense else t for t in low.inputs]
        if any(t not in tensors for t in read):
            return None
        parts.append(Part(low.layer, tuple(map(tensors.index, read))))
        tensors.append(op.output)
    images = [_image(graph.tensors[t]) for t in tensors]
    last = images.pop() or _vector(graph.tensors[tensors[-1]])
    if any(image is None for image in images) or last is None:
        return None
    by_rows = operators[0].input in graph.nowhere
    return LayerChain(tuple(parts), (*(image for image in images if image is not None), last), by_rows)


def _image(tensor: Tensor) -> Image | None:
    """An int8 image of a batch of one."""
    shape = tensor.shape
    return image_of(tensor) if tensor.dtype.is_byte and len(shape) == 4 and shape[0] == 1 else None


def _vector(tensor: Tensor) -> Image | None:
    """One position, which sums of an image may be."""
    return Image(1, 1, tensor.elements) if tensor.dtype.is_byte and tensor.shape[-1:] == (tensor.elements,) else None


def is_closed(graph: Graph, first: int, last: int) -> bool:
    """Whether nobody but the operators from ``first`` to before ``last`` reads what is between them, and all of it is
    read there; or reads the input, where that comes by rows."""
    inside = range(first, last)
    if graph.operators[first].input in graph.nowhere and graph.consumers[graph.operators[first].input][-1] >= last:
        return False
    between = [graph.operators[i].output for i in inside[:-1]]
    return all(
        t not in graph.outputs and t in graph.consumers and all(i in inside for i in graph.consumers[t])
        for t in between
    )


def depth_first(graph: Graph, chains: Chains) -> Graph:
    """The network with the operators of each chain as one; InputError for ranges that are no chains."""
    found, ordered = graph, sorted(chains)
    for one, other in pairwise(ordered):
        if other[0] < one[1]:
            raise InputError(f"{graph.name}: chains {list(one)} and {list(other)} share operators")
    for first, last in reversed(ordered):
        if not (0 <= first < last - 1 < len(found.operators) and is_closed(graph, first, last)):
            raise InputError(f"{graph.name}: operators {first} to {last} are no chain")
        if chain_of(graph, found.operators[first:last]) is None:  # it would be no layer, and cost nothing
            raise InputError(f"{graph.name}: operators {first} to {last} are no chain: each has to make rows of rows")
        found = as_one(found, first, last)
    return found


def as_one(graph: Graph, first: int, last: int) -> Graph:
    """The network with the operators of a chain, which these are known to be, as one."""
    inner = graph.operators[first:last]
    whole = DepthFirst(inputs=(inner[0].input,), outputs=inner[-1].outputs, location=inner[0].location, operators=inner)
    return graph.replace(operators=(*graph.operators[:first], whole, *graph.operators[last:]))
