"""How a model of the list becomes a .tflite file, by TensorFlow's converter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.keras_models.catalogue import MODELS, Entry

FILES = Path(__file__).parent / "files"
_SAMPLES = 24


def load() -> None:
    """Fill the list: importing a module of models needs TensorFlow."""
    for name in ("images", "blocks", "pictures", "sequences"):
        import_module(f"tests.keras_models.{name}")


def _samples(built: Any, rng: np.random.Generator) -> Iterator[list[Any]]:
    for _ in range(_SAMPLES):
        sample = []
        for given in built.inputs:
            shape = [1, *given.shape[1:]]
            if given.dtype == "int32":
                sample.append(rng.integers(0, 20, shape).astype(np.int32))
            else:
                sample.append(rng.normal(0, 1, shape).astype(np.float32))
        yield sample


def _settled(built: Any, rng: np.random.Generator) -> None:
    """Biases and statistics of a normalisation as training leaves them: neither 0 nor 1."""
    for weight in built.weights:
        name, shape = weight.path.rsplit("/", 1)[-1], tuple(weight.shape)
        if name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.2, shape).astype(np.float32))
        if name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.6, 1.4, shape).astype(np.float32))


def convert(entry: Entry) -> bytes:
    """The .tflite file of a model; whatever TensorFlow raises."""
    import keras
    import tensorflow

    tf: Any = tensorflow
    keras.utils.set_random_seed(sorted(MODELS).index(entry.name))
    built = entry.build()
    rng = np.random.default_rng(len(entry.name))
    _settled(built, rng)
    with tempfile.TemporaryDirectory() as folder:
        return _by_converter(tf, _converter(tf, entry, built, folder), entry.style, built)


def _converter(tf: Any, entry: Entry, built: Any, folder: str) -> Any:
    if entry.batch is None:
        return tf.lite.TFLiteConverter.from_keras_model(built)
    signature = [tf.TensorSpec([entry.batch, *given.shape[1:]], given.dtype) for given in built.inputs]
    built.export(folder, input_signature=signature, verbose=False)
    return tf.lite.TFLiteConverter.from_saved_model(folder)


def _by_converter(tf: Any, converter: Any, style: str, built: Any) -> bytes:
    if style == "float":
        return bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if style == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if style in ("float16", "dynamic"):
        return bytes(converter.convert())
    converter.representative_dataset = lambda: _samples(built, np.random.default_rng(7))
    integers = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
    if style == "int16":
        integers = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [integers]
    ends = {"int8": tf.int8, "uint8 ends": tf.uint8, "int16": tf.int16, "float ends": tf.float32}[style]
    if not any(given.dtype == "int32" for given in built.inputs):
        converter.inference_input_type = ends
    converter.inference_output_type = ends
    return bytes(converter.convert())


def converted(name: str) -> str:
    """What became of a model, in one line; its file where there is one."""
    load()
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            data = convert(MODELS[name])
    except Exception as error:  # whatever the converter raises
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    (FILES / f"{name}.tflite").write_bytes(data)
    return f"{len(data)} bytes"
