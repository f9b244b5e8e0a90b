"""Random networks on sliding windows: each push against the whole window, by the executor and on the virtual board."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence
from pathlib import Path

from memaopt.choice.compile import compile_network
from memaopt.networks.streaming.window import Stream
from memaopt.problems.words import FILLS
from memaopt.trials import network as network_trial
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.networks import random_setting
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
            tried = network_trial.run(plan, push.warming + 3)
            gc.collect()  # emulators that hold themselves
            for layer in tried.layers:
                assert layer.equal, f"{layer.name}: promised {layer.promised}, counted {layer.counted}"
                assert not layer.wrong, f"{layer.name}: {layer.wrong} bytes are wrong"
            assert tried.passed, f"{plan.mcu.name}, {asked}: {tried.wrong} bytes of the outputs are wrong"
            return f"filled with {fill}"

        return judged(verdict, {"network.pickle": pickle.dumps(graph)})
