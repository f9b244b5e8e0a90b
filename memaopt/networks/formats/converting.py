"""Files of models that are not read: how each is told, and what makes a ``.tflite`` file of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from memaopt.errors import InputError


class _Foreign(NamedTuple):
    """What it is, what makes int8 of it, by which names and first bytes it is told, and by what a folder holds."""

    title: str
    how: str
    suffixes: tuple[str, ...]
    magic: bytes = b""
    holds: str = ""
    loaded: bool = False
    """Whether TensorFlow loads it, so that `memaopt convert` takes it."""


_KERAS = (
    "tf.lite.TFLiteConverter.{}, with optimizations = [tf.lite.Optimize.DEFAULT], a representative_dataset and "
    "inference_input_type = inference_output_type = tf.int8"
)
_FOREIGN = (
    _Foreign("a SavedModel", _KERAS.format("from_saved_model"), (), holds="saved_model.pb", loaded=True),
    _Foreign("a SavedModel", f"{_KERAS.format('from_saved_model')}, given its folder", (".pb",)),
    _Foreign("a Keras model", _KERAS.format("from_keras_model"), (".keras",), loaded=True),
    _Foreign(
        "a Keras model", _KERAS.format("from_keras_model"), (".h5", ".hdf5"), magic=b"\x89HDF\r\n\x1a\n", loaded=True
    ),
    _Foreign("a PyTorch model", "litert_torch (ai-edge-torch) and its PT2E quantisation", (".pt", ".pth", ".pt2")),
)


def refuse(path: str | Path, start: Callable[[], bytes] = bytes) -> None:
    """InputError, with how to convert it, for a model in a format that is known and not read.

    ``start`` gives the file's first bytes, for what its name does not tell.
    """
    kind = _told(Path(path), start)
    if kind is None:
        return
    ours = "`memaopt convert` with --data (pip install 'memaopt[tensorflow]'), or by " if kind.loaded else ""
    raise InputError(f"{path}: {kind.title}; an int8 .tflite file is read: convert it with {ours}{kind.how}")


def recognises(path: str | Path) -> bool:
    """Whether a path is that of such a model, by its ending, or what lies in the folder."""
    return _told(Path(path), bytes) is not None


def title(path: Path) -> str | None:
    """What a model is that TensorFlow loads, as in ``a Keras model``; None for all others."""
    kind = _told(path, bytes)
    return kind.title if kind is not None and kind.loaded else None


def _told(place: Path, start: Callable[[], bytes]) -> _Foreign | None:
    for kind in _FOREIGN:
        # Path.is_file raises where the longer path is one that no file can have.
        told = place.suffix.lower() in kind.suffixes or (kind.holds and os.path.isfile(place / kind.holds))
        if told or (kind.magic and start().startswith(kind.magic)):
            return kind
    return None
