"""Networks in chains: exact on host and board, the best of all partitions, certified, and refused where told wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from chains_helpers import ZERO, check, every_partition, random_chain

import memaopt
from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.network import NetworkCertificate
from memaopt.certificates.network_evaluation import evaluate
from memaopt.choice import compile, pareto, paths
from memaopt.choice.choice import fits
from memaopt.choice.clashes import Demand, StepClash
from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.partition import Partitions
from memaopt.choice.paths import Potentials
from memaopt.choice.placement import NetworkPlacement
from memaopt.choice.problem import prepare
from memaopt.choice.quotes import Quotes
from memaopt.choice.solution import search
from memaopt.choice.step_conflicts import check as check_clash
from memaopt.choice.ways import packing
from memaopt.errors import FalseClaimError, InfeasibleError, InputError
from memaopt.machines.mcu import Mcu, mcu
from memaopt.networks.chains import chain_of, depth_first
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite.writer import write
from memaopt.networks.operators import Size2D
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.words import Objective
from memaopt.trials import network as network_trial

L4S5 = mcu("stm32l4s5")


@pytest.mark.parametrize("seed", range(3))
def test_random_chains_on_the_host(seed: int, tmp_path: Path) -> None:
    """Catches wrong bytes of rows, of padding or of sums."""
    check(seed, tmp_path)


@pytest.mark.board
@pytest.mark.parametrize("seed", [1])
def test_random_chains_on_the_board(seed: int) -> None:
    """Catches accesses that were not promised, and cycles that were not foreseen."""
    plan = compile_smallest(random_chain(seed), ZERO)
    assert plan.chains
    trial = network_trial.run(plan, 2)
    assert trial.passed
    assert trial.cycles is not None
    assert abs(trial.cycles - plan.machine_cycles) <= 0.05 * trial.cycles


@pytest.mark.parametrize(
    ("seed", "machine", "place", "objective"),
    [(0, ZERO, "", "cycles"), (7, ZERO, "", "cycles"), (6, L4S5, "qspi", "cycles"), (2, L4S5, "qspi", "bytes")],
)
def test_no_partition_is_better(seed: int, machine: Mcu, place: str, objective: Objective) -> None:
    """Catches a path that is not the shortest, a floor that is above what it bounds (of chains that keep constants,
    too), formats that do not agree, clashes of steps that do pack, or are not found, and a search below a price that
    ends too early."""
    graph = simplify.simplify(random_chain(seed)).graph
    prepared = partial(prepare, mcu=machine, place=NetworkPlacement(weights=place or "flash"))
    whole = prepared(graph)
    smallest = Partitions(whole, objective).smallest()
    assert smallest is not None
    for arena in (smallest.value, smallest.value * 5 // 4):
        problem = dataclasses.replace(whole, limits=dataclasses.replace(whole.limits, arena=arena))
        partitions = Partitions(problem, objective)
        _check_floors(partitions)
        found = partitions.cheapest(problem.limits)
        prices = []
        for chains in every_partition(graph):
            made = search(prepared(depth_first(graph, chains), arena=arena), objective)
            prices += [] if made.choice is None else [made.choice.price]
        assert found is not None
        assert Partitions(problem, objective).bound(problem.limits, found.potentials) == found.value
        packed = packing(partitions, problem.limits)
        assert packed is not None
        assert found.value <= packed.value == min(prices)
        none = Partitions(problem, objective).cheapest(problem.limits, below=found.value)
        assert none is not None
        assert not none.chains
        assert found.value <= Partitions(problem, objective).bound(problem.limits, none.potentials) == none.value
        assert Partitions(problem, objective).cheapest(problem.limits, below=found.value + 1) == found


@pytest.mark.parametrize(("seed", "sram"), [(6, 2368), (13, 2576)])
def test_where_sram_is_short_chains_are_looked_at(
    seed: int, sram: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a plan of six times the cycles that it takes depth first, since layers just fit by themselves, a
    certificate that does not say what was compared, and a search for chains where there is SRAM for the best."""
    (tmp_path / "model.tflite").write_bytes(write(random_chain(seed)))
    model = Model.read(tmp_path / "model.tflite")
    graph, prepared = simplify.simplify(model.graph).graph, partial(prepare, mcu=ZERO, sram=sram)
    made = {chains: search(prepared(depth_first(graph, chains)), "cycles") for chains in every_partition(graph)}
    plan = compile_network(model, ZERO, sram=sram, within=0.004)
    assert plan.choice.price == min(each.choice.price for each in made.values() if each.choice is not None)
    assert made[()].choice is not None
    assert bool(plan.chains) == (plan.choice.price < made[()].choice.price) == (seed != 13)
    cert = certificate.certify(plan, "model.tflite")
    said = "in this order, layer by layer or depth first" if plan.chains else "layer by layer in this order"
    assert f"kernels: compared {said}" in network_check.verify(cert, model).premises
    monkeypatch.setattr(compile, "ways", pytest.fail)
    assert not compile_network(model, ZERO).chains


