"""Keras models and SavedModels, through TensorFlow's converter: floats of a ``.tflite`` file, and int8 of samples."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import interrupts
from memaopt.errors import InputError, MissingToolError, UnsupportedModelError
from memaopt.networks.formats import converting
from memaopt.trials.keras_child import ANSWER, MADE, SAMPLES, ChildAnswer, Wanted

Array = npt.NDArray[Any]

#: A process of its own, with the modules of this one: TensorFlow ends a process when its calibrator fails.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from memaopt.trials.keras_child import main; main(*sys.argv[2:])"
)


class KerasModel:
    """A model that TensorFlow loads, in processes of its own that leave what they make in the folder ``scratch``."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path, self._scratch = path, scratch

    def floats(self) -> bytes:
        """The ``.tflite`` file of its floats; InputError for what is not loaded, UnsupportedModelError for what is not
        converted, MissingToolError without TensorFlow."""
        return self._made("floats")

    def int8(self, samples: Sequence[Array]) -> bytes:
        """The ``.tflite`` file of int8, by what it is given, [1, ...] each; its ends too are int8. Errors as above."""
        np.save(self._scratch / SAMPLES, np.stack([np.asarray(sample, np.float32) for sample in samples]))
        return self._made("int8")

    def _made(self, wanted: Wanted) -> bytes:
        answer = self._scratch / ANSWER
        answer.unlink(missing_ok=True)
        paths = [entry or "." for entry in sys.path]
        where = [str(self._path), str(self._scratch)]
        command = [sys.executable, "-I", "-c", _CHILD, json.dumps(paths), wanted, *where]
        code, _, said = interrupts.run(command, self._scratch)
        if not answer.is_file():
            raise UnsupportedModelError(self._crashed(wanted, code, said))
        told: ChildAnswer = json.loads(answer.read_text(encoding="utf-8"))
        name = self._path.name
        if told["how"] == "missing":
            what = f"{name} is {converting.title(self._path)}, which TensorFlow converts"
            raise MissingToolError(f"{what}: pip install 'memaopt[tensorflow]'")
        if told["how"] == "not loaded":
            raise InputError(f"{name}: TensorFlow does not load it: {told['line']}")
        if told["how"] == "not converted":
            raise UnsupportedModelError(f"{name}: TensorFlow does not convert it: {told['line']}")
        return (self._scratch / MADE).read_bytes()

    def _crashed(self, wanted: Wanted, code: int, said: str) -> str:
        """What is said of a process that ended without an answer, by a signal or by itself."""
        how = f"exit code {code}: {' '.join(said.split())[-200:]}"
        if code < 0:
            how = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
        title = "int8" if wanted == "int8" else "a .tflite file"
        would = "recurrent layers convert with unroll=True; an int8 .tflite file made elsewhere goes to `memaopt solve`"
        return f"{self._path.name}: TensorFlow itself crashed ({how}) while it made {title} of it; {would}"
