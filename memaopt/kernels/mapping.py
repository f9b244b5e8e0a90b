"""TiledLoops with levels, as mappers write schedules, and the tiling of a product that they make.

A mapping says for each memory level which loops run over its tiles: those of ``external`` move blocks into SRAM, those
of ``sram`` move register tiles, those of ``registers`` are the register tile. Timeloop's and ZigZag's files are read
into the same (:mod:`memaopt.kernels.mapping_files`).
"""

from __future__ import annotations

import re
from math import prod
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from memaopt.errors import InputError
from memaopt.inputs import Input
from memaopt.kernels.tiling import Tiling
from memaopt.problems.gemm import DIMS, REVISITED_BY, Dim, Gemm, Operand
from memaopt.problems.words import Buffering

_LOOP = re.compile(r"\s*([mknMKN])\s*[ =:]\s*(\d{1,10})\s*")


class TiledLoop(NamedTuple):
    """A loop: what it runs along, how often it trips."""

    dim: Dim
    trips: int


def _loop(given: Any) -> Any:
    """``n 4`` as a loop."""
    if isinstance(given, TiledLoop):
        return given
    match = _LOOP.fullmatch(given) if isinstance(given, str) else None
    if match is None or not int(match[2]):
        raise ValueError(f"{str(given)[:40]!r} is no loop: write what it runs along and its trips, as in 'n 4'")
    return TiledLoop(next(d for d in DIMS if d == match[1].lower()), int(match[2]))


TiledLoops = Annotated[tuple[Annotated[TiledLoop, BeforeValidator(_loop)], ...], Field(max_length=32)]


Outside = Annotated[int, Field(strict=True, ge=0, le=32)]


class Mapping(Input):
    """The loops of each level, outermost first, each written as ``n 4``. ``streamed`` operands bypass SRAM.

    ``outside`` are how many of the external loops lie outside the tile of A, of B and of C, which is kept while the
    others run; None: all of them.
    """

    external: TiledLoops = ()
    sram: TiledLoops = ()
    registers: TiledLoops = ()
    streamed: tuple[Operand, ...] = ()
    buffering: Buffering = "single"
    outside: tuple[Outside, Outside, Outside] | None = None

    def tiling(self, problem: Gemm, where: str = "mapping") -> Tiling:
        """The tiling that these loops from ``where`` make of ``problem``; InputError if they do not cover it, or are no
        such nest.

        A block may reach beyond the problem, as where a mapper pads. The innermost loop over register tiles says which
        operand stays in registers: the one that it does not index.
        """
        outer = _merged(self.external)
        dims = [loop.dim for loop in outer]
        if len({*dims}) != len(dims):
            raise InputError(
                f"{where}: the loops outside SRAM are {_told(outer)}: a nest of memaopt has one for each of m, k and n"
            )
        tile = {d: _along(self.registers, d) for d in DIMS}
        block = {d: tile[d] * _along(self.sram, d) for d in DIMS}
        for d in DIMS:
            _cover(problem, d, _along(outer, d), block[d], where)
        inner = _merged(self.sram)
        stays = next((x for x, d in REVISITED_BY.items() if inner and d == inner[-1].dim), None)
        # A register tile that is one step of k deep says nothing of vectors along k.
        fixed = {f"{d}r": tile[d] for d in DIMS if d != "k" or tile[d] > 1} if self.registers else {}
        order = (*dims, *(d for d in DIMS if d not in dims))
        blocks = {f"{d}c": min(block[d], problem.sizes[d]) for d in DIMS}
        data: dict[str, Any] = {"order": order, **blocks, **fixed, "stationary": stays}
        if self.outside is not None:
            data["hold"] = tuple(self._hold(count, outer, where) for count in self.outside)
        return Tiling.checked({**data, "streamed": self.streamed, "buffering": self.buffering}, where)

    def _hold(self, count: int, outer: tuple[TiledLoop, ...], where: str) -> int:
        """The hold level of an operand whose tile lies within so many of the external loops."""
        before = _merged(self.external[:count])
        if before == outer:
            return len(DIMS)
        if before != outer[: len(before)]:
            raise InputError(
                f"{where}: a tile is held within loops along {before[-1].dim} that are one: {_told(outer)}"
            )
        return len(before)


def _merged(loops: tuple[TiledLoop, ...]) -> tuple[TiledLoop, ...]:
    """The loops that trip more than once, neighbours along the same dimension as one."""
    found: list[TiledLoop] = []
    for loop in loops:
        if loop.trips == 1:
            continue
        if found and found[-1].dim == loop.dim:
            loop = TiledLoop(loop.dim, found.pop().trips * loop.trips)
        found.append(loop)
    return tuple(found)


def _along(loops: tuple[TiledLoop, ...], dim: Dim) -> int:
    return prod(loop.trips for loop in loops if loop.dim == dim)


def _cover(problem: Gemm, d: Dim, trips: int, block: int, where: str) -> None:
    """Raise InputError unless so many blocks cover the problem along ``d``, and no fewer do."""
    size = problem.sizes[d]
    if -(-size // block) != trips:
        raise InputError(
            f"{where}: {trips} blocks of {block} along {d} make {trips * block}, and {d.upper()} of gemm "
            f"{problem.name} is {size}"
        )


def _told(loops: tuple[TiledLoop, ...]) -> str:
    return " > ".join(f"{loop.dim} {loop.trips}" for loop in loops)
