"""Pools: the elements under a window, reduced channel by channel."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import ONE, Size2D
from memaopt.networks.operators.bounded import Activated
from memaopt.networks.operators.convolution import image_of
from memaopt.networks.operators.form import ACTIVATION, PADDING, Field, Form, Options
from memaopt.networks.operators.operator import EVERY_INT8, Array, Links, Lowered, Shape, check_rank
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.window import SlidingWindow, Windowed, read_padding
from memaopt.problems import layers


class Pool2D(Windowed, Activated):
    """Over the part of the window inside the image. What is left to a subclass: :meth:`reduce`, and its layer."""

    version: ClassVar[int] = 2
    options: ClassVar[Options | None] = Options(
        "Pool2DOptions", 5,
        (PADDING, Field("strideW", 4), Field("strideH", 4), Field("filterWidth", 4), Field("filterHeight", 4),
         ACTIVATION),
    )  # fmt: skip
    adds_zero_point: ClassVar[bool] = False
    reaches_beyond: ClassVar[bool] = False
    layer_kind: ClassVar[layers.PoolKind]

    kernel: Size2D

    @abstractmethod
    def reduce(self, part: Array) -> Array:
        """[batch, channels] of [batch, rows, columns, channels]."""

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        options = source.required("Pool2DOptions")
        kernel = Size2D(options["filterHeight"], options["filterWidth"])
        stride = Size2D(options["strideH"], options["strideW"])
        padding = read_padding(source, options, kernel, stride, ONE)
        activation = source.activation(options)
        return cls(**source.common(), kernel=kernel, stride=stride, padding=padding, activation=activation)

    def write(self, graph: Graph) -> Form:
        size = {"filterHeight": self.kernel.height, "filterWidth": self.kernel.width}
        return Form(options={**size, **self.window_options(graph), ACTIVATION.name: self.activation.name})

    def window(self, graph: Graph) -> SlidingWindow:
        return SlidingWindow(self.kernel, self.stride, ONE, self.padding)

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        check_rank(graph.place(self), shape, 4)
        return self.image_shape(graph, shape[3])

    def work(self, graph: Graph) -> int:
        """Elements compared or added."""
        return graph.output_of(self).elements * math.prod(self.kernel)

    def check_arithmetic(self, graph: Graph) -> None:
        self.clamp(graph)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return np.clip(self.reduced(graph, arguments[0]), *self.clamp(graph))

    def reduced(self, graph: Graph, image: Array) -> Int64Array:
        """What is under each window, reduced."""
        batch, rows, columns, channels = graph.output_of(self).shape
        _, height, width, _ = image.shape
        result: Int64Array = np.empty((batch, rows, columns, channels), np.int64)
        for y in range(rows):
            top = y * self.stride.height - self.padding.top
            for x in range(columns):
                left = x * self.stride.width - self.padding.left
                bottom, right = min(top + self.kernel.height, height), min(left + self.kernel.width, width)
                result[:, y, x] = self.reduce(image[:, max(top, 0) : bottom, max(left, 0) : right])
        return result

    def layer(self, graph: Graph) -> layers.Pool:
        """The layer of one image."""
        x, y = image_of(graph.tensor_of(self)), image_of(graph.output_of(self))
        return layers.Pool(self.layer_kind, x, y, self.window(graph).layer(), *self.clamp(graph))

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), (self.input,), graph.tensor_of(self).shape[0])

    def links(self, graph: Graph) -> Links | None:
        return {self.input: np.arange(graph.output_of(self).shape[3])}

    def is_identity(self, graph: Graph) -> bool:
        x, y = graph.tensor_of(self), graph.output_of(self)
        one = self.kernel == ONE or x.shape[1:3] == (1, 1)
        return one and x.elements == y.elements and np.array_equal(self.on_every_byte(graph), EVERY_INT8)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (*self.window_words(graph), *self.clamp_words())
