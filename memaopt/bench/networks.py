"""The MLPerf Tiny networks, compiled for several machines and run on the virtual board, beside what others reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from rich.console import Console

from memaopt.board.results import known
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.errors import InputError
from memaopt.machines.mcu import Mcu, mcu
from memaopt.networks.graph import Graph
from memaopt.networks.zoo import zoo
from memaopt.report import network as network_report
from memaopt.report.console import table
from memaopt.trials import network as network_trial

SUITES = ("mlperf-tiny",)


class Peer(NamedTuple):
    """What a network takes elsewhere, in cycles.

    ``cmsis_nn``: CMSIS-NN 99f736a, counted on a virtual Cortex-M4 without wait states (GCC 12.2 -O3), for each operator
    of the file, and ``arena``, the bytes that its tensors and scratch take. ``published``: the best latency in MLPerf
    Tiny's closed division on a NUCLEO-L4R5ZI at 120 MHz, up to v1.3, by ``who``.
    """

    file: str
    stand_in: str
    cmsis_nn: tuple[int, ...]
    arena: int
    published: int
    who: str


PEERS = {
    "ad": Peer(
        "ad01_int8.tflite", "fc_autoencoder",
        (197_359, 45_813, 45_874, 45_846, 3_122, 10_192, 45_855, 45_768, 45_693, 228_781),
        768, 486_196, "Plumerai 2023.05 (v1.1)",
    ),
    "kws": Peer(
        "kws_ref_model.tflite", "ds_cnn",
        (
            1_380_456, 667_676, 1_234_747, 666_683, 1_234_898, 665_898, 1_236_305, 667_296, 1_234_496, 75_730, 77,
            2_802, 3_370,
        ),
        16_256, 5_182_466, "X-CUBE-AI 9.0 (v1.2)",
    ),
    "ic": Peer(
        "pretrainedResnet_quant.tflite", "resnet8",
        (
            2_645_432, 6_675_833, 6_669_420, 1_518_832, 3_025_415, 5_447_992, 645_758, 769_646, 2_614_194, 4_958_736,
            503_893, 385_921, 39_400, 77, 2_383, 3_267,
        ),
        52_032, 19_815_059, "X-CUBE-AI 9.0 (v1.2)",
    ),
    "vww": Peer(
        "vww_96_int8.tflite", "mobilenet_v1",
        (
            3_940_445, 1_840_961, 2_257_159, 857_685, 1_315_007, 1_641_053, 1_810_137, 410_235, 915_390, 789_643,
            1_413_808, 197_332, 742_132, 373_926, 1_272_143, 375_695, 1_273_181, 376_225, 1_273_703, 376_584,
            1_272_804, 376_140, 1_271_972, 93_934, 781_581, 170_761, 1_445_289, 25_858, 188, 1_599, 1_352,
        ),
        56_320, 10_671_410, "X-CUBE-AI 9.0 (v1.2)",
    ),
}  # fmt: skip


class NetworkCase(NamedTuple):
    """A machine in a setting."""

    name: str
    mcu: Mcu


class LayerResult(BaseModel, frozen=True):
    """One layer: cycles counted and predicted with the machine's wait states, and CMSIS-NN's for the same operators."""

    name: str
    operator: str
    shape: str
    kernel: str
    macs: int
    cycles: int
    predicted: int
    cmsis_nn: int
    passed: bool


class NetworkResult(BaseModel, frozen=True):
    """One network on one machine. Cycles are counted with the machine's wait states from call to return."""

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
    layers: tuple[LayerResult, ...] = ()


def cases() -> list[NetworkCase]:
    """No wait states; the STM32L4R5 in each of its settings; a smaller machine."""
    l4r5, f446 = mcu("stm32l4r5"), mcu("stm32f446")
    return [
        NetworkCase("zero wait states", l4r5.with_wait_states(0)),
        *(NetworkCase(f"STM32L4R5, {setting.name}", l4r5.in_setting(setting.name)) for setting in l4r5.settings),
        NetworkCase("STM32F446, stock", f446),
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
    layers: bool = False,
) -> list[NetworkResult]:
    """Compile each network for each case, within the arena that CMSIS-NN takes, and run it.

    ``layers``: whether the results have those of each layer.
    """
    results = []
    for name, network in networks(folder).items():
        for case in cases():
            if progress is not None:
                progress(f"{name}, {case.name}")
            plan = compile_network(network, case.mcu, arena=PEERS[name].arena)
            trial = network_trial.run(plan, 1, compiler=compiler)
            results.append(_result(name, case, plan, trial, layers))
    return results


