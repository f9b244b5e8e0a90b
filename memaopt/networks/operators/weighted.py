"""Operators with constant weights, and how their channels go where weights are zero."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.attributes import Rounding
from memaopt.networks.operators.bounded import Activated
from memaopt.networks.operators.operator import Array, check_rank, depth
from memaopt.networks.operators.quantization import INT8_MAX, INT8_MIN, SAFE
from memaopt.networks.operators.source import Source
from memaopt.problems.step_functions import AccumulatorRange, Requantization

Mask = npt.NDArray[np.bool_]


class Weighted(Activated):
    """An operator with constant weights and, optionally, a bias: inputs are (input, weights[, bias]).

    ``wide``: weights are int16, of nine bits at most; simplification makes int8 of them. ``rounding``: .tflite files
    have their own alone. ``single``: scales are multiplied and divided in float, as SVDF's are.
    """

    arity: ClassVar[tuple[int, int]] = (2, 3)
    weights_rank: ClassVar[int] = 4
    channel_axis: ClassVar[int] = 0
    """The axis of the weights that runs over output channels."""
    slowness: ClassVar[int] = 1
    """Of a multiply-accumulate in numpy, against one of a matrix product."""

    wide: bool = False
    rounding: Rounding = Rounding.TFLITE
    single: bool = False

    @property
    def fused(self) -> bool:
        return self.wide or self.rounding is not Rounding.TFLITE or self.single or super().fused

    @property
    def weights(self) -> int:
        return self.inputs[1]

    @property
    def bias(self) -> int | None:
        return self.inputs[2] if len(self.inputs) == 3 else None

    @abstractmethod
    def accumulators(self, graph: Graph, value: Array) -> Int64Array:
        """The int32 accumulators, bias included, of the output's elements, for the value of its input."""

    @abstractmethod
    def narrowed_weights(self, graph: Graph, outputs: Array, inputs: Array) -> Array:
        """The weights of some output and input channels."""

    @staticmethod
    def operands(source: Source) -> dict[str, Any]:
        """The attributes that every such operator has, from a file."""
        source.expect(2, 3)
        inputs = source.inputs if source.inputs[-1] >= 0 else source.inputs[:-1]
        source.tensor(1)
        return source.common(inputs)

    def check_types(self, graph: Graph) -> None:
        self.expect(graph, self.input, "input", DType.INT8)
        self.expect(graph, self.weights, "weights", DType.INT16 if self.wide else DType.INT8)
        self.expect(graph, self.output, "output", DType.INT8)
        if self.bias is not None:
            self.expect(graph, self.bias, "bias", DType.INT32)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """Weights are symmetric, with one scale or one for each channel."""
        super().check_scales(graph, operands[:1])
        weights, axis = graph.tensors[self.weights], self.channel_axis
        if not weights.is_constant:
            raise self.refuse(graph, f"weights {weights.name!r} are computed; constant ones are supported")
        check_rank(graph.place(self), weights.shape, self.weights_rank)
        channels = weights.shape[axis]
        if len(weights.scales) not in (1, channels) or (weights.is_per_channel and weights.quantized_dimension != axis):
            raise self.refuse(
                graph,
                f"weights have {len(weights.scales)} scales on axis {weights.quantized_dimension}; "
                f"one, or {channels} on axis {axis}, are supported",
            )
        if weights.zero_points.any():
            raise self.refuse(graph, "weights have a zero point other than 0, the only one supported")
        if self.bias is not None:
            bias = graph.tensors[self.bias]
            if not bias.is_constant or bias.elements != channels:
                raise self.refuse(graph, f"bias {bias.name!r} is {bias.describe()}; {channels} constants are supported")

    def macs(self, graph: Graph) -> int:
        weights = graph.tensors[self.weights]
        return graph.output_of(self).elements * (weights.elements // weights.shape[self.channel_axis])

    def bias_values(self, graph: Graph) -> Int64Array:
        """The bias of each output channel, 0 where there is none."""
        if self.bias is None:
            return np.zeros(graph.tensors[self.weights].shape[self.channel_axis], np.int64)
        return graph.tensors[self.bias].values.astype(np.int64).reshape(-1)

    def weight_scales(self, graph: Graph) -> npt.NDArray[np.float64]:
        """input_scale * weights_scale / output_scale in double (or float), for each output channel."""
        weights = graph.tensors[self.weights]
        if self.single:
            with np.errstate(over="ignore", under="ignore"):
                product = graph.tensor_of(self).scale * weights.scales / graph.output_of(self).scale
            scales = product.astype(np.float64)
            return np.ascontiguousarray(np.broadcast_to(scales, (weights.shape[self.channel_axis],)))
        product = np.float64(graph.tensor_of(self).scale) * weights.scales.astype(np.float64)
        scales = product / np.float64(graph.output_of(self).scale)
        return np.ascontiguousarray(np.broadcast_to(scales, (weights.shape[self.channel_axis],)))

    def rounded_once(self, graph: Graph) -> Requantization:
        """The requantisation by ONNX's factor: input_scale * weights_scale / output_scale in float32."""
        weights, y = graph.tensors[self.weights], graph.output_of(self)
        with np.errstate(over="ignore", under="ignore"):
            product = graph.tensor_of(self).scale * weights.scales.astype(np.float32) / y.scale
        scales = np.ascontiguousarray(np.broadcast_to(product, (weights.shape[self.channel_axis],))).astype(np.float64)
        widest = np.abs(np.stack(self.accumulator_range(graph).ends)).max(axis=0) * scales
        if not np.isfinite(scales).all() or widest.max() > SAFE:
            raise self.refuse(graph, f"a rescaled accumulator can reach {widest.max():g}, which does not fit 32 bits")
        return Requantization(y.zero_point, *self.clamp(graph), scales=scales, even=self.rounding is Rounding.EVEN)

    def accumulator_range(self, graph: Graph) -> AccumulatorRange:
        """What the accumulators can become, channel by channel, bias included, over all int8 inputs.

        Raises UnsupportedModelError if one could leave 32 bits on the way (bias is added last).
        """
        weights = graph.tensors[self.weights].values
        axes = tuple(axis for axis in range(weights.ndim) if axis != self.channel_axis)
        positive = np.maximum(weights, 0).sum(axis=axes, dtype=np.int64)
        negative = np.minimum(weights, 0).sum(axis=axes, dtype=np.int64)
        zero_point = graph.tensor_of(self).zero_point
        least, most = INT8_MIN - zero_point, INT8_MAX - zero_point
        low, high = positive * least + negative * most, positive * most + negative * least
        bias = self.bias_values(graph)
        widest = max(int(np.abs(end).max()) for end in (low, high, low + bias, high + bias))
        if widest > SAFE:
            raise self.refuse(graph, f"an accumulator can reach {widest}, which does not fit 32 bits")
        return AccumulatorRange(low + bias, high + bias)

    def narrowed(self, graph: Graph, outputs: Array, inputs: Array, added: Int64Array, tensors: list[Tensor]) -> Self:
        """The operator of some output and input channels, with what is ``added`` to each output channel's
        accumulators in its bias; new constants are appended to ``tensors``."""
        weights = graph.tensors[self.weights]
        bias = self.bias_values(graph) + added
        data = np.ascontiguousarray(self.narrowed_weights(graph, outputs, inputs))
        tensors.append(_constant(weights, data, outputs))
        indices = [self.input, len(tensors) - 1]
        if self.bias is not None or bias.any():
            source = self._bias_like(graph) if self.bias is None else graph.tensors[self.bias]
            tensors.append(_constant(source, bias[outputs].astype(source.dtype.value), outputs))
            indices.append(len(tensors) - 1)
        return self.model_copy(update={"inputs": tuple(indices)})

    def sums_dtype(self, graph: Graph) -> DType:
        """What holds accumulators, and the bias."""
        return DType.INT32

    def _bias_like(self, graph: Graph) -> Tensor:
        """A description of the bias that an operator without one would have."""
        weights = graph.tensors[self.weights]
        scales = (weights.scales * graph.tensor_of(self).scale).astype(np.float32)
        return Tensor(f"{weights.name}/bias", (), self.sums_dtype(graph), scales, np.zeros(len(scales), np.int64))


class Mixing(Weighted):
    """An operator each of whose output channels may depend on every input channel (of its group)."""

    @abstractmethod
    def contribution(self, graph: Graph, value: Array) -> tuple[Mask, Int64Array]:
        """For each input channel: whether what it adds to the accumulators is the same at every position, given the
        values; and what it adds, [outputs, inputs] (right where the mask says so). For an operator of one group."""

    def one_group(self, graph: Graph) -> bool:
        """Whether every output channel reads every input channel."""
        return graph.tensors[self.weights].shape[-1] == depth(graph.tensor_of(self))

    def narrowed_weights(self, graph: Graph, outputs: Array, inputs: Array) -> Array:
        chosen: Array = graph.tensors[self.weights].values[outputs][..., inputs]
        return chosen


def _constant(tensor: Tensor, data: Array, outputs: Array) -> Tensor:
    """The constant with other data; scales for each channel are selected along."""
    data.setflags(write=False)
    changes: dict[str, Any] = {"data": data, "shape": data.shape}
    if tensor.is_per_channel:
        changes |= {"scales": tensor.scales[outputs], "zero_points": tensor.zero_points[outputs]}
    return dataclasses.replace(tensor, **changes)


def settled(bias: Int64Array, q: Requantization, weights: npt.NDArray[np.int8]) -> tuple[Int64Array, Requantization]:
    """Bias and requantisation with the same outputs, where channels without weights have an ordinary scale.

    Training leaves such channels scales that no fast output stage covers. Their accumulator is the bias alone, so
    another channel's scale does as well, with the bias that it takes to the same output. ``weights`` is [M, taps].
    """
    zero = ~weights.astype(bool).any(axis=1)
    wanted = q.apply(bias)
    if zero.all() or not zero.any():
        return bias, q
    scales = q.real_scales
    ordinary = int(np.flatnonzero(~zero)[np.argsort(scales[~zero])[(~zero).sum() // 2]])
    if not 0 < scales[ordinary] < 1:
        return bias, q
    nearest = np.rint((wanted - q.zero_point) / scales[ordinary]).astype(np.int64)
    moved = np.where(zero, nearest, bias)

    def shared(values: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        return None if values is None else np.where(zero, values[ordinary], values)

    replaced = dataclasses.replace(
        q, multipliers=shared(q.multipliers), shifts=shared(q.shifts), scales=shared(q.scales)
    )
    return (moved, replaced) if np.array_equal(replaced.apply(moved), wanted) else (bias, q)
