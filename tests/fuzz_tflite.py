"""A seeded fuzzer for the reader: mutated .tflite files end in one clear line or in a network that works.

    python tests/fuzz_tflite.py --count 10000 --seed 0 [--oracle]

Each file is a mutation of a small network: bit flips, numbers overwritten, truncation, splices, deletions, and
fields changed in a file that stays well formed. The front end reads it, simplifies it, plans its memory and runs
it. Allowed outcomes: an InputError, UnsupportedModelError or InfeasibleError of one line, or a network whose
simplified form computes the same bytes; within 10 s and 2 GB. With ``--oracle`` an accepted file also runs in
TFLite's interpreter, in a process of its own since that may abort, and must give the same bytes.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import flatbuffers
import numpy as np
from networks_helpers import CASES

from memaopt.errors import InfeasibleError, InputError
from memaopt.networks import memory, reference, simplify, summary, tflite, writer, zoo
from memaopt.networks.graph import DType, Graph
from memaopt.networks.oracle import Oracle
from memaopt.networks.tflite_schema import IDENTIFIER, schema

SECONDS = 10
BYTES = 2 << 30
Rng = np.random.Generator


class TooSlow(BaseException):
    """Not an Exception, so that no handler in the front end swallows it."""


def seeds() -> list[bytes]:
    """One small network for each operator, and two whole ones."""
    single = [writer.write(build(np.random.default_rng([9, i]))) for i, build in enumerate(CASES.values())]
    whole = [writer.write(zoo.build(name)) for name in ("ds_cnn", "mobilenet_v2")]
    return [*single, *whole]


def _flip(rng: Rng, data: bytearray, _: list[bytes]) -> None:
    for _ in range(int(2 ** rng.choice([0, 0, 0, 1, 2, 5]))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def _number(rng: Rng, data: bytearray, _: list[bytes]) -> None:
    interesting = (0, 1, 2, 0xFF, 0x7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000, len(data), 3, 64)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data) // 4)) * 4
        value = int(rng.choice(interesting)) if rng.integers(4) else int(rng.integers(1 << 32))
        data[at : at + 4] = value.to_bytes(4, "little")


def _truncate(rng: Rng, data: bytearray, _: list[bytes]) -> None:
    del data[int(rng.integers(len(data))) :]


def _splice(rng: Rng, data: bytearray, pool: list[bytes]) -> None:
    other = pool[int(rng.integers(len(pool)))]
    start, length = int(rng.integers(len(other))), int(2 ** rng.integers(2, 9))
    at = int(rng.integers(len(data)))
    data[at : at + length] = other[start : start + length]


def _move(rng: Rng, data: bytearray, _: list[bytes]) -> None:
    size = int(2 ** rng.integers(1, 7)) * 4
    source, target = (int(rng.integers(max(len(data) - size, 1))) // 4 * 4 for _ in range(2))
    data[target : target + size] = data[source : source + size]


def _delete(rng: Rng, data: bytearray, _: list[bytes]) -> None:
    at = int(rng.integers(len(data)))
    del data[at : at + int(2 ** rng.integers(0, 6))]


MUTATIONS: tuple[Callable[[Rng, bytearray, list[bytes]], None], ...] = (
    _flip, _flip, _number, _number, _move, _truncate, _splice, _delete,
)  # fmt: skip


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
    module = schema()
    model = module.ModelT.InitFromObj(module.Model.GetRootAs(original, 0))
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


def mutated(rng: Rng, pool: list[bytes]) -> bytes:
    """One mutated file."""
    data = bytearray(pool[int(rng.integers(len(pool)))])
    if rng.integers(2):
        return repacked(rng, bytes(data))
    for _ in range(int(rng.integers(1, 3))):
        if len(data) > 16:
            MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, data, pool)
    return bytes(data)


def _values(rng: Rng, graph: Graph) -> list[np.ndarray[Any, Any]]:
    made = []
    for tensor in (graph.tensors[i] for i in graph.inputs):
        if tensor.dtype is DType.FLOAT32:
            made.append(rng.normal(0, 1, tensor.shape).astype(np.float32))
        else:
            made.append(rng.integers(-128, 128, tensor.shape).astype(tensor.dtype.value))
    return made


def check_one(data: bytes, rng: Rng) -> tuple[str, list[Any] | None]:
    """What became of a file: the kind of error, or ``accepted`` with its inputs and outputs.

    Raises AssertionError (or anything else) if that is not an allowed outcome.
    """
    try:
        graph = tflite.parse(data, "fuzzed.tflite")
        summary.summarize(graph)
        simplified = simplify.simplify(graph)
        memory.plan(simplified.graph, time_limit=1.0).verify(simplified.graph)
    except (InputError, InfeasibleError) as error:
        message = str(error)
        assert message, "the error says nothing"
        assert "\n" not in message, f"the error has several lines: {message}"
        assert len(message) < 1200, f"the error is too long: {message}"
        return type(error).__name__, None
    values = _values(rng, graph)
    before, after = reference.run(graph, values), reference.run(simplified.graph, values)
    for a, b in zip(before, after, strict=True):
        assert a.tobytes() == b.tobytes(), "simplification changed the output"
    return "accepted", [values, before]


def _compare(data: bytes, values: list[Any], expected: list[Any], pipe: Connection) -> None:
    try:
        actual = Oracle(data).run(values)
    except (InputError, ValueError, RuntimeError):
        pipe.send("TFLite refuses")
        return
    same = all(a.tobytes() == e.tobytes() for a, e in zip(actual, expected, strict=True))
    pipe.send("TFLite agrees" if same else "TFLite DIFFERS")


def ask_oracle(data: bytes, values: list[Any], expected: list[Any]) -> str:
    """TFLite's verdict, from a child process."""
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
    return verdict


def _alarm(_: int, __: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS} s")


def run(count: int, seed: int, *, oracle: bool = False, first: int = 0) -> collections.Counter[str]:
    """Check ``count`` mutated files; the outcomes. Raises for the first that is not allowed, naming its number."""
    pool = seeds()
    outcomes: collections.Counter[str] = collections.Counter()
    previous = signal.signal(signal.SIGALRM, _alarm)
    slowest = 0.0
    try:
        for number in range(first, first + count):
            rng = np.random.default_rng([seed, number])
            data = mutated(rng, pool)
            started = time.monotonic()
            signal.alarm(SECONDS)
            try:
                outcome, result = check_one(data, rng)
            except (Exception, TooSlow) as error:
                raise AssertionError(f"file {number} of seed {seed}: {type(error).__name__}: {error}") from error
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.monotonic() - started)
            outcomes[outcome] += 1
            if oracle and result is not None:
                verdict = ask_oracle(data, *result)
                outcomes[verdict] += 1
                assert verdict != "TFLite DIFFERS", f"file {number} of seed {seed}: TFLite computes something else"
    finally:
        signal.signal(signal.SIGALRM, previous)
    outcomes["slowest, ms"] = round(1000 * slowest)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak < BYTES, f"{peak:,} bytes of memory were used"
    outcomes["peak, MB"] = peak >> 20
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--oracle", action="store_true")
    arguments = parser.parse_args()
    outcomes = run(arguments.count, arguments.seed, oracle=arguments.oracle, first=arguments.first)
    for name, number in sorted(outcomes.items()):
        sys.stdout.write(f"{name}: {number}\n")


if __name__ == "__main__":
    main()
