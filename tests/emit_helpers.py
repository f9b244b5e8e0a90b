"""Schedules chosen at will, not by the models, and certificates that say what they promise."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memaopt.certificates.gemm import Certificate, Traffic
from memaopt.emit import folder as library
from memaopt.emit import gemm as emitter
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile
from memaopt.kernels.schedule import BUFFERINGS, ORDERS, Schedule, Space, space
from memaopt.kernels.text import standard
from memaopt.machines.mcu import Mcu, mcu
from memaopt.models.accesses import promise
from memaopt.models.bounds import gap, lower_bounds
from memaopt.models.feasibility import why_infeasible
from memaopt.models.traffic import external_bytes, register_bytes, schedule_counts
from memaopt.models.walks import visits, walk_of
from memaopt.problems.gemm import OPERANDS, Dtype, Operand, gemm
from memaopt.problems.reference import Array, GemmData
from memaopt.writer import write_files

MACHINE = mcu("stm32l4r5").with_sizes(sram=64 << 10)
WARNINGS = ("-std=c11", *standard.WARNINGS)


class Case(NamedTuple):
    """One schedule of one space, feasible but in general far from the best."""

    space: Space
    schedule: Schedule

    @property
    def traits(self) -> set[str]:
        """What makes the case special."""
        where, schedule, sizes = self.space, self.schedule, self.space.problem.sizes
        trips = schedule_counts(where, schedule).trips
        found = {where.buffering}
        if visits(walk_of(where, schedule), trips, "C") > 1:
            found.add("spilling to external memory")
        if "C" not in where.staged and trips["k"] > 1 and schedule.order.index("k") < 2 and where.problem.width < 4:
            found.add("sums of several blocks in SRAM")
        found |= {f"{x} at level {level}" for x, level in schedule.levels.items() if x in where.staged}
        if any(sizes[d] % schedule.block[d] for d in sizes):
            found.add("ragged blocks")
        if schedule.mc % schedule.mr or schedule.nc % schedule.nr:
            found.add("ragged tiles")
        if schedule.kc % schedule.kr:
            found.add("ragged steps")
        if schedule.turning:
            blocks = "two" if trips[schedule.order[1]] == 2 else "more"
            found |= {f"{schedule.order[1]} there and back", f"{blocks} blocks there and back"}
        if where.staged == {"A", "B", "C"}:
            found.add("all staged")
        if not where.staged:
            found.add("none staged")
        return found


def certificate_of(case: Case) -> Certificate:
    """A certificate of what the schedule promises; nothing in it says that the schedule is the best."""
    where, schedule = case
    counts, bounds = schedule_counts(where, schedule), lower_bounds(where)
    traffic = Traffic(
        buffers=promise(where, schedule),
        external_bytes=int(external_bytes(where, walk_of(where, schedule), counts)),
        register_bytes=int(register_bytes(where, schedule.family, (schedule.tile,), counts)),
        kernel_cycles=0,
        cycles=0,
    )
    unsigned = Certificate(
        problem=where.problem,
        machine=where.machine,
        objective=where.objective,
        buffering=where.buffering,
        schedule=schedule,
        traffic=traffic,
        answers=(),
        variants=(),
        agreed=False,
        bounds=bounds,
        gap=gap(traffic.external_bytes, bounds.external_bytes),
        register_gap=gap(traffic.register_bytes, bounds.register_bytes),
    )
    return unsigned.signed()


def case(
    sizes: tuple[int, int, int],
    kernel: str,
    tile: tuple[int, int, int],
    *,
    block: tuple[int, int, int] | None = None,
    order: str = "mnk",
    buffering: str = "single",
    homes: tuple[str, str, str] = ("flash", "sram", "sram"),
    machine: Mcu = MACHINE,
    **fields: object,
) -> Case:
    """A schedule written out; the block is the whole problem unless given."""
    placement = dict(zip("abc", homes, strict=True))
    where = space(gemm(*sizes, dtype=kernel.split("-")[0], placement=placement, **fields), machine, buffering=buffering)
    mc, kc, nc = block or sizes
    mr, kr, nr = tile
    schedule = Schedule(
        order=tuple(order), mc=mc, kc=kc, nc=nc, buffering=where.buffering, kernel=kernel, mr=mr, kr=kr, nr=nr
    )
    why = why_infeasible(where, schedule)
    assert why is None, why
    return Case(where, schedule)


def random_cases(dtype: Dtype, stationary: Operand, count: int, seed: int = 0, turning: bool = False) -> Iterator[Case]:
    """``count`` seeded cases: any sizes, memories, order, block, buffering and tile of the families; with ``turning``
    such as have a loop that runs there and back.
    """
    rng = random.Random(f"{dtype} {stationary} {seed}")
    while count:
        m, k, n = (
            rng.choice((1, 2, 3, 5, 7, 8, 13, 20)),
            rng.choice((1, 2, 3, 4, 5, 7, 9, 16, 21, 37)),
            rng.choice((1, 2, 3, 4, 5, 6, 8, 11, 17)),
        )
        homes = [rng.choice(("flash", "sram", "qspi")) for _ in "ab"] + [rng.choice(("sram", "qspi"))]
        fields: dict[str, object] = {"dtype": dtype, "placement": dict(zip("abc", homes, strict=True))}
        if dtype == "s8":
            fields |= {
                "input_zero_point": rng.randint(-128, 127),
                "output_zero_point": rng.randint(-128, 127),
                "clamp": (rng.choice((-128, -128, -50, 0)), rng.choice((127, 127, 60))),
            }
        where = space(gemm(m, k, n, **fields), MACHINE, buffering="single" if turning else rng.choice(BUFFERINGS))
        family, tile = rng.choice(kernels_of(where, stationary))
        mc, kc, nc = (rng.choice((size, rng.randint(1, size), rng.randint(1, -(-size // 2)))) for size in (m, k, n))
        hold = tuple(rng.choice((3, 3, 4, 4, 0, 1, 2)) if x in where.staged else 3 for x in OPERANDS)
        order, block = rng.choice(ORDERS), {"m": mc, "k": kc, "n": nc}
        if turning:
            block[order[2]] = where.problem.sizes[order[2]]
        schedule = where.schedule(order, hold, turning, (block["m"], block["k"], block["n"]), family, tile)
        if why_infeasible(where, schedule) is None:
            count -= 1
            yield Case(where, schedule)


def kernels_of(where: Space, stationary: Operand) -> list[tuple[GemmFamily, RegisterTile]]:
    """The kernels of the space that keep that operand in registers."""
    return [(family, tile) for family, tile in where.kernels if family.stationary == stationary]


def write(certificate: Certificate, folder: Path) -> str:
    """Write the project and return the function's name."""
    write_files(emitter.files(certificate), folder)
    return emitter.name_of(certificate)


