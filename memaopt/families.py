"""Register kernel families: what each computes, the registers a tile needs, its accesses and its cycles, as data.

A family is one template in ``memaopt/emit/templates`` and one entry here. Its *stationary* operand stays in
registers while the innermost loop runs; the other two stream past it. A tile is MR x KR x NR.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

from memaopt.problems import Dtype, Operand


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


class Cycles(NamedTuple):
    """Cycles at zero wait states, as coefficients of mr*nr, mr, nr and 1."""

    mn: int = 0
    m: int = 0
    n: int = 0
    one: int = 0


class Family(NamedTuple):
    """One kernel family.

    ``a_vector``/``b_vector``: elements that one access moves, of A along k and of B along ``b_along``; what is
    left over moves element by element. ``kr``/``mr``/``nr``: the values that the template can unroll to.
    ``step``: cycles of one KR step of a tile; ``ends``: what a tile costs before and after its steps.
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
    step: dict[int, Cycles]
    ends: Cycles

    @property
    def slug(self) -> str:
        """The family's name as a part of C identifiers and file names."""
        return self.name.replace("-", "_")


def _steps(krs: tuple[int, ...], mn: int, m: int, n: int, one: int) -> dict[int, Cycles]:
    return {kr: Cycles(mn * kr, m * kr, n * kr, one) for kr in krs}


_PAIRS = tuple(range(2, 19, 2))
_QUADS = (4, 8, 12, 16)

#: VMUL and VADD apart take 2 cycles where VFMA takes 3 (Arm DDI 0439, table 7-1), so f32 multiplies and adds.
FAMILIES: tuple[Family, ...] = (
    Family(
        "f32-c", "f32", "C", range(1, 11), (1, 2, 4), range(1, 17),
        core=Registers(m=1, one=4), fpu=Registers(mn=1, kn=1, k=1, one=2),
        a_vector=1, b_vector=1, b_along="n",
        step={u: Cycles(2 * u, 1 + u, u, 2 * u + 4) for u in (1, 2, 4)}, ends=Cycles(2, 4, 2, 30),
    ),
    Family(
        "f32-a", "f32", "A", range(1, 28), tuple(range(1, 13)), range(1, 2),
        core=Registers(one=8), fpu=Registers(mk=1, k=1, one=3),
        a_vector=1, b_vector=1, b_along="n",
        step=_steps(tuple(range(1, 13)), 2, 0, 3, 12), ends=Cycles(0, 4, 0, 20),
    ),
    Family(
        "f32-b", "f32", "B", range(1, 2), tuple(range(1, 13)), range(1, 28),
        core=Registers(one=8), fpu=Registers(kn=1, k=1, one=3),
        a_vector=1, b_vector=1, b_along="n",
        step=_steps(tuple(range(1, 13)), 2, 1, 0, 12), ends=Cycles(0, 0, 4, 20),
    ),
    Family(
        "q15-c", "q15", "C", range(1, 11), (2,), range(1, 5),
        core=Registers(mn=1, n=1, one=3), fpu=Registers(one=8),
        a_vector=2, b_vector=2, b_along="n",
        step={2: Cycles(1, 2, 2, 4)}, ends=Cycles(4, 1, 1, 40),
    ),
    Family(
        "q15-a", "q15", "A", range(1, 6), _PAIRS, range(1, 2),
        core=Registers(mk=0.5, m=1, one=4), fpu=Registers(one=8),
        a_vector=2, b_vector=1, b_along="n",
        step={kr: Cycles(kr // 2 + 6, 0, 3 * kr, 6) for kr in _PAIRS}, ends=Cycles(0, 4, 0, 30),
    ),
    Family(
        "q15-b", "q15", "B", range(1, 2), _PAIRS, range(1, 6),
        core=Registers(kn=0.5, n=1, one=4), fpu=Registers(one=8),
        a_vector=2, b_vector=2, b_along="n",
        step={kr: Cycles(kr // 2 + 6, kr, 0, 6) for kr in _PAIRS}, ends=Cycles(0, 0, 8, 30),
    ),
    Family(
        "s8-c", "s8", "C", range(1, 9), (4,), range(1, 5),
        core=Registers(mn=1, n=2, one=4), fpu=Registers(one=8),
        a_vector=4, b_vector=4, b_along="k",
        step={4: Cycles(2, 4, 4, 4)}, ends=Cycles(12, 10, 1, 40),
    ),
    Family(
        "s8-a", "s8", "A", range(1, 4), _QUADS, range(1, 2),
        core=Registers(mk=0.5, m=1, one=4), fpu=Registers(one=8),
        a_vector=4, b_vector=4, b_along="k",
        step={kr: Cycles(kr // 2 + 14, 6, kr, 6) for kr in _QUADS}, ends=Cycles(0, 8, 0, 30),
    ),
    Family(
        "s8-b", "s8", "B", range(1, 2), _QUADS, range(1, 4),
        core=Registers(kn=0.5, n=1, one=4), fpu=Registers(one=8),
        a_vector=4, b_vector=4, b_along="k",
        step={kr: Cycles(kr // 2 + 14, kr, 6, 6) for kr in _QUADS}, ends=Cycles(0, 0, 8, 30),
    ),
)  # fmt: skip

BY_NAME = {family.name: family for family in FAMILIES}


def families(dtype: Dtype) -> tuple[Family, ...]:
    """The families that compute ``dtype``."""
    return tuple(family for family in FAMILIES if family.dtype == dtype)


@lru_cache(maxsize=256)
def tiles(family: Family | str, core_registers: int, fpu_registers: int) -> tuple[RegisterTile, ...]:
    """Every register tile of the family that needs no more registers than there are, so it never spills."""
    entry = BY_NAME[family] if isinstance(family, str) else family
    every = (RegisterTile(mr, kr, nr) for mr in entry.mr for kr in entry.kr for nr in entry.nr)
    return tuple(
        tile
        for tile in every
        if entry.core.at(tile) <= core_registers and entry.fpu.at(tile) <= fpu_registers
    )
