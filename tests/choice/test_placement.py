"""Constants outside the chip: what is asked for, and that nothing that fits is better."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from network_helpers import MCU

from memaopt.choice import choice, pareto, suits
from memaopt.choice.compile import compile_network
from memaopt.choice.fusion import DEFERRED
from memaopt.choice.homes import away
from memaopt.choice.placement import NOWHERE, ON_CHIP, NetworkPlacement, Sites, sites
from memaopt.choice.problem import ALL_AWAY, prepare, ways
from memaopt.choice.solution import search
from memaopt.choice.stages import Stages
from memaopt.choice.suits import suited
from memaopt.choice.traffic import network_traffic
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError
from memaopt.machines.mcu import mcu
from memaopt.memory import liveness
from memaopt.models.waits import timing
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.streaming.window import Stream
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder

L4S5 = mcu("stm32l4s5")
AUTO = NetworkPlacement(weights="auto")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weights", "give MEMORY once for each of weights"),
        ("weights=", "give MEMORY once for each of weights"),
        ("weights=qspi,weights=flash", "give MEMORY once for each of weights"),
        ("code=qspi", "give MEMORY once for each of weights"),
        ("weights=Q-1", "weights"),
    ],
)
def test_what_is_no_placement_is_refused(text: str, said: str) -> None:
    """Catches a placement that is taken for another one, and one that is not named."""
    with pytest.raises(InputError, match=f'^place="{text}".*{said}'):
        NetworkPlacement.asked(text)


def test_placements_on_a_machine() -> None:
    """Catches constants in a memory that is none of the kind, or not there."""
    assert sites(NetworkPlacement.asked(None), L4S5) == sites(ON_CHIP, L4S5) == NOWHERE
    assert sites(NetworkPlacement.asked(" weights = qspi "), L4S5) == Sites(L4S5.memory("qspi"), (True,))
    assert sites(AUTO, L4S5) == Sites(L4S5.memory("qspi"), (False, True))
    assert sites(NetworkPlacement.asked("weights=qspi,parameters=qspi"), L4S5).apart is False
    for asked in ("parameters=qspi", "weights=qspi,parameters=flash"):
        with pytest.raises(InputError, match=r'^place="parameters=.*, or with the weights \(parameters='):
            sites(NetworkPlacement.asked(asked), L4S5)
    with pytest.raises(InputError, match="no external memory of"):
        sites(NetworkPlacement(weights="sram"), L4S5)
    with pytest.raises(InputError, match="has no memory 'psram'"):
        sites(NetworkPlacement(weights="psram"), L4S5)
    with pytest.raises(InputError, match="has no external memory"):
        sites(AUTO, L4S5.model_copy(update={"memories": L4S5.memories[:2]}))


def _graph() -> Graph:
    made = Builder("three", (1, 4, 4, 4), 3)
    x = made.conv_2d(0, 8, Size2D(1, 1), Activation.RELU)
    return made.finish(made.classify(made.mean(x), 4))


@pytest.mark.parametrize("objective", ["cycles", "bytes"])
def test_nothing_that_fits_is_better(objective: str) -> None:
    """Catches constants outside that take flash all the same, and a choice dropped for one that takes more: every one
    is tried, with ever less flash."""
    problem = prepare(_graph(), L4S5, place=AUTO)
    least: dict[int, int] = {}
    for picks in itertools.product(*(range(len(stage.candidates)) for stage in problem.stages)):
        taken = [stage.candidates[j] for stage, j in zip(problem.stages, picks, strict=True)]
        formats = [(c.plan.input_format, c.plan.output_format) for c in taken]
        if formats[0][0] == formats[-1][1] == "s8" and all(a[1] == b[0] for a, b in itertools.pairwise(formats)):
            flash = choice.flash_bytes(taken, problem.limits.flash_overhead)
            if all(c.pays for c in taken):
                price = sum(c.price(objective) for c in taken)
                least[flash] = min(price, least.get(flash, price))
    assert len(least) > 10
    for budget in sorted(least)[:: max(len(least) // 12, 1)]:
        best = min(price for flash, price in least.items() if flash <= budget)
        found = search(prepare(_graph(), L4S5, flash=budget, place=AUTO), objective).choice
        assert found is not None
        assert (found.price, found.proof) == (best, "enumeration"), budget


@pytest.mark.slow
def test_short_flash_is_relieved() -> None:
    """Catches ``auto`` that takes a memory outside without need, or does not take it where there is need."""
    graph = zoo.build("ds_cnn")
    inside, outside = (
        compile_network(graph, L4S5, place=place) for place in (ON_CHIP, NetworkPlacement(weights="qspi"))
    )
    free = compile_network(graph, L4S5, place=AUTO)
    assert free.machine_cycles == inside.machine_cycles
    assert not free.image.places
    budget = outside.flash_bytes + inside.constant_bytes // 2
    tight = compile_network(graph, L4S5, place=AUTO, flash=budget)
    assert tight.flash_bytes <= budget
    assert 0 < tight.image.nbytes < outside.image.nbytes
    assert inside.machine_cycles < tight.machine_cycles < outside.machine_cycles
    with pytest.raises(InfeasibleError, match="flash"):
        compile_network(graph, L4S5, flash=outside.flash_bytes)


def test_bytes_from_outside_come_first() -> None:
    """Catches an objective ``bytes`` for which a byte from outside is one on the chip; constants that stay in flash and
    are counted in the image, or as bytes from outside; and a placement of all of them outside that leaves some here."""
    graph, place = zoo.build("ds_cnn"), NetworkPlacement(weights="qspi")
    fewest, fastest = (compile_network(graph, L4S5, objective, place=place) for objective in ("bytes", "cycles"))
    moved = [network_traffic(plan).memories["qspi"].bytes for plan in (fewest, fastest)]
    assert moved[0] < moved[1]
    stages = prepare(fewest.graph, L4S5, place=place).stages
    assert moved[0] == sum(min(c.outside_bytes for c in stage.candidates if c.plan.code) for stage in stages)
    together = compile_network(graph, L4S5, "bytes", place=NetworkPlacement.asked("weights=qspi,parameters=qspi"))
    stay = sum(layer.plan.channel_bytes for layer in fewest.layers)
    found = [network_traffic(plan).memories for plan in (together, fewest)]
    assert stay == found[1]["flash"].bytes > 0
    # Other kernels are best where channels' parameters are read from there too.
    assert moved[0] < found[0]["qspi"].bytes <= moved[0] + stay
    assert (together.constant_bytes, fewest.constant_bytes) == (0, stay)
    assert together.image.nbytes > fewest.image.nbytes
    text = emit.files(fewest)["src/ds_cnn.c"]
    stays = [array.name for layer in fewest.layers for array in layer.emitted.constants if array.stays]
    assert all(f"{name}[" in text and f"({name})" not in text for name in stays)


def test_floors_hold_outside() -> None:
    """Catches a floor above what a candidate costs whose constants come from outside."""
    for stage in prepare(_graph(), L4S5, place=NetworkPlacement(weights="qspi")).stages:
        for candidate in stage.candidates:
            assert candidate.floor("cycles") <= candidate.least("cycles") <= candidate.cycles


def test_too_many_constants_are_refused() -> None:
    """Catches an image that the memory does not hold, and a network on the chip that is told of another memory."""
    small = L4S5.with_sizes(qspi=4096)
    with pytest.raises(InfeasibleError, match="of qspi given"):
        compile_network(zoo.build("ds_cnn"), small, place=NetworkPlacement(weights="qspi"))
    with pytest.raises(InputError, match="flash and sram alone"):
        compile_network(_graph(), MCU, "1*cycles + 1*qspi")


def test_the_tensors_outside_are_the_cheapest() -> None:
    """Catches a set of tensors outside that costs more than another that leaves as much room: every set is tried."""
    made = Builder("skips", (1, 6, 6, 4), 3)
    x = made.conv_2d(0, 8, Size2D(1, 1))
    y = made.conv_2d(x, 24, Size2D(1, 1))
    y = made.conv_2d(y, 8, Size2D(1, 1))
    z = made.add(x, y)
    graph = made.finish(made.conv_2d(made.add(z, made.conv_2d(z, 8, Size2D(1, 1))), 4, Size2D(1, 1)))
    order = tuple(range(len(graph.operators)))
    p = liveness.problem(graph, 16, lambda *_: (), {}, ())
    inner = [t for t in p.sizes if t not in graph.inputs and t not in p.kept]
    cost = {t: graph.tensors[t].nbytes * (1 + p.readers[t].bit_count()) for t in inner}
    sets = [frozenset(c) for n in range(len(inner) + 1) for c in itertools.combinations(inner, n)]
    live = {gone: liveness.peak(liveness.problem(graph, 16, lambda *_: (), {}, gone), order)[0] for gone in sets}
    distinct = sorted(set(live.values()))
    assert len(distinct) > 5
    for room in distinct:
        found = away(graph, order, room, 16)
        assert found is not None
        assert live[found] <= room
        assert sum(cost[t] for t in found) == min(sum(cost[t] for t in s) for s in sets if live[s] <= room)
    assert away(graph, order, distinct[0] - 1, 16) is None


@pytest.mark.parametrize("objective", ["bytes", "cycles"])
def test_no_other_tensors_outside_are_better(objective: str) -> None:
    """Catches a bound that is not the least of all sets, and tensors that are not those of the bound: every set is
    tried, with a convolution and its depthwise reader apart and as one."""
    made = Builder("places", (1, 6, 6, 4), 3)
    x = made.conv_2d(0, 12, Size2D(1, 1))
    y = made.depthwise_conv_2d(made.conv_2d(x, 48, Size2D(1, 1)), Activation.RELU)
    graph = made.finish(made.conv_2d(made.add(x, made.conv_2d(y, 12, Size2D(1, 1))), 4, Size2D(1, 1)))
    f469, place = mcu("stm32f469"), NetworkPlacement.asked("weights=qspi,activations=fmc")
    free, every = prepare(graph, f469, place=place), ways(graph, True, True, True, True)
    p = liveness.problem(graph, 16, lambda *_: (), {}, ())
    inner = [t for t in p.sizes if t not in graph.inputs and t not in p.kept]
    sets = [frozenset(c) for n in range(len(inner) + 1) for c in itertools.combinations(inner, n)]
    apart = set()
    for sram in (1000, 1400, 2600, 3400):
        limits, machine = replace(free.limits, sram=sram), timing(f469, free.sites.outside)
        stages = Stages(
            graph, every.lowered, every.pairs, every.options, every.roots, every.order, machine, limits, free.sites
        )
        prices = {gone: found for gone in sets if (found := _least(stages, objective, gone)) is not None}
        found = suited(stages, objective)
        assert (found is None) == (not prices)
        if found is not None:
            assert found.bound == min(prices.values()) == prices[found.away], sram
            apart.add(found.away)
    assert len(apart) > 2


def _least(stages: Stages, objective: str, gone: frozenset[int]) -> int | None:
    """What all operators cost at least with these tensors outside, in any formats of what lies between them; None where
    one fits in no way."""
    positions = [i for i in stages.order if i in stages.lowered]
    every = dict(zip(positions, stages.every(gone), strict=True))
    prices: dict[tuple[int, str, str], int] = {}
    for i, stage in every.items():
        for c in stage.candidates:
            if c.plan is not DEFERRED and choice.fits(c, stages.limits):
                key = i, c.plan.input_format, c.plan.output_format
                prices[key] = min(prices.get(key, c.floor(objective)), c.floor(objective))
    ((second, first),) = stages.pairs.items()
    between = [stage.output for i, stage in every.items() if i != positions[-1]]
    found = []
    for raw in itertools.product(("s8", "raw"), repeat=len(between)):
        lies = dict(zip(between, raw, strict=True))
        # As one they leave nothing between them, outside or inside.
        for fused in (False, True) if every[first].output not in gone else (False,):
            total: list[int | None] = []
            for i, stage in every.items():
                read = {lies.get(t, "s8") for t in stage.inputs if t is not None}
                if fused and i == first:
                    total.append(0 if read == {"s8"} else None)
                elif fused and i == second:
                    total.append(prices.get((i, "fused", lies.get(stage.output, "s8"))))
                else:
                    one = read.pop() if len(read) == 1 else "none"
                    total.append(prices.get((i, one, lies.get(stage.output, "s8"))))
            found.append(None if None in total else sum(p for p in total if p))
    return min((price for price in found if price is not None), default=None)


def test_what_crosses_of_a_network_larger_than_the_sram() -> None:
    """Catches kernels that lose a way to read what lies outside once: by blocks, strips that slide, fetched inputs; and
    a chain that is not found."""
    place = NetworkPlacement.asked("weights=qspi,activations=fmc")
    plan = compile_network(zoo.build("resnet8"), mcu("stm32f469"), "bytes", sram=16 << 10, place=place)
    moved = network_traffic(plan).memories
    assert moved["qspi"].bytes + moved["fmc"].bytes <= 210_000
    assert plan.outer_bound is not None
    assert 0.93 * plan.choice.price < plan.outer_bound <= plan.choice.price


def test_tensors_outside_in_other_uses() -> None:
    """Catches tensors in a memory that cannot be written, and a placement that has no effect."""
    with pytest.raises(InputError, match="that can be written"):
        sites(NetworkPlacement(activations="qspi"), L4S5)
    with pytest.raises(InputError, match=r'^place="activations=auto": stm32l4s5 has no external memory that can'):
        sites(NetworkPlacement(activations="auto"), L4S5)
    f469, place = mcu("stm32f469"), NetworkPlacement(activations="fmc")
    assert sites(NetworkPlacement(activations="auto"), f469) == sites(place, f469)
    ends = NetworkPlacement.asked("input=fmc,output=fmc")
    assert sites(ends, f469).ends == (True, True)
    assert not sites(ends, f469).between
    asked = [NetworkPlacement.asked(f"activations=fmc{more}") for more in ("", ",input=sram", ",output=fmc")]
    assert [[each.describe() for each in place.opened(f469)] for place in (*asked, ends)] == [
        [f"activations=fmc,{more}" for more in ("input=fmc", "output=fmc", "input=fmc,output=fmc")],
        ["activations=fmc,input=sram,output=fmc"],
        ["activations=fmc,input=fmc,output=fmc"],
        [],
    ]
    with pytest.raises(InputError, match=r'^place="input=qspi": that is no external memory of stm32f469 that'):
        sites(NetworkPlacement(input="qspi"), f469)
    other = f469.memory("fmc").model_copy(update={"name": "psram"})
    two = f469.model_copy(update={"memories": (*f469.memories, other)})
    with pytest.raises(InputError, match=r'^place="activations=fmc,input=psram": these are two memories'):
        sites(NetworkPlacement(activations="fmc", input="psram"), two)
    with pytest.raises(InputError, match=r"sliding window.* all its activations in SRAM"):
        compile_network(_graph(), f469, place=place, stream=Stream(axis="rows", hop=1))
    with pytest.raises(InputError, match="not of fmc"):
        compile_network(_graph(), f469, "1*cycles + 1*fmc", place=place)


def test_too_many_sets_for_a_path_are_tried_by_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a network that is refused because more tensors are alive at once than a path over sets of them takes."""
    monkeypatch.setattr(suits, "_MOST_STATES", 1)
    place = NetworkPlacement.asked("weights=qspi,activations=fmc")
    plan = compile_network(zoo.build("ds_cnn"), mcu("stm32f469"), "bytes", sram=12 << 10, place=place)
    assert plan.away
    assert plan.outer_bound is None


