"""MobileNetV1 and V2 as published, of any width: what the larger networks of the zoo have in common."""

from __future__ import annotations

from collections.abc import Sequence

from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

#: Of 1000 classes: smaller ones would make every probability the least that int8 holds.
_CLASSES, _LOGITS = 1000, 10.0
_RELU6 = Activation.RELU6
_ONE, _TWO, _THREE = Size2D(1, 1), Size2D(2, 2), Size2D(3, 3)
#: Channels, in those of the first convolution, and stride of each block of V1.
_BLOCKS = [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)]


def v1(b: Builder, first: int) -> Graph:
    """Depthwise-separable blocks behind a convolution to ``first`` channels."""
    x = b.conv_2d(b.input, first, _THREE, _RELU6, stride=_TWO)
    for times, stride in _BLOCKS:
        x = b.depthwise_conv_2d(x, _RELU6, stride=Size2D(stride, stride))
        x = b.conv_2d(x, times * first, _ONE, _RELU6)
    return b.finish(b.classify(b.average_pool(x), _CLASSES, largest=_LOGITS))


def v2(b: Builder, first: int, stages: Sequence[tuple[int, int, int]]) -> Graph:
    """Inverted residuals (channels, repeats, stride), each six times as wide inside, behind convolutions to ``first``
    channels and half of them."""
    x = b.conv_2d(b.input, first, _THREE, _RELU6, stride=_TWO)
    x = b.depthwise_conv_2d(x, _RELU6)
    x = b.conv_2d(x, first // 2, _ONE)
    for channels, repeats, stride in stages:
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            y = b.conv_2d(x, 6 * b.channels(x), _ONE, _RELU6)
            y = b.depthwise_conv_2d(y, _RELU6, stride=Size2D(step, step))
            y = b.conv_2d(y, channels, _ONE)
            x = b.add(x, y) if repeat else y
    x = b.conv_2d(x, 1280, _ONE, _RELU6)
    return b.finish(b.classify(b.mean(x), _CLASSES, largest=_LOGITS))
