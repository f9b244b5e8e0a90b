"""What a library says of its stack, against what the compiler reserves and what the assembly pushes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from network_helpers import MCU

from memaopt.board.build import find_compiler
from memaopt.choice.compile import compile_network
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.errors import MissingToolError
from memaopt.networks.zoo import zoo
from memaopt.trials import network as network_trial


def _pushed(assembly: str) -> int:
    """Bytes that a kernel pushes or takes off the stack's pointer, all of them at once."""
    size = 0
    for registers in re.findall(r"push\s+\{([^}]*)\}", assembly):
        for part in registers.split(","):
            first, dash, last = part.strip().partition("-")
            size += 4 * (int(last[1:]) - int(first[1:]) + 1 if dash else 1)
    return size + sum(int(n) for n in re.findall(r"sub\S*\s+sp, sp, #(\d+)", assembly))


@pytest.mark.parametrize("name", ["ds_cnn", "resnet8"])
def test_the_stack_is_no_more_than_claimed(name: str, tmp_path: Path) -> None:
    """Catches a layer whose frame or whose kernel takes more of the stack than the header says."""
    try:
        compiler = find_compiler("gcc")
    except MissingToolError:
        pytest.skip("arm-none-eabi-gcc is not installed")
    plan = compile_network(zoo.build(name), MCU)
    emit.write(plan, tmp_path)
    command = [*compiler.command, *compiler.target, "-std=c11", "-ffreestanding", "-O3", "-fstack-usage"]
    subprocess.run([*command, "-c", library.source(name), "-o", "n.o"], check=True, cwd=tmp_path)
    lines = (line.split("\t") for line in (tmp_path / "n.su").read_text().splitlines())
    frames = {where.split(":")[-1].split(".")[0]: int(size) for where, size, _ in lines}
    helper = max(frames.get("run_tiles", 0), 4 * 8)  # of the small helpers in assembly the greatest pushes 8 registers
    deepest = max(
        frames.get(layer.name, 0) + helper + max((_pushed(k.source) for k in layer.emitted.kernels), default=0)
        for layer in plan.layers
    )
    reserved = frames[f"{name}_invoke"] + frames[f"{name}_invoke_observed"] + deepest
    trial = network_trial.run(plan, 1, compiler="gcc")
    assert trial.stack_bytes <= plan.stack_bytes
    assert reserved <= plan.stack_bytes, (reserved, plan.stack_bytes, trial.stack_bytes)
