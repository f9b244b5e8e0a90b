"""Random networks on sliding windows, each push against the whole window, and SVDFs, each step against TFLite Micro: by
the executor and on the virtual board."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from svdf_helpers import svdf_file

from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.streaming.window import Stream
from memaopt.problems.words import FILLS
from memaopt.trials import network as network_trial
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.networks import random_setting
from tests.fuzz.oracle import answered
from tests.fuzz.watch import watched
from tests.streams_helpers import check_pushes, random_stream, stream_of


class Streams:
    """Random streams in random settings: exact on random pushes, every access as promised."""

    name = "streams"
    batch = 1

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        return [self._one(number, rng) for number, rng in zip(numbers, rngs, strict=True)]

    def _one(self, number: int, rng: Rng) -> str | Case:
        if rng.integers(4) == 0:
            return self._svdf(number, rng)
        graph = random_stream(rng, f"n{number}")

        def verdict() -> str:
            push = stream_of(graph, int(rng.integers(1, 4)))
            if push is None:
                return "no stream"
            check_pushes(push, graph, rng, 2 * push.warming)
            fill = FILLS[int(rng.integers(len(FILLS)))]
            asked = Stream(axis="rows", hop=push.hop, fill=fill)
            with watched():
                plan = compile_network(graph, name=f"n{number}", stream=asked, **random_setting(rng))
            _run(plan, push.warming + 3, str(asked))
            return f"filled with {fill}"

        return judged(verdict, {"network.pickle": pickle.dumps(graph)})

    def _svdf(self, number: int, rng: Rng) -> str | Case:
        """One to three of them, whose states are the caller's."""
        wide = bool(rng.integers(2))
        data = svdf_file(rng, wide, count=int(rng.integers(1, 4)))

        def verdict() -> str:
            graph = reader.parse(data, f"n{number}")
            shape = graph.tensors[graph.given[0]].shape
            steps = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(12)]
            kept, expected = [state.initial for state in graph.states], []
            for x in steps:
                found, *kept = reference.run(graph, [x, *kept])
                expected.append(found)
            said = answered(_compare, (data, steps, expected), "TFLite Micro")
            assert "DIFFERS" not in said, said
            with watched():
                plan = compile_network(graph, name=f"n{number}", **random_setting(rng))
            _run(plan, 6, "SVDF")
            return f"SVDF of {16 if wide else 8} bits, {said}"

        return judged(verdict, {"model.tflite": data})


def _run(plan: NetworkPlan, count: int, asked: str) -> None:
    """On the board, or AssertionError."""
    tried = network_trial.run(plan, count)
    gc.collect()  # emulators that hold themselves
    for layer in tried.layers:
        assert layer.equal, f"{layer.name}: promised {layer.promised}, counted {layer.counted}"
        assert not layer.wrong, f"{layer.name}: {layer.wrong} bytes are wrong"
    assert tried.passed, f"{plan.mcu.name}, {asked}: {tried.wrong} bytes of the outputs are wrong"


def _compare(data: bytes, steps: Sequence[Any], expected: Sequence[Any]) -> str:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        return "TFLite Micro is not there"
    interpreter = runtime.Interpreter.from_bytes(data)
    for number, (x, wanted) in enumerate(zip(steps, expected, strict=True)):
        interpreter.set_input(x, 0)
        interpreter.invoke()
        if not np.array_equal(interpreter.get_output(0), wanted):
            return f"TFLite Micro DIFFERS in step {number}"
    return "TFLite Micro agrees"
