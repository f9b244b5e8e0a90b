"""Does a family of kernels do what it promises? Its plans for random layers, each counted on the virtual board."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from memaopt.access import Access
from memaopt.bench.random_layers import random_layers
from memaopt.bench.waits import arguments_of
from memaopt.board import Board, build
from memaopt.errors import InputError
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.family import Family
from memaopt.kernels.registry import source_file
from memaopt.machines.mcu import Mcu
from memaopt.problems.layers import Layer

#: Random layers that are looked at, of all kinds, before a family is said to compute none.
_MOST_LOOKED_AT = 1000


class KernelRun(NamedTuple):
    """A plan for a layer: accesses that it promises of each buffer, and those that the board counted."""

    layer: str
    plan: str
    promised: dict[str, Access]
    counted: dict[str, Access]

    @property
    def equal(self) -> bool:
        """Whether the promise was kept."""
        return self.promised == self.counted


def check(family: Family, machine: Mcu, count: int = 10, seed: int = 0) -> Iterator[KernelRun]:
    """Every plan of a family for ``count`` random layers that it computes; InputError if there are none of its kind."""
    drawn = random_layers(_MOST_LOOKED_AT, seed)
    suited = ((name, layer) for name, layer in drawn if isinstance(layer, family.computes) and family.plans(layer))
    found = list(islice(suited, count))
    if not found:
        raise InputError(f"kernel {family.name}: it computes none of {_MOST_LOOKED_AT:,} random layers")
    for name, layer in found:
        yield from _runs(family, name, layer, machine)


def _runs(family: Family, name: str, layer: Layer, machine: Mcu) -> Iterator[KernelRun]:
    emitted = [family.emit(layer, plan, f"layer_{i}") for i, plan in enumerate(family.plans(layer))]
    with tempfile.TemporaryDirectory(prefix="memaopt-") as folder:
        source = Path(folder) / "layers.c"
        source.write_text(source_file(emitted), encoding="utf-8")
        program = build([source], Path(folder) / "layers.elf", machine)
        for one in emitted:
            board = Board(machine).load(program)
            arguments = arguments_of(board, layer, 0, machine, one)
            inputs = [each.bytes for each in layer.takes]
            names = [*(f"input{i if len(inputs) > 1 else ''}" for i in range(len(inputs))), "output", "scratch"]
            sizes = [*inputs, layer.gives.bytes, one.plan.scratch_bytes]
            buffers = {n: (at, size) for n, at, size in zip(names, arguments, sizes, strict=True) if size}
            run = board.call(one.name, *arguments, buffers=buffers)
            stack = (run.stack_by_function.get(kernel.name, Access()) for kernel in one.kernels)
            found = _counted(one, run.buffers, sum(stack, Access()))
            yield KernelRun(name, f"{family.name} {one.plan.tile}".strip(), dict(one.plan.promise.buffers), found)


def _counted(one: Emitted, buffers: dict[str, Access], stack: Access) -> dict[str, Access]:
    """The counts under the names of a promise."""
    found = {"stack": stack} if stack else {}
    for name, access in buffers.items():
        key = one.buffers.get(name, name)
        if access and (key in ("output", "scratch", "parameters", "channels") or key.startswith("input")):
            found[key] = found.get(key, Access()) + access
    return found
