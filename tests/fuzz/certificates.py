"""Certificates whose content was changed and whose digest was made right again.

A changed certificate must be refused, or be a true one about other premises: the same as certifying those afresh
gives. Where a plan is as good as the one found afresh but another, its library is built and compared on the board.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memaopt.certificates import envelope, network
from memaopt.certificates import gemm as certificates
from memaopt.choice.compile import compile_network
from memaopt.errors import FalseClaimError, MemaoptError
from memaopt.machines.mcu import Mcu, mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.reading import Wanted
from memaopt.problems.gemm import Gemm
from memaopt.trials import network as network_trial
from tests.fuzz import mutate
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.generator import random_network
from tests.fuzz.watch import verified

#: Fields that nobody derives again: what a solver took and which one it was.
_NOT_CLAIMED = ("milliseconds", "version", "sha256")
_TEXTS = ("title", "source", "sources")


def unclaimed(data: Any) -> Any:
    """A certificate's data without what is not claimed."""
    if isinstance(data, dict):
        return {key: unclaimed(value) for key, value in data.items() if key not in _NOT_CLAIMED}
    return [unclaimed(value) for value in data] if isinstance(data, list) else data


def spoken_of(data: Any) -> Any:
    """Premises without the names and texts that nothing is computed from."""
    if isinstance(data, dict):
        return {key: spoken_of(value) for key, value in data.items() if key not in _TEXTS}
    return [spoken_of(value) for value in data] if isinstance(data, list) else data


