"""Where code and constants live, fronts of budgets, and the benchmark of whole networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import networks_helpers
import numpy as np
import pytest
from network_helpers import MCU

from memaopt.bench import networks as bench
from memaopt.choice import fusion, pareto
from memaopt.choice.compile import compile_network
from memaopt.choice.in_ram import IN_FLASH, code_room
from memaopt.choice.problem import prepare
from memaopt.cli import main as cli
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.zoo import zoo
from memaopt.trials import network as network_trial

DS_CNN = zoo.build("ds_cnn")
IN_RAM = MCU.in_setting("ram")


def test_each_kernel_begins_at_a_multiple_of_32() -> None:
    """Catches a chain of several kernels for whose alignment RAM has no room: what is emitted does not link."""
    plan = next(layer.plan for layer in compile_network(DS_CNN, IN_RAM).layers if layer.plan.kernels)
    several = replace(plan, kernels=("a", "b", "c", "d"), shared_bytes=4 * 36)
    assert code_room(several) >= 3 * 64 + 36


def test_ram_is_used_only_where_waiting_costs() -> None:
    """Catches constants copied into RAM on a machine without wait states, and none where flash is slow."""
    assert compile_network(DS_CNN, IN_RAM.with_wait_states(0)).ram_bytes == 0
    plan = compile_network(DS_CNN, IN_RAM)
    assert plan.ram_bytes > 0
    # Only what runs for the first time waits.
    assert plan.cycles < plan.machine_cycles < 1.002 * plan.cycles
    assert plan.sram_bytes == plan.arena_bytes + plan.stack_bytes + plan.ram_bytes
    streamed = compile_network(DS_CNN, IN_RAM.with_ram(constants=0))
    assert not any(layer.where.data for layer in streamed.layers)
    assert streamed.machine_cycles > plan.machine_cycles


def test_a_layer_that_another_computes_lies_nowhere() -> None:
    """Catches the same choice in two places, which a certificate cannot tell apart: left to the reader."""
    problem = prepare(DS_CNN, IN_RAM)
    deferred = [[c.where for c in stage.candidates if c.plan is fusion.DEFERRED] for stage in problem.stages]
    assert any(deferred)
    assert all(places in ([], [IN_FLASH]) for places in deferred)


def test_less_sram_means_less_in_ram_and_more_waiting() -> None:
    """Catches a budget that the copies in RAM ignore."""
    last = compile_network(DS_CNN, IN_RAM)
    for sram in (60_000, 40_000, 24_000):
        plan = compile_network(DS_CNN, IN_RAM, sram=sram)
        assert plan.sram_bytes <= sram
        assert plan.machine_cycles > last.machine_cycles
        last = plan


@pytest.mark.parametrize("machine", ["stm32l4r5", "stm32f446"])
@pytest.mark.parametrize("setting", ["stock", "stock-prefetch", "ram"])
def test_waiting_is_predicted(machine: str, setting: str) -> None:
    """Catches a wrong price of a flash read or of a kernel that misses the cache: the board counts both."""
    plan = compile_network(DS_CNN, mcu(machine, setting))
    trial = network_trial.run(plan, 1)
    assert trial.passed
    assert abs(plan.machine_cycles / trial.cycles - 1) < 0.05


def test_what_invoke_takes_is_predicted() -> None:
    """Catches a total that is the sum of the layers alone, where calling one is a tenth of it."""
    plan = compile_network(networks_helpers.fully_connected(np.random.default_rng(3)), MCU)
    trial = network_trial.run(plan, 1)
    (layer,) = plan.layers
    assert abs(plan.machine_cycles / trial.cycles - 1) < 0.03
    assert abs(plan.cycles / trial.ideal_cycles - 1) < 0.03
    assert layer.machine_cycles / trial.cycles < 0.92


def test_constants_behind_the_code_ram() -> None:
    """Catches constants that the linker puts where code runs: on this machine code RAM is in the middle of the SRAM."""
    plan = compile_network(zoo.build("fc_autoencoder"), IN_RAM)
    assert plan.ram_bytes > 250_000
    trial = network_trial.run(plan, 1)
    assert trial.passed
    # Most constants lie in SRAM3, where each load takes a sixteenth of a cycle more.
    assert trial.cycles < 1.02 * trial.ideal_cycles


def test_pareto_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches JSON that is not the front, and a plot that is not written."""
    pytest.importorskip("matplotlib")
    (model,) = zoo.save(tmp_path, ("fc_autoencoder",))
    plot = tmp_path / "front.svg"
    with pytest.raises(SystemExit) as ended:
        cli.main(["pareto", str(model), "--wait-states", "0", "--plot", str(plot), "--json"])
    assert not ended.value.code
    assert set(json.loads(capsys.readouterr().out)) == {*pareto.BUDGETS, "row_bound_bytes", "without", "dma"}
    assert "<svg" in plot.read_text()


def test_benchmark_of_networks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a setting that does not run, and a table without its figures."""
    monkeypatch.delenv("MEMAOPT_MODELS", raising=False)
    monkeypatch.setattr(bench, "PEERS", {"ad": bench.PEERS["ad"]})
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--suite", "mlperf-tiny", "--layers"])
    assert not ended.value.code
    text = capsys.readouterr().out
    for case in bench.cases():
        assert case.name in text
    assert "chained rows" in text


def test_benchmark_names_a_missing_model(tmp_path: Path) -> None:
    """Catches a traceback where the folder does not hold the models."""
    with pytest.raises(InputError, match=r"ad01_int8\.tflite"):
        bench.networks(tmp_path)


def test_shares_of_others_cycles_are_complete() -> None:
    """Catches an operator of CMSIS-NN's that counts twice or not at all; a reshape counts with what follows."""
    peer = bench.PEERS["kws"]
    shares = bench._shares(peer, compile_network(DS_CNN, MCU.with_wait_states(0)))
    assert sum(shares) == sum(peer.cmsis_nn) == 9_070_434
    assert shares[-2:] == [77 + 2802, 3370]
