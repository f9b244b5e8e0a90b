"""Measure: one problem by memaopt and by every baseline of its dtype, all operands in SRAM, on the same board."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from baselines import cmsis_dsp
from baselines.kernels import CMSIS_NN, Kernel, kernels
from baselines.programs import CMSIS_FLAGS, FLAGS, Measurement, Program
from memaopt.alignment import align
from memaopt.bench.results import OURS, Case, Entry, Heading
from memaopt.board.results import known
from memaopt.certificates.gemm import Certificate, certify
from memaopt.errors import MemaoptError
from memaopt.machines.energy import energy
from memaopt.machines.mcu import Mcu
from memaopt.problems import reference
from memaopt.problems.gemm import Dtype, Gemm, Placement, gemm
from memaopt.trials import gemm as trial
from memaopt.trials.gemm import GemmTrial
from memaopt.version import __version__

IN_SRAM = Placement(a="sram", b="sram", c="sram")
#: Squares of the paper's throughput figures.
SQUARES = tuple(range(8, 105, 8))
_ROOM = 24 << 10
_GRAIN = 128 << 10


def in_sram(sizes: Iterable[tuple[int, int, int]], dtypes: Sequence[Dtype]) -> list[Gemm]:
    """The problems of every size and dtype, all operands in SRAM."""
    return [gemm(m, k, n, dtype=dtype, placement=IN_SRAM) for dtype in dtypes for m, k, n in sizes]


def with_room(machine: Mcu, problems: Sequence[Gemm]) -> Mcu:
    """The machine with its SRAM enlarged, if it must be, so that every problem with a transposed B fits it."""
    need = max(
        (p.bytes_of("A") + 2 * p.bytes_of("B") + p.bytes_of("C") + p.m * p.channel_bytes for p in problems), default=0
    )
    need += _ROOM
    if need <= machine.sram.size:
        return machine
    return machine.with_sizes(sram=align(need, _GRAIN))


class Lab:
    """Builds each baseline once and measures; what cannot be had is left out, and ``notes`` says why.

    With a checkout of CMSIS-NN, ``nn``, its 1x1 convolution is one of the s8 baselines.
    """

    def __init__(self, machine: Mcu, compiler: str | None = None, nn: Path | None = None) -> None:
        self.machine, self.compiler = machine, compiler
        self._nn = None if nn is None else Program(machine, CMSIS_NN.dtype, nn=nn, compiler=compiler)
        self.notes: list[str] = []
        self._ideal = machine.with_wait_states(0)
        self._own: dict[Dtype, Program] = {}
        self._cmsis_dsp: dict[Dtype, Program | None] = {}

    def case(self, problem: Gemm) -> Case:
        """Every kernel on ``problem``, memaopt's first."""
        entries, errors = {}, {}
        try:
            entries[OURS] = self.ours(problem)
        except MemaoptError as error:
            errors[OURS] = str(error)
        data = reference.random_data(problem)
        others = (CMSIS_NN,) if self._nn is not None and problem.dtype == CMSIS_NN.dtype else ()
        for kernel in (*kernels(problem.dtype), *others):
            try:
                program = self._program(kernel)
                if program is not None:
                    entries[kernel.name] = _baseline_entry(program.run(kernel, problem, data))
            except MemaoptError as error:
                errors[kernel.name] = str(error)
        return Case(m=problem.m, k=problem.k, n=problem.n, dtype=problem.dtype, entries=entries, errors=errors)

    def ours(self, problem: Gemm) -> Entry:
        """memaopt's own entry: certified, emitted, built, run; its result and its accesses checked.

        Without wait states another schedule may be optimal than with the machine's; then both are run, unless only
        the memory that the code runs from differs, which is all the same without wait states.
        """
        certificate, ideal = (certify(problem, machine, "cycles") for machine in (self.machine, self._ideal))
        ran = trial.run(certificate, compiler=self.compiler)
        same = certificate.schedule == ideal.schedule.model_copy(update={"code": certificate.schedule.code})
        ideal_run = ran if same else trial.run(ideal, compiler=self.compiler)
        return our_entry(certificate, ran, ideal, ideal_run)

    def heading(self, dtype: Dtype, own: Mcu) -> Heading:
        """What all figures depend on. ``own`` is the machine before its SRAM was enlarged."""
        build = self._written(dtype).build
        flags = build.flags[: len(build.flags) - len(FLAGS)]
        enlarged = ""
        if self.machine.sram.size != own.sram.size:
            sizes = f"from {own.sram.size >> 10} to {self.machine.sram.size >> 10} KiB"
            enlarged = f", SRAM enlarged {sizes} so that all operands fit"
        code = f"code in flash ({_flash(self.machine)}), memaopt's where its schedule says"
        return Heading(
            version=__version__,
            machine=self.machine.title,
            clock_hz=self.machine.clock_hz,
            has_wait_states=self.machine.has_wait_states,
            memory_model=f"operands in SRAM; {code}{enlarged}",
            compiler=build.version,
            flags=" ".join(flags),
            baseline_flags=" ".join(FLAGS),
            cmsis_dsp=f"{cmsis_dsp.VERSION}: {' '.join(CMSIS_FLAGS)}",
        )

    def _program(self, kernel: Kernel) -> Program | None:
        """The program that holds ``kernel``; None if it is CMSIS-DSP's and cannot be had or built."""
        if kernel.origin == "CMSIS-NN":
            return self._nn
        if kernel.origin != "CMSIS-DSP":
            return self._written(kernel.dtype)
        if kernel.dtype not in self._cmsis_dsp:
            try:
                program = Program(self.machine, kernel.dtype, cmsis=True, compiler=self.compiler)
            except MemaoptError as error:
                program = None
                if str(error) not in self.notes:
                    self.notes.append(str(error))
            self._cmsis_dsp[kernel.dtype] = program
        return self._cmsis_dsp[kernel.dtype]

    def _written(self, dtype: Dtype) -> Program:
        if dtype not in self._own:
            self._own[dtype] = Program(self.machine, dtype, compiler=self.compiler)
        return self._own[dtype]