def _result(
    name: str, case: NetworkCase, plan: NetworkPlan, trial: network_trial.NetworkTrial, layers: bool
) -> NetworkResult:
    peer = PEERS[name]
    return NetworkResult(
        model=name,
        setting=case.name,
        predicted=plan.machine_cycles,
        cycles=trial.cycles,
        milliseconds=1000 * known(trial.cycles) / case.mcu.clock_hz,
        energy_uj=trial.energy_uj,
        arena_bytes=plan.arena_bytes,
        tensor_bytes=plan.tensor_bytes,
        ram_bytes=plan.ram_bytes,
        flash_bytes=trial.flash_bytes,
        stack_bytes=trial.stack_bytes,
        passed=trial.passed,
        cmsis_nn=sum(peer.cmsis_nn),
        published=peer.published,
        layers=_layers(peer, plan, trial) if layers else (),
    )


def _layers(peer: Peer, plan: NetworkPlan, trial: network_trial.NetworkTrial) -> tuple[LayerResult, ...]:
    return tuple(
        LayerResult(
            name=layer.name,
            operator=network_report.operator_name(layer),
            shape=network_report.layer_shape(plan, layer),
            kernel=network_report.kernel_name(layer),
            macs=layer.macs,
            cycles=found.cycles,
            predicted=layer.machine_cycles,
            cmsis_nn=cycles,
            passed=found.passed,
        )
        for layer, found, cycles in zip(plan.layers, trial.layers, _shares(peer, plan), strict=True)
    )


def _shares(peer: Peer, plan: NetworkPlan) -> list[int]:
    """CMSIS-NN's cycles of each layer; those of an operator that is no layer here count with the next layer's."""
    at = [layer.op.location for layer in plan.layers]
    before = {location: max((other + 1 for other in at if other < location), default=0) for location in at}
    ends = [len(peer.cmsis_nn) if location == max(at) else location + 1 for location in at]
    return [sum(peer.cmsis_nn[before[location] : end]) for location, end in zip(at, ends, strict=True)]


def print_results(console: Console, results: list[NetworkResult]) -> None:
    """A table for each setting."""
    for name in dict.fromkeys(result.setting for result in results):
        columns = ("", "cycles", "predicted", "ms", "uJ", "arena", "in RAM", "flash", "CMSIS-NN", "published", "")
        made = table(columns, words=("",))
        for r in (r for r in results if r.setting == name):
            made.add_row(
                r.model,
                f"{r.cycles:,}",
                f"{100 * (r.predicted / r.cycles - 1):+.1f}%",
                f"{r.milliseconds:.2f}",
                f"{r.energy_uj:,.0f}",
                f"{r.arena_bytes:,}",
                f"{r.ram_bytes:,}",
                f"{r.flash_bytes:,}",
                f"{r.cmsis_nn / r.cycles:.2f}x",
                _published(r),
                "ok" if r.passed else "FAILED",
            )
        console.print(name, style="bold", highlight=False)
        console.print(made)
    console.print(
        "CMSIS-NN: its cycles without wait states over these; arenas are held to its own. published: the best on a "
        "NUCLEO-L4R5ZI, over these.",
        highlight=False,
        soft_wrap=True,
    )


def _published(result: NetworkResult) -> str:
    """How much faster than the best published; only where the machine is that of the publication."""
    return f"{result.published / result.cycles:.2f}x" if result.setting.startswith("STM32L4R5") else ""


def print_layers(console: Console, results: list[NetworkResult]) -> None:
    """A table for each network, without wait states."""
    without_waits = cases()[0].name
    for result in (r for r in results if r.setting == without_waits):
        made = table(("", "operator", "shape", "kernel", "cycles", "/MAC", "share", "predicted", "CMSIS-NN"), words=4)
        for number, r in enumerate(result.layers):
            made.add_row(
                str(number),
                r.operator if r.passed else f"{r.operator} FAILED",
                r.shape,
                r.kernel,
                f"{r.cycles:,}",
                f"{r.cycles / r.macs:.2f}" if r.macs else "",
                f"{100 * r.cycles / result.cycles:.1f}%",
                f"{100 * (r.predicted / r.cycles - 1):+.1f}%",
                f"{r.cmsis_nn / r.cycles:.1f}x",
            )
        console.print(f"{result.model}, {result.setting}", style="bold", highlight=False)
        console.print(made)
