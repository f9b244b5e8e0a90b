"""The fuzzing bench: it sees what it looks for, and a few cases of each class hold."""

from __future__ import annotations

import collections
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("unicorn")

from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.errors import InputError
from memaopt.networks.formats.tflite import reader
from memaopt.networks.operators.registry import OPERATORS, SIXTEEN
from tests.fuzz import bench, certificates, host, mutate, tflite, watch
from tests.fuzz.bench import Case, Rng
from tests.fuzz.classes import CLASSES
from tests.fuzz.generator import random_network


class Wrong:
    """Cases that go wrong in each way that there is."""

    name = "wrong"
    batch = 1

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        match numbers[0]:
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case 2:
                raise ValueError("a traceback")
            case 3:
                return [Case("false", {"case.bin": b"false"})]
            case 4:
                with watch.watched(seconds=0.2):
                    while True:
                        pass
            case 5:
                with watch.watched(most=200 << 20):
                    np.ones(300 << 20, np.uint8)
            case 6:
                watch.check_said(watch.Said(2, "", "memaopt: two\nlines of an error\n"))
            case 7:
                watch.check_said(watch.Said(0, "a raw \x1b[31m", ""))
        return ["fine"]


def test_the_bench_sees_what_goes_wrong_and_goes_on(tmp_path: Path) -> None:
    """Catches a bench that stops at a crash, or that takes a crash, a traceback, a limit or a raw text for success."""
    found = bench.run(Wrong(), 7, count=10)
    assert [fault.number for fault in found.faults] == [1, 2, 3, 4, 5, 6, 7]
    assert found.outcomes == {"fine": 3, "FAILED": 7}
    said = {fault.number: fault.message for fault in found.faults}
    words = {1: "ended with -9", 2: "a traceback", 4: "0.2 s", 5: "memory", 6: "one line", 7: "x1b"}
    for number, what in words.items():
        assert what in said[number]
    bench.keep(found, tmp_path)
    assert (tmp_path / "wrong-7-3" / "case.bin").read_bytes() == b"false"
    assert "--class wrong --seed 7 --first 3 --count 1" in (tmp_path / "wrong-7-3" / "fault.txt").read_text()


def test_a_case_depends_on_its_number_alone() -> None:
    """Catches a case that cannot be tried again, and mutations that change nothing."""
    tree = {"a": [1, 2, {"b": True}], "c": "text", "d": None, "e": 0.5}
    made = [mutate.mutated_tree(bench.rng_of("x", 3, n), tree, [tree]) for n in range(40)]
    assert made == [mutate.mutated_tree(bench.rng_of("x", 3, n), tree, [tree]) for n in range(40)]
    assert len({json.dumps(one) for one in made}) > 25
    assert tree == {"a": [1, 2, {"b": True}], "c": "text", "d": None, "e": 0.5}


def test_random_networks_have_all_that_a_network_can_have() -> None:
    """Catches a generator that no longer reaches an operator, a batch, a second end or a part of constants."""
    kinds: collections.Counter[str] = collections.Counter()
    wide: collections.Counter[str] = collections.Counter()
    seen = collections.Counter({"batch": 0, "ends": 0, "constants alone": 0, "read often": 0, "size 1": 0})
    for number in range(700):
        graph = random_network(np.random.default_rng([1, number]), "n")
        kinds.update(op.kind for op in graph.operators)
        shapes = [graph.tensors[t].shape for t in graph.activations]
        seen["batch"] += any(len(shape) == 4 and shape[0] > 1 for shape in shapes)
        seen["size 1"] += any(1 in shape[1:] for shape in shapes)
        seen["ends"] += len(graph.inputs) > 1 and len(graph.outputs) > 1
        seen["read often"] += any(len(readers) > 2 for readers in graph.consumers.values())
        alone = [op for op in graph.operators if all(graph.tensors[i].is_constant for i in op.inputs)]
        seen["constants alone"] += bool(alone)
        wide.update(op.kind for op in graph.operators if type(op) is SIXTEEN.get(op.kind))
    assert {*OPERATORS} == {*kinds}
    assert {*SIXTEEN} == {*wide}
    assert min(seen.values()) > 8, seen


def test_a_verifier_that_believes_everything_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an oracle for certificates that cannot fail."""
    monkeypatch.setattr(certificates, "verified", lambda *_: watch.Said(0, "", ""))
    kind = certificates.GemmCertificates()
    kind.prepare(tmp_path, 0)
    found: list[str | Case] = []
    for number in range(10):
        try:
            found += kind.check([number], [bench.rng_of(kind.name, 0, number)])
        except InputError as error:
            found.append(Case(str(error)))
    assert sum(isinstance(one, Case) for one in found) > 5


def test_other_bytes_of_a_layer_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a comparison on the host that cannot fail."""
    graph = random_network(np.random.default_rng(4), "n4", most=4)
    plan = compile_network(graph, MCU)
    built = host.Host([plan], tmp_path / "host", host.compilers()[0])
    values = host.samples(plan, np.random.default_rng(0))
    built.check(0, values)
    right = host.reference.run
    monkeypatch.setattr(host.reference, "run", lambda *a: [x ^ np.int8(1) for x in right(*a)])
    with pytest.raises(AssertionError, match="has other bytes"):
        built.check(0, values)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("host-networks", 12),
        ("board-networks", 3),
        ("streams", 2),
        ("tflite-files", 48),
        ("onnx-files", 24),
        ("network-certificates", 60),
        ("gemm-certificates", 25),
        ("elfs", 12),
        ("machine-files", 8),
        ("problem-files", 12),
    ],
)
def test_a_few_cases_of_each_class_hold(name: str, count: int) -> None:
    """Catches what the bench catches, as far as a few cases go; ``python -m tests.fuzz`` tries more."""
    found = bench.run(CLASSES[name](), 1, count=count)
    assert not found.faults, found.faults[0].message
    assert found.count == count


def test_every_prefix_of_a_file_is_refused() -> None:
    """Catches a read beyond the end: a file cut anywhere before its last byte cannot be whole."""
    data = tflite.pool()[0]
    for length in range(0, len(data) - 8, 3):
        with pytest.raises(InputError, match=r"cut\.tflite|tensor|operator"):
            reader.parse(data[:length], "cut.tflite")
