"""A certified GEMM tried on the virtual board: built, run, its result checked, its accesses held to the promise."""

from pathlib import Path
from typing import Any

import numpy as np

from memaopt.access import Access
from memaopt.certificates.gemm import Certificate
from memaopt.emit import folder as library
from memaopt.emit import gemm
from memaopt.interrupts import scratch_folder
from memaopt.machines.mcu import Mcu
from memaopt.overview import Overview
from memaopt.problems import reference
from memaopt.trials.call import CallTrial, spent, stack_of, verdict
from memaopt.writer import write_scratch


class GemmTrial(CallTrial, Overview):
    """A certified GEMM on the board. ``counted`` has the accesses of every buffer that the certificate can promise
    something about; energy is modelled. The compiler and its flags stand beside them.
    """

    energy_uj: float | None
    instructions: int
    memories: dict[str, Access]
    compiler: str
    flags: tuple[str, ...]
    seconds: float

    def headline(self) -> str:
        return verdict(self.passed, self.cycles)

    def facts(self) -> tuple[tuple[str, str], ...]:
        return (
            ("result", f"{self.wrong:,} elements are wrong" if self.wrong else "every element is right"),
            ("accesses", "as promised" if self.equal else "not as promised"),
            *spent(self.cycles, self.ideal_cycles, self.energy_uj),
            ("built with", " ".join((self.compiler, *self.flags))),
        )


def require_tools(machine: Mcu, compiler: str | None = None) -> None:
    """Raise MissingToolError, with the command that installs it, unless programs can be built and run here."""
    from memaopt.board import Board, find_compiler

    Board(machine)
    find_compiler(compiler)


def run(certificate: Certificate, folder: str | Path | None = None, compiler: str | None = None) -> GemmTrial:
    """Build the C project of ``certificate`` and run it on the virtual board.

    With ``folder``, the sources there are built as they are; else they are emitted into a temporary one. Raises
    MissingToolError, BuildError or FaultError.
    """
    if folder is not None:
        return _run(certificate, Path(folder), compiler)
    with scratch_folder() as scratch:
        write_scratch(gemm.files(certificate), scratch)
        return _run(certificate, scratch, compiler)


def _run(certificate: Certificate, folder: Path, compiler: str | None) -> GemmTrial:
    from memaopt.board import Board, build

    problem, name = certificate.problem, gemm.name_of(certificate)
    with scratch_folder() as scratch:
        elf = scratch / f"{name}.elf"
        operands_of = scratch / "operands.c"
        operands_of.write_text(f'#include "{name}_test_vector.h"\n', encoding="utf-8")
        sources = [folder / library.source(name), operands_of]
        # The result is checked here, not on the board, whose flash may have no room for another C.
        built = build(
            sources,
            elf,
            certificate.machine,
            compiler=compiler,
            define={"MEMAOPT_NO_EXPECTED": 1},
            include=library.include_folders(folder),
        )
        board = Board(certificate.machine).load(built)
        operands = ("B", "C") if problem.weights else ("A", "B", "C", *(["channels"] if problem.channel_bytes else []))
        arguments = [board.symbols[operand] for operand in operands]
        data = _operands(certificate, board)
        ran = board.call(name, *arguments)
        wrong = reference.wrong_elements(problem, data, _result(certificate, board))
    counted = {}
    for buffer, symbols in gemm.symbols_of(certificate).items():
        access = sum((ran.buffers[symbol] for symbol in symbols if symbol in ran.buffers), Access())
        if access:
            counted[buffer] = access
    stack, around = stack_of(ran, gemm.kernels_of(certificate))
    if stack:
        counted["stack"] = stack
    return GemmTrial(
        promised=certificate.traffic.buffers,
        counted=counted,
        around=around,
        wrong=wrong,
        cycles=ran.cycles,
        ideal_cycles=ran.ideal_cycles,
        energy_uj=None if ran.energy is None else ran.energy.total_uj,
        instructions=ran.instructions,
        memories=ran.memories,
        compiler=built.version,
        flags=built.flags,
        seconds=ran.seconds,
    )


def _operands(certificate: Certificate, board: Any) -> reference.GemmData:
    """The operands that the program on the board was given, read back from its memory."""
    problem = certificate.problem
    kind = problem.element.numpy
    b = np.frombuffer(board.read("B"), kind).reshape(problem.shape("B"))
    if problem.weights is not None:
        a, constants = reference.constants(problem)
        return reference.GemmData(a, b, constants)
    a = np.frombuffer(board.read("A"), kind).reshape(problem.m, problem.k)
    if not problem.channel_bytes:
        return reference.GemmData(a, b, None)
    channels = np.frombuffer(board.read("channels"), np.int32).reshape(problem.m, 4)
    return reference.GemmData(a, b, reference.Channels(*channels.T))


def _result(certificate: Certificate, board: Any) -> reference.Array:
    problem = certificate.problem
    return np.frombuffer(board.read("C"), problem.element.numpy).reshape(problem.shape("C"))