@cache
def host_compilers() -> tuple[tuple[str, ...], ...]:
    """C compilers for this computer: the system's, and Zig's Clang."""
    found: list[tuple[str, ...]] = [("cc",)] if shutil.which("cc") else []
    found.append((sys.executable, "-m", "ziglang", "cc"))
    return tuple(found)


def run_on_host(folder: Path, name: str, compiler: tuple[str, ...], *flags: str) -> subprocess.CompletedProcess[str]:
    """Build the test program and the function in ``folder`` for this computer, without a warning, and run it."""
    sources = [f"-I{folder / 'include'}", "-x", "c"]
    sources += [str(folder / file) for file in (library.program(name), library.source(name))]
    program = folder / "on_host"
    built = subprocess.run(
        [*compiler, *WARNINGS, *flags, *sources, "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return subprocess.run([str(program)], capture_output=True, text=True, check=False)


class OnBoard:
    """An emitted function on the virtual board, to be called with any operands."""

    def __init__(self, made: Case, folder: Path, compiler: str | None = None, **define: int) -> None:
        from memaopt.board import Board, build

        self.name = write(certificate_of(made), folder)
        self.problem = made.space.problem
        operands = folder / "operands.c"
        operands.write_text(f'#include "{self.name}_test_vector.h"\n')
        sources = [folder / library.source(self.name), operands]
        elf, include = folder / "on_board.elf", library.include_folders(folder)
        built = build(sources, elf, made.space.machine, compiler=compiler, define=define, include=include)
        self.board = Board(made.space.machine).load(built)

    def multiply(self, data: GemmData) -> Array:
        """C, as stored, of those operands; constants are what they are."""
        operands = {"B": data.b}
        if self.problem.weights is None:
            operands["A"] = data.a
            if data.channels is not None:
                operands["channels"] = np.stack(data.channels, axis=1).astype(np.int32)
        for symbol, values in operands.items():
            self.board.write(symbol, np.ascontiguousarray(values).tobytes())
        addresses = [self.board.symbols[x] for x in ("A", "B", "C", "channels") if x in operands or x == "C"]
        self.board.call(self.name, *addresses)
        return np.frombuffer(self.board.read("C"), self.problem.element.numpy).reshape(self.problem.shape("C"))
