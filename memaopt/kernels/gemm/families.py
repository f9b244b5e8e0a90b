"""Register kernel families: what each computes, the registers a tile needs, its accesses and its cycles, as data.

A family is a template in ``memaopt/emit/templates`` and an entry here. Its *stationary* operand stays in
registers while the innermost loop runs; the other two stream past it. A tile is MR x KR x NR.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from memaopt.kernels.gemm import stack_words
from memaopt.kernels.gemm.stack_words import StackWords
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.gemm import Dtype, Operand


class RegisterTile(NamedTuple):
    """MR x KR x NR: rows of A, steps of the reduction and columns of B that one kernel step handles."""

    mr: int
    kr: int
    nr: int

    def __str__(self) -> str:
        return f"{self.mr}x{self.kr}x{self.nr}"


class Registers(NamedTuple):
    """Registers for a tile: mn*MR*NR + mk*MR*KR + kn*KR*NR + m*MR + k*KR + n*NR + one, rounded up."""

    mn: float = 0
    mk: float = 0
    kn: float = 0
    m: float = 0
    k: float = 0
    n: float = 0
    one: float = 0

    def at(self, tile: RegisterTile) -> int:
        """The number of registers that ``tile`` needs."""
        mr, kr, nr = tile
        area = self.mn * mr * nr + self.mk * mr * kr + self.kn * kr * nr
        return -int(-(area + self.m * mr + self.k * kr + self.n * nr + self.one) // 1)


#: Costs are integers in this fraction of a cycle, so that loop overhead shared by several steps has an exact share.
CYCLE = 60


class Cycles(NamedTuple):
    """A cost at zero wait states as coefficients of mr*nr, mr, nr and 1, in units of 1/CYCLE of a cycle."""

    mn: int = 0
    m: int = 0
    n: int = 0
    one: int = 0


def cycles(mn: float = 0, m: float = 0, n: float = 0, one: float = 0) -> Cycles:
    """Cycles given as numbers of cycles."""
    return Cycles(round(CYCLE * mn), round(CYCLE * m), round(CYCLE * n), round(CYCLE * one))


class Shape(NamedTuple):
    """What else a kernel's cost depends on: the length of the reduction, and bytes from row to row of A and of B."""

    k: int
    lda: int
    ldb: int


class Cost(NamedTuple):
    """What a kernel spends on a tile: for each step of KR, for each pass over the reduction, once, for each k left
    over by the steps, and for each call (of ``mr`` rows or ``nr`` columns, whichever the calls run over).

    The figures follow from the instructions of the template by the core's timing rules (``docs/timing.md``); where a
    count is not linear in the tile it is exact for the full tile.
    """

    step: Cycles
    ends: Cycles = Cycles()
    once: Cycles = Cycles()
    tail: Cycles = Cycles()
    call: Cycles = Cycles()


