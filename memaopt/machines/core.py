"""WHAT computes: a core's instructions, registers, reach, compiler targets, and whose timing rules hold for it.

A core is a TOML file (presets in ``memaopt/machines/cores/``), or a table ``[core]`` in a machine's file. Every kernel
needs Thumb-2 with the DSP instructions; what else there is, such as an FPU, the core says.
"""

from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from memaopt.errors import InputError
from memaopt.files import parse_toml
from memaopt.inputs import Input, Prose, Size, Word, YesNo

#: What the objective ``cycles`` means on a core whose timing nobody has validated.
ORDERED = "ordered by the Cortex-M4's timing"
#: What becomes part of a compiler's flag.
_Flag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]*$", max_length=64)]
_Bits = Annotated[int, Field(strict=True, ge=0, lt=1 << 32)]


class Encoding(Input):
    """How far the immediates of a core's instructions reach, in bytes."""

    offset: Size
    """Of a load or store of a byte, a halfword or a word."""
    behind: Size
    """Of a negative one, and of one that moves the pointer."""
    pair: Size
    """Of LDRD, STRD, VLDR and VSTR, in words, either way."""
    branch: Size
    """Of a branch or a call, either way."""
    conditional: Size
    """Of a branch with a condition, either way."""


class Core(Input):
    """A core as kernels, compilers and the virtual board see it.

    ``core_registers`` and ``fpu_registers`` are those that a kernel may use; a core without an FPU has 0 and no
    ``gcc_fpu``. ``gcc_cpu`` and ``gcc_fpu`` are GCC's names, ``zig_cpu`` is Zig's, with features. ``emulator`` is the
    core that the board emulates, ``cpuid``, ``mvfr0`` and ``mvfr1`` what its registers of these names read.
    ``timing`` names the timing rules: ``none`` where nobody has held any to the chip, and then no cycles are shown.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=32)
    title: str = Field(min_length=1, max_length=60)
    thumb2: YesNo
    dsp: YesNo
    core_registers: int = Field(strict=True, ge=1, le=14)
    fpu_registers: int = Field(strict=True, ge=0, le=32)
    gcc_cpu: _Flag
    gcc_fpu: _Flag | None = None
    zig_cpu: _Flag
    reach: Encoding
    emulator: Literal["cortex-m4", "cortex-m7", "cortex-m33"]
    cpuid: _Bits
    mvfr0: _Bits = 0
    mvfr1: _Bits = 0
    timing: Literal["none", "cortex-m4"] = "none"
    sources: dict[Word, Prose] = Field(default_factory=dict, max_length=64)

    @model_validator(mode="after")
    def _check(self) -> "Core":
        for name in ("thumb2", "dsp"):
            if not getattr(self, name):
                raise ValueError(f"{self.name} has no {name}: every kernel needs it")
        if (self.gcc_fpu is None) != (self.fpu_registers == 0):
            raise ValueError(f"{self.name}: an FPU has registers and a name for gcc_fpu, or there is none")
        return self

    @property
    def has_fpu(self) -> bool:
        """Whether there are floating-point instructions."""
        return self.gcc_fpu is not None

    @property
    def has_fpv5(self) -> bool:
        """Whether the floating-point instructions are those of FPv5, which came with Armv8."""
        return self.gcc_fpu is not None and self.gcc_fpu.startswith("fpv5")

    @property
    def is_timed(self) -> bool:
        """Whether cycles may be shown: its timing rules were held to silicon."""
        return self.timing != "none"

    @property
    def untimed(self) -> str:
        """Why no cycles are shown; nothing where they are."""
        return "" if self.is_timed else f"nobody has validated the timing of a {self.title}"

    def only_orders(self, objective: str) -> bool:
        """Whether an objective's numbers order schedules here, and are not to be shown."""
        return objective == "cycles" and not self.is_timed

    def goal(self, objective: str) -> str:
        """An objective in a word, and what it means here."""
        return f"{objective}, {ORDERED}" if self.only_orders(objective) else objective

    def require_timing(self, what: str) -> None:
        """Raise InputError if ``what`` needs cycles, and this core has none to show."""
        if not self.is_timed:
            raise InputError(f"{what} needs cycles, and {self.untimed}")

    @property
    def gcc_target(self) -> tuple[str, ...]:
        """GCC's flags for this core."""
        fpu = ("-mfloat-abi=soft",) if self.gcc_fpu is None else (f"-mfpu={self.gcc_fpu}", "-mfloat-abi=hard")
        return (f"-mcpu={self.gcc_cpu}", "-mthumb", *fpu)

    @property
    def zig_target(self) -> tuple[str, ...]:
        """The flags of Zig's Clang for this core."""
        return ("-target", f"thumb-freestanding-eabi{'hf' if self.has_fpu else ''}", f"-mcpu={self.zig_cpu}")


@cache
def core_names() -> tuple[str, ...]:
    """The names of the cores that come with the package, sorted."""
    folder = resources.files("memaopt.machines") / "cores"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def core(name: str) -> Core:
    """The core called ``name``; ValueError names those there are."""
    if name not in core_names():
        raise ValueError(f"{name[:40]!r} is not known: there are {', '.join(core_names())}, or a table of its fields")
    preset = resources.files("memaopt.machines") / "cores" / f"{name}.toml"
    return Core.checked(parse_toml(preset.read_text(encoding="utf-8"), name), name)


@cache
def least_reach() -> Encoding:
    """What each core that comes with the package reaches: kernels are written for that."""
    each = [core(name).reach for name in core_names()]
    return Encoding(**{field: min(getattr(reach, field) for reach in each) for field in Encoding.model_fields})


def _reaching(given: Core) -> Core:
    """ValueError for a core that reaches less than kernels are written for."""
    for field, least in least_reach():
        if (found := getattr(given.reach, field)) < least:
            raise ValueError(f"{given.name}: reach.{field} is {found}, and kernels are written for {least}")
    return given


def _resolved(given: Any) -> Any:
    return core(given) if isinstance(given, str) else given


def _written(given: Core) -> Any:
    """By its name where that says all."""
    known = given.name in core_names() and core(given.name) == given
    return given.name if known else given.model_dump(mode="json")


#: A core in a machine's file: the name of one there is, or a table.
CoreField = Annotated[Core, BeforeValidator(_resolved), AfterValidator(_reaching), PlainSerializer(_written)]
