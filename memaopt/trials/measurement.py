"""A library's firmware measured: promised, on the virtual board, on silicon, layer by layer, each output compared."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from memaopt.board.build import WARNINGS, build
from memaopt.board.semihosting import HostInput
from memaopt.certificates.gemm import Certificate
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import firmware, gemm
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.states import initial_states
from memaopt.errors import FaultError, InputError
from memaopt.interrupts import scratch_folder
from memaopt.machines.mcu import Mcu
from memaopt.networks import reference
from memaopt.overview import Overview
from memaopt.problems.custom import CustomCode
from memaopt.trials import readout
from memaopt.trials.layer import stored
from memaopt.trials.readout import Readout


class LayerMeasurement(BaseModel, frozen=True):
    """A layer's cycles, None where nobody promises or measured any. ``right``: its output is, wherever it ran."""

    name: str
    promised: int | None
    virtual: int | None
    silicon: int | None
    right: bool


class Measurement(Overview, frozen=True):
    """A call of a library and its layers: cycles promised, on the virtual board, and on silicon where it was measured.

    ``findings`` are empty if every output is right and the program is of this certificate; not ``exact``: right but for
    other roundings of sums. A product is a call without layers.
    """

    name: str
    machine: str
    layers: tuple[LayerMeasurement, ...]
    promised: int | None
    virtual: int | None
    silicon: int | None
    findings: tuple[str, ...]
    exact: bool = True

    @property
    def passed(self) -> bool:
        return not self.findings

    def headline(self) -> str:
        found = self.virtual if self.silicon is None else self.silicon
        where = "the virtual board" if self.silicon is None else "silicon"
        what = "every output is right" if self.passed else "; ".join(self.findings)
        return f"{self.name}: {'' if found is None else f'{found:,} cycles on {where}, '}{what}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        found = (("promised", self.promised), ("virtual", self.virtual), ("silicon", self.silicon))
        return tuple((name, f"{cycles:,} cycles") for name, cycles in found if cycles is not None)


def measure(
    plan: NetworkPlan,
    folder: Path,
    silicon: Callable[[Path], str] | None = None,
    *,
    compiler: str | None = None,
) -> Measurement:
    """:func:`measure_all` of a library of one network."""
    (found,) = measure_all([plan], folder, silicon, compiler=compiler)
    return found


def measure_all(
    plans: Sequence[NetworkPlan],
    folder: Path,
    silicon: Callable[[Path], str] | None = None,
    *,
    compiler: str | None = None,
) -> tuple[Measurement, ...]:
    """Build the firmware in a library's folder and run it on the virtual board; ``silicon`` is given the image, and
    returns what a chip printed. A measurement for each of its networks, in their order.

    Raises InputError for a folder without firmware or text that is no readout, BuildError, FaultError.
    """
    with scratch_folder() as scratch:
        image = scratch / "firmware.elf"
        make(plans, folder, image, compiler=compiler)
        printed = {"the virtual board": from_reset(plans[0].mcu, image)}
        if silicon is not None:
            printed["silicon"] = silicon(image)
    return tuple(_measured(plan, printed) for plan in plans)


def _measured(plan: NetworkPlan, printed: Mapping[str, str]) -> Measurement:
    """What was printed, by where, about a network."""
    found = {where: _read(plan.name, len(plan.layers), text, where) for where, text in printed.items()}
    wanted = _sums(plan)
    virtual = found["the virtual board"] if plan.mcu.core.is_timed else None
    timed = {"virtual": virtual, "silicon": found.get("silicon")}
    layers = tuple(
        LayerMeasurement(
            name=layer.name,
            promised=layer.machine_cycles if plan.promises_cycles else None,
            right=all(run.layers[number].crc == wanted[number] for run in found.values()),
            **{where: _cycles(run, number) for where, run in timed.items()},
        )
        for number, layer in enumerate(plan.layers)
    )
    return Measurement(
        name=plan.name,
        machine=plan.mcu.title,
        layers=layers,
        promised=plan.machine_cycles if plan.promises_cycles else None,
        **{where: _cycles(run) for where, run in timed.items()},
        findings=tuple(line for where, run in found.items() for line in _findings(plan, where, run, wanted)),
    )


def make(plans: Sequence[NetworkPlan], folder: Path, image: Path, *, compiler: str | None = None) -> None:
    """Build the firmware in the folder of a library of these networks; InputError if there is none."""
    _build(plans[0].library, plans[0].mcu, folder, image, compiler, plans[0].customs)


