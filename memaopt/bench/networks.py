"""The MLPerf Tiny networks, compiled for several machines and run on the virtual board, beside what others reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

from memaopt import network_report, network_trial
from memaopt.errors import InputError
from memaopt.mcus import Mcu, mcu
from memaopt.networks import zoo
from memaopt.networks.compile import NetworkPlan, compile_network
from memaopt.networks.graph import Graph

SUITES = ("mlperf-tiny",)


class Peer(NamedTuple):
    """What a network takes elsewhere, in cycles.

    ``cmsis_nn``: CMSIS-NN 99f736a, counted on a virtual Cortex-M4 without wait states (GCC 12.2 -O3). ``published``:
    the best latency in MLPerf Tiny's closed division on a NUCLEO-L4R5ZI at 120 MHz, up to v1.3, by ``who``.
    """

    file: str
    stand_in: str
    cmsis_nn: int
    published: int
    who: str


PEERS = {
    "ad": Peer("ad01_int8.tflite", "fc_autoencoder", 714_303, 486_196, "Plumerai 2023.05 (v1.1)"),
    "kws": Peer("kws_ref_model.tflite", "ds_cnn", 9_070_434, 5_182_466, "X-CUBE-AI 9.0 (v1.2)"),
    "ic": Peer("pretrainedResnet_quant.tflite", "resnet8", 35_906_199, 19_815_059, "X-CUBE-AI 9.0 (v1.2)"),
    "vww": Peer("vww_96_int8.tflite", "mobilenet_v1", 28_893_922, 10_671_410, "X-CUBE-AI 9.0 (v1.2)"),
}


class Setting(NamedTuple):
    """A machine, and whether constants may be copied into its RAM."""

    name: str
    mcu: Mcu
    data_in_ram: bool = True


class NetworkResult(BaseModel):
    """One network on one machine. Cycles are counted with the machine's wait states from call to return."""

    model_config = ConfigDict(frozen=True)

    model: str
    setting: str
    predicted: int
    cycles: int
    milliseconds: float
    energy_uj: float
    arena_bytes: int
    tensor_bytes: int
    ram_bytes: int
    flash_bytes: int
    stack_bytes: int
    passed: bool
    cmsis_nn: int
    published: int


def settings() -> list[Setting]:
    """No wait states; the STM32L4R5 with all its memories; 512 KB and 128 KB; weights streamed from flash."""
    l4r5, f446 = mcu("stm32l4r5"), mcu("stm32f446")
    return [
        Setting("zero wait states", l4r5.with_wait_states(0)),
        Setting("STM32L4R5", l4r5),
        Setting("STM32F446", f446),
        Setting("STM32L4R5, constants in flash", l4r5, data_in_ram=False),
    ]


def networks(folder: Path | None) -> dict[str, Graph | Path]:
    """The four networks: the reference models in ``folder`` (or MEMAOPT_MODELS), else the zoo's with seeded weights."""
    where = folder or (Path(os.environ["MEMAOPT_MODELS"]) if os.environ.get("MEMAOPT_MODELS") else None)
    if where is None:
        return {name: zoo.build(peer.stand_in) for name, peer in PEERS.items()}
    missing = [peer.file for peer in PEERS.values() if not (where / peer.file).is_file()]
    if missing:
        raise InputError(f"{where} has no {missing[0]}: it must hold MLPerf Tiny's int8 reference models")
    return {name: where / peer.file for name, peer in PEERS.items()}


def run(
    folder: Path | None = None,
    compiler: str | None = None,
    progress: Callable[[str], None] | None = None,
    seen: Callable[[NetworkPlan, network_trial.NetworkTrial], None] | None = None,
) -> list[NetworkResult]:
    """Compile and run each network with each setting. ``seen`` gets each plan without wait states and its trial."""
    results = []
    for name, network in networks(folder).items():
        for number, setting in enumerate(settings()):
            if progress is not None:
                progress(f"{name}, {setting.name}")
            plan = compile_network(network, setting.mcu, data_in_ram=setting.data_in_ram)
            trial = network_trial.run(plan, 1, compiler=compiler)
            results.append(_result(name, setting, plan, trial))
            if seen is not None and number == 0:
                seen(plan, trial)
    return results


def _result(name: str, setting: Setting, plan: NetworkPlan, trial: network_trial.NetworkTrial) -> NetworkResult:
    peer = PEERS[name]
    return NetworkResult(
        model=name,
        setting=setting.name,
        predicted=plan.machine_cycles,
        cycles=trial.cycles,
        milliseconds=1000 * trial.cycles / setting.mcu.clock_hz,
        energy_uj=trial.energy_uj,
        arena_bytes=plan.arena_bytes,
        tensor_bytes=plan.tensor_bytes,
        ram_bytes=plan.ram_bytes,
        flash_bytes=trial.flash_bytes,
        stack_bytes=trial.stack_bytes,
        passed=trial.passed,
        cmsis_nn=peer.cmsis_nn,
        published=peer.published,
    )


def print_results(console: Console, results: list[NetworkResult]) -> None:
    """A table for each setting."""
    for name in dict.fromkeys(result.setting for result in results):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for column in ("", "cycles", "predicted", "ms", "uJ", "arena", "in RAM", "flash", "CMSIS-NN", "published", ""):
            table.add_column(column, justify="left" if not column else "right")
        for r in (r for r in results if r.setting == name):
            table.add_row(
                r.model, f"{r.cycles:,}", f"{100 * (r.predicted / r.cycles - 1):+.1f}%", f"{r.milliseconds:.2f}",
                f"{r.energy_uj:,.0f}", f"{r.arena_bytes:,}", f"{r.ram_bytes:,}", f"{r.flash_bytes:,}",
                f"{r.cmsis_nn / r.cycles:.2f}x", _published(r), "ok" if r.passed else "FAILED",
            )  # fmt: skip
        console.print(f"[bold]{name}[/]", highlight=False)
        console.print(table)
    console.print(
        "CMSIS-NN: its cycles without wait states over these. published: the best on a NUCLEO-L4R5ZI, over these.",
        highlight=False, soft_wrap=True,
    )


def _published(result: NetworkResult) -> str:
    """How much faster than the best published; only where the machine is that of the publication."""
    return f"{result.published / result.cycles:.2f}x" if result.setting.startswith("STM32L4R5") else ""


def print_layers(console: Console, plan: NetworkPlan, trial: network_trial.NetworkTrial) -> None:
    """The layers of one network."""
    network_report.print_plan(console, plan, trial)
