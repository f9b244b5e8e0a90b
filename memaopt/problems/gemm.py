"""WHAT to compute. A problem says sizes, element type, where each operand lives, and the exact arithmetic."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from memaopt.errors import InfeasibleError, InputError
from memaopt.inputs import MOST_BYTES, Input, any_of
from memaopt.machines.mcu import Mcu
from memaopt.problems.dtypes import DTYPES as DTYPES
from memaopt.problems.dtypes import ELEMENT_TYPES, ElementType
from memaopt.problems.dtypes import Dtype as Dtype
from memaopt.problems.weights import Weights as Weights

Operand = Literal["A", "B", "C"]
Dim = Literal["m", "k", "n"]

OPERANDS: tuple[Operand, ...] = get_args(Operand)
DIMS: tuple[Dim, ...] = get_args(Dim)

#: The dimensions that index each operand: A[M,K], B[K,N], C[M,N].
INDEXED_BY: dict[Operand, tuple[Dim, Dim]] = {"A": ("m", "k"), "B": ("k", "n"), "C": ("m", "n")}
#: The one loop that does not index the operand: running it revisits the same tile.
REVISITED_BY: dict[Operand, Dim] = {"A": "n", "B": "m", "C": "k"}
#: Partial sums are 32 bits wide in every dtype.
ACCUMULATOR_BYTES = 4


#: Leaves the memory of an operand to :func:`placed`.
AUTO = "auto"


#: The weights of an s8 product are no constants, but arguments of the emitted function.
ARGUMENT = "argument"
#: A memory's name; whether there is one of that name the machine tells.
Home = Annotated[str, Field(min_length=1, max_length=64)]
Extent = Annotated[int, Field(strict=True, ge=1, lt=MOST_BYTES)]
Int8 = Annotated[int, Field(strict=True, ge=-128, le=127)]


class Placement(Input):
    """The memory in which each operand lives, by the names that the machine gives them, or ``auto``."""

    a: Home = AUTO
    b: Home = AUTO
    c: Home = AUTO

    def of(self, operand: Operand) -> str:
        """The memory of ``operand``."""
        return {"A": self.a, "B": self.b, "C": self.c}[operand]


def _known(dtype: str) -> Dtype:
    """ValueError for an element type that there is none of."""
    if dtype not in ELEMENT_TYPES:
        names = any_of([repr(name) for name in ELEMENT_TYPES])
        raise PydanticCustomError("dtype", "Input should be {names}", {"names": names})
    return dtype


class Gemm(Input):
    """C[M,N] = A[M,K] B[K,N], with A the weights (M output channels) and N output positions.

    ========  =====================================================================================
    dtype     arithmetic and layout
    ========  =====================================================================================
    ``f32``   single precision, products and sums rounded apart; A, B and C row-major
    ``q15``   int16 operands, a 32-bit accumulator modulo 2^32, then (acc + 2^14) >> 15 saturated to
              int16 (round to nearest, ties up); A, B and C row-major
    ``s8``    TFLite's int8 1x1 CONV_2D: int32 bias, multiplier and shift for each output channel, double
              rounding, zero points and clamp; B is [N,K] and C is [N,M], which is NHWC, A is [M,K]
    ========  =====================================================================================

    ``weights`` (s8): A and the channels' parameters are constants that the emitted C holds, in whatever form its
    kernel reads; random ones unless given. With None they are arguments of the emitted function, A as it is.
    """

    m: Extent
    k: Extent
    n: Extent
    dtype: Annotated[Dtype, AfterValidator(_known)] = "q15"
    placement: Placement = Placement()
    input_zero_point: Int8 = 0
    output_zero_point: Int8 = 0
    clamp: tuple[Int8, Int8] = (-128, 127)
    weights: Weights | None = None

    @model_validator(mode="after")
    def _check(self) -> "Gemm":
        low, high = self.clamp
        if low > high:
            raise ValueError(f"clamp {self.clamp} is not a range within int8")
        if not self.channel_bytes and (self.input_zero_point, self.output_zero_point, *self.clamp) != (0, 0, -128, 127):
            raise ValueError(f"zero points and clamp have no effect on {self.dtype}: they are of s8")
        if self.channel_bytes and "weights" not in self.model_fields_set:
            self.__dict__["weights"] = Weights()
        if self.weights is not None and not self.channel_bytes:
            raise ValueError(
                f"weights of {self.dtype} are arguments of the emitted function: there are constants in s8"
            )
        if self.weights is not None and (why := self.weights.why_not(self.m, self.k)) is not None:
            raise ValueError(f"weights: {why}")
        return self

    @property
    def name(self) -> str:
        """``64x576x64``, in the order M, K, N."""
        return f"{self.m}x{self.k}x{self.n}"

    @property
    def sizes(self) -> dict[Dim, int]:
        """M, K and N by loop name."""
        return {"m": self.m, "k": self.k, "n": self.n}

    @property
    def element(self) -> ElementType:
        """What is known of its elements and arithmetic."""
        return ELEMENT_TYPES[self.dtype]

    def stored(self, operand: Operand) -> tuple[Dim, Dim]:
        """The dimensions along the rows of ``operand`` and along the elements of a row, as it is stored."""
        first, second = INDEXED_BY[operand]
        return (second, first) if self.element.channels_minor and operand != "A" else (first, second)

    def row(self, operand: Operand) -> int:
        """Elements in a row of ``operand`` as it is stored."""
        return self.sizes[self.stored(operand)[1]]

    def shape(self, operand: Operand) -> tuple[int, int]:
        """Rows, and elements in a row, of ``operand`` as it is stored."""
        rows, along = self.stored(operand)
        return self.sizes[rows], self.sizes[along]

    @property
    def width(self) -> int:
        """Bytes of one element of A, B or C."""
        return self.element.bytes

    @property
    def channel_bytes(self) -> int:
        """Bytes of parameters for each output channel (s8), else 0."""
        return self.element.channel_bytes

    @property
    def arithmetic(self) -> str:
        """What an s8 product is besides its sizes: zero points, clamp, and which weights."""
        low, high = self.clamp
        weights = "weights are arguments" if self.weights is None else self.weights.describe()
        zeros = f"zero points {self.input_zero_point} of B and {self.output_zero_point} of C"
        return f"{zeros}, clamp {low} to {high}, {weights}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates, M K N."""
        return self.m * self.k * self.n

    def elements(self, operand: Operand) -> int:
        """Number of elements of ``operand``."""
        first, second = INDEXED_BY[operand]
        return self.sizes[first] * self.sizes[second]

    def bytes_of(self, operand: Operand) -> int:
        """Size of ``operand`` in bytes."""
        return self.elements(operand) * self.width


