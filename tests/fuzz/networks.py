"""Random networks in random settings: built, run and compared byte for byte, on the host and on the board."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.errors import InfeasibleError, MemaoptError
from memaopt.machines.mcu import mcu, preset_names
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.problems.words import OBJECTIVES
from memaopt.trials import network as network_trial
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.generator import random_network
from tests.fuzz.host import Host, compilers, samples
from tests.fuzz.oracle import ask, ask_micro
from tests.fuzz.watch import watched


def random_setting(rng: Rng) -> dict[str, Any]:
    """The machine, its setting and what a user may ask of it, budgets apart."""
    machine = mcu(str(rng.choice(preset_names())))
    machine = machine.in_setting(str(rng.choice([setting.name for setting in machine.settings])))
    if rng.integers(4) == 0:
        code, constants = (int(rng.integers(0, 1 << int(rng.integers(1, 17)))) for _ in range(2))
        machine = machine.with_ram(code=code, constants=constants)
    if rng.integers(5) == 0:
        machine = machine.with_wait_states(int(rng.integers(0, 8)))
    objectives = OBJECTIVES if machine.core.is_timed else tuple(each for each in OBJECTIVES if each != "energy")
    return {"mcu": machine, "objective": str(rng.choice(objectives)), "formats": bool(rng.integers(5))}


def budgets(rng: Rng, plan: NetworkPlan) -> Iterator[dict[str, int]]:
    """Budgets below what a plan takes that was made without one, from a tight one on ever wider."""
    what = str(rng.choice(["arena", "arena", "sram", "flash"]))
    taken, share = int(getattr(plan, f"{what}_bytes")), float(rng.uniform(0.5, 1.0))
    for _ in range(4):
        yield {what: int(taken * share)}
        share = (1 + share) / 2


def compiled(graph: Graph, rng: Rng, name: str) -> tuple[NetworkPlan, str]:
    """The network in a random setting, mostly with a budget as well if it can be met; and what became of that."""
    setting = random_setting(rng)
    with watched():
        plan = compile_network(graph, name=name, **setting)
    if rng.integers(4) == 0:
        return plan, "without a budget"
    for budget in budgets(rng, plan):
        try:
            with watched():
                tighter = compile_network(graph, name=name, **setting, **budget)
        except InfeasibleError:
            continue
        for what, most in budget.items():
            taken = getattr(tighter, f"{what}_bytes")
            assert taken <= most, f"{what} takes {taken} bytes of {most}"
        assert tighter.choice.price >= plan.choice.price, "a budget makes it cheaper"
        return tighter, "in a tight budget"
    return plan, "in no tighter budget"


class HostNetworks:
    """Random networks on this computer, with the sanitizers; TFLite's own answers where a file can hold them."""

    name = "host-networks"
    batch = 12

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        plans: dict[int, NetworkPlan] = {}
        found: dict[int, str | Case] = {}
        for number, rng in zip(numbers, rngs, strict=True):
            graph = random_network(rng, f"n{number}")

            def front(graph: Graph = graph, number: int = number, rng: Rng = rng) -> str:
                plan, word = compiled(graph, rng, f"n{number}")
                self._tflite(graph, samples(plan, rng)[0])
                plans[number] = plan
                return word

            found[number] = judged(front, {"network.pickle": pickle.dumps(graph)})
        if plans:
            tools = compilers()
            tool = tools[numbers[0] // self.batch % len(tools)]
            own = dict(zip(numbers, rngs, strict=True))
            found.update(built_and_run(plans, self.folder / "host", tool, own))
        return [found[number] for number in numbers]

    def _tflite(self, graph: Graph, values: Sequence[Any]) -> None:
        """The reference's bytes are those of TFLite's interpreter, where a file can hold the network."""
        if any(op.micro for op in graph.operators):
            verdict = ask_micro(graph, list(values))
            assert "DIFFERS" not in verdict, verdict
            return
        try:
            data = writer.write(graph)
        except MemaoptError:
            return
        verdict = ask(data, list(values), reference.run(graph, list(values)))
        assert verdict != "TFLite DIFFERS", "TFLite computes something else"


def built_and_run(
    plans: Mapping[int, NetworkPlan], folder: Path, tool: Sequence[str], rngs: Mapping[int, Rng]
) -> Iterator[tuple[int, Case]]:
    """Build networks in one program, run each, compare; the numbers of those that are wrong, and why."""
    try:
        host = Host(list(plans.values()), folder, tool)
    except AssertionError as error:
        for number, plan in plans.items():
            if f"{plan.name}." in str(error):
                yield number, Case(str(error), {"network.pickle": pickle.dumps(plan.source)})
        return
    for position, (number, plan) in enumerate(plans.items()):
        try:
            host.check(position, samples(plan, rngs[number]))
        except AssertionError as error:
            said = f"{plan.mcu.name} in {plan.mcu.setting}, {plan.objective}, {plan.budgets}: {error}"
            yield number, Case(said, {"network.pickle": pickle.dumps(plan.source)})


class BoardNetworks:
    """Random networks on the virtual board: every layer's bytes, every access, and the certificate's claims."""

    name = "board-networks"
    batch = 1

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        return [self._one(number, rng) for number, rng in zip(numbers, rngs, strict=True)]

    def _one(self, number: int, rng: Rng) -> str | Case:
        graph = random_network(rng, f"n{number}", writable=True)
        files = {"network.tflite": writer.write(graph)}
        model = self.folder / "network.tflite"
        model.write_bytes(files["network.tflite"])

        def verdict() -> str:
            plan, word = compiled(graph, rng, f"n{number}")
            setting: dict[str, Any] = {
                "objective": plan.objective,
                "name": plan.name,
                "formats": plan.formats,
                "sram": plan.budgets.sram,
                "flash": plan.budgets.flash,
                "arena": plan.budgets.arena,
            }
            said = f"{plan.mcu.name} in {plan.mcu.setting}, {setting}"
            again = compile_network(model, plan.mcu, **setting)
            with watched():
                network_check.verify(certificate.certify(again), Model.read(model))
            tried = network_trial.run(plan, 3)
            gc.collect()  # emulators that hold themselves
            for layer in tried.layers:
                assert layer.equal, f"{said}: {layer.name}: promised {layer.promised}, counted {layer.counted}"
                assert not layer.wrong, f"{said}: {layer.name}: {layer.wrong} bytes are wrong"
            assert tried.passed, f"{said}: {tried.wrong} bytes of the outputs are wrong"
            return word

        return judged(verdict, files)
