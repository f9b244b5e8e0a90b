"""What runs in the processes of a sweep: tasks are solved, rows come back. Nothing is read or written here."""

from __future__ import annotations

import gc
import os
import signal
import threading
from dataclasses import fields
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from memaopt.certificates import gemm
from memaopt.certificates.gemm import Certificate
from memaopt.errors import InfeasibleError, InputError, MemaoptError
from memaopt.inputs import told
from memaopt.machines.mcu import Mcu
from memaopt.printable import counted
from memaopt.problems.gemm import Gemm, placed
from memaopt.sweeps.packed import pack, unpack
from memaopt.sweeps.task import Batch, SweepRow, Task, canonical

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from memaopt.certificates.network import NetworkCertificate
    from memaopt.networks.formats.model import Model


def solve(batch: Batch) -> list[SweepRow]:
    """A row for each task, in their order; what a task fails with is its row."""
    return [_row(task, batch) for task in batch.tasks]


class Verdict(NamedTuple):
    """What is false of a row or its certificate, nothing where all holds; whether something was not proven again."""

    claim: str
    unproven: bool = False


def verify(batch: Batch, rows: tuple[SweepRow, ...]) -> list[Verdict]:
    """A verdict on the row of each task, in their order."""
    return [_verdict(task, batch, row) for task, row in zip(batch.tasks, rows, strict=True)]


def start() -> None:
    """Make a process of a pool end with the one that started it, and leave interrupts to that one."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what was imported stays: a collection need not look at it
    gc.set_threshold(50_000, 20, 20)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _row(task: Task, batch: Batch) -> SweepRow:
    text = batch.machines[task.machine]
    try:
        if task.kind == "gemm":
            return _gemm_row(task, _certify_gemm(task, _machine(text)), text)
        return _network_row(task, _certify_network(task, _machine(text), batch.models[task.problem]), text)
    except InfeasibleError as error:
        return SweepRow(task.key, "infeasible", str(error))
    except MemaoptError as error:
        return SweepRow(task.key, "failed", str(error))
    except Exception as error:  # a fault of memaopt's ends its row, not the sweep
        return SweepRow(task.key, "failed", internal(error))


def internal(error: Exception) -> str:
    """What is said of a fault of memaopt's."""
    return f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"


def _certify_gemm(task: Task, machine: Mcu) -> Certificate:
    return gemm.certify(_problem(task), machine, task.objective, task.buffering or "single", task.proof or "full")


def _problem(task: Task) -> Gemm:
    """The product that a task asks."""
    try:
        return Gemm.model_validate_json(task.problem)
    except ValidationError as error:
        raise InputError(f"{task.name}: problem: {told(error)}") from None


@lru_cache(maxsize=64)
def _machine(text: str) -> Mcu:
    return Mcu.model_validate_json(text)


@lru_cache(maxsize=4)
def _model(data: bytes, name: str) -> Model:
    from memaopt.networks.formats.model import Model

    return Model.parsed(data, name)


def _gemm_row(task: Task, found: Certificate, machine: str) -> SweepRow:
    return SweepRow(
        task.key,
        "solved",
        schedule=str(found.schedule),
        cost=found.answers[0].objective,
        external_bytes=found.traffic.external_bytes,
        register_bytes=found.traffic.register_bytes,
        gap=found.gap,
        register_gap=found.register_gap,
        cycles=found.traffic.cycles,
        proven=found.proof,
        certificate=pack(found, machine),
    )


def _certify_network(task: Task, machine: Mcu, data: bytes) -> NetworkCertificate:
    from memaopt.certificates import network
    from memaopt.choice.compile import compile_network

    model = _model(data, task.name)
    plan = compile_network(model, machine, task.objective, sram=task.sram, flash=task.flash, arena=task.arena)
    return network.certify(plan, task.name)


def _network_row(task: Task, found: NetworkCertificate, machine: str) -> SweepRow:
    totals = found.totals
    return SweepRow(
        task.key,
        "solved",
        schedule=counted(len(found.layers), "layer"),
        cost=(found.choice.price,),
        cycles=totals.machine_cycles,
        arena_bytes=totals.arena_bytes,
        sram_bytes=totals.arena_bytes + totals.stack_bytes + totals.ram_bytes,
        flash_bytes=totals.flash_bytes,
        proven=found.choice.proof,
        certificate=pack(found, machine),
    )


def _verdict(task: Task, batch: Batch, row: SweepRow) -> Verdict:
    from memaopt.certificates import network_check
    from memaopt.choice.problem import left_by_project

    text = batch.machines[task.machine]
    if row.status == "infeasible" and row.certificate is None:
        again = _row(task, batch)
        return Verdict("" if row == again else f"row: it is {again.status}: {again.message}"[:300])
    try:
        found = unpack(row.certificate or b"", text, task.name)
        if row.key != task.key:
            return Verdict(f"row: its key is {row.key}, and that of its question {task.key}")
        if canonical(found.machine.model_dump(mode="json")) != text:
            return Verdict("certificate: it is of another machine")
        if isinstance(found, Certificate):
            asked = placed(_problem(task), found.machine)
            same = (asked, task.objective, task.buffering, task.proof)
            other = same != (found.problem, found.objective, found.buffering, found.proof)
            verified, derived = gemm.verify(found), _gemm_row(task, found, text)
        else:
            model = _model(batch.models[task.problem], task.name)
            flash, sram = left_by_project(found.machine, model.graph)
            budgets = (task.sram or sram, task.flash or flash, task.arena)
            said = (found.sram_bytes, found.flash_bytes, found.arena_bytes)
            other = (model.sha256, task.objective, budgets) != (found.model_sha256, found.objective, said)
            verified, derived = network_check.verify(found, model), _network_row(task, found, text)
    except MemaoptError as error:
        return Verdict(str(error))
    except Exception as error:  # of what no certificate of memaopt's holds
        return Verdict(internal(error)[:300])
    if other:
        return Verdict("certificate: it answers another question")
    different = next((f.name for f in fields(SweepRow) if getattr(row, f.name) != getattr(derived, f.name)), None)
    if different is not None and different != "certificate":
        return Verdict(f"row: {different} is {getattr(derived, different)}, not {getattr(row, different)}")
    return Verdict("", bool(verified.unproven))
