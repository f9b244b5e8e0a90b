"""Builds a network layer by layer with random integer weights, and quantises each layer by what it computes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.fixedpoint import Int64Array
from memaopt.networks import checks, reference
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D, Slice, Weighted
from memaopt.networks.operators.window import SlidingWindow, same_padding

Array = npt.NDArray[Any]

_CALIBRATION_INPUTS = 8
_THREE = Size2D(3, 3)


class Builder:
    """Methods append a layer and return its output's index. Activations of ``samples`` seeded inputs go along."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int, samples: int = _CALIBRATION_INPUTS) -> None:
        self.name = name
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.tensors = [int8_tensor("input", shape, 1 / 64, 0)]
        self.operators: list[Operator] = []
        self.input = 0
        inputs = [self.rng.integers(-128, 128, shape).astype(np.int8) for _ in range(samples)]
        self.values: dict[int, list[Array]] = {0: inputs}

    def channels(self, x: int) -> int:
        return self.tensors[x].shape[-1]

    def conv_2d(
        self,
        x: int,
        channels: int,
        kernel: Size2D,
        activation: Activation = Activation.NONE,
        *,
        stride: Size2D = ops.ONE,
        dilation: Size2D = ops.ONE,
        same: bool = True,
        dead: float = 0.0,
    ) -> int:
        """The fraction ``dead`` of the channels gets weights of zero."""
        _, height, width, depth = self.tensors[x].shape
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(height, width)
        weights = self._bell((channels, *kernel, depth), 31)
        weights[self.rng.permutation(channels)[: round(dead * channels)]] = 0
        attributes = {"stride": stride, "dilation": dilation, "padding": padding, "activation": activation}
        return self._weighted(ops.Conv2D, x, weights, 0, (1, rows, columns, channels), attributes)

    def depthwise_conv_2d(
        self,
        x: int,
        activation: Activation,
        *,
        kernel: Size2D = _THREE,
        stride: Size2D = ops.ONE,
        same: bool = True,
        multiplier: int = 1,
    ) -> int:
        """3x3 unless told, ``multiplier`` output channels for each input channel."""
        _, height, width, depth = self.tensors[x].shape
        padding = same_padding(height, width, kernel, stride, ops.ONE) if same else Padding2D()
        rows, columns = SlidingWindow(kernel, stride, ops.ONE, padding).output(height, width)
        attributes = {"stride": stride, "padding": padding, "activation": activation}
        weights = self._bell((1, *kernel, depth * multiplier), 31)
        return self._weighted(ops.DepthwiseConv2D, x, weights, 3, (1, rows, columns, depth * multiplier), attributes)

    def fully_connected(
        self, x: int, units: int, activation: Activation = Activation.NONE, *, largest: float | None = None
    ) -> int:
        """One scale for all weights. ``largest``: the real magnitude to which the outputs are scaled."""
        shape = (*self.tensors[x].shape[:-1], units)
        weights = self._bell((units, self.channels(x)), 31)
        attributes = {"activation": activation}
        return self._weighted(ops.FullyConnected, x, weights, None, shape, attributes, largest=largest)

    def add(self, first: int, second: int, activation: Activation = Activation.NONE) -> int:
        low = high = 0.0
        for values in zip(self.values[first], self.values[second], strict=True):
            reals = sum(self._real(tensor, value) for tensor, value in zip((first, second), values, strict=True))
            low, high = min(low, float(np.min(reals))), max(high, float(np.max(reals)))
        scale, zero_point = quantization(low, high, activation)
        output = int8_tensor(self._name("add"), self.tensors[first].shape, scale, zero_point)
        return self._append(ops.Add, (first, second), output, {"activation": activation})

    def average_pool(self, x: int) -> int:
        """Over the whole image, and flattened."""
        batch, height, width, channels = self.tensors[x].shape
        kernel = Size2D(height, width)
        pooled = self._like(x, "pool", (batch, 1, 1, channels))
        return self.flatten(self._append(ops.AveragePool2D, (x,), pooled, {"kernel": kernel, "stride": kernel}))

    def flatten(self, x: int) -> int:
        batch, *size = self.tensors[x].shape
        return self._append(ops.Reshape, (x,), self._like(x, "reshape", (batch, math.prod(size))), {})

    def last_step(self, x: int) -> int:
        """The last row of an image that is one column wide."""
        batch, height, width, channels = self.tensors[x].shape
        slices = (Slice(0, 1, batch), Slice(height - 1, 1, 1), Slice(0, 1, width), Slice(0, 1, channels))
        last = self._like(x, "last", (batch, 1, width, channels))
        return self.flatten(self._append(ops.StridedSlice, (x,), last, {"slices": slices}))

    def max_pool(self, x: int, kernel: Size2D) -> int:
        """Windows that neither overlap nor reach beyond the image."""
        batch, height, width, channels = self.tensors[x].shape
        pooled = self._like(x, "pool", (batch, height // kernel.height, width // kernel.width, channels))
        return self._append(ops.MaxPool2D, (x,), pooled, {"kernel": kernel, "stride": kernel})

    def resize(self, x: int, factor: int) -> int:
        """Each pixel ``factor`` x ``factor`` times."""
        batch, height, width, channels = self.tensors[x].shape
        larger = self._like(x, "resize", (batch, factor * height, factor * width, channels))
        return self._append(ops.ResizeNearestNeighbor, (x,), larger, {"half_pixel_centers": True})

    def concatenate(self, inputs: tuple[int, ...]) -> int:
        """The channels of all inputs, whose quantisation has to be the same."""
        *size, _ = self.tensors[inputs[0]].shape
        output = self._like(inputs[0], "concat", (*size, sum(map(self.channels, inputs))))
        return self._append(ops.Concatenation, inputs, output, {"axis": len(size)})

    def logistic(self, x: int) -> int:
        return self._append(
            ops.Logistic, (x,), int8_tensor(self._name("logistic"), self.tensors[x].shape, 1 / 256, -128), {}
        )

    def mean(self, x: int) -> int:
        batch, _, _, channels = self.tensors[x].shape
        return self._append(ops.Mean, (x,), self._like(x, "mean", (batch, channels)), {"axes": (1, 2)})

    def pad(self, x: int, paddings: tuple[tuple[int, int], ...]) -> int:
        shape = tuple(size + a + b for size, (a, b) in zip(self.tensors[x].shape, paddings, strict=True))
        return self._append(ops.Pad, (x,), self._like(x, "pad", shape), {"paddings": paddings})

    def classify(self, x: int, classes: int, *, largest: float = 4.0) -> int:
        """A fully connected layer and its softmax; ``largest``: the magnitude of the logits."""
        logits = self.fully_connected(x, classes, largest=largest)
        output = int8_tensor(self._name("softmax"), self.tensors[logits].shape, 1 / 256, -128)
        return self._append(ops.Softmax, (logits,), output, {})

    def finish(self, output: int) -> Graph:
        graph = Graph(self.name, tuple(self.tensors), tuple(self.operators), (self.input,), (output,))
        checks.check(graph)
        return graph

    def _name(self, kind: str) -> str:
        return f"{self.name}/{len(self.operators)}_{kind}"

    def _bell(self, shape: tuple[int, ...], amplitude: int) -> npt.NDArray[np.int8]:
        """Bell-shaped integers: the sum of four uniform ones in [-amplitude, amplitude]."""
        parts = self.rng.integers(-amplitude, amplitude + 1, (4, *shape))
        bell: npt.NDArray[np.int8] = np.clip(parts.sum(axis=0), -127, 127).astype(np.int8)
        return bell

    def _like(self, x: int, kind: str, shape: tuple[int, ...]) -> Tensor:
        """An output with the quantisation of a tensor."""
        return dataclasses.replace(self.tensors[x], name=self._name(kind), shape=shape)

    def _real(self, x: int, value: Array) -> npt.NDArray[np.float64]:
        tensor = self.tensors[x]
        return (value.astype(np.int64) - tensor.zero_point) * np.float64(tensor.scale)

    def _weighted(
        self,
        cls: type[ops.Conv2D] | type[ops.DepthwiseConv2D] | type[ops.FullyConnected],
        x: int,
        weights: npt.NDArray[np.int8],
        axis: int | None,
        shape: tuple[int, ...],
        attributes: dict[str, Any],
        *,
        largest: float | None = None,
    ) -> int:
        """Scales for each channel of ``axis`` (or one), a bias that shifts channels, and a calibrated output."""
        channels = shape[-1]
        name = self._name(cls.kind.lower())
        spread = np.ones(1) if axis is None else self.rng.integers(128, 512, channels) / 256
        # the weights' deviation is 36, so that a layer keeps the magnitude of what it reads
        scales = (spread / (24 * math.sqrt(weights.size // channels))).astype(np.float32)
        bias = np.zeros(channels, np.int32)
        draft = self._draft(cls, x, name, weights, scales, axis or 0, bias, shape, attributes)
        ranges = self._accumulators(draft, x)
        deviation = np.abs(ranges).reshape(-1, channels).max(axis=0) // 4
        deviation[deviation == 0] = deviation.max()
        bias = (deviation * self.rng.integers(-128, 192, channels) // 128).astype(np.int32)
        if largest is not None:
            # what all inputs have in common goes, so that the classes depend on the input
            rows = ranges.reshape(-1, channels)
            bias = (-(rows.sum(axis=0) // len(rows))).astype(np.int32)
        elif attributes["activation"] is Activation.RELU6:
            largest = 9.0  # some outputs reach 6
        reals = (ranges + bias) * (scales.astype(np.float64) * np.float64(self.tensors[x].scale))
        if largest is not None:
            scales = (scales * (largest / np.abs(reals).max())).astype(np.float32)
            reals = (ranges + bias) * (scales.astype(np.float64) * np.float64(self.tensors[x].scale))
        margin = 1.25  # for inputs that were not seen here
        scale, zero_point = quantization(
            margin * float(reals.min()), margin * float(reals.max()), attributes["activation"]
        )
        graph = self._draft(cls, x, name, weights, scales, axis or 0, bias, shape, attributes)
        first = len(self.tensors)
        self.tensors += [graph.tensors[1], graph.tensors[2]]
        return self._append(cls, (x, first, first + 1), int8_tensor(name, shape, scale, zero_point), attributes)

    def _draft(
        self,
        cls: type[Operator],
        x: int,
        name: str,
        weights: Array,
        scales: npt.NDArray[np.float32],
        axis: int,
        bias: Array,
        shape: tuple[int, ...],
        attributes: dict[str, Any],
    ) -> Graph:
        """A network of one layer, whose output's scale is not known yet."""
        zeros, products = np.zeros(len(scales), np.int64), (scales * self.tensors[x].scale).astype(np.float32)
        tensors = (
            self.tensors[x],
            Tensor(f"{name}/weights", weights.shape, DType.INT8, scales, zeros, axis, weights),
            Tensor(f"{name}/bias", bias.shape, DType.INT32, products, zeros, 0, bias),
            int8_tensor(name, shape, 1.0, 0),
        )
        return Graph(name, tensors, (cls(inputs=(0, 1, 2), outputs=(3,), **attributes),), (0,), (3,))

    def _accumulators(self, draft: Graph, x: int) -> Int64Array:
        op = draft.operators[0]
        assert isinstance(op, Weighted)
        return np.stack([op.accumulators(draft, value) for value in self.values[x]])

    def _append(self, cls: type[Operator], inputs: tuple[int, ...], output: Tensor, attributes: dict[str, Any]) -> int:
        """Add the operator and its output, and compute the output's values."""
        index = len(self.tensors)
        self.tensors.append(output)
        op = cls(inputs=inputs, outputs=(index,), location=len(self.operators), **attributes)
        self.operators.append(op)
        data = [i for i in inputs if not self.tensors[i].is_constant]
        graph = Graph(self.name, tuple(self.tensors), (op,), tuple(data), (index,))
        batches = zip(*(self.values[i] for i in data), strict=True)
        self.values[index] = [reference.run(graph, list(values))[0] for values in batches]
        return index


def quantization(low: float, high: float, activation: Activation = Activation.NONE) -> tuple[float, int]:
    """Scale and zero point for reals from ``low`` to ``high``, 0 included, after the activation."""
    if activation is not Activation.NONE:
        low = 0.0
    if activation is Activation.RELU6:
        high = min(high, 6.0)
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = float(np.float32((high - low) / 255))
    return scale, round(-128 - low / scale)
