"""A float network made int8, and what that costs: both run on the same samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memaopt.errors import InputError, MemaoptError, UnsupportedModelError
from memaopt.files import read_bytes
from memaopt.interrupts import scratch_folder
from memaopt.networks import limits, reference
from memaopt.networks.formats import converting
from memaopt.networks.formats.model import Model, format_of
from memaopt.networks.formats.tflite.oracle import Array, Oracle
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators import Weighted
from memaopt.networks.posttraining.quantise import quantised
from memaopt.networks.reading import PLAIN, Reading
from memaopt.overview import Overview
from memaopt.trials import samples as files
from memaopt.trials.keras import KerasModel
from memaopt.trials.samples import Samples
from memaopt.trials.validation import against


class OutputLoss(Overview, frozen=True):
    """Of one output, in reals: the root of the mean square of what is lost, the greatest loss, the root of the mean
    square of the float network's values; how often the greatest element is the same one, where there are several."""

    name: str
    rms: float
    worst: float
    signal: float
    agreement: float | None = None

    def headline(self) -> str:
        return f"{self.name}: {self.rms:.3g} rms of {self.signal:.3g}, {self.worst:.3g} at most"

    def facts(self) -> tuple[tuple[str, str], ...]:
        share = f"{100 * self.rms / self.signal:.2f}% of the float values'" if self.signal else "of zeros"
        facts = [(self.name, f"lost: {self.rms:.3g} rms ({share}), {self.worst:.3g} at most")]
        if self.agreement is not None:
            facts.append(("", f"the greatest element is the same one in {100 * self.agreement:.2f}% of the samples"))
        return tuple(facts)


class Conversion(Overview, frozen=True):
    """``accuracy``: of the float network and of the int8 one, where the labels are classes. ``instead``: why memaopt's
    own rules made int8 of what TensorFlow's converter was asked for, if they did."""

    name: str
    samples: int
    outputs: tuple[OutputLoss, ...]
    accuracy: tuple[float, float] | None = None
    instead: str = ""

    def headline(self) -> str:
        return f"{self.name}: int8, with the ranges of {self.samples:,} samples"

    def facts(self) -> tuple[tuple[str, str], ...]:
        facts = [fact for output in self.outputs for fact in output.facts()]
        if self.accuracy is not None:
            before, after = (f"{100 * share:.2f}%" for share in self.accuracy)
            facts.append(("accuracy", f"{before} in float, {after} in int8"))
        if self.instead:
            facts.append(("by", f"memaopt's own rules; {self.instead}"))
        return tuple(facts)


class Converted(NamedTuple):
    """The int8 network's file, and what it lost."""

    model: Model
    loss: Conversion


def convert(path: Path, data: Path, labels: Path | None = None) -> Converted:
    """The float network of a ``.tflite`` file, a Keras model or a SavedModel in int8, by the samples of another file
    (:func:`files.read`): a ``.tflite`` file by memaopt's own rules, the others by TensorFlow's converter, or by those
    rules where it makes floats of a model and no int8, as of recurrent layers that are not unrolled.

    InputError for what is no float network of one input or cannot be read, UnsupportedModelError for operators that
    have no int8, MissingToolError without TensorFlow where that is needed.
    """
    with scratch_folder() as scratch:
        return _converted(path, data, labels, KerasModel(path, scratch) if converting.title(path) else None)


def _converted(path: Path, data: Path, labels: Path | None, keras: KerasModel | None) -> Converted:
    before = read_bytes(path, limits.MAX_FILE_BYTES) if keras is None else keras.floats()
    found = format_of(before, path if keras is None else path.with_suffix(".tflite"))
    reading = found.examine(before, path.name, PLAIN)
    _demand_floats(path.name, reading, found.name)
    taken = reading.graph.tensors[reading.inputs[0]]
    given = files.read(data, taken, labels)
    samples = [sample[None] for sample in given.inputs]
    made, instead = _int8(before, path.name, samples, keras)
    after = Model.parsed(made, path.stem + ".tflite")
    return Converted(after, _loss(before, after, given, instead))


def _int8(before: bytes, name: str, samples: list[Array], keras: KerasModel | None) -> tuple[bytes, str]:
    """The file of int8, and why it is not of the converter that was asked."""
    given = [[sample] for sample in samples]
    if keras is None:
        return quantised(before, name, given), ""
    try:
        return keras.int8(samples), ""
    except UnsupportedModelError as error:
        try:
            return quantised(before, name, given), str(error).removeprefix(f"{name}: ").split("; ")[0]
        except MemaoptError:
            raise error from None


def _demand_floats(name: str, reading: Reading, kind: str) -> None:
    """InputError unless it is a network of one float32 input, in a ``.tflite`` file, that is not quantised yet."""
    if kind != "tflite":
        reading.whole()  # says what makes int8 of a float one
    taken = reading.graph.tensors[reading.inputs[0]] if len(reading.inputs) == 1 else None
    known = not reading.refusals and any(isinstance(op, Weighted) for op in reading.graph.operators)
    if known or (taken is not None and taken.dtype in (DType.INT8, DType.UINT8)):
        raise InputError(f"{name} is int8 already: hand it to `memaopt solve` as it is")
    if taken is None or taken.dtype is not DType.FLOAT32:
        raise InputError(f"{name}: a network with one float32 input can be quantised")


def _loss(before: bytes, after: Model, given: Samples, instead: str) -> Conversion:
    """By TFLite's kernels in float, and the executor in int8, which computes what the emitted C does."""
    graph, oracle = after.graph, Oracle.of_floats(before)
    taken, written = graph.tensors[graph.inputs[0]], [graph.tensors[i] for i in graph.outputs]
    wanted = [oracle.run([sample[None]]) for sample in given.inputs]
    found = [reference.run(graph, [files.quantised(sample[None], taken)]) for sample in given.inputs]
    both = [[np.stack([row[n] for row in rows]) for n in range(len(written))] for rows in (wanted, found)]
    outputs = tuple(_output(*one) for one in zip(written, *both, strict=True))
    return Conversion(
        name=graph.name,
        samples=len(given.inputs),
        outputs=outputs,
        accuracy=_accuracy(written, both, given.labels),
        instead=instead,
    )


def _accuracy(written: list[Tensor], both: list[list[Array]], labels: Array | None) -> tuple[float, float] | None:
    """Of one output, against labels that are classes."""
    if labels is None or len(written) != 1:
        return None
    floats = dataclasses.replace(written[0], dtype=DType.FLOAT32)
    before, after = (
        against(rows[0], labels, tensor, 1).get("accuracy")
        for rows, tensor in zip(both, (floats, written[0]), strict=True)
    )
    return None if before is None or after is None else (before, after)


def _output(tensor: Tensor, wanted: Array, found: Array) -> OutputLoss:
    """``wanted`` and ``found``: the samples' outputs, in float and as the int8 network gives them."""
    real = float(tensor.scale) * (found.astype(np.float64) - tensor.zero_point) if tensor.dtype.is_byte else found
    lost, rows = real - wanted.astype(np.float64), wanted.reshape(len(wanted), -1)
    several = rows.shape[1] > 1
    same = rows.argmax(axis=1) == found.reshape(len(found), -1).argmax(axis=1)
    return OutputLoss(
        name=tensor.name,
        rms=float(np.sqrt(np.mean(lost**2))),
        worst=float(np.abs(lost).max()),
        signal=float(np.sqrt(np.mean(wanted.astype(np.float64) ** 2))),
        agreement=float(same.mean()) if several else None,
    )
