"""The bound over schedules of whole rows, against all schedules of small networks."""

import heapq
import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from memaopt.memory.row_bound import bound, bound_of
from memaopt.memory.row_network import RowNetwork, RowOperator, RowRead, RowTensor, sums
from memaopt.networks.simplify import simplify
from memaopt.networks.zoo import zoo


def _windows(rows: int, outputs: int, kernel: int, stride: int, above: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows needed and rows done with, written down from the meaning of a window, row by row."""
    need, low = [0], []
    for done in range(outputs + 1):
        read = [range(max(r * stride - above, 0), min(r * stride - above + kernel, rows)) for r in range(outputs)]
        if done:
            need.append(max([need[-1], *(row + 1 for row in read[done - 1])]))
        low.append(min((row for later in read[done:] for row in later), default=rows))
    return np.array(need), np.array(low)


def _random(rng: np.random.Generator) -> RowNetwork:
    """A chain of a few windows, at times with a sum of two tensors or a sum of all rows at its end."""
    tensors = {0: RowTensor(int(rng.integers(3, 7)), int(rng.integers(1, 9)))}
    operators: list[RowOperator] = []
    for t in range(1, int(rng.integers(3, 5))):
        rows, kernel, stride = tensors[t - 1].rows, int(rng.integers(1, 4)), int(rng.integers(1, 3))
        above = int(rng.integers(0, kernel))
        outputs = max((rows + above + int(rng.integers(0, kernel)) - kernel) // stride + 1, 1)
        reads = [RowRead(t - 1, *_windows(rows, outputs, kernel, stride, above))]
        earlier = [u for u in range(t - 1) if tensors[u].rows == outputs and not tensors[u].sums]
        if earlier:
            reads.append(RowRead(earlier[0], np.arange(outputs + 1), np.arange(outputs + 1)))
        tensors[t] = RowTensor(outputs, int(rng.integers(1, 9)))
        operators.append(RowOperator(t - 1, t, tuple(reads)))
    last = len(tensors) - 1
    if rng.integers(2):
        rows = tensors[last].rows
        tensors[last + 1] = RowTensor(rows, 2, 8)
        operators.append(RowOperator(last, last + 1, (RowRead(last, np.arange(rows + 1), np.arange(rows + 1)),)))
        last += 1
    return RowNetwork(tensors, tuple(operators), frozenset({0}), frozenset({last}))


def _held(network: RowNetwork, done: dict[int, int], computing: int | None = None) -> int:
    """Bytes of a state, with the row that is being computed."""
    total = 0
    for t, x in network.tensors.items():
        p = done[t] + (t == computing)
        lows = [int(r.low[done[op.output]]) for op in network.operators for r in op.reads if r.tensor == t]
        low = 0 if t in network.outputs or not lows else min(lows)
        if x.sums:
            total += 0 if p == 0 or low >= x.rows else x.sums if p < x.rows else x.row_bytes
        else:
            total += max(p - low, 0) * x.row_bytes
    return total


def _next(network: RowNetwork, done: dict[int, int]) -> Iterator[RowOperator]:
    for op in network.operators:
        p = done[op.output] + 1
        if p <= network.tensors[op.output].rows and all(done[r.tensor] >= r.need[p] for r in op.reads):
            yield op


def _least_peak(network: RowNetwork) -> int:
    """The least peak of all orders in which rows can be computed, by trying them."""
    names = sorted(network.tensors)
    start = tuple(network.tensors[t].rows if t in network.inputs else 0 for t in names)
    heap, seen = [(_held(network, dict(zip(names, start, strict=True))), start)], set()
    while heap:
        peak, state = heapq.heappop(heap)
        if state in seen:
            continue
        seen.add(state)
        done = dict(zip(names, state, strict=True))
        if all(done[t] == x.rows for t, x in network.tensors.items()):
            return peak
        for op in _next(network, done):
            reached = tuple(done[t] + (t == op.output) for t in names)
            heapq.heappush(heap, (max(peak, _held(network, done, op.output)), reached))
    raise AssertionError("no order computes everything")


def _by_definition(network: RowNetwork) -> int:
    """The bound as it is defined, over all states."""
    names, best = sorted(network.tensors), {}
    for state in itertools.product(*(range(network.tensors[t].rows + 1) for t in names)):
        done = dict(zip(names, state, strict=True))
        possible = all(done[r.tensor] >= r.need[done[op.output]] for op in network.operators for r in op.reads) and all(
            done[t] == network.tensors[t].rows for t in network.inputs
        )
        for op in _next(network, done) if possible else ():
            key = op.output, done[op.output]
            best[key] = min(best.get(key, 1 << 30), _held(network, done, op.output))
    return max(best.values())


@pytest.mark.parametrize("seed", range(30))
def test_no_order_of_rows_takes_less(seed: int) -> None:
    """Catches a bound that some schedule beats, and elimination that does not find the least of all states."""
    network = _random(np.random.default_rng(seed))
    found = bound_of(network)
    assert found is not None
    assert found.bytes == _by_definition(network)
    assert found.bytes <= _least_peak(network)


def test_the_bound_is_met_by_most() -> None:
    """Catches a bound that holds because it says little."""
    networks = [_random(np.random.default_rng(seed)) for seed in range(100, 130)]
    met = [bound_of(network).bytes == _least_peak(network) for network in networks]  # type: ignore[union-attr]
    assert sum(met) >= 20


def test_of_the_zoo() -> None:
    """Catches a network whose windows, additions or sums are read wrong: the figure was found by a program of its
    own."""
    graph = simplify.simplify(zoo.build("mobilenet_v2")).graph
    found = bound(graph)
    assert found is not None
    assert found.bytes == 13_440
    assert sums(graph)
