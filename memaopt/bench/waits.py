"""Is waiting predicted well? Random layers, each as the chooser has it computed, predicted and counted in each setting.

Every setting has its own choice of kernels and places; the program of a layer holds all of them, where the SRAM does,
and each runs on a board in that setting, from empty caches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from memaopt.alignment import align
from memaopt.board import Board, build
from memaopt.choice.in_ram import IN_FLASH, Where, code_room, constants_room, contending, copyable, pays, stall_cycles
from memaopt.kernels.registry import Emitted, Plan, emit, in_sections, plans, source_file, staged
from memaopt.machines.mcu import Mcu
from memaopt.models.waits import timing, waiting
from memaopt.problems.layers import Layer, Quantize
from memaopt.problems.sixteen import FromFloat16
from memaopt.report.console import table

#: Predictions are to be this close: nine in ten, and all.
NINE_IN_TEN, ALL = 0.05, 0.10
#: Bytes that a layer may have as scratch here, so that it fits the smallest machine beside its operands.
_MOST_SCRATCH = 48 << 10
#: SRAM that code in RAM may take where it lies among the data.
_CODE_ROOM = 24 << 10


class LayerRun(BaseModel, frozen=True):
    """A layer in one setting: how it was computed, cycles predicted and counted."""

    layer: str
    setting: str
    kernel: str
    where: str
    predicted: int
    counted: int
    ideal: int

    @property
    def error(self) -> float:
        """Predicted over counted, less 1."""
        return self.predicted / self.counted - 1


class WaitStudy(BaseModel, frozen=True):
    """The runs of all layers, and of all GEMMs, in all settings of a machine."""

    mcu: str
    runs: tuple[LayerRun, ...]
    gemms: tuple[LayerRun, ...] = ()


def share(runs: Sequence[LayerRun], limit: float) -> float:
    """The share of runs predicted within ``limit``."""
    return sum(abs(run.error) <= limit for run in runs) / len(runs)


def worst(runs: Sequence[LayerRun]) -> LayerRun:
    """The run that is predicted worst."""
    return max(runs, key=lambda run: abs(run.error))


def study(machine: Mcu, layers: Iterable[tuple[str, Layer]], compiler: str | None = None) -> WaitStudy:
    """Layers, each with its name, in every setting of a machine; those that it has not the SRAM for are left out."""
    settings = [machine.in_setting(setting.name) for setting in machine.settings]
    fitting = [(name, layer) for name, layer in layers if any(_offered(layer, machine))]
    runs = [run for name, layer in fitting for run in runs_of(name, layer, settings, compiler)]
    return WaitStudy(mcu=machine.name, runs=tuple(runs))


def chosen(layer: Layer, machine: Mcu) -> tuple[Plan, Where, int]:
    """What takes the fewest cycles in a setting, where its code and constants lie, and the cycles predicted of it: of
    the layer itself, for here no code in flash calls it.
    """
    figures, setting = timing(machine), machine.setting
    candidates = [
        (plan.cycles + stall_cycles(plan, 1, where, figures), i, plan, where)
        for i, plan in enumerate(_offered(layer, machine))
        for where in copyable(
            plan,
            code=bool(plan.kernels) and code_room(plan) <= setting.code_in_ram,
            data=setting.constants_in_ram > 0 and _room(layer, plan, constants_room(plan)) <= machine.sram.size,
        )
        if pays(plan, where, figures)
    ]
    _, _, plan, where = min(candidates, key=lambda candidate: candidate[:2])
    waits = waiting(plan.code, figures, where.code, where.data) + contending(plan, where, figures)
    return plan, where, plan.cycles + round(waits)


def _offered(layer: Layer, machine: Mcu) -> list[Plan]:
    """The plans that a machine has the SRAM for, and those of them that copy their constants into scratch."""

    def fits(plan: Plan) -> bool:
        return plan.scratch_bytes <= _MOST_SCRATCH and _room(layer, plan) <= machine.sram.size

    offered = [plan for plan in plans(layer) if fits(plan)]
    return [*offered, *(copy for plan in offered if (copy := staged(plan)) is not None and fits(copy))]


def _room(layer: Layer, plan: Plan, constants: int = 0) -> int:
    """Bytes of SRAM that a call takes at most with so many of constants there, each operand aligned."""
    operands = [each.bytes for each in (*layer.takes, layer.gives)]
    return _CODE_ROOM + constants + sum(size + 48 for size in (*operands, plan.scratch_bytes))


def runs_of(name: str, layer: Layer, settings: Sequence[Mcu], compiler: str | None) -> Iterable[LayerRun]:
    """A layer, as it takes the fewest cycles, on each of these machines."""
    choices = [(machine, *chosen(layer, machine)) for machine in settings]
    distinct = list(dict.fromkeys((plan, where) for _, plan, where, _ in choices))
    emitted = [_emitted(layer, plan, where, f"layer_{i}") for i, (plan, where) in enumerate(distinct)]
    in_ram = sum(constants_room(plan) for plan, where in distinct if where.data)
    if len(settings) > 1 and max(_room(layer, plan, in_ram) for plan, _ in distinct) > settings[0].sram.size:
        for machine in settings:
            yield from runs_of(name, layer, [machine], compiler)
        return
    with tempfile.TemporaryDirectory(prefix="memaopt-") as folder:
        source = Path(folder) / "layers.c"
        source.write_text(source_file(emitted), encoding="utf-8")
        program = build([source], Path(folder) / "layers.elf", settings[0], compiler=compiler)
        for machine, plan, where, predicted in choices:
            one = emitted[distinct.index((plan, where))]
            board = Board(machine).load(program)
            run = board.call(one.name, *arguments_of(board, layer, in_ram, machine, one))
            places = [place for place, there in (("code", where.code), ("constants", where.data)) if there]
            yield LayerRun(
                layer=name,
                setting=machine.setting.name,
                kernel=f"{plan.family} {plan.tile}".strip(),
                where=f"{' and '.join(places)} in RAM" if places else "flash",
                predicted=predicted,
                counted=run.cycles,
                ideal=run.ideal_cycles,
            )


def _emitted(layer: Layer, plan: Plan, where: Where, name: str) -> Emitted:
    made = emit(layer, plan, name)
    if where == IN_FLASH:
        return made
    return in_sections(made, code=".ramfunc" if where.code else "", data=".sram.constants" if where.data else "")


def arguments_of(board: Board, layer: Layer, in_ram: int, machine: Mcu, one: Emitted) -> list[int]:
    """Addresses of random inputs, of the output and of scratch memory, behind what the program has in SRAM."""
    rng = np.random.default_rng(0)
    at = machine.sram.base + _CODE_ROOM + in_ram
    arguments = []
    for each in layer.takes:
        if isinstance(layer, Quantize | FromFloat16):
            board.write(at, rng.normal(0, 60 * layer.scale, each.size).astype(np.float32).tobytes())
        else:
            board.write(at, rng.integers(-128, 128, each.bytes).astype(np.int8).tobytes())
        arguments.append(at)
        at += align(each.bytes, 16) + 32
    for size in (layer.gives.bytes, one.plan.scratch_bytes):
        arguments.append(at)
        at += align(size, 16) + 32
    return arguments


def print_study(console: Console, found: WaitStudy, machine: Mcu, which: str) -> None:
    """Of layers and of GEMMs a line for each setting: how many are predicted within the limits, and which one worst."""
    console.print(f"Cycles predicted over counted, {machine.title}, {which}", style="bold", highlight=False)
    for what, runs in (("layers", found.runs), ("GEMMs", found.gemms)):
        if runs:
            console.print(_table(what, runs))


def _table(what: str, every: Sequence[LayerRun]) -> Table:
    made = table(("setting", what, "within 5 %", "within 10 %", "worst", ""), words=("setting", ""))
    for setting in dict.fromkeys(run.setting for run in every):
        runs = [run for run in every if run.setting == setting]
        last = worst(runs)
        made.add_row(
            setting,
            str(len(runs)),
            f"{share(runs, NINE_IN_TEN):.1%}",
            f"{share(runs, ALL):.1%}",
            f"{last.error:+.1%}",
            f"{last.layer}: {last.kernel}, {last.counted:,} cycles counted",
        )
    return made