def test_fronts_with_buffers_outside() -> None:
    """Catches a front of another problem than solve's with the same memories, points that a later one beats, and bounds
    of networks on the chip beside it."""
    graph, f469 = _graph(), mcu("stm32f469")
    for asked in ("weights=qspi,activations=fmc", "input=fmc"):
        place = NetworkPlacement.asked(asked)
        fronts = pareto.fronts(graph, f469, place)
        assert any(point.outside_bytes for point in fronts["arena"])
        for budget, points in fronts.items():
            cycles = [point.machine_cycles for point in points]
            assert cycles == sorted(set(cycles)), budget
            sizes = [getattr(point, f"{budget.lower()}_bytes") for point in points]
            assert sizes == sorted(set(sizes), reverse=True), budget
        last = fronts["SRAM"][-1]
        plan = compile_network(graph, f469, sram=last.sram_bytes, place=place)
        assert (plan.machine_cycles, plan.sram_bytes) == (last.machine_cycles, last.sram_bytes)
        assert (pareto.row_bound(graph, f469, place) is None) == (place.activations == "fmc")
    whole, away = (pareto.row_bound(graph, f469, NetworkPlacement.asked(asked)) for asked in (None, "input=fmc"))
    assert whole is not None
    assert away is not None
    assert away.bytes < whole.bytes