def our_entry(certificate: Certificate, ran: GemmTrial, ideal: Certificate, ideal_run: GemmTrial) -> Entry:
    """What the trials of the certificates for the machine and for one without wait states showed."""
    moved = ran.memories.values()
    return Entry(
        correct=ran.correct and ideal_run.correct,
        cycles=ran.cycles,
        ideal_cycles=ideal_run.ideal_cycles,
        instructions=ran.instructions,
        accesses=sum(a.loads + a.stores for a in moved),
        bytes=sum(a.bytes for a in moved),
        energy_uj=ran.energy_uj,
        ideal_energy_uj=energy(ideal.machine, known(ideal_run.ideal_cycles), ideal_run.memories).total_uj,
        schedule=str(certificate.schedule),
        ideal_schedule=str(ideal.schedule),
        kernel=f"{ideal.schedule.kernel} {ideal.schedule.tile}",
        predicted_cycles=ideal.traffic.kernel_cycles,
        as_promised=ran.equal and ideal_run.equal,
    )


def _flash(machine: Mcu) -> str:
    flash = machine.memory("flash")
    if flash.accelerator is None:
        return f"{flash.first} wait states" if flash.first else "no wait states"
    accelerator = flash.accelerator
    caches = f"{accelerator.fetch_lines} + {accelerator.load_lines} lines of {accelerator.line_bytes} bytes"
    prefetch = ", prefetch" if accelerator.prefetch else ""
    return f"{flash.first} wait states, {accelerator.read_bytes}-byte reads, caches of {caches}{prefetch}"


def _baseline_entry(measured: Measurement) -> Entry:
    return Entry(
        correct=measured.correct,
        cycles=measured.cycles,
        ideal_cycles=measured.ideal_cycles,
        instructions=measured.instructions,
        accesses=measured.accesses,
        bytes=measured.bytes,
        energy_uj=measured.energy_uj,
        ideal_energy_uj=measured.ideal_energy_uj,
    )
