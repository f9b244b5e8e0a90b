"""Register kernels of a GEMM as text: which of them a block calls, and the assembly of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from memaopt.access import Access
from memaopt.kernels import stack
from memaopt.kernels.gemm.families import GemmFamily, RegisterTile, far, pairs_reached
from memaopt.kernels.gemm.stack_words import wide
from memaopt.kernels.text.templates import render
from memaopt.problems.gemm import Gemm


@dataclass(frozen=True)
class Strides:
    """Distances in bytes: between rows of A and of B as stored, and between rows and columns of C's two homes."""

    lda: int
    ldb: int
    out_row: int
    out_col: int
    acc_row: int
    acc_col: int


@dataclass(frozen=True)
class RegisterKernel:
    """One register kernel: its tile (``steps`` of the reduction), and whether it starts or ends the reduction."""

    mr: int
    steps: int
    nr: int
    first: bool
    last: bool

    @property
    def name(self) -> str:
        """The function's name in C."""
        phase = {(True, True): "", (True, False): "_first", (False, False): "_middle", (False, True): "_last"}
        return f"kernel_{self.mr}x{self.steps}x{self.nr}{phase[self.first, self.last]}"


@dataclass(frozen=True)
class Stretch:
    """A run of ``count`` reduction tiles of ``steps`` each, all with the same phase, from ``start`` on."""

    start: int
    steps: int
    count: int
    first: bool
    last: bool


def segments(family: GemmFamily, kr: int, kc: int, first: bool, last: bool) -> tuple[Stretch, ...]:
    """The reduction of one block of length ``kc``: whole in one kernel if C is stationary, else in runs of KR."""
    if family.stationary == "C":
        return (Stretch(0, kc, 1, first, last),)
    starts = list(range(0, kc, kr))
    tiles = [(stop - start, first and start == 0, last and stop == kc) for start, stop in pairwise([*starts, kc])]
    found: list[Stretch] = []
    for start, key in zip(starts, tiles, strict=True):
        if found and (found[-1].steps, found[-1].first, found[-1].last) == key:
            same = found.pop()
            found.append(Stretch(same.start, same.steps, same.count + 1, same.first, same.last))
        else:
            found.append(Stretch(start, key[0], 1, key[1], key[2]))
    return tuple(found)


def rounds(family: GemmFamily, kr: int, kernel: RegisterKernel) -> int:
    """Rounds of the loop over the reduction; where they are not more than one there is no loop."""
    if family.stationary != "C":
        return 1
    steps = kernel.steps // kr
    return (steps - (kernel.first and family.first_apart)) // family.unrolling.steps(steps)


def text(
    problem: Gemm,
    family: GemmFamily,
    tile: RegisterTile,
    kernel: RegisterKernel,
    strides: Strides,
    fpu: bool = True,
) -> str:
    """The assembly of one kernel of a ``tile``, a line each instruction; without ``fpu``, the stack is in its place."""
    whole = tile if family.by_tile else None
    return _text(problem.output_zero_point, problem.clamp, family, tile.kr, whole, kernel, strides, fpu)


@lru_cache(maxsize=256)
def _text(
    zero_point: int,
    clamp: tuple[int, int],
    family: GemmFamily,
    kr: int,
    whole: RegisterTile | None,
    kernel: RegisterKernel,
    strides: Strides,
    fpu: bool,
) -> str:
    """The same, by what it depends on: what it waits for and what it does to the stack are read from one rendering."""
    unroll, nr, ldb = family.unrolling.steps(kernel.steps // kr), kernel.nr, strides.ldb
    values: dict[str, Any] = {
        "mr": kernel.mr,
        "nr": kernel.nr,
        "kc": kernel.steps,
        "kr": kr if family.stationary == "C" else kernel.steps,
        "whole_mr": whole.mr if whole else 0,
        "wide": whole is not None and wide(*whole),
        "first": kernel.first,
        "last": kernel.last,
        "zero_point": zero_point,
        "clamp": clamp,
        "fpu": fpu,
        "unroll": unroll,
        "far_a": far(kernel.mr, strides.lda, 4 * unroll),
        "far_b": far(2, ldb, 2 * nr) if family.b_along == "n" else far(nr, ldb, 4 * unroll),
        "far_column": far(kernel.steps, ldb),
        "reach": pairs_reached(ldb, nr, unroll),
        **vars(strides),
    }
    return render(family.template, **values)


def stack_by_depth(
    problem: Gemm, family: GemmFamily, tile: RegisterTile, kernel: RegisterKernel, strides: Strides, fpu: bool
) -> tuple[Access, ...]:
    """What a call of a kernel does to the stack: once, for each tile that it goes over, in each round of the loop over
    the reduction.
    """
    return stack.by_depth(text(problem, family, tile, kernel, strides, fpu))


def copy_text(name: str, width: int) -> str:
    """The assembly of ``copy_rows`` or ``narrow_rows``, which move the tiles of operands of that width."""
    return render(f"kernels/gemm/{name}.s.j2", width=width)


@lru_cache
def stack_of_copy(name: str, width: int) -> Access:
    """What a call of a copy does to the stack, which its loops do not touch."""
    return stack.of_call(stack.by_depth(copy_text(name, width)))