@pytest.mark.parametrize(("seed", "name"), [(0, "stm32l4r5"), (6, "stm32f303")])
def test_no_chain_waits_less(seed: int, name: str) -> None:
    """Catches loads of constants that a floor counts more of than a chain waits for."""
    problem = prepare(simplify.simplify(random_chain(seed)).graph, mcu(name))
    _check_floors(Partitions(problem, "cycles"))


def _check_floors(partitions: Partitions) -> None:
    """Both floors of every chain are below what each of its candidates costs that fits."""
    problem, floors, objective = partitions.problem, partitions.floors, partitions.objective
    for ends, segment in partitions.segments.items():
        made = [c.price(objective) for c in partitions.candidates(*ends) if fits(c, problem.limits)]
        for floor in [floors.quick, floors.least][: 1 if objective == "bytes" else 2]:
            least = floor(problem.limits, segment)
            assert not made or (least is not None and least <= min(made))


def _model(folder: Path) -> Model:
    path = folder / "model.tflite"
    path.write_bytes(write(zoo.build("ds_cnn")))
    return Model.read(path)


def test_certified_in_an_arena_that_needs_chains(tmp_path: Path) -> None:
    """Catches a chain that the certificate does not tell, or tells otherwise, and a bound that was not derived."""
    model = _model(tmp_path)
    plan = compile_network(model, ZERO, arena=6500)
    assert plan.chains
    assert plan.arena_bytes <= 6500
    cert = certificate.certify(plan, "model.tflite")
    assert cert.row_bound_bytes is not None
    network_check.verify(cert, model)
    for change in (
        {"chains": ()},
        {"chains": ((0, 10**6),)},
        {"chains": ((1, 3), (2, 5))},
        {"row_bound_bytes": cert.row_bound_bytes - 1},
        {"choice": cert.choice.model_copy(update={"bound": cert.choice.bound - 1})},
        {"potentials": (*cert.potentials, paths.NO_POTENTIALS)},
        *({"potentials": (_changed(cert.potentials[0], number), *cert.potentials[1:])} for number in (0, 1, -1)),
        {"potentials": (cert.potentials[0]._replace(states=cert.potentials[0].states[:1]), *cert.potentials[1:])},
    ):
        with pytest.raises(FalseClaimError):
            network_check.verify(cert.model_copy(update=change).signed(), model)
    _check_judged(cert, model)


def _changed(potentials: Potentials, number: int) -> Potentials:
    """With one state said to be farther than it is."""
    changed = list(potentials.states)
    position, formats, begun, value = changed[number]
    changed[number] = position, formats, begun, value + 1
    return potentials._replace(states=tuple(changed))


def _check_judged(cert: NetworkCertificate, model: Model) -> None:
    """Catches chains that a judge does not see, and a certificate of another kind of run that is judged as a whole."""
    data = json.loads(cert.to_json())
    found = evaluate(model, ZERO, data, arena=6500)
    assert found.optimal
    assert (found.totals, found.layers) == (cert.totals, cert.layers)
    alone = evaluate(model, ZERO, {**data, "memory": None})
    assert alone.feasible
    assert not alone.optimal
    with pytest.raises(InputError, match="are no chain"):
        evaluate(model, ZERO, {**data, "chains": [[0, 10**6]]})
    with pytest.raises(InputError, match="whose input comes by rows: only plans of whole inputs"):
        evaluate(model, ZERO, {**data, "by_rows": True})


