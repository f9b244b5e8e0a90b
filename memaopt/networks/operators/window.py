"""Windows that slide over an image: their padding, the output's rows and columns, and their form in a file."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from memaopt.errors import InputError
from memaopt.networks import limits
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import ONE, Padding2D, Size2D
from memaopt.networks.operators.form import PADDING
from memaopt.networks.operators.operator import Operator, Shape, check_rank
from memaopt.networks.operators.source import Source, Values
from memaopt.problems import geometry

_MAX_PADDED_ELEMENTS = 4 * limits.MAX_TENSOR_BYTES
_MAX_ATTRIBUTE = (1 << 15) - 1


class SlidingWindow(NamedTuple):
    """A sliding window over an image of height x width."""

    kernel: Size2D
    stride: Size2D
    dilation: Size2D
    padding: Padding2D

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Output rows and columns, not positive when the window does not fit."""
        rows = height + self.padding.top + self.padding.bottom - self._extent(0)
        columns = width + self.padding.left + self.padding.right - self._extent(1)
        return rows // self.stride.height + 1, columns // self.stride.width + 1

    def _extent(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def layer(self) -> geometry.Window:
        """The window of the layer."""
        pairs = (geometry.Pair(*self.kernel), geometry.Pair(*self.stride), geometry.Pair(*self.dilation))
        return geometry.Window(*pairs, geometry.Padding(self.padding.top, self.padding.left))


def same_padding(height: int, width: int, kernel: Size2D, stride: Size2D, dilation: Size2D) -> Padding2D:
    """TFLite's SAME: ceil(size / stride) outputs, the odd element of padding after (padding.h)."""

    def both(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
        total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        return total // 2, total - total // 2

    top, bottom = both(height, kernel.height, stride.height, dilation.height)
    left, right = both(width, kernel.width, stride.width, dilation.width)
    return Padding2D(top, bottom, left, right)


class Windowed(Operator):
    """An operator on an image, NHWC, that a window slides over."""

    stride: Size2D = ONE
    padding: Padding2D = Padding2D()

    reaches_beyond: ClassVar[bool] = True
    """Whether a window may lie outside the image altogether."""

    @abstractmethod
    def window(self, graph: Graph) -> SlidingWindow:
        """The window, with all its attributes."""

    def check_operands(self, graph: Graph) -> None:
        super().check_operands(graph)
        shape = graph.tensor_of(self).shape
        check_rank(graph.place(self), shape, 4)
        window = self.window(graph)
        for name, values, least in (
            ("kernel", window.kernel, 1),
            ("stride", window.stride, 1),
            ("dilation", window.dilation, 1),
            ("padding", window.padding, 0),
        ):
            if min(values) < least or max(values) > _MAX_ATTRIBUTE:
                raise self.refuse(graph, f"{name} {list(values)}; {least} to {_MAX_ATTRIBUTE} is supported")
        padding = window.padding
        padded = (shape[1] + padding.top + padding.bottom) * (shape[2] + padding.left + padding.right)
        if shape[0] * padded * shape[3] > _MAX_PADDED_ELEMENTS:
            raise self.refuse(
                graph,
                f"the padded input has {shape[0] * padded * shape[3]:,} elements; "
                f"at most {_MAX_PADDED_ELEMENTS:,} are supported",
            )
        kernel = (window.kernel.height,) * 2 + (window.kernel.width,) * 2
        if not self.reaches_beyond and any(x >= k for x, k in zip(padding, kernel, strict=True)):
            raise self.refuse(graph, f"padding {list(padding)} leaves a window {list(window.kernel)} empty")

    def image_shape(self, graph: Graph, channels: int) -> Shape:
        """The output's shape, of so many channels."""
        batch, height, width, _ = graph.tensor_of(self).shape
        return (batch, *self.window(graph).output(height, width), channels)

    def window_words(self, graph: Graph) -> tuple[str, ...]:
        window = self.window(graph)
        words = [f"{window.kernel.height}x{window.kernel.width}"]
        if window.stride != ONE:
            height, width = window.stride
            words.append(f"/{height}" if height == width else f"/{height}x{width}")
        if window.dilation != ONE:
            words.append(f"dilation {window.dilation.height}x{window.dilation.width}")
        if window.padding == Padding2D():
            words.append("valid")
        else:
            same = window.padding == self._same_padding(graph)
            words.append("same" if same else "pad " + ",".join(map(str, window.padding)))
        return tuple(words)

    def window_options(self, graph: Graph) -> dict[str, Any]:
        """Stride and padding in a file; InputError for a padding that is neither SAME nor VALID."""
        window = self.window(graph)
        if window.padding == Padding2D():
            padding = "VALID"
        elif window.padding == self._same_padding(graph):
            padding = "SAME"
        else:
            raise InputError(
                f"{graph.place(self)}: padding {list(window.padding)} is neither SAME nor VALID, so .tflite has no "
                "form for it; write the network before it is simplified"
            )
        return {PADDING.name: padding, "strideH": window.stride.height, "strideW": window.stride.width}

    def _same_padding(self, graph: Graph) -> Padding2D:
        _, height, width, _ = graph.tensor_of(self).shape
        window = self.window(graph)
        return same_padding(height, width, window.kernel, window.stride, window.dilation)


def read_padding(source: Source, options: Values, kernel: Size2D, stride: Size2D, dilation: Size2D) -> Padding2D:
    """The explicit padding that a file's SAME or VALID means."""
    shape = source.tensor(0).shape
    check_rank(source.place, shape, 4)
    if min(*kernel, *stride, *dilation) < 1:
        raise source.refuse(f"kernel {list(kernel)}, stride {list(stride)}, dilation {list(dilation)} must be positive")
    if options[PADDING.name] == "VALID":
        return Padding2D()
    if options[PADDING.name] == "SAME":
        return same_padding(shape[1], shape[2], kernel, stride, dilation)
    raise source.refuse(f"padding {options[PADDING.name]}; SAME and VALID are supported")
