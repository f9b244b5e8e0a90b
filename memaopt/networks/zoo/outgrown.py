"""Networks that outgrow a chip: weights beyond its flash, activations beyond its SRAM, as people keep them in memories
outside. Both have the shapes of the published models, 1000 classes included.
"""

from __future__ import annotations

from collections.abc import Callable

from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

_RELU6 = Activation.RELU6
_LOGITS = 10.0
_ONE, _TWO, _THREE = Size2D(1, 1), Size2D(2, 2), Size2D(3, 3)
_SAMPLES = 2  # images that scales follow from: more would take seconds each


def mobilenet_v1_050_224() -> Graph:
    """Depthwise-separable blocks; 1.3 million weights."""
    b = Builder("mobilenet_v1_050_224", (1, 224, 224, 3), seed=10, samples=_SAMPLES)
    x = b.conv_2d(b.input, 16, _THREE, _RELU6, stride=_TWO)
    blocks = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)]
    for channels, stride in blocks:
        x = b.depthwise_conv_2d(x, _RELU6, stride=Size2D(stride, stride))
        x = b.conv_2d(x, channels, _ONE, _RELU6)
    return b.finish(b.classify(b.average_pool(x), 1000, largest=_LOGITS))


def mobilenet_v2_100_224() -> Graph:
    """Inverted residuals (channels, repeats, stride), each six times as wide inside; 3.5 million weights."""
    b = Builder("mobilenet_v2_100_224", (1, 224, 224, 3), seed=11, samples=_SAMPLES)
    x = b.conv_2d(b.input, 32, _THREE, _RELU6, stride=_TWO)
    x = b.depthwise_conv_2d(x, _RELU6)
    x = b.conv_2d(x, 16, _ONE)
    for channels, repeats, stride in ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)):
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            y = b.conv_2d(x, 6 * b.channels(x), _ONE, _RELU6)
            y = b.depthwise_conv_2d(y, _RELU6, stride=Size2D(step, step))
            y = b.conv_2d(y, channels, _ONE)
            x = b.add(x, y) if repeat else y
    x = b.conv_2d(x, 1280, _ONE, _RELU6)
    return b.finish(b.classify(b.mean(x), 1000, largest=_LOGITS))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "mobilenet_v1_050_224": mobilenet_v1_050_224,
    "mobilenet_v2_100_224": mobilenet_v2_100_224,
}
