"""Constants outside the chip: what is asked for, and that nothing that fits is better."""

from __future__ import annotations

import itertools

import pytest
from network_helpers import MCU

from memaopt.choice import choice
from memaopt.choice.compile import compile_network
from memaopt.choice.homes import away
from memaopt.choice.placement import NOWHERE, ON_CHIP, NetworkPlacement, Sites, sites
from memaopt.choice.problem import prepare
from memaopt.choice.solution import search
from memaopt.choice.traffic import network_traffic
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError
from memaopt.machines.mcu import mcu
from memaopt.memory import liveness
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
    with pytest.raises(InputError, match=f"^--place {text}.*{said}"):
        NetworkPlacement.asked(text)


def test_placements_on_a_machine() -> None:
    """Catches constants in a memory that is none of the kind, or not there."""
    assert sites(NetworkPlacement.asked(None), L4S5) == sites(ON_CHIP, L4S5) == NOWHERE
    assert sites(NetworkPlacement.asked(" weights = qspi "), L4S5) == Sites(L4S5.memory("qspi"), (True,))
    assert sites(AUTO, L4S5) == Sites(L4S5.memory("qspi"), (False, True))
    assert sites(NetworkPlacement.asked("weights=qspi,parameters=qspi"), L4S5).apart is False
    for asked in ("parameters=qspi", "weights=qspi,parameters=flash"):
        with pytest.raises(InputError, match=r"^parameters=.*, or with the weights \(parameters="):
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
    """Catches an objective ``bytes`` for which a byte from outside is one on the chip."""
    graph, place = zoo.build("ds_cnn"), NetworkPlacement(weights="qspi")
    fewest, fastest = (compile_network(graph, L4S5, objective, place=place) for objective in ("bytes", "cycles"))
    moved = [network_traffic(plan).memories["qspi"].bytes for plan in (fewest, fastest)]
    assert moved[0] < moved[1]
    stages = prepare(fewest.graph, L4S5, place=place).stages
    assert moved[0] == sum(min(c.outside_bytes for c in stage.candidates if c.plan.code) for stage in stages)


def test_what_channels_take_may_stay_on_the_chip() -> None:
    """Catches constants that stay in flash and are counted in the image, or not in flash, or as bytes from outside; and
    a placement of all of them outside that leaves some on the chip."""
    graph, places = zoo.build("ds_cnn"), ("weights=qspi,parameters=qspi", "weights=qspi")
    together, apart = (compile_network(graph, L4S5, "bytes", place=NetworkPlacement.asked(p)) for p in places)
    moved = [network_traffic(plan).memories for plan in (together, apart)]
    stay = sum(layer.plan.channel_bytes for layer in apart.layers)
    assert stay == moved[1]["flash"].bytes == moved[0]["qspi"].bytes - moved[1]["qspi"].bytes > 0
    assert (together.constant_bytes, apart.constant_bytes) == (0, stay)
    assert together.image.nbytes - apart.image.nbytes == stay
    text = emit.files(apart)["src/ds_cnn.c"]
    stays = [array.name for layer in apart.layers for array in layer.emitted.constants if array.stays]
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


def test_tensors_outside_in_other_uses() -> None:
    """Catches tensors in a memory that cannot be written, and a placement that has no effect."""
    with pytest.raises(InputError, match="that can be written"):
        sites(NetworkPlacement(activations="qspi"), L4S5)
    with pytest.raises(InputError, match=r"^activations=auto: stm32l4s5 has no external memory that can be written$"):
        sites(NetworkPlacement(activations="auto"), L4S5)
    f469, place = mcu("stm32f469"), NetworkPlacement(activations="fmc")
    assert sites(NetworkPlacement(activations="auto"), f469) == sites(place, f469)
    with pytest.raises(InputError, match=r"sliding window.* all its activations in SRAM"):
        compile_network(_graph(), f469, place=place, stream=Stream(axis="rows", hop=1))
    with pytest.raises(InputError, match="not of fmc"):
        compile_network(_graph(), f469, "1*cycles + 1*fmc", place=place)
