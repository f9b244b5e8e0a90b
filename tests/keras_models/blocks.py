"""Image networks of blocks with branches: residual, dense, inception, the MobileNets, EfficientNet and their kin."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tests.keras_models.catalogue import model


def _normed(x: Any, channels: int, kernel: int = 1, strides: int = 1, activation: str | None = "relu") -> Any:
    x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


def _depthwise(x: Any, kernel: int = 3, strides: int = 1, activation: str | None = "relu") -> Any:
    x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


def _ended(given: Any, x: Any, classes: int = 5) -> Any:
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(classes, activation="softmax")(x))


def _gated(x: Any, ratio: int = 4, gate: str = "sigmoid", *, by_pool: bool = False) -> Any:
    """Squeeze and excite, by a pool and 1x1 convolutions or by a mean, a Reshape and dense layers."""
    channels = x.shape[-1]
    if by_pool:
        s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        s = layers.Conv2D(channels // ratio, 1, activation="relu")(s)
        s = layers.Conv2D(channels, 1, activation=gate)(s)
    else:
        s = layers.GlobalAveragePooling2D()(x)
        s = layers.Reshape((1, 1, channels))(s)
        s = layers.Dense(channels // ratio, activation="relu")(s)
        s = layers.Dense(channels, activation=gate)(s)
    return layers.Multiply()([x, s])


@model()
def residual() -> Any:
    given = keras.Input((16, 16, 3))
    x = _normed(given, 8, 3)
    for channels, strides in ((8, 1), (12, 2)):
        y = _normed(_normed(x, channels, 3, strides), channels, 3, activation=None)
        side = x if strides == 1 else _normed(x, channels, 1, strides, None)
        x = layers.ReLU()(layers.Add()([y, side]))
    return _ended(given, x)


@model()
def residual_activated_before() -> Any:
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same")(given)
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(8, 3, padding="same")(y)
        x = layers.Add()([x, y])
    return _ended(given, layers.ReLU()(layers.BatchNormalization()(x)))


@model()
def bottlenecks() -> Any:
    given = keras.Input((17, 15, 3))
    x = _normed(layers.ZeroPadding2D(3)(given), 8, 7, 2)
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for _ in range(2):
        y = _normed(_normed(_normed(x, 4), 4, 3), 8, activation=None)
        x = layers.ReLU()(layers.Add()([x, y]))
    return _ended(given, x)


@model()
def densely_connected() -> Any:
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, padding="same")(given)
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(y)])
    return _ended(given, layers.AveragePooling2D(2)(x))


@model()
def inception() -> Any:
    given = keras.Input((14, 14, 3))
    x = _normed(given, 8, 3)
    branches = [_normed(x, 4), _normed(_normed(x, 4), 6, 3), _normed(_normed(x, 4), 4, 5)]
    pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
    return _ended(given, layers.Concatenate()([*branches, _normed(pooled, 4)]))


@model()
def fire_modules() -> Any:
    given = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(given)
    for _ in range(2):
        s = layers.Conv2D(4, 1, activation="relu")(x)
        wide = layers.Conv2D(6, 3, padding="same", activation="relu")(s)
        x = layers.Concatenate()([layers.Conv2D(6, 1, activation="relu")(s), wide])
    return _ended(given, layers.Conv2D(6, 1)(x))


@model()
def mobilenet_v1() -> Any:
    given = keras.Input((32, 32, 3))
    x = _normed(given, 4, 3, 2, "relu6")
    for channels, strides in ((8, 1), (12, 2), (12, 1), (16, 2), (16, 1)):
        x = _normed(_depthwise(x, 3, strides, "relu6"), channels, activation="relu6")
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Conv2D(5, 1)(layers.Dropout(0.1)(x))
    return keras.Model(given, layers.Softmax()(layers.Reshape((5,))(x)))


@model()
def mobilenet_v2() -> Any:
    given = keras.Input((32, 32, 3))
    x = _normed(given, 4, 3, 2, "relu6")
    for channels, strides in ((4, 1), (6, 2), (6, 1), (8, 2)):
        y = _normed(x, 3 * x.shape[-1], activation="relu6")
        if strides == 2:
            y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
            y = layers.DepthwiseConv2D(3, strides=2, use_bias=False)(y)
            y = layers.Activation("relu6")(layers.BatchNormalization()(y))
        else:
            y = _depthwise(y, activation="relu6")
        y = _normed(y, channels, activation=None)
        x = layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y
    return _ended(given, _normed(x, 16, activation="relu6"))


@model()
def mobilenet_v3() -> Any:
    given = keras.Input((32, 32, 3))
    x = _normed(given, 4, 3, 2, "hard_swish")
    for channels, strides, gated, act in ((4, 2, True, "relu"), (6, 1, False, "relu"), (8, 2, True, "hard_swish")):
        y = _normed(x, 4 * x.shape[-1], activation=act)
        y = _depthwise(y, 5 if gated else 3, strides, act)
        y = _gated(y, gate="hard_sigmoid", by_pool=True) if gated else y
        y = _normed(y, channels, activation=None)
        x = layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y
    x = layers.GlobalAveragePooling2D(keepdims=True)(_normed(x, 16, activation="hard_swish"))
    x = layers.Conv2D(16, 1, activation="hard_swish")(x)
    return keras.Model(given, layers.Softmax()(layers.Flatten()(layers.Conv2D(5, 1)(x))))


@model()
def efficientnet() -> Any:
    given = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(given)
    x = layers.Normalization(mean=[0.4, 0.4, 0.4], variance=[0.05, 0.05, 0.05])(x)
    x = _normed(x, 4, 3, 2, "swish")
    for channels, strides, kernel in ((4, 1, 3), (6, 2, 5), (6, 1, 5)):
        y = _normed(x, 4 * x.shape[-1], activation="swish")
        y = _gated(_depthwise(y, kernel, strides, "swish"), by_pool=True)
        y = layers.Dropout(0.1)(_normed(y, channels, activation=None))
        x = layers.Add()([x, y]) if strides == 1 and x.shape[-1] == channels else y
    return _ended(given, _normed(x, 16, activation="swish"))


@model()
def gated_by_dense() -> Any:
    given = keras.Input((16, 16, 3))
    return _ended(given, _gated(_normed(given, 8, 3)))


@model()
def shuffled_channels() -> Any:
    given = keras.Input((16, 16, 3))
    x = _normed(given, 8, 3, 2)
    y = layers.Conv2D(8, 1, groups=2, activation="relu")(x)
    h, w, c = y.shape[1:]
    y = layers.Permute((1, 2, 4, 3))(layers.Reshape((h, w, 2, c // 2))(y))
    y = _depthwise(layers.Reshape((h, w, c))(y))
    return _ended(given, layers.Concatenate()([x, y]))


@model()
def split_channels() -> Any:
    given = keras.Input((16, 16, 3))
    x = _normed(given, 8, 3, 2)
    kept, worked = keras.ops.split(x, 2, axis=-1)
    return _ended(given, layers.Concatenate()([kept, _normed(_depthwise(worked), 4)]))


@model()
def xception() -> Any:
    given = keras.Input((17, 17, 3))
    x = _normed(given, 6, 3)
    y = layers.BatchNormalization()(layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(x))
    y = layers.SeparableConv2D(8, 3, padding="same", use_bias=False)(layers.ReLU()(y))
    y = layers.MaxPooling2D(3, 2, padding="same")(layers.BatchNormalization()(y))
    return _ended(given, layers.Add()([y, _normed(x, 8, 1, 2, None)]))


@model()
def convnext() -> Any:
    given = keras.Input((16, 16, 3))
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(8, 4, strides=4)(given))
    y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(3, padding="same")(x))
    y = layers.Dense(8)(layers.Dense(16, activation="gelu")(y))
    return _ended(given, layers.Add()([x, y]))


@model()
def attentive_channels() -> Any:
    given = keras.Input((12, 12, 3))
    x = _normed(given, 8, 3)
    least, most = keras.ops.mean(x, axis=-1, keepdims=True), keras.ops.max(x, axis=-1, keepdims=True)
    weight = layers.Conv2D(1, 5, padding="same", activation="sigmoid")(layers.Concatenate()([least, most]))
    return _ended(given, layers.Multiply()([x, weight]))
