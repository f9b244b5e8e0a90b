"""The plan of a network in the least arena that there is: the fastest of those, of all partitions into chains.

No partition has a step that takes less than the least arena of :meth:`~memaopt.choice.partition.Partitions.smallest`.
Where nothing packs into that, arenas grow by a hundredth until something does.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from memaopt.alignment import align
from memaopt.choice import rows
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.partition import Partitions
from memaopt.choice.problem import prepare
from memaopt.choice.spaces import simplifications
from memaopt.choice.stages import ALIGNMENT
from memaopt.choice.step_conflicts import room_of
from memaopt.errors import InfeasibleError, InputError
from memaopt.machines.mcu import Mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.spelling import either, option

#: Arenas that are tried before the budgets of flash or SRAM are to blame.
_MOST_TRIES = 40


def compile_smallest(
    network: Graph | Model | str | Path,
    mcu: Mcu,
    *,
    name: str | None = None,
    sram: int | None = None,
    flash: int | None = None,
    by_rows: bool = False,
) -> NetworkPlan:
    """Compile a network for the least arena, to a hundredth of its bytes, and the fewest cycles in that; the arena is
    one of its ``budgets``. ``by_rows``: its input comes by rows. Raises InputError for a machine with its DMA, which
    brings in what lies outside the chip, and what :func:`~memaopt.choice.compile.compile_network` does.
    """
    if mcu.dma is not None:
        goal, without = option("objective", "ram"), either("no --dma", "a machine without its DMA")
        raise InputError(f"{goal} finds the least arena of a network on the chip: {without}")
    given = Model.read(network) if isinstance(network, str | Path) else network
    graph = given.graph if isinstance(given, Model) else given
    graph = rows.by_rows(graph) if by_rows else graph
    chosen = partial(compile_network, given, mcu, name=name, sram=sram, flash=flash, by_rows=graph.by_rows)
    problems = [prepare(simple.graph, mcu, sram=sram, flash=flash) for _, simple in simplifications(graph)]
    found = [Partitions(problem, "cycles").smallest() for problem in problems]
    least = [each.value for each in found if each is not None]
    rooms = [room for problem in problems if (room := room_of(problem.limits)) is not None]
    if not least:
        return chosen()
    arena = max(min(least), ALIGNMENT)
    for _ in range(_MOST_TRIES):
        if arena > max(rooms, default=arena):
            break  # it does not fit the SRAM, in no way
        try:
            return chosen(arena=arena)
        except InfeasibleError:
            arena += align(max(arena // 100, ALIGNMENT), ALIGNMENT)
    return chosen()
