"""Layers made by hand: one operator with its tensors, as a network of one layer.

>>> import numpy as np
>>> layer = Conv2D(input=(8, 8, 4), weights=np.ones((6, 3, 3, 4), np.int8), scales=(0.05, 0.02, 0.1))
>>> layer.graph().name
'conv_2d_8x8x4_6'
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from memaopt.errors import InputError
from memaopt.inputs import Input
from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D
from memaopt.networks.operators.window import SlidingWindow, same_padding

Array = npt.NDArray[Any]
Extent = Annotated[int, Field(strict=True, ge=1, lt=1 << 31)]
Scale = Annotated[float, Field(gt=0)]
Int8 = Annotated[int, Field(strict=True, ge=-128, le=127)]


class HandmadeLayer(Input):
    """What the layers have in common: int8 weights, an int32 bias for each output channel, scales, zero points.

    ``scales`` are those of the input, of the weights (one, or one for each output channel) and of the output;
    ``zero_points`` those of the input and of the output. real = scale * (integer - zero point). Whatever TFLite's int8
    kernels could not compute is an InputError or an UnsupportedModelError when the layer's graph is made.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    input: tuple[Extent, ...] = Field(min_length=1, max_length=3)
    weights: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None = None
    scales: tuple[Scale, Scale | tuple[Scale, ...], Scale]
    zero_points: tuple[Int8, Int8] = (0, 0)
    activation: Literal["none", "relu", "relu_n1_to_1", "relu6"] = "none"

    def graph(self) -> Graph:
        """The layer as a network."""
        raise NotImplementedError

    def _one(self, kind: str, op: type[Operator], axis: int, output: tuple[int, ...], **attributes: Any) -> Graph:
        """The network of one operator; ``axis`` is that of the weights' output channels."""
        outputs, shape = output[-1], (1, *self.input)
        name = f"{kind}_{'x'.join(map(str, self.input))}_{outputs}"
        x = int8_tensor("input", shape, self.scales[0], self.zero_points[0])
        y = int8_tensor("output", output, self.scales[2], self.zero_points[1])
        scales = np.atleast_1d(np.asarray(self.scales[1], np.float32))
        if scales.shape not in ((1,), (outputs,)):
            raise InputError(
                f"{kind}: {scales.size} scales of weights; give one, or one for each of {outputs} channels"
            )
        zeros, weights = np.zeros(len(scales), np.int64), _integers(kind, "weights", self.weights, np.int8)
        bias = np.zeros(outputs, np.int32) if self.bias is None else _integers(kind, "bias", self.bias, np.int32)
        if bias.shape != (outputs,):
            raise InputError(
                f"{kind}: a bias of shape {list(bias.shape)}; it has one value for each of {outputs} channels"
            )
        products = (scales * np.float32(self.scales[0])).astype(np.float32)
        tensors = (
            x,
            Tensor("weights", weights.shape, DType.INT8, scales, zeros, axis, weights),
            Tensor("bias", bias.shape, DType.INT32, products, zeros, 0, bias),
            y,
        )
        made = op(inputs=(0, 1, 2), outputs=(3,), activation=Activation(self.activation), **attributes)  # type: ignore[call-arg]
        graph = Graph(name, tensors, (made,), (0,), (3,))
        checks.check(graph)
        return graph


class _Windowed(HandmadeLayer):
    """``padding``: ``same`` or ``valid``, as TFLite means them; ``stride`` and ``dilation``: rows, columns."""

    stride: tuple[Extent, Extent] = (1, 1)
    dilation: tuple[Extent, Extent] = (1, 1)
    padding: Literal["same", "valid"] = "same"

    def _window(self, kind: str) -> tuple[dict[str, Any], tuple[int, int]]:
        """The attributes of the window, and the rows and columns of the output."""
        if len(self.input) != 3 or np.ndim(self.weights) != 4:
            raise InputError(f"{kind}: the input is (height, width, channels), and weights have four axes")
        height, width, _ = self.input
        kernel, stride, dilation = Size2D(*self.weights.shape[1:3]), Size2D(*self.stride), Size2D(*self.dilation)
        if min(kernel) < 1:
            raise InputError(f"{kind}: weights of shape {list(self.weights.shape)} have no window")
        same = self.padding == "same"
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        rows, columns = SlidingWindow(kernel, stride, dilation, padding).output(height, width)
        return {"stride": stride, "dilation": dilation, "padding": padding}, (rows, columns)


class Conv2D(_Windowed):
    """``input`` (height, width, channels); ``weights`` [outputs, rows, columns, channels]."""

    def graph(self) -> Graph:
        attributes, size = self._window("conv_2d")
        return self._one("conv_2d", ops.Conv2D, 0, (1, *size, self.weights.shape[0]), **attributes)


class DepthwiseConv2D(_Windowed):
    """``input`` (height, width, channels); ``weights`` [1, rows, columns, outputs], outputs a multiple of channels."""

    def graph(self) -> Graph:
        attributes, size = self._window("depthwise_conv_2d")
        return self._one("depthwise_conv_2d", ops.DepthwiseConv2D, 3, (1, *size, self.weights.shape[3]), **attributes)


class FullyConnected(HandmadeLayer):
    """``input`` (inputs,) or (rows, inputs); ``weights`` [outputs, inputs]."""

    def graph(self) -> Graph:
        if np.ndim(self.weights) != 2 or len(self.input) not in (1, 2):
            raise InputError("fully_connected: the input is (inputs,) or (rows, inputs), and weights have two axes")
        rows = self.input[0] if len(self.input) == 2 else 1
        return self._one("fully_connected", ops.FullyConnected, 0, (rows, self.weights.shape[0]))


def _integers(kind: str, what: str, given: Array, dtype: type[Any]) -> Array:
    """The array in its type; InputError if a value changes."""
    array = np.asarray(given)
    held = np.iinfo(dtype)
    if array.dtype.kind not in "iu" or (array.size and (array.min() < held.min or array.max() > held.max)):
        raise InputError(f"{kind}: {what} are integers of {np.dtype(dtype).name}, not {array.dtype} beyond it")
    return array.astype(dtype)
