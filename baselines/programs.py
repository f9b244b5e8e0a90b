"""Build the baselines and run them on the virtual board, on operands placed in SRAM."""

import struct
from importlib import resources
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from baselines import cmsis_dsp, cmsis_nn
from baselines.kernels import Kernel
from memaopt.board import Access, Board, Build, build
from memaopt.board.results import known
from memaopt.errors import InfeasibleError
from memaopt.interrupts import scratch_folder
from memaopt.machines.energy import energy
from memaopt.machines.mcu import Mcu
from memaopt.problems import reference
from memaopt.problems.gemm import Dtype, Gemm

#: Beyond what memaopt's code is compiled with, all of it in favour of the baselines: with these they are fastest.
FLAGS = ("-falign-loops=4",)
#: CMSIS-DSP's README: no -ffreestanding, which keeps memcpy of a word from being one load, and loops unrolled.
CMSIS_FLAGS = (*FLAGS, "-fhosted", "-fbuiltin", "-ffp-contract=fast", "-DARM_MATH_LOOPUNROLL")
_ALIGNMENT = 8
_STACK_BYTES = 16 << 10


class Measurement(BaseModel):
    """One run on the board: what it cost, and whether the result is right.

    ``cycles`` are with the machine's wait states, ``ideal_cycles`` of the same run without any. ``buffers`` has the
    accesses to A, B, C, scratch memory, the stack and so on; ``memories`` all of them by memory. Energy is modelled.
    """

    model_config = ConfigDict(frozen=True)

    correct: bool
    cycles: int
    ideal_cycles: int
    instructions: int
    buffers: dict[str, Access]
    memories: dict[str, Access]
    energy_uj: float
    ideal_energy_uj: float

    @property
    def accesses(self) -> int:
        """Loads and stores of data."""
        return sum(access.loads + access.stores for access in self.memories.values())

    @property
    def bytes(self) -> int:
        """Bytes loaded and stored."""
        return sum(access.load_bytes + access.store_bytes for access in self.memories.values())


class Program:
    """The baselines of one dtype and origin, built once and loaded on a board: ours, CMSIS-DSP's with ``cmsis``, or
    CMSIS-NN's from a checkout, ``nn``.

    Raises MissingToolError if CMSIS-DSP cannot be had, InputError if there is no such checkout, BuildError if the
    compiler fails.
    """

    def __init__(
        self, machine: Mcu, dtype: Dtype, *, cmsis: bool = False, nn: Path | None = None, compiler: str | None = None
    ) -> None:
        with scratch_folder() as folder:
            elf = folder / f"{dtype}.elf"
            sources = resources.files("baselines") / "c"
            with resources.as_file(sources) as own:
                if nn is not None:
                    self.build = _cmsis_nn(nn, own, elf, machine, compiler)
                elif cmsis:
                    self.build = _cmsis(folder, own, elf, machine, compiler)
                else:
                    self.build = build([own / f"{dtype}.c"], elf, machine, compiler=compiler, flags=FLAGS)
            self._board = Board(machine).load(self.build)
        self._machine = machine

    def run(self, kernel: Kernel, problem: Gemm, data: reference.GemmData) -> Measurement:
        """Run ``kernel`` on ``data``; InfeasibleError if its operands do not fit the SRAM."""
        board, width = self._board, np.dtype(problem.element.numpy)
        places = _places(kernel, problem, self._machine)
        board.write(places["A"][0], np.ascontiguousarray(data.a).tobytes())
        b = data.b.T if problem.element.channels_minor and not kernel.channel_minor else data.b
        board.write(places["B"][0], np.ascontiguousarray(b).tobytes())
        board.write(places["C"][0], b"\xa5" * places["C"][1])
        arguments = self._arguments(kernel, problem, data, places)
        ran = board.call(kernel.function, *arguments, buffers=places)
        shape = (problem.n, problem.m) if kernel.channel_minor else (problem.m, problem.n)
        result = np.frombuffer(board.read(*places["C"]), width).reshape(shape)
        ideal = energy(self._machine, known(ran.ideal_cycles), ran.memories)
        return Measurement(
            correct=kernel.is_correct(problem, data, result),
            cycles=ran.cycles,
            ideal_cycles=ran.ideal_cycles,
            instructions=ran.instructions,
            buffers={name: a for name, a in ran.buffers.items() if a.loads or a.stores},
            memories={name: a for name, a in ran.memories.items() if a.loads or a.stores},
            energy_uj=known(ran.energy).total_uj,
            ideal_energy_uj=ideal.total_uj,
        )

    def _arguments(
        self, kernel: Kernel, problem: Gemm, data: reference.GemmData, places: dict[str, tuple[int, int]]
    ) -> list[int]:
        """What the function is called with; CMSIS-DSP's matrix descriptors are written beside the operands."""
        m, k, n = problem.m, problem.k, problem.n
        if kernel.origin != "CMSIS-DSP":
            arguments = [places["A"][0], places["B"][0], places["C"][0], m, k, n]
        else:
            arguments = []
            at = places["descriptors"][0]
            for operand, rows, columns in (("A", m, k), ("B", k, n), ("C", m, n)):
                self._board.write(at, struct.pack("<HHI", rows, columns, places[operand][0]))
                arguments.append(at)
                at += 8
        if kernel.scratch:
            arguments.append(places["scratch"][0])
        if kernel.channel_minor and data.channels is not None:
            channels = np.stack(data.channels, axis=1)
            if kernel.origin == "CMSIS-NN":
                bias, multiplier, left, right = data.channels
                channels = np.concatenate([bias, multiplier, np.asarray(left) - right])
            self._board.write(places["channels"][0], channels.astype("<i4").tobytes())
            arguments.append(places["channels"][0])
        return arguments


