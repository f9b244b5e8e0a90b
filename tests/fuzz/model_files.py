"""Mutated files of a format: refused in one line, or compiled, and some of them built and compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError, MemaoptError
from memaopt.machines.mcu import mcu
from memaopt.networks import summary
from memaopt.networks.graph import Graph
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.host import compilers
from tests.fuzz.networks import built_and_run
from tests.fuzz.watch import watched

#: Of what is accepted, one in so many is built; all of it is compared.
_BUILT = 4
_LINE = 1200


class ModelFiles(ABC):
    """Mutated files, through to compared bytes."""

    name: ClassVar[str]
    batch: ClassVar[int]
    ending: ClassVar[str]

    @abstractmethod
    def pool(self) -> list[bytes]:
        """What is mutated."""

    @abstractmethod
    def mutated(self, rng: Rng, files: Sequence[bytes]) -> bytes:
        """One mutated file."""

    @abstractmethod
    def read(self, data: bytes) -> tuple[Graph, Sequence[str]]:
        """The network in a file, and what is noted of it."""

    @abstractmethod
    def compared(self, data: bytes, plan: NetworkPlan, graph: Graph, notes: Sequence[str], rng: Rng) -> str:
        """What another interpreter says of a file that was accepted, or AssertionError."""

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.files = self.pool()
        self.machine = mcu("stm32l4r5")

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        found: dict[int, str | Case] = {}
        plans: dict[int, NetworkPlan] = {}
        for number, rng in zip(numbers, rngs, strict=True):
            data = self.mutated(rng, self.files)

            def front(data: bytes = data, number: int = number, rng: Rng = rng) -> str:
                word, plan = self._front(data, rng, f"n{number}")
                if plan is not None and rng.integers(_BUILT) == 0:
                    plans[number] = plan
                    return "accepted, built and equal"
                return word

            found[number] = judged(front, {f"model.{self.ending}": data})
        if plans:
            tools = compilers()
            tool = tools[numbers[0] // self.batch % len(tools)]
            own = dict(zip(numbers, rngs, strict=True))
            found.update(built_and_run(plans, self.folder / "host", tool, own))
        return [found[number] for number in numbers]

    def _front(self, data: bytes, rng: Rng, name: str) -> tuple[str, NetworkPlan | None]:
        """What the compiler and the other interpreter make of one file."""
        try:
            with watched():
                graph, notes = self.read(data)
                summary.summarize(graph)
                plan = compile_network(graph, self.machine, name=name)
                emit.files(plan)
        except (InputError, InfeasibleError) as error:
            message = str(error)
            assert message.isprintable(), f"not one printable line: {message[:400]!r}"
            assert 8 < len(message) < _LINE, f"an error of {len(message)} letters"
            return f"refused ({type(error).__name__})", None
        except MemaoptError as error:
            raise AssertionError(f"{type(error).__name__}: {error}") from error
        return self.compared(data, plan, graph, notes, rng), plan
