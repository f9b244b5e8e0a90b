"""Networks on sequences: one-dimensional convolutions, recurrent layers, attention, words."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import Sequential, layers

from tests.keras_models.catalogue import model


@model()
def keyword_conv1d() -> Any:
    return Sequential(
        [
            keras.Input((32, 10)),
            layers.Conv1D(12, 3, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.MaxPooling1D(2),
            layers.Conv1D(12, 3, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(6, activation="softmax"),
        ]
    )


@model()
def separable_conv1d() -> Any:
    return Sequential(
        [
            keras.Input((30, 6)),
            layers.SeparableConv1D(8, 5, activation="relu"),
            layers.AveragePooling1D(2),
            layers.SeparableConv1D(8, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(4),
        ]
    )


@model()
def causal_and_dilated() -> Any:
    given = keras.Input((24, 6))
    x = layers.Conv1D(8, 1)(given)
    for rate in (1, 2, 4):
        y = layers.Conv1D(8, 3, dilation_rate=rate, padding="causal", activation="relu")(x)
        x = layers.Add()([x, layers.SpatialDropout1D(0.1)(y)])
    return keras.Model(given, layers.Dense(3)(x[:, -1]))


@model()
def gated_waves() -> Any:
    given = keras.Input((24, 4))
    x, skipped = layers.Conv1D(6, 2, padding="causal")(given), []
    for rate in (1, 2):
        heard = layers.Conv1D(6, 2, dilation_rate=rate, padding="causal", activation="tanh")(x)
        gate = layers.Conv1D(6, 2, dilation_rate=rate, padding="causal", activation="sigmoid")(x)
        y = layers.Conv1D(6, 1)(layers.Multiply()([heard, gate]))
        skipped.append(y)
        x = layers.Add()([x, y])
    return keras.Model(given, layers.Conv1D(4, 1)(layers.ReLU()(layers.Add()(skipped))))


@model()
def transposed_conv1d() -> Any:
    given = keras.Input((16, 4))
    x = layers.Conv1D(6, 4, strides=2, padding="same", activation="relu")(given)
    x = layers.Conv1DTranspose(6, 4, strides=2, padding="same", activation="relu")(x)
    return keras.Model(given, layers.Conv1D(4, 3, padding="same")(layers.UpSampling1D(2)(x)))


@model()
def accelerometer_as_picture() -> Any:
    return Sequential(
        [
            keras.Input((96,)),
            layers.Reshape((32, 3, 1)),
            layers.Conv2D(6, (5, 3), activation="relu"),
            layers.MaxPooling2D((4, 1)),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


@model(batch=1, style="float")
def lstm() -> Any:
    return Sequential([keras.Input((8, 5)), layers.LSTM(6), layers.Dense(3, activation="softmax")])


@model(style="float")
def lstm_of_any_batch() -> Any:
    return Sequential([keras.Input((8, 5)), layers.LSTM(6), layers.Dense(3)])


@model(batch=1, style="float")
def stacked_lstm() -> Any:
    given = keras.Input((8, 5))
    x = layers.LSTM(6, return_sequences=True)(given)
    return keras.Model(given, layers.TimeDistributed(layers.Dense(3))(layers.LSTM(4, return_sequences=True)(x)))


@model(batch=1)
def lstm_unrolled() -> Any:
    return Sequential([keras.Input((5, 4)), layers.LSTM(5, unroll=True), layers.Dense(3)])


@model(batch=1)
def both_ways() -> Any:
    return Sequential([keras.Input((5, 4)), layers.Bidirectional(layers.LSTM(4, unroll=True)), layers.Dense(3)])


@model(batch=1)
def gru_unrolled() -> Any:
    return Sequential([keras.Input((5, 4)), layers.GRU(5, unroll=True), layers.Dense(3)])


@model(batch=1, style="float")
def gru() -> Any:
    return Sequential([keras.Input((6, 4)), layers.GRU(5), layers.Dense(3)])


@model(batch=1, style="float")
def recurrent_both_ways() -> Any:
    given = keras.Input((5, 4))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True))(given)
    x = layers.SimpleRNN(5, go_backwards=True, return_sequences=True)(x)
    return keras.Model(given, layers.Dense(3)(layers.LSTM(4, recurrent_activation="hard_sigmoid")(x)))


class Turns(layers.Layer):
    """A dense layer over and over, in a loop of the graph's."""

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=(shape[-1], shape[-1]), name="weight")

    def call(self, x: Any) -> Any:
        def body(turn: Any, x: Any) -> Any:
            return turn + 1, tf.tanh(x @ self.weight)

        return tf.while_loop(lambda turn, _: turn < 3, body, [tf.constant(0), x])[1]


