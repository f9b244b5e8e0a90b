"""What a library says of its stack and its flash, against what the compiler reserves and what the assembly pushes."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_helpers import MCU
from stack_helpers import compiled, pushed

from memaopt.choice.compile import compile_network
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.networks.zoo import zoo
from memaopt.trials import network as network_trial


@pytest.mark.parametrize("name", ["ds_cnn", "fc_autoencoder"])
def test_stack_and_flash_are_no_more_than_claimed(name: str, tmp_path: Path) -> None:
    """Catches a layer whose frame or whose kernel takes more of the stack than the header says, and flash left out."""
    plan = compile_network(zoo.build(name), MCU)
    emit.write(plan, tmp_path)
    _, frames = compiled(tmp_path, library.source(name))
    helper = max(frames.get("run_tiles", 0), 4 * 8)  # of the small helpers in assembly the greatest pushes 8 registers
    deepest = max(
        frames.get(layer.name, 0) + helper + max((pushed(k.source) for k in layer.emitted.kernels), default=0)
        for layer in plan.layers
    )
    reserved = frames[f"{name}_invoke"] + frames[f"{name}_invoke_observed"] + deepest
    trial = network_trial.run(plan, 1, compiler="gcc")
    assert trial.stack_bytes <= plan.stack_bytes
    assert 0.95 * plan.flash_bytes < trial.flash_bytes <= plan.flash_bytes
    assert reserved <= plan.stack_bytes, (reserved, plan.stack_bytes, trial.stack_bytes)
