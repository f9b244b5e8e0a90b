"""What a schedule costs under an objective: the one price that every model makes least."""

from typing import NamedTuple

from memaopt.kernels.gemm.families import CYCLE, GemmFamily, RegisterTile
from memaopt.kernels.schedule import Schedule, Space
from memaopt.models.cycles import direct_cycles, staging_cycles, waited_time
from memaopt.models.traffic import Counts, external_bytes, external_bytes_of, register_bytes, schedule_counts
from memaopt.models.walks import BlockWalk, Ints, walk_of
from memaopt.problems.gemm import OPERANDS, Operand
from memaopt.problems.objectives import ObjectiveWeights, weights_of


class UnitPrices(NamedTuple):
    """Integer prices, in 1/CYCLE of a cycle or of a picojoule: of a unit of kernel cost, and of a byte that crosses,
    through a tile or straight to or from registers.
    """

    unit: int
    staged_byte: dict[Operand, int]
    direct_byte: dict[Operand, int]


def time_unit(space: Space) -> int:
    """The price of 1/CYCLE of a cycle: its weight, and that of the picojoules that a cycle takes."""
    weights = _weights(space)
    return weights.cycles + weights.energy * round(space.machine.power_mw * 1e9 / space.machine.clock_hz)


def byte_price(space: Space, operand: Operand) -> int:
    """What a byte of an operand costs beside its time, by the energy and the weight of the memory it lives in."""
    weights, home = _weights(space), space.machine.memory(space.problem.placement.of(operand))
    return weights.energy * round(home.energy_pj_per_byte) + weights.byte_of(home.name)


def _weights(space: Space) -> ObjectiveWeights:
    found = weights_of(space.objective)
    assert found is not None, "bytes are no sum"
    return found


def prices(space: Space) -> UnitPrices:
    """What the machine's figures make of the traffic under any objective but ``bytes``."""
    unit, staged, direct = time_unit(space), staging_cycles(space), direct_cycles(space)
    beside = {x: CYCLE * byte_price(space, x) for x in OPERANDS}
    return UnitPrices(
        unit,
        {x: unit * staged[x] + beside[x] for x in OPERANDS},
        {x: unit * direct[x] + beside[x] for x in OPERANDS},
    )


def _crossing(space: Space, rates: UnitPrices, path: BlockWalk, c: Counts) -> Ints:
    """What the external bytes cost at these prices."""
    total: Ints = 0
    for x in OPERANDS:
        rate = rates.staged_byte[x] + path.direct[x] * (rates.direct_byte[x] - rates.staged_byte[x])
        total = total + rate * external_bytes_of(space, x, path, c)
    return total


def staging_cost(space: Space, path: BlockWalk, c: Counts) -> Ints:
    """The objective's part that the blocks alone decide: external bytes, or what they cost."""
    return external_bytes(space, path, c) if space.objective == "bytes" else _crossing(space, prices(space), path, c)


def kernel_cost(space: Space, family: GemmFamily, tile: RegisterTile, c: Counts) -> Ints:
    """The objective's part that the kernel decides: register bytes, or what its cycles cost."""
    if space.objective == "bytes":
        return register_bytes(space, family, (tile,), c)
    return time_unit(space) * waited_time(space, family, tile, c)


def called_time(
    space: Space, family: GemmFamily, tile: RegisterTile, path: BlockWalk, c: Counts, waiting: bool = True
) -> Ints:
    """What one call takes: the kernels (:func:`waited_time`), and what crosses, in 1/CYCLE of a cycle."""
    rates = UnitPrices(1, staging_cycles(space), direct_cycles(space))
    return waited_time(space, family, tile, c, waiting) + _crossing(space, rates, path, c)


def predicted_cycles(space: Space, schedule: Schedule) -> int:
    """Cycles of one call, with what is staged and the machine's wait states in its setting, as predicted."""
    c = schedule_counts(space, schedule)
    return int(called_time(space, schedule.family, schedule.tile, walk_of(space, schedule), c)) // CYCLE


def combined(space: Space, staging: Ints, kernel: Ints) -> tuple[Ints, ...]:
    """The objective's value: staging first and then the kernel under ``bytes``, else their sum."""
    return (staging, kernel) if space.objective == "bytes" else (staging + kernel,)


def price(space: Space, family: GemmFamily, tile: RegisterTile, path: BlockWalk, c: Counts) -> tuple[Ints, ...]:
    """The objective's value, lexicographic: smaller is better, the most important part first.

    ``bytes``: external bytes, then register bytes, the kernels' stack among them. All others: one part, in 1/CYCLE of a
    cycle or picojoule or of what their weights make of them; the kernels' cycles and the staged bytes at the machine's
    figures.
    """
    return combined(space, staging_cost(space, path, c), kernel_cost(space, family, tile, c))


def price_of(space: Space, schedule: Schedule) -> tuple[int, ...]:
    """The objective's value for one schedule."""
    c = schedule_counts(space, schedule)
    return tuple(int(part) for part in price(space, schedule.family, schedule.tile, walk_of(space, schedule), c))
