"""Mutated .tflite files: refused in one line, or compiled, built, and equal to TFLite byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from networks_helpers import CASES

from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.formats.tflite import writer
from memaopt.networks.formats.tflite.schema import IDENTIFIER
from memaopt.networks.graph import Graph
from memaopt.networks.zoo import zoo
from tests.fuzz import mutate
from tests.fuzz.bench import Rng
from tests.fuzz.generator import random_network
from tests.fuzz.host import samples
from tests.fuzz.model_files import ModelFiles
from tests.fuzz.oracle import ask, ask_micro
from tests.fuzz.watch import watched


def pool() -> list[bytes]:
    """One small network for each operator, a few random ones, and two whole ones."""
    single = [writer.write(build(np.random.default_rng([9, i]))) for i, build in enumerate(CASES.values())]
    random = [
        writer.write(random_network(np.random.default_rng([10, i]), f"random{i}", writable=True)) for i in range(16)
    ]
    whole = [writer.write(zoo.build(name)) for name in ("ds_cnn", "mobilenet_v2")]
    return [*single, *random, *whole]


def _fields(node: Any, found: list[tuple[Any, Any]]) -> None:
    """Every number in the objects of a file, as (container, attribute or index)."""
    if isinstance(node, list):
        for i, item in enumerate(node):
            if isinstance(item, (int, float)):
                found.append((node, i))
            else:
                _fields(item, found)
    elif isinstance(node, np.ndarray):
        found += [(node, i) for i in range(min(len(node), 16))]
    elif hasattr(node, "__dict__"):
        for name, value in vars(node).items():
            if isinstance(value, (int, float, np.number)):
                found.append((node, name))
            elif value is not None and not isinstance(value, (bytes, str)):
                _fields(value, found)


def repacked(rng: Rng, original: bytes) -> bytes:
    """A well-formed file with one to three of its numbers changed: it gets past the verifier."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(original, 0))
    found: list[tuple[Any, Any]] = []
    _fields(model, found)
    for _ in range(int(rng.integers(1, 4))):
        container, key = found[int(rng.integers(len(found)))]
        old = getattr(container, key) if isinstance(key, str) else container[key]
        if isinstance(old, (float, np.floating)):
            new: Any = rng.choice([0.0, -1.0, 1.0, 1e-30, 1e30, np.inf, np.nan, float(old) * 2, float(old) * 0.7])
        else:
            steps = [0, 1, 2, 3, 7, -1, 127, 128, 255, 32768, 1 << 30, int(old) + 1, int(old) - 1, int(old) * 2]
            new = int(rng.choice(steps))
        try:
            if isinstance(key, str):
                setattr(container, key, new)
            else:
                container[key] = new
        except (OverflowError, ValueError):
            continue
    try:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), IDENTIFIER)
    except (TypeError, ValueError, OverflowError, struct.error):  # the number does not fit its field
        return original
    return bytes(builder.Output())


def mutated(rng: Rng, files: Sequence[bytes]) -> bytes:
    """One mutated file."""
    original = files[int(rng.integers(len(files)))]
    return repacked(rng, original) if rng.integers(2) else mutate.mutated_bytes(rng, original, files)


class Files(ModelFiles):
    """Each equal to TFLite, byte for byte."""

    name = "tflite-files"
    batch = 48
    ending = "tflite"

    def pool(self) -> list[bytes]:
        return pool()

    def mutated(self, rng: Rng, files: Sequence[bytes]) -> bytes:
        return mutated(rng, files)

    def read(self, data: bytes) -> tuple[Graph, Sequence[str]]:
        return tflite.parse(data, "fuzzed.tflite"), ()

    def compared(self, data: bytes, plan: NetworkPlan, graph: Graph, notes: Sequence[str], rng: Rng) -> str:
        values = samples(plan, rng)[0]
        with watched():
            expected = reference.run(graph, values)
        micro = any(op.micro for op in graph.operators)
        verdict = ask_micro(graph, values) if micro else ask(data, values, expected)
        assert "DIFFERS" not in verdict, verdict
        return f"accepted, {verdict}"
