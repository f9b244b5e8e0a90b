"""Chains and tensors outside the chip as one search: no partition with any set of them is better; certified; judged."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chains_helpers import every_partition, random_chain

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.network_evaluation import evaluate
from memaopt.choice.choice import Candidate, fits
from memaopt.choice.compile import compile_network
from memaopt.choice.outside_chains import OutsidePaths
from memaopt.choice.placement import NetworkPlacement
from memaopt.choice.problem import prepare
from memaopt.errors import FalseClaimError
from memaopt.machines.mcu import mcu
from memaopt.networks.chains import depth_first
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite.writer import write
from memaopt.networks.graph import Graph
from memaopt.networks.simplify import simplify
from memaopt.problems.words import Objective

F469 = mcu("stm32f469")
PLACE = NetworkPlacement.asked("weights=qspi,activations=fmc")


@pytest.mark.parametrize(("seed", "objective"), [(6, "bytes"), (17, "cycles")])
def test_no_partition_with_any_tensors_outside_is_better(seed: int, objective: Objective) -> None:
    """Catches a path that is not the shortest, chains beside tensors that are taken to be elsewhere, floors of chains
    whose ends are outside above what they cost, and a search below a price that ends too early: every set is tried."""
    graph = simplify.simplify(random_chain(seed)).graph
    whole = prepare(graph, F469, place=PLACE, formats=False, objective=objective)
    every = list(_choices(graph, objective))
    sizes = sorted({min(c.sram_bytes for c in row) for rows in every for row in rows})
    apart = set()
    for sram in sizes[:: max(len(sizes) // 6, 1)]:
        limits = dataclasses.replace(whole.limits, sram=sram)
        problem = dataclasses.replace(whole, limits=limits, made=dataclasses.replace(whole.made, limits=limits))
        prices = [
            sum(least) for rows in every if None not in (least := [_least(row, limits, objective) for row in rows])
        ]
        found = OutsidePaths(problem, objective).cheapest()
        assert (found is None) == (not prices)
        if found is not None:
            assert found.value == min(prices), sram
            apart.add((found.chains, found.away))
            none = OutsidePaths(problem, objective).cheapest(found.value)
            assert none is not None
            assert (none.chains, none.value) == ((), found.value)
    assert any(chains and away for chains, away in apart)
    assert len(apart) > 2


def _choices(graph: Graph, objective: Objective) -> Iterator[list[tuple[Candidate, ...]]]:
    """For every partition into chains and every set of tensors outside the candidates of each operator."""
    for chains in every_partition(graph):
        made = prepare(depth_first(graph, chains), F469, place=PLACE, formats=False, objective=objective).made
        assert made is not None
        ends = {made.roots.get(t, t) for t in (*graph.inputs, *graph.outputs)}
        inner = [t for op in made.graph.operators[:-1] if (t := made.roots[op.output]) not in ends]
        for count in range(len(inner) + 1):
            for gone in itertools.combinations(inner, count):
                yield [stage.candidates for stage in made.every(frozenset(gone))]


def _least(row: tuple[Candidate, ...], limits: object, objective: Objective) -> int | None:
    return min((c.price(objective) for c in row if fits(c, limits)), default=None)


def test_chains_with_tensors_outside_are_certified_and_judged(tmp_path: Path) -> None:
    """Catches chains that are not looked for where tensors may be outside, bounds that nobody derived, and a judge that
    refuses what the search finds."""
    path = tmp_path / "model.tflite"
    path.write_bytes(write(random_chain(16)))
    model = Model.read(path)
    plan = compile_network(model, F469, "bytes", sram=1800, place=PLACE)
    assert plan.chains
    assert plan.away
    assert plan.chained_bound is not None
    cert = certificate.certify(plan, "model.tflite")
    network_check.verify(cert, model)
    for change in (
        {"chains": ()},
        {"chained_bound": plan.chained_bound + 1},
        {"chained_bound": None},
        {"choice": cert.choice.model_copy(update={"bound": cert.choice.bound + 1})},
        {"choice": cert.choice.model_copy(update={"proof": "enumeration"})},
        {"outer_bound": None},
        {"room": -1},
        {"outer": None},
    ):
        with pytest.raises(FalseClaimError):
            network_check.verify(cert.model_copy(update=change).signed(), model)
    found = evaluate(model, F469, json.loads(cert.to_json()), "bytes", sram=1800, place=PLACE)
    assert found.optimal
    assert (found.totals, found.layers) == (cert.totals, cert.layers)
