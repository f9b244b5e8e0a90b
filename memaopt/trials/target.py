"""Samples on a chip: what ``NAME_serve`` of ``extras/NAME_samples.h`` is sent, and what it prints.

The firmware does so on the virtual board and at a debug probe, where the host's input is its own; at a serial port any
program may.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from memaopt.board.semihosting import HostInput
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import firmware
from memaopt.errors import InputError
from memaopt.interrupts import scratch_folder
from memaopt.printable import counted
from memaopt.trials.measurement import from_reset, make

Array = npt.NDArray[Any]
#: What a program is started with that is to serve samples, and what ends them.
_COMMAND_LINE, _END = "samples", b"ME"
_REPLY = r"(?<!\w){}: sample (?:again|([0-9a-f]+), cycles (\d+), status (\d+), sum ([0-9a-f]+), output ([0-9a-f]*))$"
#: Samples of one run of the program, and the cycles of all: it prints a MiB, and takes so many instructions, at most.
_MOST_TOGETHER, _MOST_CYCLES, _MOST_HEX = 64, 1_000_000_000, 500_000
_TRIES = 3


class SampleAnswer(NamedTuple):
    """A sample's output bytes, as the program said them; its cycles; what its call returned, negated."""

    output: bytes
    cycles: int
    status: int


class TargetRun(BaseModel, frozen=True):
    """Samples on a chip, or on the virtual board: ``wrong`` have other outputs than the run beside it, by the
    reference or the library's C, or a call that failed. ``cycles`` are the least and the most of a call, by the chip's
    counter; None on a core that is not timed.
    """

    where: str
    samples: int
    wrong: int
    cycles: tuple[int, int] | None

    def describe(self) -> str:
        """In a line."""
        least, most = self.cycles or (0, 0)
        taken = "" if self.cycles is None else f", {least:,}{f' to {most:,}' if most > least else ''} cycles each"
        found = f"{self.wrong:,} outputs differ" if self.wrong else "every output is the same, bit for bit"
        return f"{counted(self.samples, 'sample')} on {self.where}{taken}: {found}"


class SampleTarget(NamedTuple):
    """Where samples run, in words, and what runs them: an answer for each, in their order."""

    where: str
    run: Callable[[Array], Iterator[SampleAnswer]]
    timed: bool


def frame(sample: Array) -> bytes:
    """A sample as the program reads it."""
    data = np.ascontiguousarray(sample).tobytes()
    return b"MS" + data + zlib.crc32(data).to_bytes(4, "little")


def answers(text: str, name: str) -> list[SampleAnswer | None]:
    """What a program has said of samples, one after the other: None where it wants one again, or said it wrongly."""
    reply = re.compile(_REPLY.format(re.escape(name)))
    return [_answer(found) for line in text.splitlines() if (found := reply.search(line.strip())) is not None]


def _answer(found: re.Match[str]) -> SampleAnswer | None:
    if found[1] is None or len(found[5]) % 2 or zlib.crc32(bytes.fromhex(found[5])) != int(found[4], 16):
        return None
    return SampleAnswer(bytes.fromhex(found[5]), int(found[2]), int(found[3]))


def compared(target: SampleTarget, samples: Array, outputs: Array, done: Callable[[int], object]) -> TargetRun:
    """Run all samples, and compare each with its output; ``done`` is told of each."""
    wrong, cycles = 0, []
    for answer, wanted in zip(target.run(samples), outputs, strict=True):
        wrong += answer.status != 0 or answer.output != np.ascontiguousarray(wanted).tobytes()
        cycles.append(answer.cycles)
        done(1)
    taken = (min(cycles), max(cycles)) if target.timed else None
    return TargetRun(where=target.where, samples=len(samples), wrong=wrong, cycles=taken)


def by_firmware(
    plan: NetworkPlan,
    folder: Path,
    serve: Callable[[Path, HostInput], str] | None = None,
    *,
    compiler: str | None = None,
) -> SampleTarget:
    """The firmware in a library's folder, on the virtual board; or ``serve`` runs an image from reset with what its
    host has for it, on a chip, and returns what it printed. InputError for a folder without firmware that serves.
    """
    _demand(plan)
    together = min(_MOST_TOGETHER, _MOST_CYCLES // (plan.machine_cycles + 1), _MOST_HEX // _output_bytes(plan))

    def run(samples: Array) -> Iterator[SampleAnswer]:
        with scratch_folder() as scratch:
            image = scratch / "firmware.elf"
            make([plan], folder, image, compiler=compiler)
            for first in range(0, len(samples), max(1, together)):
                some = samples[first : first + max(1, together)]
                given = HostInput(_COMMAND_LINE, b"".join(map(frame, some)) + _END)
                text = from_reset(plan.mcu, image, given) if serve is None else serve(image, given)
                found = answers(text, plan.name)
                if len(found) != len(some) or None in found:
                    raise InputError(f"{folder}: its firmware serves no samples: write it again with solve --out")
                yield from (answer for answer in found if answer is not None)

    return SampleTarget(
        "the virtual board" if serve is None else "silicon", run, serve is not None or plan.mcu.core.is_timed
    )


def by_line(plan: NetworkPlan, exchange: Callable[[bytes, Callable[[str], bool]], str]) -> SampleTarget:
    """A program at a serial port that calls ``NAME_serve``: ``exchange`` sends bytes, and returns what has come since
    once that is enough.
    """
    _demand(plan)

    def enough(text: str) -> bool:
        return bool(answers(text[: text.rfind("\n") + 1], plan.name))

    def run(samples: Array) -> Iterator[SampleAnswer]:
        for number, sample in enumerate(samples):
            for _ in range(_TRIES):
                found = answers(exchange(frame(sample), enough), plan.name)[-1]
                if found is not None and len(found.output) == _output_bytes(plan):
                    yield found
                    break
            else:
                raise InputError(f"sample {number} did not cross whole in {_TRIES} tries: a slower port?")

    return SampleTarget("silicon", run, timed=True)


def _demand(plan: NetworkPlan) -> None:
    if not firmware.serves(plan):
        raise InputError(f"{plan.name}: --target takes networks with an input and an output in the arena, and no state")


def _output_bytes(plan: NetworkPlan) -> int:
    return plan.graph.tensors[plan.graph.outputs[0]].nbytes