def _cmsis(folder: Path, own: Path, elf: Path, machine: Mcu, compiler: str | None) -> Build:
    root = cmsis_dsp.unpack(cmsis_dsp.archive(), folder)
    sources = [root / source for source in cmsis_dsp.SOURCES]
    include = [own / "cmsis", *(root / name for name in cmsis_dsp.INCLUDE)]
    flags = (*CMSIS_FLAGS, "-idirafter", str(own / "cmsis" / "fallback"))
    return build(sources, elf, machine, compiler=compiler, flags=flags, include=include, warnings=("-w",))


def _cmsis_nn(root: Path, own: Path, elf: Path, machine: Mcu, compiler: str | None) -> Build:
    sources = [own / "cmsis_nn.c", *(cmsis_nn.checked(root) / source for source in cmsis_nn.SOURCES)]
    include = [root / name for name in cmsis_nn.INCLUDE]
    return build(sources, elf, machine, compiler=compiler, flags=CMSIS_FLAGS, include=include, warnings=("-w",))


def _places(kernel: Kernel, problem: Gemm, machine: Mcu) -> dict[str, tuple[int, int]]:
    """Address and size of each buffer in SRAM, from its start on."""
    sizes = {x: problem.bytes_of(x) for x in ("A", "B", "C")}
    if kernel.scratch:
        sizes["scratch"] = problem.bytes_of("B")
    if kernel.channel_minor:
        sizes["channels"] = problem.m * problem.channel_bytes
    if kernel.origin == "CMSIS-DSP":
        sizes["descriptors"] = 24
    address, places = machine.sram.base, {}
    for name, size in sizes.items():
        places[name] = (address, size)
        address += -(-size // _ALIGNMENT) * _ALIGNMENT
    if address > machine.sram.end - _STACK_BYTES:
        raise InfeasibleError(
            f"{kernel.name} on gemm {problem.name} {problem.dtype}: its operands take {address - machine.sram.base:,} "
            f"bytes, and the SRAM of {machine.name} has {machine.sram.size:,}: enlarge it"
        )
    return places
