"""Sweeps that run nothing on the board: search-based tilers, and traffic against the size of the SRAM."""

from collections.abc import Iterator, MutableMapping

from baselines.search import TILERS, search
from memaopt.bench.results import Searched, TrafficCurve, TrafficPoint
from memaopt.certificates.gemm import certify
from memaopt.errors import InfeasibleError
from memaopt.kernels.schedule import space
from memaopt.machines.mcu import Mcu
from memaopt.models import closed_form
from memaopt.models.bounds import gap
from memaopt.problems.gemm import Dtype, Gemm, Placement, gemm

#: Evaluations that a seeded tiler is given; the grid takes as many as it has points.
BUDGET = 1000
SEEDS = 3
SEARCH_SRAM = 32 << 10
TRAFFIC_PROBLEM = (256, 256, 256)
TRAFFIC_SIZES = tuple((4 << 10) << i for i in range(9))


def external_memory(machine: Mcu) -> str | None:
    """The external memory that can hold all operands, C as well; None if there is none that can be written."""
    return next((memory.name for memory in machine.memories if memory.kind == "external" and memory.writable), None)


def outside(machine: Mcu, sizes: tuple[int, int, int], dtype: Dtype) -> Gemm | None:
    """The problem with all operands in external memory; None if the machine has none that can be written."""
    home = external_memory(machine)
    return None if home is None else gemm(*sizes, dtype=dtype, placement=Placement(a=home, b=home, c=home))


def searched(problem: Gemm, machine: Mcu, times: MutableMapping[str, float]) -> Iterator[Searched]:
    """Every tiler with every seed on ``problem``, least external bytes first, against the optimum.

    The seconds that each takes on this host are added to ``times``.
    """
    where = space(problem, machine, "bytes")
    answer = closed_form.solve(where)
    optimum = answer.objective
    times["closed form"] += 1e-3 * answer.milliseconds
    for tiler in TILERS:
        seeded = tiler != "grid"
        for seed in range(SEEDS if seeded else 1):
            found = search(tiler, where, BUDGET if seeded else 1 << 30, seed)
            times[tiler] += found.seconds
            if found.cost is None:
                raise InfeasibleError(f"{tiler} met no schedule of gemm {problem.name} that fits {machine.name}")
            yield Searched(
                problem=problem.name,
                tiler=tiler,
                seed=seed,
                evaluations=found.evaluations,
                best_at=found.best_at,
                gap=gap(found.cost[0], optimum[0]),
                optimal=found.cost == optimum,
            )


def traffic_point(problem: Gemm, machine: Mcu, sram: int) -> TrafficPoint | None:
    """External bytes with ``sram`` bytes of SRAM; None if no schedule fits."""
    smaller = machine.with_sizes(sram=sram)
    try:
        certificate = certify(problem, smaller, "bytes")
    except InfeasibleError:
        return None
    found = search("grid", space(problem, smaller, "bytes"), 1 << 30)
    bounds = certificate.bounds
    return TrafficPoint(
        sram=sram,
        certified=certificate.traffic.external_bytes,
        grid=found.cost[0] if found.cost else None,
        compulsory=bounds.external_compulsory,
        io_bound=bounds.external_io,
    )


def traffic_curve(machine: Mcu, dtype: Dtype) -> TrafficCurve | None:
    """Traffic of one product over sizes of SRAM up to the machine's; None without external memory."""
    problem = outside(machine, TRAFFIC_PROBLEM, dtype)
    if problem is None:
        return None
    sizes = [size for size in TRAFFIC_SIZES if size <= machine.sram.size]
    points = [point for size in sizes if (point := traffic_point(problem, machine, size)) is not None]
    return TrafficCurve(problem=problem.name, dtype=dtype, memory=problem.placement.a, points=tuple(points))