def same(a: Any, b: Any) -> bool:
    """Equal, types included: true is not 1, and 1 is not 1.0."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def read_as(data: Any, kept: Any) -> Any:
    """``data`` with whole numbers as floats where ``kept`` has those, which JSON does not tell apart, and with what is
    not said of the machine as it is where nothing is said."""
    if isinstance(data, dict) and isinstance(kept, dict):
        return {**kept, **{key: read_as(value, kept.get(key)) for key, value in data.items()}}
    if isinstance(data, list) and isinstance(kept, list) and len(data) == len(kept):
        return [read_as(value, other) for value, other in zip(data, kept, strict=True)]
    return float(data) if type(data) is int and type(kept) is float else data


def differences(claimed: Any, true: Any, path: str = "") -> Iterator[str]:
    """Each place where two trees differ."""
    if isinstance(claimed, dict) and isinstance(true, dict):
        for key in sorted({*claimed, *true}):
            if key not in claimed or key not in true:
                yield f"{path}.{key} is {'extra' if key in claimed else 'missing'}"
            else:
                yield from differences(claimed[key], true[key], f"{path}.{key}")
    elif isinstance(claimed, list) and isinstance(true, list) and len(claimed) == len(true):
        for i, (a, b) in enumerate(zip(claimed, true, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif not same(claimed, true):
        yield f"{path} says {json.dumps(claimed)[:200]}, not {json.dumps(true)[:200]}"


def told(claimed: Any, true: Any) -> str:
    """The first few differences."""
    return "; ".join(itertools.islice(differences(claimed, true), 6))


class _Certificates:
    """What both kinds share: mutate, sign, verify by the command line, and judge what passed."""

    batch = 1

    def __init__(self) -> None:
        self.folder = Path()
        self.pool: list[dict[str, Any]] = []
        #: What certifying premises afresh claims.
        self.fresh: dict[str, dict[str, Any]] = {}

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        """Each: ``refused``, or ``true`` for one that holds about other premises."""
        return [self._one(rng) for rng in rngs]

    def _one(self, rng: Rng) -> str | Case:
        which = int(rng.integers(len(self.pool)))
        original = self.pool[which]
        data = original
        while same(data, original):
            data = mutate.mutated_tree(rng, original, self.pool)
        data["sha256"] = self.digest(data)
        text = json.dumps(data)
        path = self.folder / "certificate.json"
        path.write_text(text, encoding="utf-8")
        files = {"certificate.json": text.encode(), "original.json": json.dumps(original).encode()}
        files |= self.beside(which)

        def verdict() -> str:
            said = verified(path)
            if said.code:
                return "refused as no certificate" if said.code == 2 else "refused as false"
            return self.judge(data, path)

        return judged(verdict, files)

    def digest(self, data: dict[str, Any]) -> str:
        raise NotImplementedError

    def beside(self, which: int) -> dict[str, bytes]:
        """Files that lie beside the certificate."""
        return {}

    def judge(self, data: dict[str, Any], path: Path) -> str:
        raise NotImplementedError


class GemmCertificates(_Certificates):
    """Of small products in all element types, placements, objectives."""

    name = "gemm-certificates"

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder
        small = mcu("stm32l4r5").with_sizes(sram=1500)
        chosen: list[tuple[Gemm, Mcu, str, str]] = [
            (Gemm(m=6, k=10, n=9, dtype="q15"), mcu("stm32l4r5"), "bytes", "single"),
            (Gemm(m=7, k=12, n=5, dtype="s8"), mcu("nrf52840"), "cycles", "single"),
            (Gemm(m=6, k=8, n=7, dtype="f32", placement={"a": "qspi", "b": "qspi", "c": "qspi"}),
             small.with_sizes(sram=600), "bytes", "single"),
            (Gemm(m=12, k=30, n=16, dtype="q15", placement={"a": "qspi", "b": "sram", "c": "qspi"}), small, "energy",
             "double"),
            (Gemm(m=2, k=3, n=2, dtype="f32"), mcu("stm32f446"), "energy", "single"),
            (Gemm(m=9, k=40, n=20, dtype="s8", placement={"a": "qspi", "b": "flash", "c": "qspi"}), small, "bytes",
             "single"),
            (Gemm(m=1, k=1, n=1, dtype="q15"), mcu("stm32f407"), "cycles", "double"),
        ]  # fmt: skip
        self.pool = [json.loads(certificates.certify(*case).to_json()) for case in chosen]

    def digest(self, data: dict[str, Any]) -> str:
        try:
            return certificates.Certificate.from_json(json.dumps(data)).signed().sha256
        except MemaoptError:
            return envelope.digest(data)

    def judge(self, data: dict[str, Any], path: Path) -> str:
        read = certificates.Certificate.read(path)
        kept = json.loads(read.to_json())
        data = read_as(data, kept)
        assert same(data, kept), f"the file is read as another: {told(data, kept)}"
        premises = [spoken_of(data[key]) for key in ("problem", "machine", "objective", "buffering")]
        key = json.dumps(premises, sort_keys=True)
        if key not in self.fresh:
            fresh = certificates.certify(read.problem, read.machine, read.objective, read.buffering)
            self.fresh[key] = unclaimed(json.loads(fresh.to_json()))
        true, claimed = {**self.fresh[key], "machine": unclaimed(data["machine"])}, unclaimed(data)
        assert same(claimed, true), f"passes, and is false: {told(claimed, true)}"
        return "true"


class NetworkCertificates(_Certificates):
    """Of small networks under different budgets."""

    name = "network-certificates"

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, bytes] = {}

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder
        number = 0
        while len(self.pool) < 8:
            rng = mutate.np.random.default_rng([11, number])
            number += 1
            graph = random_network(rng, f"small{number}", most=5, writable=True)
            name = f"small{number}.tflite"
            data = writer.write(graph)
            (folder / name).write_bytes(data)
            machine = mcu(("stm32l4r5", "nrf52840", "stm32f446")[number % 3], ("stock", "ram")[number % 2])
            objective = ("cycles", "bytes", "cycles", "energy")[number % 4]
            try:
                plan = compile_network(folder / name, machine, objective)
                if number % 2:
                    plan = compile_network(folder / name, machine, objective, arena=int(plan.arena_bytes * 0.9))
            except MemaoptError:
                continue
            self.models[name] = data
            self.pool.append(json.loads(network.certify(plan, name).to_json()))

    def digest(self, data: dict[str, Any]) -> str:
        try:
            return network.NetworkCertificate.from_json(json.dumps(data)).signed().sha256
        except MemaoptError:
            return envelope.digest(data)

    def beside(self, which: int) -> dict[str, bytes]:
        name = self.pool[which]["model"]
        return {name: self.models[name]}

    def judge(self, data: dict[str, Any], path: Path) -> str:
        read = network.NetworkCertificate.read(path)
        kept = json.loads(read.to_json())
        data = read_as(data, kept)
        assert same(data, kept), f"the file is read as another: {told(data, kept)}"
        true = self._afresh(read, path.parent / read.model)
        claimed = unclaimed(data)
        for key in ("name", "model"):
            claimed.pop(key, None)
        different = [key for key in true if not same(true[key], claimed.get(key))]
        if not different:
            return "true"
        assert set(different) <= {"layers", "memory", "totals"}, f"passes, and is false: {told(claimed, true)}"
        # As good a plan, but another one: it must keep what it says.
        tried = network_trial.run(read.plan, 2)
        assert tried.passed, f"passes, and its library does not keep it: {told(claimed, true)}"
        return "true, with another plan"

    def _afresh(self, read: network.NetworkCertificate, model: Path) -> dict[str, Any]:
        """What certifying the same premises afresh claims."""
        options = {
            "sram": read.sram_bytes,
            "flash": read.flash_bytes,
            "arena": read.arena_bytes,
            "formats": read.formats,
        }
        premises = [read.model, read.subgraph, read.machine.model_dump(mode="json"), read.objective, options]
        key = json.dumps([*premises, read.placement.model_dump()])
        if key not in self.fresh:
            try:
                # The first subgraph may be asked for by its name.
                asked = Model.read(model, Wanted(subgraph=read.subgraph))
                plan = compile_network(asked, read.machine, read.objective, place=read.placement, **options)
            except MemaoptError as error:
                raise FalseClaimError(f"passes, but its premises give no network: {error}") from error
            true = unclaimed(json.loads(network.certify(plan, read.model).to_json()))
            for part in ("name", "model"):
                true.pop(part, None)
            self.fresh[key] = true
        return self.fresh[key]
