"""What a process of its own does with TensorFlow: loads a model, converts it, and leaves an answer in a file.

A Keras file is exported for a batch of 1: one that is known lets the converter fuse an LSTM, and leaves no chains that
compute shapes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from memaopt.printable import printable

#: Files in the folder that both processes know: what came of it, the .tflite file, the samples, the exported model.
ANSWER, MADE, SAMPLES, _EXPORTED = "answer.json", "made.tflite", "samples.npy", "exported"

Wanted = Literal["floats", "int8"]


class ChildAnswer(TypedDict):
    """``line``: TensorFlow's own words, where there is no file."""

    how: Literal["made", "missing", "not loaded", "not converted"]
    line: str


def main(wanted: Wanted, path: str, scratch: str) -> None:
    """Convert the model at ``path``; the answer is written when all is done, so a crash leaves none."""
    answer = _answer(wanted, Path(path), Path(scratch))
    (Path(scratch) / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _answer(wanted: Wanted, path: Path, scratch: Path) -> ChildAnswer:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError as error:
        return {"how": "missing", "line": _line(error)}
    tf: Any = tensorflow
    folder = path if path.is_dir() else scratch / _EXPORTED
    try:
        if not folder.is_dir():
            _export(tf, path, folder)
    except Exception as error:  # whatever Keras raises on a file that it cannot read
        return {"how": "not loaded", "line": _line(error)}
    try:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        if wanted == "int8":
            _demand_int8(tf, converter, scratch)
        made = bytes(converter.convert())
    except Exception as error:  # the converter's own, of several kinds
        return {"how": "not converted", "line": _line(error)}
    (scratch / MADE).write_bytes(made)
    return {"how": "made", "line": ""}


def _export(tf: Any, path: Path, folder: Path) -> None:
    model = tf.keras.models.load_model(path, compile=False)
    inputs = [tf.TensorSpec([1, *given.shape[1:]], given.dtype) for given in model.inputs]
    model.export(str(folder), input_signature=inputs)


def _demand_int8(tf: Any, converter: Any, scratch: Path) -> None:
    samples = np.load(scratch / SAMPLES)

    def given() -> Iterator[list[Any]]:
        for sample in samples:
            yield [sample]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = given
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:300]
