"""Where the cycles went: by function, by basic block, and the hottest loops instruction by instruction."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from memaopt.board import layout
from memaopt.board.elf import Program


class FunctionProfile(BaseModel, frozen=True):
    """A function's own cycles (those of the functions it calls are theirs), most first."""

    name: str
    instructions: int
    cycles: int
    ideal_cycles: int


class BlockProfile(BaseModel, frozen=True):
    """A basic block, from ``start`` up to ``end``: straight-line code that ran ``executions`` times."""

    function: str
    start: int
    end: int
    executions: int
    instructions: int
    cycles: int
    ideal_cycles: int


class Line(BaseModel, frozen=True):
    """An instruction, how often it ran, and what one run of it cost on average (its waits included)."""

    address: int
    text: str
    executions: int
    cycles: float
    ideal_cycles: float


class LoopProfile(BaseModel, frozen=True):
    """An innermost loop: the code between a branch that was taken backwards and its target."""

    function: str
    start: int
    end: int
    executions: int
    cycles: int
    ideal_cycles: int
    lines: tuple[Line, ...]


class Profile(BaseModel, frozen=True):
    """A run's profile; each tuple has the costliest first."""

    functions: tuple[FunctionProfile, ...]
    blocks: tuple[BlockProfile, ...]
    loops: tuple[LoopProfile, ...]


def profile(
    image: Program,
    addresses: NDArray[np.int64],
    rows: NDArray[Any],
    disassemble: Callable[[int], str],
    loops: int = 5,
) -> Profile:
    """The profile of the rows decoded at ``addresses``, with the ``loops`` hottest innermost loops."""
    order = np.argsort(addresses, kind="stable")
    addresses, rows = addresses[order], rows[order]
    functions: dict[str, list[int]] = {}
    for address, row in zip(addresses, rows, strict=True):
        total = functions.setdefault(image.function_at(int(address)), [0, 0, 0])
        total[0] += int(row["executed"])
        total[1] += int(row["cycles"][layout.REAL])
        total[2] += int(row["cycles"][layout.IDEAL])
    by_function = [
        FunctionProfile(name=name, instructions=n, cycles=c, ideal_cycles=i)
        for name, (n, c, i) in functions.items()
        if n or c
    ]
    blocks = _blocks(image, addresses, rows)
    return Profile(
        functions=tuple(sorted(by_function, key=lambda f: (-f.cycles, f.name))),
        blocks=tuple(sorted(blocks, key=lambda b: (-b.cycles, b.start))),
        loops=tuple(_loops(image, addresses, rows, disassemble)[:loops]),
    )


def _targets(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows whose ``offset`` is the target of a direct branch."""
    branch = rows["flags"] & layout.BRANCH != 0
    accesses = rows["flags"] & layout.ACCESSES != 0
    mask: NDArray[np.bool_] = branch & ~accesses & (rows["base"] == layout.LITERAL)
    return mask


def _blocks(image: Program, addresses: NDArray[np.int64], rows: NDArray[Any]) -> list[BlockProfile]:
    if not len(rows):
        return []
    ends = addresses + rows["size"]
    leader = np.zeros(len(rows), bool)
    leader[0] = True
    leader[1:] |= addresses[1:] != ends[:-1]
    leader[1:] |= rows["flags"][:-1] & layout.BRANCH != 0
    # An instruction that an IT block skips runs less often than its neighbours and is no block of its own:
    # only branches and their targets begin one. Indirect targets show by their count.
    leader |= np.isin(addresses, rows["offset"][_targets(rows) & (rows["executed"] > 0)])
    leader |= np.isin(addresses, [f.address for f in image.functions])
    starts = np.flatnonzero(leader)
    blocks = []
    for low, high in pairwise([*starts.tolist(), len(rows)]):
        part = rows[low:high]
        executions = int(part["executed"].max())
        if executions:
            blocks.append(
                BlockProfile(
                    function=image.function_at(int(addresses[low])),
                    start=int(addresses[low]),
                    end=int(ends[high - 1]),
                    executions=executions,
                    instructions=int(part["executed"].sum()),
                    cycles=int(part["cycles"][:, layout.REAL].sum()),
                    ideal_cycles=int(part["cycles"][:, layout.IDEAL].sum()),
                )
            )
    return blocks


def _loops(
    image: Program, addresses: NDArray[np.int64], rows: NDArray[Any], disassemble: Callable[[int], str]
) -> list[LoopProfile]:
    back = np.flatnonzero(_targets(rows) & (rows["executed"] > 0) & (rows["offset"] <= addresses))
    spans: dict[tuple[int, int], int] = {}
    for n in back.tolist():
        start, end = int(rows["offset"][n]), int(addresses[n])
        # A call to an earlier function goes backwards too, but leaves the function.
        if image.function_at(start) == image.function_at(end):
            spans[start, end] = int(rows["executed"][n])
    inner = [
        span
        for span in spans
        if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in spans)
    ]
    found = []
    for start, end in inner:
        chosen = np.flatnonzero((addresses >= start) & (addresses <= end))
        part = rows[chosen]
        found.append((int(part["cycles"][:, layout.REAL].sum()), start, chosen))
    found.sort(key=lambda item: (-item[0], item[1]))
    loops = []
    for cycles, start, chosen in found:
        part, last = rows[chosen], int(chosen[-1])
        loops.append(
            LoopProfile(
                function=image.function_at(start),
                start=start,
                end=int(addresses[last] + rows["size"][last]),
                executions=int(rows["executed"][last]),
                cycles=cycles,
                ideal_cycles=int(part["cycles"][:, layout.IDEAL].sum()),
                lines=tuple(_line(int(addresses[n]), rows[n], disassemble) for n in chosen.tolist()),
            )
        )
    return loops


def _line(address: int, row: Any, disassemble: Callable[[int], str]) -> Line:
    times = int(row["executed"])
    per = max(times, 1)
    return Line(
        address=address,
        text=disassemble(address),
        executions=times,
        cycles=round(float(row["cycles"][layout.REAL]) / per, 3),
        ideal_cycles=round(float(row["cycles"][layout.IDEAL]) / per, 3),
    )
