"""Constants by DMA: chosen where cheaper, promised as counted, part of the certificate, off unless asked for."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.gemm import certify
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network_evaluation import evaluate
from memaopt.choice import pareto
from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.placement import NetworkPlacement
from memaopt.choice.problem import prepare
from memaopt.emit import network as emit
from memaopt.errors import FalseClaimError, InputError
from memaopt.machines.dma import MODELLED
from memaopt.machines.mcu import Mcu, mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.gemm import Gemm
from memaopt.trials import network as trial

WITHOUT, WITH, OUTSIDE = mcu("stm32l4s5"), mcu("stm32l4s5", dma=True), NetworkPlacement(weights="qspi")


def _graph() -> Graph:
    made = Builder("beside", (1, 5, 5, 48), 3)
    return made.finish(made.conv_2d(made.conv_2d(0, 90, Size2D(1, 1)), 18, Size2D(1, 1)))


def test_what_is_chosen_is_counted_and_certified() -> None:
    """Catches a DMA that costs more than none, cycles or accesses other than counted, a program that does not wait, a
    certificate that holds with other figures of the DMA, or without one, and a plan by DMA for a chip without."""
    model = Model.of(_graph())
    plain, plan = (compile_network(model, machine, place=OUTSIDE) for machine in (WITHOUT, WITH))
    assert any(layer.plan.dma for layer in plan.layers)
    assert plan.machine_cycles < plain.machine_cycles
    found = trial.run(plan)
    assert found.passed
    assert found.cycles is not None
    assert abs(found.cycles / plan.machine_cycles - 1) < 0.02
    signed = certificate.certify(plan)
    assert "with DMA" in str(signed.facts())
    assert "with its DMA" in str(network_check.verify(signed, model).premises)
    data = json.loads(signed.to_json())
    judged, elsewhere = (evaluate(model, machine, data, place=OUTSIDE) for machine in (WITH, WITHOUT))
    assert judged.optimal
    assert "with DMA" in judged.headline()
    assert "by DMA computes it" in elsewhere.reason
    for change in ({**data["machine"]["dma"], "word_cycles": 50}, None):
        forged = copy.deepcopy(data)
        forged["machine"]["dma"] = change
        if change is None:
            del forged["machine"]["dma"]
        with pytest.raises(FalseClaimError, match=r"^(?!.*digest)"):
            network_check.verify(NetworkCertificate.from_json(json.dumps(forged)).signed(), model)
    source, header = (emit.files(plan)[f"{name}"] for name in ("src/beside.c", "include/beside.h"))
    assert "MEMAOPT_DMA_CLOCK |= MEMAOPT_DMA_CLOCKED" in source
    assert "cycles predicted there with DMA" in source
    assert "with DMA" in header
    assert not any("dma" in text.lower() for text in emit.files(plain).values())
    assert "dma" not in certificate.certify(plain).to_json()


def test_floors_hold() -> None:
    """Catches a floor above what a candidate costs whose constants a DMA brings in."""
    candidates = [each for stage in prepare(_graph(), WITH, place=OUTSIDE).stages for each in stage.candidates]
    assert any(each.plan.dma for each in candidates)
    for each in candidates:
        assert each.floor("cycles") <= each.least("cycles") <= each.cycles
        assert each.where.outside or not each.plan.dma


def test_fronts_are_the_machines_with_it(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a ``pareto --dma`` of a machine without its DMA, and figures that do not say that they are with it."""
    file, asked = tmp_path / "beside.tflite", list[Mcu]()
    file.write_bytes(writer.write(_graph()))
    point = pareto.Point(cycles=1, machine_cycles=1, flash_bytes=1, arena_bytes=1, sram_bytes=1, proof="none")
    monkeypatch.setattr(pareto, "fronts", lambda _, machine, *__: asked.append(machine) or {"flash": [point]})
    command = ("pareto", file, "--mcu", "stm32l4s5", "--place", "weights=qspi")
    assert MODELLED in " ".join(cli(*command, "--dma").out.split())
    assert MODELLED not in " ".join(cli(*command).out.split())
    assert asked == [WITH, WITHOUT]


def test_a_dma_without_effect_is_refused() -> None:
    """Catches figures that say that they are with DMA, where none can be."""
    with pytest.raises(InputError, match=r"place them there .*weights=qspi"):
        compile_network(_graph(), WITH)
    with pytest.raises(InputError, match="without its DMA"):  # nor is it told to place what may not be placed
        compile_smallest(_graph(), WITH)
    with pytest.raises(InputError, match="blocks of a gemm the core copies"):
        certify(Gemm(m=16, k=27, n=64), WITH)
    with pytest.raises(InputError, match="describes no DMA"):
        mcu("nrf52840", dma=True)
