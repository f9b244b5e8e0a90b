"""Fully connected ends of chains, whose input is added row by row: exact on host and board, the least arena by it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from chains_helpers import ZERO, replayed, run

from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import Problem
from memaopt.choice.spaces import simplifications
from memaopt.errors import FalseClaimError
from memaopt.kernels.chains.order import StepKind, order_of, shape_of
from memaopt.kernels.chains.replay import replay
from memaopt.kernels.plan import Plan
from memaopt.kernels.registry import CHAINS, plans
from memaopt.networks.chains import chain_of
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.dense_band import DenseBand
from memaopt.problems.layers import LayerChain


def _network(shape: tuple[int, int, int], channels: int, outputs: int, weight: int | None = None) -> Graph:
    """A convolution, and a fully connected layer on all of it; with ``weight`` half of its first output are that."""
    b = Builder("dense", (1, *shape), 3)
    x = b.conv_2d(b.input, channels, Size2D(3, 3), Activation.RELU)
    graph = b.finish(b.fully_connected(b.flatten(x), outputs))
    if weight is None:
        return graph
    tensors, weights = [*graph.tensors], graph.operators[-1].inputs[1]
    values = np.array(tensors[weights].values)
    values[:1], values[:1, ::2], values[1:2] = weight, 127, -1
    tensors[weights] = dataclasses.replace(tensors[weights], data=values)
    return graph.replace(tensors=tensors)


def _end(chain: LayerChain, plan: Plan) -> tuple[DenseBand, Plan]:
    """What a chain's last part is, and how it is computed."""
    shape = shape_of(chain)
    assert shape is not None
    rows, height = shape.parts[-1], plan.option(f"height_{len(chain.parts) - 1}")
    assert rows is not None
    band = rows.band(height)
    assert isinstance(band, DenseBand)
    return band, plans(band)[plan.option(f"kernel_{len(chain.parts) - 1}")]


def _forms(graph: Graph) -> Iterator[tuple[str, NetworkPlan]]:
    """A plan with each kernel that a fully connected end has, of any height."""
    multiple, simple = simplifications(graph)[0]
    ends = {multiple: ((0, len(simple.graph.operators)),)}
    chain = chain_of(simple.graph, simple.graph.operators)
    assert chain is not None
    tiles = [_end(chain, plan)[1].tile for plan in CHAINS.plans(chain)]
    for tile in sorted(set(tiles)):

        def among(problem: Problem, tile: str = tile) -> Problem:
            (stage,) = problem.stages
            of_tile = tuple(c for c in stage.candidates if _end(chain, c.plan)[1].tile == tile)
            return dataclasses.replace(problem, stages=(dataclasses.replace(stage, candidates=of_tile),))

        yield tile, compile_network(graph, ZERO, chains=ends, among=among)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("graph", "tiles"),
    [
        (_network((4, 5, 3), 4, 10), ["", "8x20", "8x40", "8x80"]),
        (_network((3, 5, 3), 3, 2), [""]),
        (_network((2, 48, 3), 16, 1, -127), ["", "4x384", "4x512"]),
        (_network((4, 6, 3), 4, 2, -128), [""]),
    ],
    ids=("words", "odd", "parts", "low"),
)
def test_rows_are_added_as_they_come(graph: Graph, tiles: list[str]) -> None:
    """Catches sums that are not cleared, are cleared twice, or are rounded early; rows of outputs beyond whole tiles;
    rows of no whole words, accumulators that leave 32 bits, weights that do not chain."""
    found = [tile for tile, plan in _forms(graph) if [replayed(plan), run(plan, board=False)]]
    assert found == tiles


@pytest.mark.slow
@pytest.mark.board
def test_the_promise_is_kept() -> None:
    """Catches an access of the first or of the last band that nobody promised, and cycles that nobody foresaw."""
    for _, plan in _forms(_network((12, 8, 3), 4, 10)):
        run(plan, board=True)


def test_the_flattened_image_is_nowhere() -> None:
    """Catches a chain that ends before a RESHAPE, so that all rows of its output have to be there at one time."""
    graph = _network((16, 12, 4), 16, 5)
    image = 16 * 12 * 16
    for by_rows in (False, True):
        plan = compile_smallest(graph, ZERO, by_rows=by_rows)
        assert [op.kind for op in plan.graph.operators] == ["DEPTH_FIRST"]
        assert plan.arena_bytes < image // 2


def test_a_band_that_comes_twice_is_refused() -> None:
    """Catches a replay that believes of sums what it is told."""
    graph = simplify.simplify(_network((6, 5, 3), 4, 3)).graph
    chain = chain_of(graph, graph.operators)
    assert chain is not None
    shape = shape_of(chain)
    assert shape is not None
    assert shape.dense
    order = order_of(shape, (1, 1))
    lines, at = {}, 0
    for tensor in shape.buffered:
        lines[tensor] = at
        at += order.bytes(tensor)
    replay(order, lines, {}, at, [None, None])
    last = max(i for i, step in enumerate(order.steps) if step == (StepKind.COMPUTE, 1))
    for steps in (order.steps[:last], (*order.steps, order.steps[last])):
        with pytest.raises(FalseClaimError):
            replay(dataclasses.replace(order, steps=steps), lines, {}, at, [None, None])