class Either(layers.Layer):
    """One of two dense layers, as the greatest element decides."""

    def build(self, shape: Any) -> None:
        self.first = self.add_weight(shape=(shape[-1], 3), name="first")
        self.second = self.add_weight(shape=(shape[-1], 3), name="second")

    def call(self, x: Any) -> Any:
        return tf.cond(tf.reduce_max(x) > 1.5, lambda: tf.nn.relu(x @ self.first), lambda: tf.tanh(x @ self.second))


@model(batch=1)
def loop_of_the_graph() -> Any:
    given = keras.Input((4,))
    return keras.Model(given, Turns()(given))


@model(batch=1)
def branch_of_the_graph() -> Any:
    given = keras.Input((4,))
    return keras.Model(given, Either()(given))


@model(batch=1)
def gru_by_its_old_rule() -> Any:
    return Sequential([keras.Input((5, 4)), layers.GRU(5, unroll=True, reset_after=False), layers.Dense(3)])


@model(batch=1)
def simple_recurrent() -> Any:
    return Sequential([keras.Input((6, 4)), layers.SimpleRNN(6, unroll=True), layers.Dense(3)])


@model(batch=1)
def conv_and_gru() -> Any:
    given = keras.Input((20, 4))
    x = layers.Conv1D(6, 5, strides=4, activation="relu")(given)
    return keras.Model(given, layers.Dense(3, activation="softmax")(layers.GRU(5, unroll=True)(x)))


def _encoded(x: Any, heads: int, width: int, inner: int, activation: str = "relu") -> Any:
    y = layers.MultiHeadAttention(heads, width // heads)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))
    y = layers.Dense(width)(layers.Dense(inner, activation=activation)(x))
    return layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y]))


@model(batch=1)
def transformer() -> Any:
    given = keras.Input((8, 8))
    x = _encoded(given, 2, 8, 16)
    return keras.Model(given, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


@model()
def transformer_of_any_batch() -> Any:
    given = keras.Input((6, 8))
    return keras.Model(given, layers.Dense(3)(layers.Flatten()(_encoded(given, 2, 8, 16, "gelu"))))


@model()
def vision_transformer() -> Any:
    given = keras.Input((16, 16, 1))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 4, strides=4)(given))
    x = layers.Add()([x, layers.Embedding(16, 8)(keras.ops.arange(16))])
    return keras.Model(given, layers.Dense(3)(_encoded(x, 2, 8, 16, "gelu")[:, 0]))


@model()
def mixed_patches() -> Any:
    given = keras.Input((16, 16, 1))
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 4, strides=4)(given))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Permute((2, 1))(layers.Dense(16, activation="gelu")(y))])
    return keras.Model(given, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@model(batch=1)
def pooled_by_attention() -> Any:
    given = keras.Input((8, 6))
    x = layers.Dense(6, activation="tanh")(given)
    weight = layers.Softmax(axis=1)(layers.Dense(1)(x))
    return keras.Model(given, layers.Dense(2)(keras.ops.sum(layers.Multiply()([given, weight]), axis=1)))


@model(batch=1)
def dot_product_attention() -> Any:
    given = keras.Input((8, 6))
    x = layers.Attention()([layers.Dense(6)(given), layers.Dense(6)(given)])
    return keras.Model(given, layers.Dense(2)(layers.Flatten()(x)))


@model()
def words() -> Any:
    return Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(20, 6),
            layers.Conv1D(8, 3, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(2, activation="softmax"),
        ]
    )


@model(batch=1)
def averaged_words() -> Any:
    return Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(20, 6),
            layers.GlobalAveragePooling1D(),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