def test_what_makes_no_rows_is_no_chain() -> None:
    """Catches a chain with a reshape in it, which was no layer, cost nothing, and beat the optimum; and two that share
    operators, of which one became an operator of the other."""
    graph = simplify.simplify(zoo.build("cnn_1d")).graph
    assert [op.kind for op in graph.operators[2:4]] == ["MAX_POOL_2D", "RESHAPE"]
    assert len(depth_first(graph, ((0, 3),)).operators) == len(graph.operators) - 2
    with pytest.raises(InputError, match="operators 0 to 4 are no chain: each has to make rows of rows"):
        depth_first(graph, ((0, 4),))
    with pytest.raises(InputError, match=r"chains \[0, 2\] and \[1, 3\] share operators"):
        depth_first(graph, ((1, 3), (0, 2)))


def test_a_number_without_axes_ends_no_chain() -> None:
    """Catches a mean over all axes that is asked for its last one."""
    b = Builder("scalar", (1, 6, 6, 2), 1)
    graph = b.finish(b.mean(b.conv_2d(b.input, 1, Size2D(3, 3))))
    tensors = [*graph.tensors]
    tensors[graph.outputs[0]] = dataclasses.replace(tensors[graph.outputs[0]], shape=())
    assert chain_of(graph, graph.operators) is not None
    assert chain_of(graph.replace(tensors=tensors), graph.operators) is None


def test_the_least_arena_of_all(tmp_path: Path) -> None:
    """Catches an objective that the command line or the interface does not take, or that finds more than there is; one
    that is refused as if there were none of the name; and arenas tried one by one that no SRAM has room for."""
    model = _model(tmp_path)
    with pytest.raises(InputError, match="no effect"):
        memaopt.certify(tmp_path / "model.tflite", ZERO, objective="ram", arena=9_000)
    cert = memaopt.certify(tmp_path / "model.tflite", ZERO, objective="ram")
    least = cert.totals.arena_bytes
    assert cert.chains
    with pytest.raises(InfeasibleError, match=f"needs an arena of {least:,} bytes, 16 more .* depth first"):
        compile_network(model, ZERO, arena=least - 16)
    with pytest.raises(InfeasibleError, match=r"bytes of SRAM, .* more than the 400 given"):
        compile_smallest(random_chain(30), ZERO, sram=400)
    with pytest.raises(InputError, match="no price of layers: compile_smallest finds it"):
        compile_network(model, ZERO, "ram")


def test_what_packs_where_the_cheapest_does_not(tmp_path: Path) -> None:
    """Catches an arena said to be the least because the cheapest partition does not pack there, while another does; a
    front that ends before it; a choice said to be unproven by what does not pack; and a message that says so of what
    was not found alone."""
    graph = random_chain(37)
    path = tmp_path / "model.tflite"
    path.write_bytes(write(graph))
    model = Model.read(path)
    partitions = Partitions(prepare(simplify.simplify(graph).graph, ZERO), "cycles")
    smallest = partitions.smallest()
    assert smallest is not None
    limits = dataclasses.replace(partitions.problem.limits, arena=smallest.value)
    cheapest = partitions.cheapest(limits)
    assert cheapest is not None
    assert not cheapest.chains
    plan = compile_smallest(model, ZERO)
    assert plan.chains
    assert plan.arena_bytes == smallest.value
    assert cheapest.value < plan.choice.bound == plan.choice.price
    assert plan.choice.proof == "enumeration"
    _check_clashes(certificate.certify(plan, "model.tflite"), model, partitions, smallest.value)
    last = pareto.fronts(graph, ZERO)["arena"][-1]
    assert last.least_arena == last.arena_bytes == plan.arena_bytes
    assert last.proof == "enumeration"
    with pytest.raises(InfeasibleError, match=r"32 more than the 352 given, layer by layer.* that packs"):
        compile_network(random_chain(30), ZERO, arena=352)


