"""Windows of ONNX's convolutions and pools: strides, dilations, pads in each of their forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.operators.attributes import Padding2D, Size2D


class PaddedWindow(NamedTuple):
    kernel: Size2D
    stride: Size2D
    dilation: Size2D
    padding: Padding2D
    output: tuple[int, int]


def window_of(node: OnnxNode, image: Sequence[int], kernel: Sequence[int]) -> PaddedWindow:
    """The window of a node over an image of rows and columns; a node of one dimension has one row."""

    def pair(name: str) -> tuple[int, int]:
        given = tuple(node.get(name) or (1, 1))
        given = (1, *given) if len(given) == 1 else given
        if len(given) != 2 or min(given) < 1:
            raise node.refuse(f"{name} {list(given)}; one or two positive numbers are supported")
        return given[0], given[1]

    stride, dilation = pair("strides"), pair("dilations")
    if len(kernel) == 1:
        kernel = (1, *kernel)
    if len(kernel) != 2 or min(kernel) < 1:
        raise node.refuse(f"a window {list(kernel)}; one or two positive sizes are supported")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    before, after = _pads(node, image, extents, stride)
    sizes = []
    for axis in (0, 1):
        room = image[axis] + before[axis] + after[axis] - extents[axis]
        if room < 0:
            raise node.refuse(f"a window {list(kernel)} of an image {list(image)} does not fit")
        size = room // stride[axis] + 1
        # One more, unless it would start in the padding behind.
        if node.get("ceil_mode", 0) and room % stride[axis] and size * stride[axis] < image[axis] + before[axis]:
            after[axis] += stride[axis] - room % stride[axis]
            size += 1
        sizes.append(size)
    padding = Padding2D(before[0], after[0], before[1], after[1])
    return PaddedWindow(Size2D(*kernel), Size2D(*stride), Size2D(*dilation), padding, (sizes[0], sizes[1]))


def _pads(
    node: OnnxNode, image: Sequence[int], extents: Sequence[int], stride: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Before and after rows and columns."""
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-size // step) - 1) * step + extent - size, 0)
            for size, step, extent in zip(image, stride, extents, strict=True)
        ]
        small = [pad // 2 for pad in total]
        large = [pad - half for pad, half in zip(total, small, strict=True)]
        return (small, large) if auto == "SAME_UPPER" else (large, small)
    given = list(node.get("pads") or (0, 0, 0, 0)) if auto == "NOTSET" else [0, 0, 0, 0]
    if len(given) == 2:
        given = [0, given[0], 0, given[1]]
    if len(given) != 4 or min(given) < 0:
        raise node.refuse(f"pads {given}; as many as there are sides, none negative, are supported")
    return given[:2], given[2:]