def gemm(m: int, k: int, n: int, **fields: object) -> Gemm:
    """A Gemm from outside the program: what is wrong with it becomes one InputError line."""
    if fields.get("weights") == ARGUMENT:
        fields["weights"] = None
    return Gemm.checked({"m": m, "k": k, "n": n, **fields}, f"gemm {'x'.join(map(_shown, (m, k, n)))}")


def _shown(size: object) -> str:
    """A size for a message, whatever was given for one: an integer may have more digits than Python prints."""
    return str(size)[:16] if not isinstance(size, int) or abs(size) < MOST_BYTES else "(too large)"


def placed(problem: Gemm, machine: Mcu) -> Gemm:
    """``problem`` with every ``auto`` in its placement decided, and all of it checked.

    A, the weights, goes to flash. B and C go to SRAM, but while they would leave less than an eighth of it for
    tiles, the larger of those that may move goes to the first external memory that can be written. An A that does not
    fit flash goes to the first external memory.
    Raises InputError or InfeasibleError where a memory does not exist, is read-only for C, or is too small.
    """
    external = [memory for memory in machine.memories if memory.kind == "external"]
    for_a = external[0].name if external else None
    outside = next((memory.name for memory in external if memory.writable), None)
    given = {x: problem.placement.of(x) for x in OPERANDS}
    home = {x: name if name != AUTO else ("flash" if x == "A" else "sram") for x, name in given.items()}
    movable = [x for x in OPERANDS if given[x] == AUTO and outside is not None]
    if given["A"] == AUTO and for_a is not None and problem.bytes_of("A") > machine.memory("flash").size:
        home["A"] = for_a

    def in_sram() -> list[Operand]:
        return [x for x in OPERANDS if home[x] == machine.sram.name]

    limit = machine.sram.size - machine.sram.size // 8
    while sum(map(problem.bytes_of, in_sram())) > limit and set(in_sram()) & set(movable):
        home[max((x for x in in_sram() if x in movable), key=problem.bytes_of)] = str(outside)
    decided = Placement(a=home["A"], b=home["B"], c=home["C"])
    problem = problem.model_copy(update={"placement": decided})
    _check_placement(problem, machine)
    return problem


def _check_placement(problem: Gemm, machine: Mcu) -> None:
    held: dict[str, list[Operand]] = {}
    for operand in OPERANDS:
        memory = machine.memory(problem.placement.of(operand))
        if operand == "C" and not memory.writable:
            raise InputError(f"C cannot live in {memory.name}, which is read-only: place it elsewhere, as in c=sram")
        held.setdefault(memory.name, []).append(operand)
    for name, operands in held.items():
        size = sum(problem.bytes_of(operand) for operand in operands)
        memory = machine.memory(name)
        if size > memory.size:
            biggest = max(operands, key=problem.bytes_of)
            allowed = [other for other in machine.memories if other.writable or biggest != "C"]
            largest = max(allowed, key=lambda other: other.size)
            hint = f"place {'one of them' if len(operands) > 1 else 'it'} in another memory"
            if problem.bytes_of(biggest) > largest.size:
                hint = f"no memory that {biggest} could live in is larger than {largest.name} with {largest.size:,}"
            raise InfeasibleError(
                f"gemm {problem.name} {problem.dtype}: {', '.join(operands)}: {size:,} bytes do not fit {name} of "
                f"{machine.name}, which has {memory.size:,}: {hint}"
            )
