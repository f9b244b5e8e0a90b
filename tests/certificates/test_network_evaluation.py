"""Plans of one's own for layers and networks, judged: what the certificate says of its own, refused with the reason."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Cli

from memaopt import Conv2D, DepthwiseConv2D, FullyConnected, InputError, certify, evaluate, mcu
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network_evaluation import NetworkEvaluation
from memaopt.choice.given import GivenPlan
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

_MACHINE = mcu("stm32l4r5")
_NUMBERS = np.random.default_rng(1)


def _ones(*shape: int) -> Any:
    return _NUMBERS.integers(-100, 100, shape).astype(np.int8)


_LAYERS = [
    Conv2D(input=(6, 6, 4), weights=_ones(8, 3, 3, 4), scales=(0.05, 0.02, 0.1)),
    DepthwiseConv2D(input=(6, 6, 4), weights=_ones(1, 3, 3, 4), scales=(0.05, 0.02, 0.1)),
    FullyConnected(input=(36,), weights=_ones(8, 36), scales=(0.05, 0.02, 0.1)),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network of four layers."""
    builder = Builder("four", (1, 8, 8, 4), 4)
    x = builder.depthwise_conv_2d(builder.conv_2d(0, 8, Size2D(3, 3), activation=Activation.RELU), Activation.RELU)
    data = writer.write(builder.finish(builder.fully_connected(builder.average_pool(x), 4)))
    (tmp_path / "four.tflite").write_bytes(data)
    return tmp_path / "four.tflite"


@pytest.mark.parametrize("layer", _LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layers_certified_kernel_is_optimal_and_another_is_not_better(layer: Conv2D) -> None:
    """Catches a judge that prices a layer otherwise than its certificate does, or takes a worse kernel for the best."""
    best = certify(layer, _MACHINE)
    assert isinstance(best, NetworkCertificate)
    claim = best.layers[0]
    found = evaluate(layer, _MACHINE, {"family": claim.family, "tile": claim.tile, "options": claim.options})
    assert isinstance(found, NetworkEvaluation)
    assert found.feasible
    assert found.optimal
    assert found.totals == best.totals
    assert {each.optimum for each in found.distances.values()} == {0.0}
    assert found.distances["bytes moved"].bound is not None
    assert found.buffers == dict(sorted(claim.promised.items()))
    plain = evaluate(layer, _MACHINE, {"family": "generic"})
    assert isinstance(plain, NetworkEvaluation)
    assert plain.feasible
    assert not plain.optimal
    assert plain.distances["cycles"].optimum is not None
    assert plain.distances["cycles"].optimum > 0


def test_a_networks_certificate_is_judged_as_it_says(model: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches figures of other kernels than those given, and a memory plan that is not looked at."""
    best = certify(model, _MACHINE, sram=4096, within=0)
    assert isinstance(best, NetworkCertificate)
    data = json.loads(best.to_json())
    found = evaluate(model, _MACHINE, data, sram=4096)
    assert isinstance(found, NetworkEvaluation)
    assert found.optimal
    assert (found.totals, found.layers) == (best.totals, best.layers)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(data))
    told = cli("evaluate", model, file, "--sram", 4096)
    assert told.code == 0
    assert "optimal: " in told.out
    assert "equal to the optimum's" in told.out
    moved = {**data["memory"], "buffers": [{**each, "offset": 0} for each in data["memory"]["buffers"]]}
    over = evaluate(model, _MACHINE, {**data, "memory": moved}, sram=4096)
    assert not over.feasible
    assert over.reason.startswith("memory: ")


def test_what_is_left_open_is_chosen(model: Path) -> None:
    """Catches a plan of some layers that is refused, or others that are chosen badly."""
    best = certify(model, _MACHINE)
    assert isinstance(best, NetworkCertificate)
    last = best.layers[-1]
    found = evaluate(model, _MACHINE, {"layers": [{"operator": last.operator, "family": last.family}]})
    assert found.optimal
    slow = evaluate(model, _MACHINE, {"layers": [{"operator": best.layers[0].operator, "family": "generic"}]})
    assert isinstance(slow, NetworkEvaluation)
    assert slow.feasible
    assert slow.price is not None
    assert slow.price > best.choice.price


def test_a_date_is_no_place_in_memory() -> None:
    """Catches a traceback from what TOML knows and JSON does not."""
    with pytest.raises(InputError, match="plan: memory: Object of type date"):
        GivenPlan.parsed({"layers": [{"family": "generic"}], "memory": {"order": date(2020, 1, 1)}}, "plan")


def test_what_cannot_be_says_why(model: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches a kernel that is taken for another, and a plan of a product."""
    with pytest.raises(InputError, match="weighs ram, which is no sum over layers"):
        evaluate(_LAYERS[0], _MACHINE, {"family": "generic"}, "1*cycles + 1*ram")
    with pytest.raises(InputError, match=r'objective="ram" weighs ram, which is no sum over layers'):
        evaluate(_LAYERS[0], _MACHINE, {"family": "generic"}, "ram")
    none = evaluate(_LAYERS[0], _MACHINE, {"family": "banana"})
    assert not none.feasible
    assert "no kernel banana with any tile computes it: there are" in none.reason
    tile = evaluate(_LAYERS[0], _MACHINE, {"family": "generic", "tile": "9x9"})
    assert "the tiles of generic are ''" in tile.reason
    place = evaluate(_LAYERS[0], _MACHINE, {"family": "generic", "code_in_ram": True})
    assert place.reason.endswith("computes it: there is one with another code_in_ram")
    for plan, message in (
        ({"layers": [{"family": "generic"}]}, "which layer\\? give operator, one of"),
        ({"layers": [{"operator": 99, "family": "generic"}]}, "no layer 99: there are"),
        (
            {"layers": [{"operator": 0, "family": x} for x in ("generic", "a")]},
            "layer 0 has generic with any tile already",
        ),
        ({"layers": []}, "layers should have at least 1"),
        ({"order": ["m", "k", "n"]}, "layers: Field required"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(model, _MACHINE, plan)
    (tmp_path / "plan.json").write_text('{"layers": [{"operator": 0, "family": "banana"}]}')
    told = cli("evaluate", model, tmp_path / "plan.json")
    assert told.code == 1
    assert "infeasible" in told.out
    assert "--place a=qspi: give MEMORY once for each of weights" in cli.refused(
        "evaluate", model, tmp_path / "plan.json", "--place", "a=qspi"
    )


def test_plans_with_buffers_outside_are_judged(model: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches a plan judged with other tensors outside than its own, in other memories than are asked for, or beside an
    optimum that knows of none."""
    place, sram, machine = "weights=qspi,activations=fmc,input=fmc", 1200, mcu("stm32f469")
    best = certify(model, machine, "bytes", place=place, sram=sram)
    assert isinstance(best, NetworkCertificate)
    assert best.outer is not None
    assert len(best.outer.buffers) > 1
    best.write(tmp_path / "best.json")
    given = json.loads(best.to_json())
    command = ("evaluate", model, tmp_path / "best.json", "--mcu", "stm32f469", "--objective", "bytes", "--sram", sram)
    found = cli(*command, "--place", place, "--json").json
    assert (found["feasible"], found["price"]) == (True, best.choice.price)
    assert found["totals"] == given["totals"]
    assert f"its buffers are elsewhere: give --place {place}" in cli.refused(*command)
    inside = evaluate(model, machine, given | {"room": None}, "bytes", place=place, sram=sram)
    assert not inside.feasible
    none = evaluate(model, machine, given | {"room": 7}, "bytes", place=place, sram=sram)
    assert "room: no tensors are tried outside for 7" in none.reason
