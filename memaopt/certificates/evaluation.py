"""A schedule of the user's, judged: whether it is feasible, what it moves, how far it is from the optimum.

The schedule is priced by the cost function that prices all others, replayed where that takes no longer than seconds,
and held against the certified optimum of its problem: one that beats it would contradict the certificate.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from memaopt.access import Access
from memaopt.certificates.distance import Distance
from memaopt.certificates.gemm import Certificate, Traffic, certify, traffic_of
from memaopt.errors import DisagreementError, InputError, MissingToolError
from memaopt.files import CERTIFICATE_BYTES, parse_json, parse_toml, read_text
from memaopt.inputs import Input
from memaopt.kernels import mapping_files
from memaopt.kernels.mapping import Mapping
from memaopt.kernels.schedule import AnySchedule, LayerSchedule, Schedule, Space, space, variants
from memaopt.kernels.tiling import Tiling
from memaopt.machines.mcu import Mcu
from memaopt.models.bounds import LowerBounds, lower_bounds
from memaopt.models.layer_kernels import predicted_cycles, price_of, why_infeasible
from memaopt.models.replay import simulate
from memaopt.overview import Overview
from memaopt.problems.gemm import Gemm
from memaopt.problems.words import Objective

#: Blocks beyond which a schedule is not replayed: each takes some microseconds.
MOST_BLOCKS = 100_000
#: Values and characters of a YAML file that its aliases may repeat.
_MOST_EXPANDED = 200_000


class Evaluation(Input, Overview):
    """What a schedule is worth. ``reason`` says why one is not ``feasible``; then there is no traffic of it.

    ``memories`` are the accesses to each memory, ``(caller)`` being wherever the caller keeps the channels' parameters.
    ``cost`` is the objective's value, ``optimum`` the certificate of the best; ``distances`` are by figure.
    ``replayed``: whether a replay has counted what the formula promises.
    """

    problem: Gemm
    machine: Mcu
    objective: Objective
    schedule: AnySchedule | Tiling
    feasible: bool
    reason: str = ""
    replayed: bool = False
    cost: tuple[int, ...] | None = None
    traffic: Traffic | None = None
    memories: dict[str, Access]
    bounds: LowerBounds
    distances: dict[str, Distance]
    optimum: Certificate

    @property
    def optimal(self) -> bool:
        """Whether no schedule costs less."""
        return self.cost == self.optimum.answers[0].objective

    def headline(self) -> str:
        verdict = "infeasible" if not self.feasible else "optimal" if self.optimal else "not optimal"
        return f"{verdict}: {self.schedule} for gemm {self.problem.name} {self.problem.dtype} on {self.machine.name}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        best = self.optimum
        proof = f"{best.proof}, no other model was asked" if best.proof != "full" else best.proof
        found = [("objective", self.machine.core.goal(self.objective))]
        if self.traffic is None:
            found += [("reason", self.reason)]
        else:
            figures = _figures(self.traffic, self.objective, self.cost or ())
            found += [
                (name, f"{figures[name]:,}{distance.told()}")
                for name, distance in self.distances.items()
                if name in figures
            ]
            found += [
                (f"in {name}", f"{moved.loads:,} loads, {moved.stores:,} stores, {moved.bytes:,} bytes")
                for name, moved in self.memories.items()
            ]
            found += [("replayed", "as promised" if self.replayed else "no: it has too many blocks, or none")]
        return (*found, ("optimum", f"{best.schedule} (proof: {proof})"), ("certificate", best.sha256[:16]))


class _Priced(NamedTuple):
    """A schedule with the space that it is of, and why it is not feasible (None: it is)."""

    where: Space
    schedule: AnySchedule
    why: str | None


def evaluate(
    problem: Gemm,
    machine: Mcu,
    schedule: AnySchedule | Tiling | Mapping | Table[str, Any] | str | Path,
    objective: str = "bytes",
    proof: str = "full",
) -> Evaluation:
    """What ``schedule`` is worth for ``problem`` on ``machine``, beside the optimum of the same buffering.

    ``schedule``: a Schedule, a LayerSchedule, a Tiling or a Mapping, its data, or the path of a file (:func:`read`).
    What it leaves open the cheapest kernel fills. ``proof`` is the optimum's. Raises InputError for a schedule that
    cannot be read, InfeasibleError if nothing fits, DisagreementError if the schedule beats the optimum or a replay
    counts other accesses.
    """
    given, source = schedule, "mapping"
    if isinstance(given, str | Path):
        source = str(given)
        given = read(given)
    elif isinstance(given, Table):
        given = parsed(dict(given), "schedule")
    if isinstance(given, Mapping):
        given = given.tiling(problem, source)
    buffering = "single" if isinstance(given, LayerSchedule) else given.buffering
    whole = space(problem, machine, objective, buffering)
    best = certify(problem, machine, objective, buffering, proof)
    found = _completed(whole, given) if isinstance(given, Tiling) else _priced(whole, given)
    if found is None or found.why is not None:
        reason = (found and found.why) or f"no kernel fits the registers and is as asked: {given}"
        shown = given if found is None else found.schedule
        return _made(whole, shown, best, reason=reason)
    where, chosen = found.where, found.schedule
    traffic, cost = traffic_of(where, chosen), price_of(where, chosen)
    if cost < best.answers[0].objective:
        raise DisagreementError(f"gemm {problem.name}: {chosen} costs {cost}, less than the optimum {best.schedule}")
    replayed = isinstance(chosen, Schedule) and _blocks(where.problem, chosen) <= MOST_BLOCKS
    if replayed and isinstance(chosen, Schedule) and simulate(where, chosen).accesses != traffic.buffers:
        raise DisagreementError(f"gemm {problem.name}: replaying {chosen} makes other accesses than promised")
    return _made(where, chosen, best, cost=cost, traffic=traffic, replayed=replayed)


def read(path: str | Path) -> AnySchedule | Tiling | Mapping:
    """The schedule in a .json, .toml or .yaml file; InputError says what is wrong with it."""
    return parsed(data_of(path), str(path))


def data_of(path: str | Path) -> Any:
    """What a .json, .toml or .yaml file holds; InputError says what is wrong with it."""
    text, suffix = read_text(path, CERTIFICATE_BYTES), Path(path).suffix.lower()
    if suffix == ".toml":
        return parse_toml(text, str(path))
    if suffix in (".yaml", ".yml"):
        return _yaml(text, str(path))
    return parse_json(text, str(path))


def parsed(data: Any, where: str) -> AnySchedule | Tiling | Mapping:
    """The schedule in data from ``where``: a certificate's, a schedule, a tiling, a mapping, Timeloop's or ZigZag's."""
    if not isinstance(data, dict):
        raise InputError(f"{where}: a schedule is an object with fields such as order, mc, kc and nc")
    if isinstance(data.get("schedule"), dict):  # a certificate's, or what solve --json prints
        data = data["schedule"]
    if {"format", "layers"} <= data.keys():
        raise InputError(f"{where}: the certificate of a network; a schedule or certificate of a gemm is expected")
    if mapping_files.is_timeloop(data):
        return mapping_files.timeloop(data, where)
    if mapping_files.is_zigzag(data):
        return mapping_files.zigzag(data, where)
    if "layer" in data:
        return LayerSchedule.checked(data, where)
    if {"order", "kernel", "mr", "kr", "nr"} <= data.keys():
        return Schedule.checked(data, where)
    if "order" in data or "mc" in data:
        return Tiling.checked(data, where)
    if not data:
        raise InputError(f"{where}: says nothing: give fields such as order, mc, kc and nc, or loops of each level")
    return Mapping.checked(data, where)


