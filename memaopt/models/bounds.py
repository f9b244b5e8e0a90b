"""Lower bounds on the bytes moved between two memory levels: what no schedule at all can beat, in the space or not.

*Compulsory*: every byte of A and B enters the fast level once, every byte of C leaves it once.

*I/O*, after Smith, Lowery, Langou, van de Geijn, "A Tight I/O Lower Bound for Matrix Multiplication"
(arXiv 1702.02017). Let a fast memory hold F bytes, an element of A or B w bytes, and a partial sum v bytes. Take
first C += AB, where each partial sum is read before it is added to. Cut the computation into segments of 2F bytes
read. A segment sees at most the F bytes it starts with and the 2F it reads, so w|A| + w|B| + v|C| <= 3F for the
distinct elements it touches; by Loomis and Whitney it does at most sqrt(|A||B||C|) products, and by the inequality
of the means that is at most F^(3/2) / (w sqrt(v)). The last segment may be short, so

    reads >= 2F (MNK w sqrt(v) / F^(3/2) - 1) = 2 w sqrt(v) MNK / sqrt(F) - 2F.

Here C starts at zero, which saves at most v MN of those bytes, and w MN bytes of results are written, so

    loads + stores >= 2 w sqrt(v) MNK / sqrt(F) - 2F - (v - w) MN.

With v = w and S = F / w this is the paper's 2MNK / sqrt(S) - 2S elements, true whatever a partial sum takes up;
with v = 4, the width that partial sums have here, it is larger wherever K is. The bound is the best of the three.
"""

from math import isqrt

from pydantic import BaseModel, ConfigDict, Field

from memaopt.kernels.schedule import Space
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, Gemm

_REGISTER_BYTES = 4


class LowerBounds(BaseModel):
    """Bytes that must cross between external memory and SRAM, and between SRAM and registers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """The I/O bound, in bytes, for a fast memory of ``fast`` bytes: integer arithmetic, rounded down, at least 0."""
    return max(0, *(_io_bytes(problem, fast, partial) for partial in (problem.width, ACCUMULATOR_BYTES)))


def _io_bytes(problem: Gemm, fast: int, partial: int) -> int:
    """The bound if a partial sum takes up ``partial`` bytes of the fast memory."""
    width, elements = problem.width, problem.elements("C")
    reads = isqrt(4 * width**2 * partial * problem.macs**2 // fast) - 2 * fast
    return reads - (partial - width) * elements


def gap(promised: int, bound: int) -> float:
    """How far ``promised`` lies above ``bound``, as a fraction of it; 0 if they are equal."""
    return 0.0 if promised == bound else (promised - bound) / bound
