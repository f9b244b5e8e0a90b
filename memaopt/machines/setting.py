"""The project that a chip is used in: what it turns on, what may be copied into RAM, what it takes itself."""

from pydantic import Field

from memaopt.inputs import Count, Input, Prose, YesNo
from memaopt.machines.memory import Accelerator, SomeBits

#: What a stock project takes beside a library. Images of :mod:`memaopt.board.projects` are linked to at most 4.1 KB of
#: flash more than the library is promised: start-up code, clocks, ``main``, the compiler's helpers for double. The rest
#: is for the 0.5 KB of a whole vector table and for code that is only estimated. In RAM they have a heap of 512 bytes,
#: or Zephyr's stack for interrupts of 2 KiB, and little data.
PROJECT_FLASH, PROJECT_RAM = 8192, 6144


class RegisterBits(Input):
    """Bits that a setting needs set in a register, which start-up code leaves as they are after reset."""

    name: str = Field(pattern=r"^[A-Za-z0-9_>., -]{1,60}$")
    address: int = Field(strict=True, ge=0, lt=1 << 32, multiple_of=4)
    bits: SomeBits


class Setting(Input):
    """The project that a chip is used in: what is on, and what may be copied into RAM when it starts.

    ``prefetch``, ``instruction_cache`` and ``data_cache`` are those of every accelerator; None leaves them as the
    machine's file has them. ``code_in_ram`` and ``constants_in_ram`` are budgets in bytes. ``turn_on`` is what the
    emitted snippets do beyond the vendor's start-up code. ``project_flash`` and ``project_ram`` are the bytes that the
    project itself takes, and leaves to no library: its vector table, start-up code, clocks, ``memcpy`` and its kind and
    ``main``; its data, heap and stacks.
    """

    name: str = Field(default="stock", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    title: str = Field(default="code and constants in flash", min_length=1, max_length=200)
    prefetch: YesNo | None = None
    instruction_cache: YesNo | None = None
    data_cache: YesNo | None = None
    code_in_ram: Count = 0
    constants_in_ram: Count = 0
    project_flash: Count = PROJECT_FLASH
    project_ram: Count = PROJECT_RAM
    turn_on: tuple[RegisterBits, ...] = Field(default=(), max_length=16)
    source: Prose = ""

    def switched(self, accelerator: Accelerator) -> Accelerator:
        """The accelerator as this setting has it."""
        wanted = {name: getattr(self, name) for name in SWITCHES}
        return accelerator.model_copy(update={name: on for name, on in wanted.items() if on is not None})


SWITCHES = ("prefetch", "instruction_cache", "data_cache")
#: More than any memory has.
_ALL = 1 << 32
#: The settings of a machine whose file has none.
USUAL = (
    Setting(),
    Setting(
        name="ram",
        title="code and constants copied into RAM where that pays",
        code_in_ram=_ALL,
        constants_in_ram=_ALL,
    ),
)