def _yaml(text: str, where: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingToolError("YAML files need PyYAML: pip install pyyaml, or write the mapping as JSON") from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _refuse_expanding(node, _MOST_EXPANDED + len(text), where)
        return None if node is None else loader.construct_document(node)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{where}: not valid YAML: nested too deeply") from None
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except Exception as error:  # whatever a constructor does with a value that is none of its kind
        raise InputError(f"{where}: not valid YAML: a value is none of its form or tag: {error}"[:300]) from None


def _refuse_expanding(node: Any, most: int, where: str) -> None:
    """InputError if the values that YAML's aliases repeat have more than so many nodes and characters."""
    todo, found = [node], 1
    while todo:
        value = getattr(todo.pop(), "value", None)
        inside = (
            [each for entry in value for each in (entry if isinstance(entry, tuple) else (entry,))]
            if isinstance(value, list)
            else []
        )
        found += len(inside) or len(value or "")
        if found > most:
            raise InputError(f"{where}: its aliases repeat too much: write out what is meant")
        todo += inside


def _completed(whole: Space, tiling: Tiling) -> _Priced | None:
    """The cheapest completion that fits, the fastest of equals; one that does not where none does, None without any."""
    found = [_priced(whole, schedule) for schedule in tiling.completions(whole.variant(tiling.streamed, tiling.code))]
    fitting = [each for each in found if each.why is None]
    if not fitting:
        return next(iter(found), None)
    costs = [price_of(each.where, each.schedule) for each in fitting]
    equal = [each for each, cost in zip(fitting, costs, strict=True) if cost == min(costs)]
    return min(equal, key=lambda each: predicted_cycles(each.where, each.schedule))


def _priced(whole: Space, schedule: AnySchedule) -> _Priced:
    """A schedule in the variant of the space that it is of."""
    streamed = () if isinstance(schedule, LayerSchedule) else schedule.streamed
    where = whole.variant(streamed, schedule.code, isinstance(schedule, LayerSchedule))
    if where not in variants(whole):
        place = "streams an operand" if streamed else "is a kernel of the networks" if where.layers else "runs from RAM"
        return _Priced(where, schedule, f"it {place}, which is not among the choices of objective {whole.objective}")
    try:
        return _Priced(where, schedule, why_infeasible(where, schedule))
    except InputError as error:
        return _Priced(where, schedule, str(error))


def _made(
    where: Space,
    schedule: AnySchedule | Tiling,
    best: Certificate,
    *,
    reason: str = "",
    cost: tuple[int, ...] | None = None,
    traffic: Traffic | None = None,
    replayed: bool = False,
) -> Evaluation:
    bounds = lower_bounds(where)
    return Evaluation(
        problem=where.problem,
        machine=where.machine,
        objective=where.objective,
        schedule=schedule,
        feasible=traffic is not None,
        reason=reason,
        replayed=replayed,
        cost=cost,
        traffic=traffic,
        memories={} if traffic is None else _memories(where, traffic),
        bounds=bounds,
        distances={} if traffic is None or cost is None else _distances(traffic, cost, best, bounds),
        optimum=best,
    )


def _figures(traffic: Traffic, objective: Objective, cost: tuple[int, ...]) -> dict[str, int]:
    """The figures that distances are of."""
    found = {"external bytes": traffic.external_bytes, "register bytes": traffic.register_bytes}
    if traffic.cycles is not None:
        found["cycles"] = traffic.cycles
    return found | ({objective: cost[0]} if objective == "energy" else {})


def _distances(traffic: Traffic, cost: tuple[int, ...], best: Certificate, bounds: LowerBounds) -> dict[str, Distance]:
    at_best = _figures(best.traffic, best.objective, best.answers[0].objective)
    least = {"external bytes": bounds.external_bytes, "register bytes": bounds.register_bytes}
    return {
        name: Distance.of(figure, at_best[name], least.get(name))
        for name, figure in _figures(traffic, best.objective, cost).items()
    }


def _memories(where: Space, traffic: Traffic) -> dict[str, Access]:
    """The accesses to each memory."""
    problem, sram = where.problem, where.machine.sram.name
    place = problem.placement
    homes = {"A": place.a, "weights": place.a, "B": place.b, "C": place.c, "C_partial": place.c}
    homes["channels"] = place.a if problem.weights is not None else "(caller)"
    found: dict[str, Access] = {}
    for buffer, moved in traffic.buffers.items():
        home = homes.get(buffer, sram)
        found[home] = found.get(home, Access()) + moved
    return dict(sorted(found.items()))


def _blocks(problem: Gemm, schedule: Schedule) -> int:
    """Trips of the whole nest."""
    return prod(-(-problem.sizes[d] // block) for d, block in schedule.block.items())
