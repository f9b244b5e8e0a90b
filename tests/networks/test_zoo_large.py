"""The larger networks of the zoo: exact where they fit, one clear line where they do not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from network_helpers import MCU, Library

from memaopt.certificates.network import certify
from memaopt.certificates.network_check import verify
from memaopt.choice.compile import compile_network
from memaopt.choice.placement import NetworkPlacement
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError
from memaopt.machines.mcu import mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.zoo import large as zoo_large
from memaopt.networks.zoo import outgrown, zoo
from memaopt.trials import network as network_trial

#: With flash to spare: whether a choice is the best in a flash that it nearly fills is another question.
ROOMY = MCU.model_copy(
    update={
        "memories": tuple(m.model_copy(update={"size": 2 * m.size}) if m.name == "flash" else m for m in MCU.memories)
    }
)


@pytest.mark.parametrize("name", zoo_large.NETWORKS)
def test_larger_networks_are_exact_on_the_host(name: str, tmp_path: Path) -> None:
    """Catches what only large images, many channels or many layers bring: offsets, sizes and places out of reach."""
    plan = compile_network(zoo.build(name), ROOMY)
    Library(plan, tmp_path).check(emit.random_inputs(plan, 0))


def test_a_larger_network_keeps_its_promises_on_the_board() -> None:
    """Catches an access that is not as promised, and one that is predicted 3 % off, in 50 million products."""
    plan = compile_network(zoo.build("unet"), MCU)
    trial = network_trial.run(plan, 1)
    assert trial.passed
    assert abs(plan.cycles / trial.ideal_cycles - 1) < 0.03


@pytest.mark.parametrize(
    ("name", "chip", "message"),
    [
        (
            "unet",
            "stm32f446",
            r"unet needs at least 131,\d{3} bytes of SRAM, [\d,]+ more than the 124,928 .* of 131,072, .* depth first",
        ),
        ("mobilenet_v2_035_128", "nrf52840", r"1,662,048 bytes of weights, 671,816 more than the 990,232 bytes of"),
        ("mobilenet_v1_025_224", "stm32f446", r"463,600 bytes of weights, 99,032 more than the 364,568 bytes of"),
    ],
)
def test_what_is_too_large_is_said_in_one_line(name: str, chip: str, message: str) -> None:
    """Catches a chip that is too small and is not told from one that will do, or without the number of bytes."""
    with pytest.raises(InfeasibleError, match=message) as error:
        compile_network(zoo.build(name), mcu(chip))
    assert "\n" not in str(error.value)
    assert re.search(r"would do$", str(error.value))


@pytest.mark.parametrize("name", outgrown.NETWORKS)
@pytest.mark.parametrize(
    ("chip", "place"), [("stm32l4s5", "weights=qspi"), ("stm32f469", "weights=qspi,activations=fmc")]
)
@pytest.mark.skipif("MEMAOPT_OUTGROWN" not in os.environ, reason="a minute each: MEMAOPT_OUTGROWN is not set")
def test_what_outgrows_a_chip_is_proven_and_exact(name: str, chip: str, place: str, tmp_path: Path) -> None:
    """Catches what only megabytes of constants outside and hundreds of millions of products bring: blocks, offsets,
    searches without an end. tests/trials/test_outside.py has the same of small networks."""
    model = Model.read(zoo.save(tmp_path, (name,))[0])
    plan = compile_network(model, mcu(chip), place=NetworkPlacement.asked(place))
    assert plan.choice.proof == "enumeration"
    verify(certify(plan), model)
    found = network_trial.run(plan, 1)
    assert found.passed
    assert found.cycles is not None
    assert abs(found.cycles / plan.machine_cycles - 1) < 0.03
