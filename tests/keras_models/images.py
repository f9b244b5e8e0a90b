"""Networks on small images, straight from first to last layer, and the activations and normalisations in use."""

from __future__ import annotations

from typing import Any

import keras
from keras import Sequential, layers

from tests.keras_models.catalogue import model


def _small(*middle: Any, shape: tuple[int, int, int] = (16, 16, 3), classes: int = 4) -> Any:
    """``middle`` between an input and a classifier by averages."""
    last = [layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax")]
    return Sequential([keras.Input(shape), *middle, *last])


def _activated(activation: Any) -> Any:
    """Two convolutions with an activation of their own behind each."""
    make = activation if callable(activation) else (lambda: layers.Activation(activation))
    return _small(layers.Conv2D(8, 3, padding="same"), make(), layers.Conv2D(8, 3, strides=2), make())


@model()
def dense_digits() -> Any:
    return Sequential(
        [
            keras.Input((12, 12)),
            layers.Flatten(),
            layers.Dense(24, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )


@model()
def tutorial_cnn() -> Any:
    return Sequential(
        [
            keras.Input((20, 20, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(10),
        ]
    )


@model("uint8 ends")
def rescaled_bytes() -> Any:
    return _small(layers.Rescaling(1 / 127.5, offset=-1), layers.Conv2D(8, 3, activation="relu"))


@model("float ends")
def batch_normalised() -> Any:
    middle: list[Any] = []
    for channels in (8, 12):
        middle += [layers.Conv2D(channels, 3, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    return _small(*middle)


@model()
def normalised_before() -> Any:
    return _small(layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(8, 3), layers.BatchNormalization())


@model()
def standardised_input() -> Any:
    return _small(
        layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.6, 0.7]), layers.Conv2D(8, 3, activation="relu")
    )


@model(batch=1)
def average_pools() -> Any:
    return _small(
        layers.Conv2D(8, 5, padding="same", activation="relu6"),
        layers.AveragePooling2D(2),
        layers.Conv2D(8, 3, padding="same", activation="relu6"),
        layers.AveragePooling2D(3, 2, padding="same"),
    )


@model()
def greatest_of_all() -> Any:
    return Sequential(
        [
            keras.Input((15, 17, 2)),
            layers.Conv2D(8, (3, 5), strides=(2, 1), activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3, activation="sigmoid"),
        ]
    )


@model()
def dilated() -> Any:
    return _small(*[layers.Conv2D(6, 3, dilation_rate=d, padding="same", activation="relu") for d in (1, 2, 4)])


@model()
def grouped() -> Any:
    return _small(layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(12, 3, groups=4, activation="relu"))


@model()
def separable() -> Any:
    return _small(
        layers.SeparableConv2D(8, 3, activation="relu"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu"),
    )


@model()
def leaky() -> Any:
    return _activated(lambda: layers.LeakyReLU(negative_slope=0.1))


@model()
def parametric() -> Any:
    return _activated(lambda: layers.PReLU(shared_axes=[1, 2], alpha_initializer=keras.initializers.Constant(0.2)))


@model()
def elu() -> Any:
    return _activated("elu")


@model()
def selu() -> Any:
    return _activated("selu")


@model()
def swish() -> Any:
    return _activated("swish")


@model()
def gelu() -> Any:
    return _activated("gelu")


@model()
def gelu_by_tanh() -> Any:
    return _activated(lambda: layers.Activation(lambda x: keras.activations.gelu(x, approximate=True)))


@model()
def hard_swish() -> Any:
    return _activated("hard_swish")


@model()
def mish() -> Any:
    return _activated("mish")


@model()
def softplus_and_softsign() -> Any:
    return _small(
        layers.Conv2D(8, 3),
        layers.Activation("softplus"),
        layers.Conv2D(8, 3),
        layers.Activation("softsign"),
    )


@model()
def hard_sigmoid_and_tanh() -> Any:
    return _small(
        layers.Conv2D(8, 3), layers.Activation("hard_sigmoid"), layers.Conv2D(8, 3), layers.Activation("tanh")
    )


@model()
def layer_normalised() -> Any:
    return _small(layers.Conv2D(8, 3, activation="relu"), layers.LayerNormalization(), layers.Conv2D(8, 3))


@model()
def group_normalised() -> Any:
    return _small(layers.Conv2D(8, 3), layers.GroupNormalization(4), layers.ReLU())


@model()
def unit_normalised() -> Any:
    return Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(6, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(8),
            layers.UnitNormalization(),
        ]
    )


@model()
def cropped_and_padded() -> Any:
    return _small(
        layers.Cropping2D(((1, 2), (0, 3))),
        layers.ZeroPadding2D(((0, 1), (2, 0))),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
    )


@model("int16")
def sixteen_bits() -> Any:
    return _small(layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(8, 3, activation="relu"))


@model("float")
def floats() -> Any:
    return _small(layers.Conv2D(8, 3, activation="relu"))


@model("float16")
def half_floats() -> Any:
    return _small(layers.Conv2D(8, 3, activation="relu"))


@model("dynamic")
def dynamic_range() -> Any:
    # Below 1,024 elements the converter leaves weights in float.
    return _small(layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(16, 3, activation="relu"))
