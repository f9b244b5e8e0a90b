"""Pools and means.

A mean over all of an image, or over windows of equally many elements, is a sum of int32 that is rounded once as
accumulators are. A window that is cut at the image's edge is TFLite's pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.moving import moved, shape_of
from memaopt.networks.formats.onnx.nodes import OnnxNode, axes_of
from memaopt.networks.formats.onnx.values import Held, Pending, Reals, Target, Value
from memaopt.networks.formats.onnx.weighted import rounded
from memaopt.networks.formats.onnx.windows import PaddedWindow, window_of
from memaopt.networks.graph import DType
from memaopt.networks.operators import Bounds, Rounding

_FLOATS = "at most one step apart, at ties: onnxruntime's pool sums floats, this one integers"
_AWAY = "at most one step apart: TFLite's pool rounds ties away from zero, and ONNX's to even"


def max_pool(node: OnnxNode, building: Building) -> Value:
    value = node.value(0)
    old = shape_of(node, value)
    if isinstance(value, Reals) and value.linear is None and (np.diff(value.values) < 0).any():
        raise node.refuse("its input is not quantised before it (QuantizeLinear, DequantizeLinear)")
    if isinstance(value, Pending):
        raise node.refuse("its input is not quantised before it (QuantizeLinear, DequantizeLinear)")
    node.only(storage_order=0)
    image, window = _window(node, old)
    if window.dilation != (1, 1) or len(node.outputs) > 1:
        raise node.refuse("dilations, or indices as a second output; neither is supported")
    shape = (*old[:2], *window.output)
    attributes = {"kernel": window.kernel, "stride": window.stride, "padding": window.padding}

    def move(held: Held) -> Held:
        held = building.laid(building.reshaped(held, image), channels_last(4))
        made = building.like(held, shape, channels_last(4))
        building.add(ops.MaxPool2D, (held.tensor,), made, **attributes)
        return building.reshaped(made, (*shape[:2], *shape[4 - (len(old) - 2) :]))

    return moved(node, building, (*shape[:2], *shape[4 - (len(old) - 2) :]), move)


def average_pool(node: OnnxNode, building: Building) -> Value:
    x = node.linear(0)
    image, window = _window(node, x.shape)
    if window.dilation != (1, 1):
        raise node.refuse("dilations; none are supported")
    shape = (*x.shape[:2], *window.output)
    whole = window.padding == (0, 0, 0, 0) or (node.get("count_include_pad", 0) and not node.get("ceil_mode", 0))

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        held = building.laid(building.reshaped(building.linear(x), image), channels_last(4))
        made = building.activation(shape, channels_last(4), target, node.outputs[0])
        if whole:
            _as_convolution(node, building, held, made, window, bounds)
            building.note(node, _FLOATS)
        elif x.meaning != target.meaning:
            raise node.refuse("its windows are cut at the edge, and its output has another scale than its input")
        else:
            attributes = {"kernel": window.kernel, "stride": window.stride, "padding": window.padding}
            building.add(ops.AveragePool2D, (held.tensor,), made, bounds=bounds, **attributes)
            building.note(node, _AWAY)
        return building.reshaped(made, (*shape[:2], *shape[4 - (len(x.shape) - 2) :]))

    return Pending((*shape[:2], *shape[4 - (len(x.shape) - 2) :]), emit)


def _as_convolution(
    node: OnnxNode, building: Building, held: Held, made: Held, window: PaddedWindow, bounds: Bounds | None
) -> None:
    """A depthwise convolution whose weights are 1 / count."""
    channels = held.shape[1]
    ones = np.ones((1, *window.kernel, channels), np.int64)
    scale = np.array([1 / math.prod(window.kernel)], np.float32)
    weights = building.constant(f"{node.outputs[0]}/ones", ones, DType.INT8, scale, 3)
    building.add(
        ops.DepthwiseConv2D,
        (held.tensor, weights),
        made,
        rounding=Rounding.EVEN,
        bounds=bounds,
        stride=window.stride,
        padding=window.padding,
    )
    rounded(node, building)


def _window(node: OnnxNode, shape: Sequence[int]) -> tuple[tuple[int, ...], PaddedWindow]:
    """The image, of rows and columns, and the window."""
    if len(shape) not in (3, 4):
        raise node.refuse(f"an input {list(shape)}; 1D and 2D are supported")
    image = tuple(shape) if len(shape) == 4 else (*shape[:2], 1, shape[2])
    return image, window_of(node, image[2:], tuple(node.get("kernel_shape") or ()))


def mean(node: OnnxNode, building: Building) -> Value:
    """GlobalAveragePool and ReduceMean: exact as onnxruntime's QLinearGlobalAveragePool is."""
    x = node.linear(0)
    rank = len(x.shape)
    if node.kind == "GlobalAveragePool":
        axes, keep = tuple(range(2, rank)), True
    else:
        given = node.listed("axes", 1)
        axes = tuple(range(rank)) if given is None else axes_of(node, given, rank)
        keep = bool(node.get("keepdims", 1))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    shape = kept if keep else tuple(size for axis, size in enumerate(x.shape) if axis not in axes)

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        held = building.linear(x)
        held = building.settled(held) if held.is_reshaped else held
        if rank == 4 and axes == (2, 3):
            held = building.laid(held, channels_last(4))
        made = building.activation(kept, held.axes, target, node.outputs[0])
        lying = tuple(sorted(held.axes.index(axis) for axis in axes))
        building.add(ops.Mean, (held.tensor,), made, axes=lying, even=True, bounds=bounds)
        return building.reshaped(made, shape)

    return Pending(shape, emit)
