"""TFLite's interpreter, asked in a process of its own, since it aborts on some files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from memaopt.errors import InputError, MemaoptError, MissingToolError
from memaopt.networks import reference
from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator


def _compare(data: bytes, values: Sequence[Any], expected: Sequence[Any]) -> str:
    try:
        actual = Oracle(data).run(values)
    except MissingToolError:
        return "TFLite is not there"
    except (InputError, ValueError, RuntimeError):
        return "TFLite refuses"
    same = all(a.tobytes() == e.tobytes() for a, e in zip(actual, expected, strict=True))
    return "TFLite agrees" if same else "TFLite DIFFERS"


def _compare_in_micro(graph: Graph, values: Sequence[Any]) -> str:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        return "TFLite Micro is not there"
    held, asked = dict(zip(graph.inputs, values, strict=True)), 0
    for op, expected in reference.layers(graph, values):
        held[op.output] = expected
        try:
            if not op.micro or (op.kind == "DIV" and not _defined(graph, op)):
                continue
            alone, inputs = _alone(graph, op, held)
            interpreter = runtime.Interpreter.from_bytes(writer.write(alone))
            for number, value in enumerate(inputs):
                interpreter.set_input(value, number)
            interpreter.invoke()
        except (MemaoptError, ValueError, RuntimeError):
            continue
        asked += 1
        found = interpreter.get_output(0)
        if not np.array_equal(found.reshape(expected.shape), expected):  # floats as numbers: ROUND gives -0.0 there
            return f"TFLite Micro DIFFERS in {op.kind}"
    return "TFLite Micro agrees" if asked else "TFLite Micro refuses"


def _defined(graph: Graph, op: Operator) -> bool:
    """Whether TFLite Micro's DIV is: no divisor is 0, and the last shift stays within 31 bits."""
    divisor = graph.tensor_of(op, 1)
    factor = float(graph.tensor_of(op).scale) / (float(divisor.scale) * float(graph.output_of(op).scale))
    return divisor.is_constant and not (divisor.values == divisor.zero_point).any() and factor >= 64


def _alone(graph: Graph, op: Operator, held: Mapping[int, Any]) -> tuple[Graph, list[Any]]:
    """The network of one operator, and the values of its inputs."""
    data = tuple(dict.fromkeys(i for i in op.inputs if not graph.tensors[i].is_constant))
    alone = Graph("alone", graph.tensors, (op.model_copy(update={"location": 0}),), data, op.outputs)
    return alone, [held[i] for i in data]


def ask_micro(graph: Graph, values: Sequence[Any]) -> str:
    """Whether the operators of a network whose arithmetic is TFLite Micro's give there, each alone on what comes to it,
    what the reference gives; in words."""
    return answered(_compare_in_micro, (graph, values), "TFLite Micro")


def ask(data: bytes, values: Sequence[Any], expected: Sequence[Any]) -> str:
    """Whether a file computes ``expected`` from ``values`` in TFLite's interpreter, in words."""
    return answered(_compare, (data, values, expected), "TFLite")


def answered(compare: Callable[..., str], arguments: tuple[Any, ...], who: str) -> str:
    """What a process of its own says."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_answer, args=(compare, arguments, theirs))
    child.start()
    theirs.close()
    try:
        verdict: str = ours.recv() if ours.poll(30) else f"{who} hangs"
    except EOFError:
        verdict = f"{who} crashes"
    child.join(1)
    if child.is_alive():
        child.kill()
        child.join()
    return verdict


def _answer(compare: Callable[..., str], arguments: tuple[Any, ...], pipe: Connection) -> None:
    """What others print of it goes nowhere."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    pipe.send(compare(*arguments))
