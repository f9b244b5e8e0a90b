"""Networks of the zoo for signals: their input is a window that slides along time, which is its rows."""

from __future__ import annotations

from collections.abc import Callable

from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

_RELU = Activation.RELU
_NONE = (0, 0)


def causal_ds_cnn() -> Graph:
    """Keyword spotting on 31 frames of 10 values: depthwise-separable blocks that look back in time, and a mean over
    the time that is left."""
    b = Builder("causal_ds_cnn", (1, 31, 10, 1), seed=11)
    x = b.conv_2d(b.input, 32, Size2D(5, 4), _RELU, stride=Size2D(1, 2), same=False)
    for _ in range(3):
        x = b.depthwise_conv_2d(b.pad(x, (_NONE, _NONE, (1, 1), _NONE)), _RELU, same=False)
        x = b.conv_2d(x, 32, Size2D(1, 1), _RELU)
    return b.finish(b.classify(b.average_pool(x), 12))


def tcn() -> Graph:
    """A temporal convolutional network on 40 frames of 8 values: dilated causal convolutions with residuals, of which
    the last step alone is classified."""
    b = Builder("tcn", (1, 40, 1, 8), seed=12)
    x = b.conv_2d(b.input, 16, Size2D(1, 1), _RELU)
    for dilation in (1, 2, 4):
        y = b.pad(x, (_NONE, (2 * dilation, 0), _NONE, _NONE))
        y = b.conv_2d(y, 16, Size2D(3, 1), _RELU, dilation=Size2D(dilation, 1), same=False)
        x = b.add(x, b.conv_2d(y, 16, Size2D(1, 1)), _RELU)
    return b.finish(b.classify(b.last_step(x), 5))


def cnn_1d() -> Graph:
    """Activities from an accelerometer: 64 samples of 3 axes, convolutions with strides along time, a pool, and fully
    connected layers on all that is left."""
    b = Builder("cnn_1d", (1, 64, 1, 3), seed=13)
    x = b.conv_2d(b.input, 16, Size2D(5, 1), _RELU, stride=Size2D(2, 1), same=False)
    x = b.conv_2d(x, 24, Size2D(3, 1), _RELU, same=False)
    x = b.max_pool(x, Size2D(2, 1))
    return b.finish(b.classify(b.fully_connected(b.flatten(x), 16, _RELU), 6))


NETWORKS: dict[str, Callable[[], Graph]] = {"causal_ds_cnn": causal_ds_cnn, "tcn": tcn, "cnn_1d": cnn_1d}
