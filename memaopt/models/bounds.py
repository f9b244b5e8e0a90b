"""Lower bounds on the bytes moved between two memory levels: what no schedule at all can beat, in the space or not.

*Compulsory*: every byte of A and B enters the fast level once, every byte of C leaves it once.

*I/O*: :mod:`memaopt.models.io_bound`, for partial sums as wide as an element, which holds whatever they take up, and as
wide as they are here, which is larger wherever K is. The bound is the best of the three.
"""

from pydantic import BaseModel, Field

from memaopt.kernels.schedule import Space
from memaopt.models import io_bound
from memaopt.models.io_bound import Products
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, Gemm

_REGISTER_BYTES = 4


class LowerBounds(BaseModel, frozen=True, extra="forbid"):
    """Bytes that must cross between external memory and SRAM, and between SRAM and registers."""

    external_compulsory: int = Field(ge=0)
    external_io: int = Field(ge=0)
    register_compulsory: int = Field(ge=0)
    register_io: int = Field(ge=0)

    @property
    def external_bytes(self) -> int:
        """The larger of the two bounds between external memory and SRAM."""
        return max(self.external_compulsory, self.external_io)

    @property
    def register_bytes(self) -> int:
        """The larger of the two bounds between SRAM and registers."""
        return max(self.register_compulsory, self.register_io)


def lower_bounds(space: Space) -> LowerBounds:
    """The bounds at both levels.

    The fast memory is SRAM's room for tiles with the registers, or the registers alone. Operands that live in
    SRAM never cross, and the I/O bound counts all three, so it speaks of SRAM only if all three are staged.
    Parameters of output channels (s8) cross to the registers once at least, beside A, B and C, if they are arguments.
    Of constants it is taken that each weight takes up a byte or more, and nothing of the parameters.
    """
    problem, machine = space.problem, space.machine
    registers = _REGISTER_BYTES * (machine.core.core_registers + machine.core.fpu_registers)
    # Constants may be written in another form than arguments come in.
    channels = problem.m * problem.channel_bytes if problem.weights is None else 0
    return LowerBounds(
        external_compulsory=sum(problem.bytes_of(operand) for operand in space.staged),
        external_io=io_bytes(problem, space.capacity + registers) if len(space.staged) == 3 else 0,
        register_compulsory=sum(problem.bytes_of(operand) for operand in OPERANDS) + channels,
        register_io=io_bytes(problem, registers) + channels,
    )


def io_bytes(problem: Gemm, fast: int) -> int:
    """The I/O bound, in bytes, for a fast memory of ``fast`` bytes."""
    products = Products(problem.macs, problem.elements("C"), problem.width)
    return max(io_bound.io_bytes(products, fast, partial) for partial in (problem.width, ACCUMULATOR_BYTES))


def gap(promised: int, bound: int) -> float:
    """How far ``promised`` lies above ``bound``, as a fraction of it; 0 if they are equal."""
    return 0.0 if promised == bound else (promised - bound) / bound
