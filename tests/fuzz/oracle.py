"""TFLite's interpreter, asked in a process of its own, since it aborts on some files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from memaopt.errors import InputError, MissingToolError
from memaopt.networks.formats.tflite.oracle import Oracle


def _compare(data: bytes, values: Sequence[Any], expected: Sequence[Any], pipe: Connection) -> None:
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        actual = Oracle(data).run(values)
    except MissingToolError:
        pipe.send("TFLite is not there")
        return
    except (InputError, ValueError, RuntimeError):
        pipe.send("TFLite refuses")
        return
    same = all(a.tobytes() == e.tobytes() for a, e in zip(actual, expected, strict=True))
    pipe.send("TFLite agrees" if same else "TFLite DIFFERS")


def ask(data: bytes, values: Sequence[Any], expected: Sequence[Any]) -> str:
    """Whether a file computes ``expected`` from ``values`` in TFLite's interpreter, in words."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_compare, args=(data, values, expected, theirs))
    child.start()
    theirs.close()
    try:
        verdict: str = ours.recv() if ours.poll(30) else "TFLite hangs"
    except EOFError:
        verdict = "TFLite crashes"
    child.join(1)
    if child.is_alive():
        child.kill()
        child.join()
    return verdict
