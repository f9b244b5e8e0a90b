"""Keras models and SavedModels, through TensorFlow's converter: floats of a ``.tflite`` file, and int8 of samples."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError, UnsupportedModelError
from memaopt.networks.formats import converting
from memaopt.printable import printable

Array = npt.NDArray[Any]


class KerasModel:
    """A model that TensorFlow loads. A Keras file is exported to the folder ``scratch``, for a batch of 1: one that is
    known lets the converter fuse an LSTM, and leaves no chains that compute shapes."""

    def __init__(self, path: Path, scratch: Path) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            import tensorflow
        except ImportError as error:
            what = f"{path.name} is {converting.title(path)}, which TensorFlow converts"
            raise MissingToolError(f"{what}: pip install 'memaopt[tensorflow]'") from error
        self._tf: Any = tensorflow
        self._path = path
        self._folder = path if path.is_dir() else scratch / "exported"
        try:
            if not path.is_dir():
                model = tensorflow.keras.models.load_model(path, compile=False)
                inputs = [tensorflow.TensorSpec([1, *given.shape[1:]], given.dtype) for given in model.inputs]
                with contextlib.redirect_stdout(io.StringIO()):
                    model.export(str(self._folder), input_signature=inputs)
        except Exception as error:  # whatever Keras raises on a file that it cannot read
            raise InputError(f"{path.name}: TensorFlow does not load it: {_line(error)}") from None

    def floats(self) -> bytes:
        """The ``.tflite`` file of its floats."""
        return self._converted(self._converter())

    def int8(self, samples: Sequence[Array]) -> bytes:
        """The ``.tflite`` file of int8, by what it is given, [1, ...] each; its ends too are int8."""
        converter = self._converter()

        def given() -> Iterator[list[Array]]:
            for sample in samples:
                yield [np.asarray(sample, np.float32)]

        converter.optimizations = [self._tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = given
        converter.target_spec.supported_ops = [self._tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = self._tf.int8
        return self._converted(converter)

    def _converter(self) -> Any:
        return self._tf.lite.TFLiteConverter.from_saved_model(str(self._folder))

    def _converted(self, converter: Any) -> bytes:
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter's own, of several kinds
            raise UnsupportedModelError(f"{self._path.name}: TensorFlow does not convert it: {_line(error)}") from None


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:300]