def _check_clashes(cert: NetworkCertificate, model: Model, partitions: Partitions, room: int) -> None:
    """Catches clashes that rule out what packs: which ask for too little, are not beside one another, or are no layers;
    and a certificate whose clashes nobody looks at."""
    (potentials,) = cert.potentials
    clash = potentials.clashes[0]
    steps, (first, last) = clash
    assert steps == ((0, 1), (1, 2))
    assert first is not None
    assert last is not None
    assert last.lead is not None
    less, deferred = last._replace(lead=last.lead - 1), first._replace(deferred=True)
    for wrong, what in (
        (StepClash(steps, (first, less)), "no search shows"),
        (StepClash(steps[:1], (first,)), "no search shows"),
        (StepClash(steps, (deferred, last)), "not beside it"),
        (StepClash(steps, (first, None)), "does not say what each"),
        (StepClash(steps, (first,)), "does not say what each"),
        (StepClash(steps[::-1], (last, first)), "one behind the other"),
        (StepClash(((0, 1), (1, 99)), (first, last)), "one behind the other"),
        (StepClash(((-1, 0), *steps), (None, first, last)), "one behind the other"),
        (StepClash((), ()), "of no operators"),
    ):
        with pytest.raises(FalseClaimError, match=what):
            check_clash(partitions.problem, partitions.segments, wrong, room)

    def verify(*clashes: StepClash) -> None:
        changed = cert.model_copy(update={"potentials": (potentials._replace(clashes=clashes),)}).signed()
        network_check.verify(NetworkCertificate.from_json(changed.to_json()), model)

    verify(*potentials.clashes)
    with pytest.raises(FalseClaimError, match="potentials: operators"):
        verify()
    with pytest.raises(FalseClaimError, match="no search shows"):
        verify(StepClash(steps, (first, less)), *potentials.clashes[1:])


def test_paths_besides_clashes() -> None:
    """Catches a path that has a clash, one passed over for having a part of it or for asking for less, and a state that
    stands for others that may not go on as it does."""
    costs = {(0, 1): 1, (1, 2): 1, (2, 3): 1, (0, 2): 5, (1, 3): 4, (0, 3): 9}
    little, much = (Demand(False, False, False, None, 1, scratch) for scratch in (16, 32))

    def best(*besides: StepClash) -> tuple[list[tuple[int, int]], int]:
        def steps(at: int, formats: paths.Formats) -> Iterator[paths.PathStep]:
            for ends, cost in costs.items():
                for demand, dearer in ((much, 0), (little, 10)):
                    met = frozenset(k for k, clash in enumerate(besides) if clash.met(ends, demand))
                    if ends[0] == at:
                        yield paths.PathStep(*ends, cost + dearer, formats, True, demand, met)

        found = paths.reached(3, steps, lambda a, b: a + b, besides)
        _, path = paths.path(found) or (0, [])
        return [step[:2] for step in path], sum(step.value for step in path)

    def clash(*steps: tuple[int, int], demand: Demand | None = None) -> StepClash:
        return StepClash(steps, (demand,) * len(steps))

    alone = [(0, 1), (1, 2), (2, 3)]
    assert best() == (alone, 3)
    assert best(clash((0, 1), (1, 2))) == ([(0, 1), (1, 3)], 5)
    assert best(clash((0, 1), (1, 2)), clash((1, 3))) == ([(0, 2), (2, 3)], 6)
    assert best(clash((0, 1), (1, 2)), clash((1, 3)), clash((2, 3))) == ([(0, 3)], 9)
    assert best(clash((0, 1)), clash((2, 3)), clash((0, 3))) == ([], 0)
    assert best(clash((0, 1), (1, 2), demand=much), clash((0, 2)), clash((1, 3)), clash((0, 3))) == (alone, 13)
    assert best(clash(*alone, demand=much), clash((0, 2)), clash((1, 3)), clash((0, 3))) == (alone, 13)
    assert best(clash(*alone, demand=little), clash((0, 2)), clash((1, 3)), clash((0, 3))) == ([], 0)


def test_ranges_that_are_no_chains() -> None:
    """Catches operators whose tensors others read being hidden in a chain."""
    graph = simplify.simplify(zoo.build("resnet8")).graph
    for chains in (((0, 2),), ((0, 1),), ((3, 2),), ((0, 99),)):
        with pytest.raises(InputError):
            depth_first(graph, chains)


def test_what_costs_more_at_best_is_not_priced() -> None:
    """Every candidate of every chain executed to price it, which took minutes; or the least one passed over."""
    prices, looked = [9, 7, 8, 20], []

    def look(number: int, left: int) -> int:
        looked.append(number)
        return prices[number] - left + 1

    quotes = Quotes([(3, 2), (6, 2), (6, 2), (10, 2)], look)
    assert quotes.settled() == 7
    assert set(looked) == {0, 1, 2}
    assert Quotes([], look).settled() is None
