"""Chains computed depth first: orders of steps, replayed byte by byte, and what their replay refuses."""

import dataclasses

import pytest
from chains_helpers import random_chain

from memaopt.errors import FalseClaimError
from memaopt.kernels.chains.least import least_order
from memaopt.kernels.chains.order import Order, StepKind, order_of, shape_of
from memaopt.kernels.chains.packed import early_order, packed_order
from memaopt.kernels.chains.replay import replay
from memaopt.kernels.registry import CHAINS, Format, in_parts, plans
from memaopt.networks.chains import chain_of, is_closed
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo import zoo
from memaopt.problems.layers import LayerChain


def _chains(seed: int) -> list[LayerChain]:
    """Every chain of a random network."""
    graph = simplify.simplify(random_chain(seed)).graph
    count = len(graph.operators)
    ranges = [(i, j) for i in range(count) for j in range(i + 2, count + 1) if is_closed(graph, i, j)]
    found = [chain_of(graph, graph.operators[i:j]) for i, j in ranges]
    return [chain for chain in found if chain is not None and shape_of(chain) is not None]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_every_plan_computes_its_chain(seed: int) -> None:
    """Catches rows that are overwritten before they are read, in whatever heights, with whatever kernels and places."""
    packed = 0
    for chain in _chains(seed):
        for plan in plans(chain):
            CHAINS.replay(chain, plan)
        in_one_piece = [plan for plan in plans(chain) if "packed" in dict(plan.options)]
        packed += len(in_one_piece)
        for keeping in (each for plan in in_one_piece[:2] for each in in_parts(chain, plan)):
            CHAINS.replay(chain, keeping)
        if seed < 3:
            fed = dataclasses.replace(chain, by_rows=True)
            for plan in plans(fed):
                CHAINS.replay(fed, plan)
            for keeping in in_parts(fed, plans(fed)[0]):
                CHAINS.replay(fed, keeping)
                assert keeping.promise.parameters.bytes < plans(fed)[0].promise.parameters.bytes
    assert packed or seed not in (0, 2, 3)


@pytest.mark.parametrize("seed", [0, 7])
def test_no_order_does_less(seed: int) -> None:
    """Catches rows that no reader needs being counted, kernels left out though their rows may be at whole words, rows
    that take room though they do not, and what a chain does itself."""
    for chain in _chains(seed):
        shape = shape_of(chain)
        assert shape is not None
        for heights in {tuple(value for key, value in p.options if "height" in key) for p in plans(chain)}:
            order, least = order_of(shape, heights), least_order(shape, heights)
            assert order.bands == least.bands
            for made in (order, early_order(shape, heights)):
                assert all(made.counts[step] >= count for step, count in least.counts.items())
                assert made.aligned <= least.aligned
        plain = [plan for plan in plans(chain) if plan.input_format is plan.output_format is Format.S8]
        for room in sorted({plan.scratch_bytes for plan in plain}):
            found = CHAINS.least(chain, room, lambda band: band.cycles)
            assert found is not None
            assert found <= min(plan.cycles for plan in plain if plan.scratch_bytes <= room)
        assert CHAINS.least(chain, 0, lambda band: band.cycles) is None or not shape.buffered


def _order() -> Order:
    """The order of a chain with a strided convolution, an addition and windows that overlap."""
    graph = simplify.simplify(zoo.build("resnet8")).graph
    chain = chain_of(graph, graph.operators[:4])
    assert chain is not None
    shape = shape_of(chain)
    assert shape is not None
    return order_of(shape, (1, 2, 1, 1))


def _replay(order: Order, *, scratch: int = 0, shift: int = 0, kept: int = 0) -> None:
    """Replayed with the buffers one behind the other; ``shift`` moves the second one down, below ``kept`` is none."""
    lines, at = {}, 0
    for tensor in order.shape.buffered:
        lines[tensor] = at
        at += order.bytes(tensor)
    lines[1] -= shift
    replay(order, lines, {}, at - scratch, [None] * len(order.heights), kept)


def test_replay_refuses_what_is_wrong() -> None:
    """Catches a replay that believes what it is told: a step left out or made early, buffers that share bytes, a lead
    that lets the output overrun the input, a buffer that is too small, or on what is kept, padding in place of rows.
    """
    order = _order()
    _replay(order)
    steps = order.steps
    moves = [i for i, step in enumerate(steps) if step.kind is StepKind.MOVE]
    fed = [i for i, step in enumerate(steps) if step.kind is StepKind.FEED]
    padded = [i for i, step in enumerate(steps) if step.kind is StepKind.PAD]
    wrong = {
        "a move left out": steps[: moves[0]] + steps[moves[0] + 1 :],
        "a row left out": steps[: fed[3]] + steps[fed[3] + 1 :],
        "the end left out": steps[:-1],
        "padding early": (steps[padded[-1]], *steps),
        "padding left out": steps[: padded[0]] + steps[padded[0] + 1 :],
    }
    for told in wrong.values():
        with pytest.raises(FalseClaimError):
            _replay(dataclasses.replace(order, steps=told))
    with pytest.raises(FalseClaimError):
        _replay(order, shift=4)
    with pytest.raises(FalseClaimError):
        _replay(dataclasses.replace(order, lead=order.lead - order.shape.lines[0].row_bytes))
    with pytest.raises(FalseClaimError):
        _replay(order, kept=4)
    small = {t: rows - (t == 1) for t, rows in order.capacities.items()}
    with pytest.raises(FalseClaimError):
        _replay(dataclasses.replace(order, capacities=small))


def test_replay_refuses_places_that_are_wrong() -> None:
    """Catches packed rows on others, or beyond their memory, and a table that is longer or shorter than its steps."""
    order = packed_order(_order().shape, (1, 1, 1, 1), (0, 0, 0, 0))
    assert order is not None
    packing = order.packing
    assert packing is not None
    assert packing.bytes < sum(map(_order().bytes, order.shape.buffered))

    def check(places: tuple[int, ...], size: int = packing.bytes) -> None:
        told = dataclasses.replace(order, packing=packing._replace(places=places))
        replay(told, dict.fromkeys(order.shape.buffered, 0), {}, size, [None] * 4)

    places = packing.places
    check(places)
    low, high = (0,) * len(places), (*places[:9], packing.bytes // 4, *places[10:])
    for wrong in (low, high, places[:-1], (*places, 0), (*places[:8], places[9], places[8], *places[10:])):
        with pytest.raises(FalseClaimError):
            check(wrong)
    with pytest.raises(FalseClaimError):
        check(places, packing.bytes - 4)


def test_what_a_chain_reads_at_least() -> None:
    """Catches rows of the input that no output depends on being counted, and weights that are left out."""
    graph = simplify.simplify(zoo.build("resnet8")).graph
    chain = chain_of(graph, graph.operators[:5])
    assert chain is not None
    needed = chain.operands
    assert needed.inputs == (chain.shape.elements,)
    assert needed.output == chain.output.elements
    assert needed.weights == sum(part.layer.operands.weights for part in chain.parts) > 0


def test_rows_are_computed_once() -> None:
    """Catches a row that is computed again, or never."""
    order = _order()
    for part, (rows, height) in enumerate(zip(order.shape.lines[1:], order.heights, strict=True)):
        made = sum(step == (StepKind.COMPUTE, part) for step in order.steps)
        assert made * height == rows.height