class Unrolling(NamedTuple):
    """Steps that one round of a kernel's loop over the reduction does: of ``most`` down to just over half of it, what
    leaves the fewest steps over; all of them if they are ``most``, or where ``straight`` half as many again.
    """

    most: int = 1
    straight: bool = False

    def steps(self, total: int) -> int:
        """Steps of a round, where there are ``total`` in all; at least one."""
        if total <= (self.most * 3 // 2 if self.straight else self.most):
            return max(total, 1)
        return min(range(self.most, self.most // 2, -1), key=lambda u: total % u)


class GemmFamily(NamedTuple):
    """One kernel family.

    ``a_vector``/``b_vector``: elements that one access moves, of A along k and of B along ``b_along``; what is
    left over moves element by element. ``kr``/``mr``/``nr``: the values that the template can unroll to.
    ``fpu``: registers of the FPU; where there is none, a family ``without_fpu`` keeps 16 words on the stack instead.
    ``by_tile``: what is left over at the edges depends on the whole tile, in what it keeps and saves.
    ``first_apart``: a reduction begins with a step before the loop, whose products are the first sums.
    ``cost``: what the kernel spends on a tile of a product of that shape. ``stack``: what it moves to and from the
    stack, by MR, KR, NR and whether there is an FPU. ``unrolling``: of
    its loop over the reduction, where C is stationary and the template asks for it; a family ``-rolled`` is the one
    without that in its name, but for a shorter one, so that it fits an instruction cache.
    """

    name: str
    dtype: Dtype
    stationary: Operand
    mr: range
    kr: tuple[int, ...]
    nr: range
    core: Registers
    fpu: Registers
    a_vector: int
    b_vector: int
    b_along: Literal["k", "n"]
    cost: Callable[[RegisterTile, Shape], Cost]
    stack: Callable[[int, int, int, bool], StackWords]
    unrolling: Unrolling = Unrolling()
    without_fpu: bool = False
    by_tile: bool = False
    first_apart: bool = False

    @property
    def template(self) -> str:
        """The path of its template."""
        return f"kernels/gemm/{self.name.removesuffix('-rolled').replace('-', '_')}.s.j2"


def _f32_c(tile: RegisterTile, shape: Shape, unrolling: Unrolling) -> Cost:
    """Each k: VLDM of a row of B and an addition; each row of A: VLDM of KR values; two cycles a multiply-add. The
    first step is apart; a round of the loop over the others is counted and branched back in three cycles.
    """
    mr, kr, nr = tile
    saved = 0 if stack_words.wide(mr, kr, nr) else 64 / 2 + 2
    steps = max(shape.k // kr, 1)
    rounds = (steps - 1) // unrolling.steps(steps)
    looped = 3 * rounds / steps if rounds > 1 else 0
    return Cost(
        step=cycles(2 * kr, 1 + kr, kr, 2 * kr + looped + (kr == 4)),
        ends=cycles(m=4, one=8 + (kr == 4) + (mr == 9) * 2 + (mr == 10) * 5),
        tail=cycles(2, 2, 1, 2),
        call=cycles(m=1, one=82.75 - saved),
    )


def _f32_a(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(2.39 * kr + 6.77, 0, 4.27 * kr + 6.4),
        once=cycles(0.31 * kr - 4.5, 0, 1 - 0.44 * kr),
        call=cycles(m=1.03 * kr + 2.93, one=70),
    )


def _f32_b(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(2.24 * kr + 5.92, 0.85 * kr + 5.68),
        once=cycles(0.42 * kr - 4.59, 2.3 - 0.44 * kr),
        call=cycles(n=kr, one=3.05 * kr + 70),
    )


def _loop(steps: int, u: int) -> tuple[float, float]:
    """Cycles of a counted loop of ``u`` steps a round for each step, and for each tile beyond that."""
    if u == max(steps, 1):
        return 0.0, 2.0
    rounds, rest = divmod(steps, u)
    return 6 * rounds / steps, 2 + 2.0 * (rest > 0)


def far(rows: int, pitch: int, beyond: int = 0) -> bool:
    """Whether immediate offsets do not reach so many bytes ``beyond`` the start of the last of rows so far apart."""
    return (rows - 1) * pitch + beyond > REACH


def pairs_reached(ldb: int, nr: int, most: int) -> int:
    """q15-c: pairs of rows of B that offsets from one pointer reach, so it moves on after as many; at least one."""
    return max(1, min(most, (REACH - 2 * nr + ldb) // (2 * ldb)))


def _q15_c(tile: RegisterTile, shape: Shape, unrolling: Unrolling) -> Cost:
    """Each pair of k: two loads and two packs for two columns of B; the rows of A in groups of the words free."""
    mr, _, nr = tile
    steps = shape.k // 2
    u = unrolling.steps(steps)
    words, columns = 12 - mr * nr - nr, nr // 2 * 5 + nr % 2 * 4
    share, once = _loop(steps, u)
    straight = share == 0
    share += (-(-u // pairs_reached(shape.ldb, nr, u)) - 1) / u
    if far(2, shape.ldb, 2 * nr):
        columns += -(-nr // 2)
    if far(mr, shape.lda, 4 * u):
        columns += 3 * (mr - 1) + 1
    return Cost(
        step=cycles(1, 1 + -(-mr // words) / mr, columns / nr, share),
        ends=cycles(2 if straight else 3, 1, 0, once + (16.5 if straight else 14)),
        tail=cycles(1, 2, 0.5, 1),
        call=cycles(one=51.75),
    )


def _q15_a(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(0.505 * kr + 6.2, 0, 1.96 * kr + 8.85),
        once=cycles(-0.085 * kr - 2.65, 0, 0.03 * kr + 1.2),
        call=cycles(m=1.5 * kr + 14),
    )


def _q15_b(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(0.32 * kr + 2.6, 1.03 * kr + 9.8),
        once=cycles(0.95, -2.6),
        call=cycles(n=0.3 * kr + 3, one=4.5 * kr + 43.5),
    )


def _s8_c(tile: RegisterTile, shape: Shape, unrolling: Unrolling) -> Cost:
    """Each four k: a load and two sign extensions for each row and column, two SMLAD for each result."""
    _, _, nr = tile
    share, once = _loop(shape.k // 4, unrolling.steps(shape.k // 4))
    return Cost(
        step=cycles(2, 4, (3 * nr + 1) / nr, share),
        ends=cycles(m=0, one=once),
        once=cycles(19, 4, 0, 16),
        tail=cycles(1, 2, 2, 0),
        call=cycles(one=53.75),
    )


def _s8_a(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(0.19 * kr + 6.97, 0, 1.45 * kr + 9.93),
        once=cycles(0.5 * kr + 13.4, 0, 3.4 - 0.72 * kr),
        call=cycles(m=0.78 * kr + 4, one=60),
    )


def _s8_b(tile: RegisterTile, shape: Shape) -> Cost:
    """Fitted to the counted cycles of the family's tiles (docs/gemm.md)."""
    kr = tile.kr
    return Cost(
        step=cycles(0.88 * kr + 6.28, 0.43 * kr + 15.26),
        once=cycles(2.14 * kr + 2.8, 16.06 - 2.03 * kr),
        call=cycles(n=0.8 * kr + 4, one=60),
    )


_PAIRS = tuple(range(2, 19, 2))
_QUADS = (4, 8, 12, 16)

_Q15_UNROLLING, _S8_UNROLLING = Unrolling(16, straight=True), Unrolling(4, straight=True)
_F32_UNROLLING = Unrolling(2)
_F32_C = GemmFamily(
    "f32-c",
    "f32",
    "C",
    range(1, 11),
    (1, 2, 4),
    range(1, 17),
    core=Registers(m=1, one=4),
    fpu=Registers(mn=1, kn=1, k=1, one=2),
    a_vector=1,
    b_vector=1,
    b_along="n",
    cost=partial(_f32_c, unrolling=_F32_UNROLLING),
    stack=stack_words.f32_c,
    unrolling=_F32_UNROLLING,
    by_tile=True,
    first_apart=True,
)
_Q15_C = GemmFamily(
    "q15-c",
    "q15",
    "C",
    range(1, 11),
    (2,),
    range(1, 5),
    core=Registers(mn=1, n=1, one=3),
    fpu=Registers(one=8),
    a_vector=2,
    b_vector=2,
    b_along="n",
    cost=partial(_q15_c, unrolling=_Q15_UNROLLING),
    stack=stack_words.q15_c,
    unrolling=_Q15_UNROLLING,
    without_fpu=True,
)
_S8_C = GemmFamily(
    "s8-c",
    "s8",
    "C",
    range(1, 9),
    (4,),
    range(1, 5),
    core=Registers(mn=1, n=2, one=4),
    fpu=Registers(one=8),
    a_vector=4,
    b_vector=4,
    b_along="k",
    cost=partial(_s8_c, unrolling=_S8_UNROLLING),
    stack=stack_words.s8_c,
    unrolling=_S8_UNROLLING,
    without_fpu=True,
)


def _rolled(family: GemmFamily, cost: Callable[..., Cost], unrolling: Unrolling) -> GemmFamily:
    """A family whose loop over the reduction is short."""
    return family._replace(name=f"{family.name}-rolled", cost=partial(cost, unrolling=unrolling), unrolling=unrolling)


#: VMUL and VADD apart take 2 cycles where VFMA takes 3 (Arm DDI 0439, table 7-1), so f32 multiplies and adds.
FAMILIES: tuple[GemmFamily, ...] = (
    _F32_C,
    _rolled(_F32_C, _f32_c, Unrolling(1)),
    GemmFamily(
        "f32-a", "f32", "A", range(1, 28), tuple(range(1, 15)), range(1, 2),
        core=Registers(one=8), fpu=Registers(mk=1, k=1, one=3),
        a_vector=1, b_vector=1, b_along="n",
        cost=_f32_a, stack=stack_words.f32_stationary,
    ),
    GemmFamily(
        "f32-b", "f32", "B", range(1, 2), tuple(range(1, 15)), range(1, 28),
        core=Registers(one=8), fpu=Registers(kn=1, k=1, one=3),
        a_vector=1, b_vector=1, b_along="n",
        cost=_f32_b, stack=stack_words.f32_stationary,
    ),
    _Q15_C,
    _rolled(_Q15_C, _q15_c, Unrolling(8, straight=True)),
    GemmFamily(
        "q15-a", "q15", "A", range(1, 6), _PAIRS, range(1, 2),
        core=Registers(mk=0.5, m=1, one=4), fpu=Registers(one=8),
        a_vector=2, b_vector=1, b_along="n",
        cost=_q15_a, stack=stack_words.q15_stationary,
        without_fpu=True,
    ),
    GemmFamily(
        "q15-b", "q15", "B", range(1, 2), _PAIRS, range(1, 6),
        core=Registers(kn=0.5, n=1, one=4), fpu=Registers(one=8),
        a_vector=2, b_vector=2, b_along="n",
        cost=_q15_b, stack=stack_words.q15_stationary,
        without_fpu=True,
    ),
    _S8_C,
    _rolled(_S8_C, _s8_c, Unrolling(3)),
    GemmFamily(
        "s8-a", "s8", "A", range(1, 4), _QUADS, range(1, 2),
        core=Registers(mk=0.5, m=1, one=4), fpu=Registers(one=8),
        a_vector=4, b_vector=4, b_along="k",
        cost=_s8_a, stack=stack_words.s8_stationary,
    ),
    GemmFamily(
        "s8-b", "s8", "B", range(1, 2), _QUADS, range(1, 4),
        core=Registers(kn=0.5, n=1, one=4), fpu=Registers(one=8),
        a_vector=4, b_vector=4, b_along="k",
        cost=_s8_b, stack=stack_words.s8_stationary,
    ),
)  # fmt: skip

BY_NAME = {family.name: family for family in FAMILIES}


def families(dtype: Dtype) -> tuple[GemmFamily, ...]:
    """The families that compute ``dtype``."""
    return tuple(family for family in FAMILIES if family.dtype == dtype)


@lru_cache(maxsize=256)
def tiles(family: GemmFamily | str, core_registers: int, fpu_registers: int) -> tuple[RegisterTile, ...]:
    """Every register tile of the family that needs no more registers than there are, so it never spills."""
    entry = BY_NAME[family] if isinstance(family, str) else family
    every = (RegisterTile(mr, kr, nr) for mr in entry.mr for kr in entry.kr for nr in entry.nr)
    on_stack = entry.without_fpu and fpu_registers == 0
    return tuple(
        tile
        for tile in every
        if entry.core.at(tile) <= core_registers and (on_stack or entry.fpu.at(tile) <= fpu_registers)
    )
