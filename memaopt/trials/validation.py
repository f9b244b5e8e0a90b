"""A network on a user's samples: how often it is right, how far off, and whether it is TFLite's to the last bit.

The samples run through the reference, on all cores, or through the library's own C, built for this computer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from memaopt.choice.network_plan import NetworkPlan
from memaopt.errors import InputError
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Tensor
from memaopt.networks.names import identifier_of
from memaopt.overview import Overview
from memaopt.printable import counted, printable
from memaopt.trials import network as trial
from memaopt.trials.executors import executor
from memaopt.trials.samples import Samples
from memaopt.trials.target import SampleTarget, TargetRun, compared

Array = npt.NDArray[Any]


class BoardRun(BaseModel, frozen=True):
    """The first samples on the virtual board: ``cycles`` of the first, None on a core that is not timed."""

    samples: int
    wrong: int
    passed: bool
    cycles: int | None

    def describe(self) -> str:
        """In a line."""
        several = ", the first in" if self.samples > 1 else " in"
        taken = "" if self.cycles is None else f"{several} {self.cycles:,} cycles"
        found = "every layer's bytes and accesses are as promised" if self.passed else f"{self.wrong:,} bytes are wrong"
        found = found if self.passed or self.wrong else "accesses are not as promised"
        return f"{counted(self.samples, 'sample')}{taken}: {found}"


class Validation(Overview, frozen=True):
    """What came out for ``samples``. Against labels that are classes: ``accuracy``, ``top`` (the right one is among the
    ``k`` greatest outputs), ``confusion`` (rows: labels, columns: answers; ``classes`` are names of the first of them,
    where the samples gave some); against real outputs: ``rmse``, ``mae`` and
    the worst sample. ``different`` counts samples whose output is not TFLite's, None if nobody asked it. ``pixels``
    are what 0 and 255 stand for in pictures; ``board`` is what the virtual board made of the first samples, ``target``
    what the firmware made of all.
    """

    name: str
    samples: int
    executor: str
    seconds: float
    accuracy: float | None = None
    k: int = 5
    top: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    classes: tuple[str, ...] = ()
    rmse: float | None = None
    mae: float | None = None
    worst: int | None = None
    worst_error: float | None = None
    different: int | None = None
    pixels: tuple[float, float] | None = None
    board: BoardRun | None = None
    target: TargetRun | None = None

    @property
    def passed(self) -> bool:
        """Nothing differs from TFLite, nothing on the board from what was promised, no output on the target."""
        beside = (self.board is None or self.board.passed) and (self.target is None or not self.target.wrong)
        return not self.different and beside

    def headline(self) -> str:
        pace = f"{self.samples / self.seconds:,.0f} a second"
        return f"{self.name}: {counted(self.samples, 'sample')} by {self.executor}, {pace}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        facts = []
        if self.accuracy is not None:
            facts.append(
                ("accuracy", f"{100 * self.accuracy:.2f}%; of the first {self.k} answers {100 * (self.top or 0):.2f}%")
            )
        if self.confusion is not None and len(self.confusion) <= 20:
            facts += [("confusion", "a row for each label, a column for each answer"), *_table(self)]
        if self.rmse is not None:
            facts.append(
                (
                    "error",
                    f"{self.rmse:.6g} rms, {self.mae:.6g} mean; sample {self.worst} is worst, {self.worst_error:.6g}",
                )
            )
        if self.pixels is not None:
            facts.append(("pixels", f"0 to 255 stand for {self.pixels[0]:g} to {self.pixels[1]:g}"))
        if self.board is not None:
            facts.append(("board", self.board.describe()))
        if self.target is not None:
            facts.append(("target", self.target.describe()))
        if self.different is not None:
            same = "every output is TFLite's, to the last bit"
            facts.append(("TFLite", f"{self.different:,} outputs differ" if self.different else same))
        if all(what is None for what in (self.accuracy, self.rmse, self.board, self.target, self.different)):
            facts.append(("compared", "with nothing: there are no labels (--labels), nor was TFLite asked (--tflite)"))
        return tuple(facts)


def _table(found: Validation) -> list[tuple[str, str]]:
    """The confusion matrix with its labels, and the names of those that have one, before each row."""
    rows = found.confusion or ()
    width = max(len(f"{n:,}") for row in (*rows, (len(rows) - 1,)) for n in row)
    called = [printable(" ".join(name.split()))[:20] for name in found.classes] + [""] * len(rows)
    names = [f"{n} {called[n]}".strip() for n in range(len(rows))]
    before = max(map(len, names))
    lines = [("", range(len(rows))), *zip(names, rows, strict=True)]
    return [("", f"{name:<{before}}  " + " ".join(f"{n:>{width},}" for n in row)) for name, row in lines]


def validate(
    model: Model,
    samples: Samples,
    *,
    plan: NetworkPlan | None = None,
    k: int = 5,
    tflite: bool = False,
    board: int = 0,
    library: bool = False,
    target: SampleTarget | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> Validation:
    """Run the samples, and compare with what is known of them; ``tflite``: with its interpreter too; ``board``: the
    first so many on the virtual board, every layer and access compared; ``library``: the emitted C computes the
    outputs, not the reference; both are of ``plan``. ``target`` runs them all once more. ``done`` is told how many
    samples are done each time.
    """
    graph = model.graph
    if tflite and model.format != "tflite":
        raise InputError(f"{graph.name}: TFLite does not read a file of {model.format}; leave out --tflite")
    if graph.states:
        raise InputError(
            f"{graph.name}: keeps a state from run to run, so that an output is not of one sample alone; solve --run "
            "--inputs random:20 would push it on, and compare"
        )
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise InputError(f"{graph.name}: has several inputs or outputs; one of each is expected")
    if plan is None and (board or library):
        raise InputError(f"{graph.name}: the board and the library need a plan")
    with executor(graph, plan if library else None) as (name, run):
        started, found = time.perf_counter(), []
        for some in run(samples.inputs):
            found.append(some)
            done(len(some))
        outputs, seconds = np.concatenate(found), time.perf_counter() - started
    made = Validation(
        name=identifier_of(graph.name),
        samples=len(outputs),
        executor=name,
        seconds=max(seconds, 1e-9),
        pixels=samples.pixels,
        classes=samples.classes,
        board=_on_board(plan, samples.inputs[:board]) if board and plan else None,
    )
    if target is not None:
        made = made.model_copy(update={"target": compared(target, samples.inputs, outputs, done)})
    if samples.labels is not None:
        made = made.model_copy(update=against(outputs, samples.labels, graph.tensors[graph.outputs[0]], k))
    return made.model_copy(update={"different": _different(model, samples, outputs)}) if tflite else made


def against(outputs: Array, labels: Array, tensor: Tensor, k: int) -> dict[str, Any]:
    """The figures against labels: classes where there is one number for many outputs, else real outputs."""
    rows = outputs.reshape(len(outputs), -1)
    if labels.ndim == 1 and rows.shape[1] > 1:
        classes = labels.astype(np.int64)
        if not np.array_equal(classes, labels) or classes.min() < 0 or classes.max() >= rows.shape[1]:
            raise InputError(f"the labels are no classes from 0 to {rows.shape[1] - 1}")
        order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")
        confusion = np.zeros((rows.shape[1], rows.shape[1]), np.int64)
        np.add.at(confusion, (classes, order[:, 0]), 1)
        return {
            "accuracy": float(np.mean(order[:, 0] == classes)),
            "k": min(k, rows.shape[1]),
            "top": float(np.mean((order[:, :k] == classes[:, None]).any(axis=1))),
            "confusion": tuple(map(tuple, confusion.tolist())),
        }
    real = rows.astype(np.float64)
    if tensor.dtype.is_byte:
        real = float(tensor.scale) * (real - tensor.zero_point)
    wanted = labels.reshape(len(labels), -1).astype(np.float64)
    if wanted.shape != real.shape:
        raise InputError(f"the labels have {wanted.shape[1]:,} values a sample, the network gives {real.shape[1]:,}")
    errors = real - wanted
    each = np.sqrt(np.mean(errors**2, axis=1))
    worst = int(np.argmax(each))
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "worst": worst,
        "worst_error": float(each[worst]),
    }


def _on_board(plan: NetworkPlan, inputs: Array) -> BoardRun:
    found = trial.run(plan, [[value[None]] for value in inputs])
    return BoardRun(samples=found.inputs, wrong=found.wrong, passed=found.passed, cycles=found.cycles)


def _different(model: Model, samples: Samples, outputs: Array) -> int:
    """Samples whose output TFLite's reference kernels give otherwise."""
    from memaopt.networks.formats.tflite.oracle import Oracle

    try:
        oracle = Oracle(model.data)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; leave out --tflite") from error
    return sum(
        not np.array_equal(oracle.run([value[None]])[0].reshape(-1), output.reshape(-1))
        for value, output in zip(samples.inputs, outputs, strict=True)
    )