def test_what_is_computed_as_one_keeps_its_input_outside() -> None:
    """Catches an output outside that lies on the input, outside too, of a convolution and its depthwise reader as one:
    between them nothing lies, and the reader is the input's."""
    made = Builder("pair", (1, 6, 6, 8), 3)
    x = made.conv_2d(0, 8, Size2D(1, 1))
    y = made.depthwise_conv_2d(made.conv_2d(x, 48, Size2D(1, 1)), Activation.RELU)
    graph = made.finish(made.conv_2d(y, 4, Size2D(1, 1)))
    place = NetworkPlacement.asked("activations=fmc,input=fmc,output=fmc")
    problem = prepare(graph, mcu("stm32f469"), place=place, room=ALL_AWAY)
    (second, first) = next(iter(problem.pairs.items()))
    picks = []
    for i, stage in zip(problem.positions, problem.stages, strict=True):
        formats = {first: ("s8", "fused"), second: ("fused", "s8")}.get(i, ("s8", "s8"))
        there = [j for j, c in enumerate(stage.candidates) if (c.plan.input_format, c.plan.output_format) == formats]
        picks.append(max(there, key=lambda j, stage=stage: stage.candidates[j].plan.lead or 0))
    lead = problem.chosen(picks)[second].lead
    assert lead is not None
    assert lead > 0
    between = graph.operators[first].output
    outer = replace(problem, away=problem.away - {between}).outer_plan(picks, problem.order)
    assert outer is not None
    source, target = outer.offset(x), outer.offset(y)
    assert source - target >= lead or target >= source + graph.tensors[x].nbytes
