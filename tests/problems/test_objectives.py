"""Weights: what they mean as text, that every model makes the same sum least, and that the words are sums too."""

from collections.abc import Iterator

import pytest
from models_helpers import machine_with

from memaopt import FalseClaimError, InfeasibleError, InputError, certify, compile_network, mcu, verify
from memaopt.certificates import network_check
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.gemm import gemm
from memaopt.problems.objectives import ObjectiveWeights, resolved, weights_of

_PROBLEM = gemm(24, 18, 20, dtype="q15", placement={"a": "qspi", "b": "qspi", "c": "qspi"})
_MACHINE = machine_with(2048, waits=3)


def test_a_sum_has_one_text() -> None:
    """Catches two texts of the same weights, which would be two certificates and two rows of a sweep."""
    assert resolved("5*qspi+ 2*ram +4*cycles") == "4*cycles + 2*ram + 5*qspi"
    assert weights_of("4*cycles + 5*qspi") == ObjectiveWeights(cycles=4, bytes=(("qspi", 5),))
    assert weights_of("bytes") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed", "no objective 'speed': there are bytes, cycles, energy"),
        ("cycles + energy", "no objective"),
        ("-1*cycles", "no objective"),
        ("1*cycles + 1*cycles", "no objective"),
        ("1*qspi", "cycles or energy need a weight"),
        ("1*cycles + 3*moon", "has no memory 'moon'"),
        ("1*cycles + 3*sram", "bytes of SRAM weigh networks"),
        ("1*cycles + 3*ram", "ram weighs a network's arena"),
    ],
)
def test_what_is_no_objective_of_a_product_is_one_line(text: str, message: str) -> None:
    """Catches a weight that is taken and has no effect."""
    with pytest.raises(InputError, match=message.replace("*", "\\*")):
        certify(_PROBLEM, _MACHINE, text)


@pytest.mark.parametrize("word", ["cycles", "energy"])
def test_the_words_are_sums(word: str) -> None:
    """Catches weights that are not the prices that the words have had."""
    said, summed = certify(_PROBLEM, _MACHINE, word), certify(_PROBLEM, _MACHINE, f"1*{word}")
    assert said.schedule == summed.schedule
    assert said.answers[0].objective == summed.answers[0].objective


@pytest.mark.parametrize("objective", ["1*cycles + 500*qspi", "3*cycles + 1*energy + 7*qspi"])
def test_three_models_make_the_same_sum_least(objective: str) -> None:
    """Catches a weight that one of the models leaves out; with a heavy one fewer bytes cross."""
    found = certify(_PROBLEM, _MACHINE, objective)
    verify(found)
    assert len({answer.objective for answer in found.answers}) == 1
    assert found.traffic.external_bytes <= certify(_PROBLEM, _MACHINE, "cycles").traffic.external_bytes


def _front(graph: Graph) -> Iterator[tuple[int, int]]:
    """Prices and arenas, from the fastest to the smallest."""
    limit: int | None = None
    while True:
        try:
            plan = compile_network(graph, mcu("stm32l4r5"), arena=limit)
        except InfeasibleError:
            return
        yield plan.choice.price, plan.arena_bytes
        limit = plan.arena_bytes - 1


def test_weights_of_a_network_choose_on_its_front() -> None:
    """Catches an arena that is not weighed: of all points of the front the least sum is taken."""
    builder = Builder("three", (1, 8, 8, 4), 4)
    x = builder.conv_2d(0, 8, Size2D(3, 3), activation=Activation.RELU)
    graph = builder.finish(builder.conv_2d(x, 4, Size2D(3, 3), activation=Activation.RELU))
    machine = mcu("stm32l4r5")
    points = list(_front(graph))
    assert len(points) > 1
    chosen = set()
    for weight in (1, 10, 100, 1000):
        plan = compile_network(graph, machine, f"1*cycles + {weight}*ram")
        assert plan.choice.price + weight * plan.arena_bytes == min(p + weight * a for p, a in points)
        chosen.add(plan.arena_bytes)
    assert len(chosen) > 1
    heavy = compile_network(graph, machine, "1*cycles + 9999*flash")
    assert heavy.objective == "1*cycles + 9999*flash"
    signed = certify(graph, machine, "2*cycles + 3*ram")
    verify(signed)
    for objective in ("1*energy", "1*cycles + 1*ram"):
        forged = signed.model_copy(update={"objective": objective}).signed()
        with pytest.raises(FalseClaimError, match="layers have no price under the objective"):
            network_check.verify(forged, signed.model_file)
    with pytest.raises(InputError, match="bytes of flash and sram alone, not of qspi"):
        compile_network(graph, machine, "1*cycles + 1*qspi")
