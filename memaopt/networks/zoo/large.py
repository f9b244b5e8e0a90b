"""Larger networks of the zoo: what people run beyond MLPerf Tiny's first four, some of it too much for smaller chips.

MobileNetV2 0.35 at 128x128 and MobileNetV1 0.25 at 224x224 have the shapes of the published models, 1000 classes
included; the wide ResNet those of MLPerf Tiny v1.4's larger image classification model (40 channels instead of 16).
"""

from __future__ import annotations

from collections.abc import Callable

from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import mobilenets
from memaopt.networks.zoo.builder import Builder

_RELU, _RELU6 = Activation.RELU, Activation.RELU6
_ONE, _TWO, _THREE = Size2D(1, 1), Size2D(2, 2), Size2D(3, 3)


def mobilenet_v2_035_128() -> Graph:
    """1.66 million weights."""
    stages = ((8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1))
    return mobilenets.v2(Builder("mobilenet_v2_035_128", (1, 128, 128, 3), seed=6), 16, stages)


def mobilenet_v1_025_224() -> Graph:
    """Its first layers have far more activations than weights."""
    return mobilenets.v1(Builder("mobilenet_v1_025_224", (1, 224, 224, 3), seed=7), 8)


def unet() -> Graph:
    """Segmentation of 64x64 images: two convolutions a level, halved by pooling, doubled by nearest neighbours and
    joined with what the level had on the way down. RELU6 gives what is joined one scale."""
    b = Builder("unet", (1, 64, 64, 3), seed=8)

    def level(x: int, channels: int) -> int:
        return b.conv_2d(b.conv_2d(x, channels, _THREE, _RELU6), channels, _THREE, _RELU6)

    x, skips = b.input, []
    for channels in (8, 16, 32):
        skips.append(level(x, channels))
        x = b.max_pool(skips[-1], _TWO)
    x = level(x, 64)
    for channels in (32, 16, 8):
        up = b.conv_2d(b.resize(x, 2), channels, _THREE, _RELU6)
        x = level(b.concatenate((skips.pop(), up)), channels)
    return b.finish(b.logistic(b.conv_2d(x, 1, _ONE)))


def resnet8_wide() -> Graph:
    """Three residual blocks of 40, 80 and 160 channels: 76.5 million multiply-accumulates."""
    b = Builder("resnet8_wide", (1, 32, 32, 3), seed=9)
    x = b.conv_2d(b.input, 40, _THREE, _RELU)
    for channels, stride in ((40, _ONE), (80, _TWO), (160, _TWO)):
        y = b.conv_2d(x, channels, _THREE, _RELU, stride=stride)
        y = b.conv_2d(y, channels, _THREE)
        if stride == _TWO:
            x = b.conv_2d(x, channels, _ONE, stride=stride)
        x = b.add(x, y, _RELU)
    return b.finish(b.classify(b.average_pool(x), 10))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "mobilenet_v2_035_128": mobilenet_v2_035_128,
    "mobilenet_v1_025_224": mobilenet_v1_025_224,
    "unet": unet,
    "resnet8_wide": resnet8_wide,
}
