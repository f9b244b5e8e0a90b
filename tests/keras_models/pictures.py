"""Networks whose outputs are pictures or several ends: U-Nets, autoencoders, detectors; and several inputs."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tests.keras_models.catalogue import model


def _conv(x: Any, channels: int, kernel: int = 3, strides: int = 1) -> Any:
    return layers.Conv2D(channels, kernel, strides=strides, padding="same", activation="relu")(x)


def _unet(up: Any) -> Any:
    given = keras.Input((16, 16, 1))
    first = _conv(given, 6)
    second = _conv(layers.MaxPooling2D()(first), 8)
    x = _conv(layers.MaxPooling2D()(second), 12)
    x = _conv(layers.Concatenate()([up(x, 8), second]), 8)
    x = _conv(layers.Concatenate()([up(x, 6), first]), 6)
    return keras.Model(given, layers.Conv2D(2, 1, activation="sigmoid")(x))


@model()
def unet_transposed() -> Any:
    return _unet(lambda x, c: layers.Conv2DTranspose(c, 2, strides=2, padding="same")(x))


@model()
def unet_nearest() -> Any:
    return _unet(lambda x, c: _conv(layers.UpSampling2D()(x), c))


@model()
def unet_bilinear() -> Any:
    return _unet(lambda x, c: layers.UpSampling2D(interpolation="bilinear")(x))


@model("float ends")
def autoencoder() -> Any:
    given = keras.Input((16, 16, 1))
    x = _conv(_conv(given, 6, 3, 2), 8, 3, 2)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(given, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


@model()
def variational() -> Any:
    given = keras.Input((48,))
    x = layers.Dense(16, activation="relu")(given)
    mean, spread = layers.Dense(4, name="mean")(x), keras.ops.exp(layers.Dense(4, name="spread")(x))
    back = layers.Dense(48, activation="tanh")(layers.Dense(16, activation="relu")(mean))
    return keras.Model(given, [back, mean, spread])


@model()
def super_resolution() -> Any:
    import tensorflow as tf

    given = keras.Input((12, 12, 1))
    x = layers.Conv2D(4, 3, padding="same")(_conv(_conv(given, 8, 5), 6))
    return keras.Model(given, layers.Lambda(lambda y: tf.nn.depth_to_space(y, 2), output_shape=(24, 24, 1))(x))


@model()
def spatial_pyramid() -> Any:
    given = keras.Input((16, 16, 3))
    x = _conv(given, 8, 3, 2)
    branches = [layers.Conv2D(4, 3, dilation_rate=d, padding="same", activation="relu")(x) for d in (1, 2, 3)]
    pooled = _conv(layers.GlobalAveragePooling2D(keepdims=True)(x), 4, 1)
    branches.append(layers.UpSampling2D(8, interpolation="bilinear")(pooled))
    x = layers.UpSampling2D(2, interpolation="bilinear")(_conv(layers.Concatenate()(branches), 6, 1))
    return keras.Model(given, layers.Softmax()(layers.Conv2D(3, 1)(x)))


@model()
def feature_pyramid() -> Any:
    given = keras.Input((24, 24, 3))
    first = _conv(given, 6, 3, 2)
    second = _conv(first, 8, 3, 2)
    third = _conv(second, 8, 3, 2)
    tops = [layers.Conv2D(6, 1)(third)]
    for below in (second, first):
        tops.append(layers.Add()([layers.UpSampling2D()(tops[-1]), layers.Conv2D(6, 1)(below)]))
    return keras.Model(given, [layers.Conv2D(4, 3, padding="same")(top) for top in tops])


@model()
def single_shot_detector() -> Any:
    given = keras.Input((24, 24, 3))
    first = _conv(_conv(given, 6, 3, 2), 8, 3, 2)
    second = _conv(first, 8, 3, 2)
    boxes, classes = [], []
    for x in (first, second):
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(8, 3, padding="same")(x)))
        classes.append(layers.Reshape((-1, 3))(layers.Conv2D(6, 3, padding="same")(x)))
    scores = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(classes))
    return keras.Model(given, [layers.Concatenate(axis=1)(boxes), scores])


@model("uint8 ends")
def grid_detector() -> Any:
    given = keras.Input((24, 24, 3))
    x = _conv(layers.MaxPooling2D()(_conv(layers.Rescaling(1 / 255)(given), 6)), 8)
    x = layers.Reshape((12, 12, 2, 7))(layers.Conv2D(14, 1)(x))
    centre = layers.Activation("sigmoid")(x[..., :2])
    size = keras.ops.exp(x[..., 2:4])
    return keras.Model(given, layers.Concatenate()([centre, size, layers.Activation("sigmoid")(x[..., 4:])]))


@model()
def heat_map() -> Any:
    given = keras.Input((24, 24, 1))
    x = layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(given)
    x = layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(given, layers.Softmax()(layers.Conv2D(3, 1)(x)))


@model()
def greatest_class_of_each_pixel() -> Any:
    import tensorflow as tf

    given = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same")(_conv(given, 6))
    greatest = layers.Lambda(lambda y: tf.argmax(y, -1, tf.int32), output_shape=(12, 12))
    return keras.Model(given, greatest(x))


@model()
def picture_and_numbers() -> Any:
    picture, numbers = keras.Input((12, 12, 1), name="picture"), keras.Input((5,), name="numbers")
    x = layers.Flatten()(_conv(picture, 4, 3, 2))
    x = layers.Concatenate()([layers.Dense(8, activation="relu")(x), layers.Dense(6, activation="relu")(numbers)])
    return keras.Model([picture, numbers], [layers.Dense(3, activation="softmax")(x), layers.Dense(1)(x)])


@model()
def siamese() -> Any:
    tower = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(6, 3, strides=2, activation="relu")])
    tower.add(layers.Flatten())
    tower.add(layers.Dense(8))
    a, b = keras.Input((12, 12, 1), name="a"), keras.Input((12, 12, 1), name="b")
    apart = keras.ops.abs(layers.Subtract()([tower(a), tower(b)]))
    return keras.Model([a, b], layers.Dense(1, activation="sigmoid")(apart))


@model()
def least_most_and_mean() -> Any:
    given = keras.Input((10, 10, 2))
    a, b = _conv(given, 6), layers.Conv2D(6, 3, padding="same")(given)
    x = layers.Concatenate()([layers.Maximum()([a, b]), layers.Minimum()([a, b]), layers.Average()([a, b])])
    return keras.Model(given, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