def _build(
    name: str, mcu: Mcu, folder: Path, image: Path, compiler: str | None, customs: Sequence[CustomCode] = ()
) -> None:
    with scratch_folder() as scratch:
        program, script = folder / firmware.program(name), folder / firmware.linker_script(name)
        if not (program.is_file() and script.is_file()):
            raise InputError(f"{folder}: has no {firmware.FOLDER}: write it again with solve --out")
        main = scratch / "firmware.c"
        main.write_bytes(program.read_bytes())
        build(
            [main, *library.sources(folder, name, customs)],
            image,
            mcu,
            compiler=compiler,
            include=library.include_folders(folder),
            warnings=() if customs else WARNINGS,
            linker=script.read_text(encoding="utf-8"),
        )


def measure_gemm(
    certificate: Certificate,
    folder: Path,
    silicon: Callable[[Path], str] | None = None,
    *,
    compiler: str | None = None,
) -> Measurement:
    """:func:`measure_all` of a product, which is one call."""
    name, machine = gemm.name_of(certificate), certificate.machine
    if not gemm.has_firmware(certificate):
        raise InputError(f"{folder}: has no firmware: it has operands beside flash and SRAM, or code in RAM")
    with scratch_folder() as scratch:
        image = scratch / "firmware.elf"
        _build(name, machine, folder, image, compiler)
        printed = {"the virtual board": from_reset(machine, image)}
        if silicon is not None:
            printed["silicon"] = silicon(image)
    found = {where: _read(name, 0, text, where) for where, text in printed.items()}
    promised = certificate.traffic.cycles if machine.core.is_timed else None
    findings = [f"{where}: {run.wrong:,} elements of C are wrong" for where, run in found.items() if run.wrong]
    findings += [
        f"{where}: another certificate's library, its promised cycles are others"
        for where, run in found.items()
        if run.promised != promised
    ]
    return Measurement(
        name=name,
        machine=machine.title,
        layers=(),
        promised=promised,
        virtual=_cycles(found["the virtual board"]) if machine.core.is_timed else None,
        silicon=_cycles(found.get("silicon")),
        findings=tuple(findings),
        exact=certificate.problem.element.exact,
    )


def from_reset(mcu: Mcu, image: Path, given: HostInput | None = None) -> str:
    """What the firmware prints on the virtual board, from reset, with what its host has for it."""
    from memaopt.board import Board

    # What the program turns on itself is off before.
    machine = mcu.in_setting("stock") if mcu.setting.turn_on else mcu
    ran = Board(machine).load(image).reset(given=given)
    if ran.ended != "exit":
        raise FaultError(f"the firmware ended without a result ({ran.ended})", ran.ended_at, "main")
    return ran.output


def _read(name: str, layers: int, text: str, where: str) -> Readout:
    found = readout.read(text, name, layers)
    if found is None:
        raise InputError(f"{name}: what {where} printed is no readout of {f'its {layers} layers' if layers else 'it'}")
    return found


def _cycles(found: Readout | None, layer: int | None = None) -> int | None:
    return None if found is None else found.cycles if layer is None else found.layers[layer].cycles


def _sums(plan: NetworkPlan) -> list[int]:
    """The CRC-32 of each layer's output on the test vector, as its kernel leaves it in the arena."""
    given = emit.random_inputs(plan)
    values = reference.layers(plan.graph, [*given, *initial_states(plan, given)])
    outputs = {op.output: value for op, value in values}
    return [zlib.crc32(stored(outputs[layer.op.output], layer.plan.output_format)) for layer in plan.layers]


def _findings(plan: NetworkPlan, where: str, run: Readout, wanted: list[int]) -> Iterator[str]:
    """What is not as the certificate says, a line each."""
    promised = [plan.machine_cycles, *(layer.machine_cycles for layer in plan.layers)]
    if plan.promises_cycles and [run.promised, *(layer.promised for layer in run.layers)] != promised:
        yield f"{where}: another certificate's library, its promised cycles are others"
    if run.status:
        yield f"{where}: {plan.name}_{emit.verb(plan)} returns {-run.status}"
    wrong = [n for n, (layer, crc) in enumerate(zip(run.layers, wanted, strict=True)) if layer.crc != crc]
    if wrong:
        yield f"{where}: the output of layer {wrong[0]}, {plan.layers[wrong[0]].name}, is not the reference's"
    if run.wrong:
        yield f"{where}: {run.wrong:,} bytes of the network's outputs are wrong"
