"""What the code of a GEMM waits for where it lies: a price for each kernel, from the very text that is emitted.

A kernel is priced on the whole problem as one block: its calls are executed by :mod:`memaopt.models.waits`, and what
they wait is shared by the register tiles. So a schedule's price stays linear in its number of tiles, for every model.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean

from memaopt.kernels.around import UNALIGNED
from memaopt.kernels.assembly_code import parse
from memaopt.kernels.code import Call, Loop, Node, Small, compiled
from memaopt.kernels.executed import words
from memaopt.kernels.gemm.families import CYCLE, GemmFamily, RegisterTile
from memaopt.kernels.gemm.kernel import RegisterKernel, Stretch, Strides, rounds, segments, text
from memaopt.models.fetching import FlashTiming
from memaopt.models.waits import waiting
from memaopt.problems.gemm import ACCUMULATOR_BYTES, OPERANDS, Gemm

#: Bytes and cycles of the C around each call of a kernel, by GCC 12.2 at -O3.
_AROUND = (64, 20)


def waits_of_a_tile(problem: Gemm, family: GemmFamily, tile: RegisterTile, machine: FlashTiming) -> int:
    """What a register tile waits for its code in flash, the mean of all in the whole problem, in 1/CYCLE of a cycle."""
    m, k, n = problem.m, problem.k, problem.n
    passes = 1 if family.stationary == "C" else -(-k // tile.kr)
    tiles = -(-m // tile.mr) * -(-n // tile.nr) * passes
    return round(CYCLE * waiting(tree(problem, family, tile), machine) / tiles)


def tree(problem: Gemm, family: GemmFamily, tile: RegisterTile) -> tuple[Node, ...]:
    """The code of the whole problem in one block."""
    m, k, n = problem.m, problem.k, problem.n
    parts = segments(family, tile.kr, k, True, True)

    def called(mr: int, nr: int, count: int) -> tuple[Node, ...]:
        """The reduction of one row of tiles (of columns, if B is stationary)."""
        made: list[Node] = []
        for part in parts:
            body = (compiled(*_AROUND), _call(problem, family, tile, mr, nr, part, count))
            made.extend(body if part.count == 1 else (Loop(body, part.count),))
        return tuple(made)

    def rows(mr: int) -> tuple[Node, ...]:
        if family.stationary == "A":
            return called(mr, 1, n)
        full = called(mr, tile.nr, n // tile.nr) if n >= tile.nr else ()
        rest = called(mr, n % tile.nr, 1) if n % tile.nr else ()
        return (*full, *rest)

    if family.stationary == "B":
        whole = Loop(called(1, tile.nr, m), n // tile.nr)
        return (whole, *(called(1, n % tile.nr, m) if n % tile.nr else ()))
    return (Loop(rows(tile.mr), m // tile.mr), *(rows(m % tile.mr) if m % tile.mr else ()))


def _call(problem: Gemm, family: GemmFamily, tile: RegisterTile, mr: int, nr: int, part: Stretch, count: int) -> Call:
    """A call of a kernel that goes over ``count`` tiles."""
    kernel, kr = RegisterKernel(mr, part.steps, nr, part.first, part.last), tile.kr
    nodes = _parsed(text(problem, family, tile, kernel, _strides(problem, family, kr)), _slow(problem, family, tile))
    turns = rounds(family, kr, kernel)
    body = tuple(_counted(node, count, turns) for node in nodes)
    return Call(Small(f"{family.name} {kr} {kernel.name}", 4 * words(nodes), body))


def _counted(node: Node, count: int, turns: int) -> Node:
    """The outer loop goes over the tiles, a loop within over the reduction."""
    if not isinstance(node, Loop):
        return node
    return Loop(tuple(Loop(inner.body, turns) if isinstance(inner, Loop) else inner for inner in node.body), count)


@lru_cache(maxsize=1024)
def _parsed(text: str, slow: float) -> tuple[Node, ...]:
    return parse(text, wide=False, slow=slow)


def _slow(problem: Gemm, family: GemmFamily, tile: RegisterTile) -> float:
    """Cycles that a word of A or B takes more than an aligned one, the mean of a tile's: see ``unaligned_shares``."""
    if family.stationary != "C" or problem.width == ACCUMULATOR_BYTES:
        return 0.0
    a, b = (fmean(UNALIGNED[i * problem.row(x) * problem.width % 4] for i in range(4)) for x in OPERANDS[:2])
    of_a, of_b = tile.mr / family.a_vector, tile.nr / family.b_vector
    return (of_a * a + of_b * b) / (of_a + of_b)


def _strides(problem: Gemm, family: GemmFamily, kr: int) -> Strides:
    """Of operands that are not cut into blocks."""
    width = problem.width
    along_b, along_c = problem.row("B"), problem.row("C")
    out, acc = (along_c * width, width), (along_c * ACCUMULATOR_BYTES, ACCUMULATOR_BYTES)
    if problem.element.channels_minor:
        out, acc = out[::-1], acc[::-1]
    return Strides(problem.k * width, along_b * width, *out, *acc)
