"""Random chains of image layers, in the least arena that any partition has; run as a script, many of them.

python -m tests.chains_helpers --count 300 [--first 0] [--board]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from network_helpers import MCU, Library

from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import Problem
from memaopt.choice.spaces import simplifications
from memaopt.emit import network as emit
from memaopt.errors import InfeasibleError, InputError, UnsupportedModelError
from memaopt.kernels.chains.order import shape_of
from memaopt.kernels.plan import Format
from memaopt.kernels.registry import CHAINS
from memaopt.networks import operators as ops
from memaopt.networks.chains import Chains, chain_of, is_closed
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.operators.window import SlidingWindow, same_padding
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.layers import LayerChain
from memaopt.trials import network as network_trial

ZERO = MCU.with_wait_states(0)
_ACTIVATIONS = (Activation.NONE, Activation.RELU, Activation.RELU6)


def random_chain(seed: int) -> Graph:
    """Convolutions, depthwise ones, pools, tables and additions that skip some of them; at times a mean ends it."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(5, 19, 2))
    b = Builder(f"chain_{seed}", (1, height, width, int(rng.choice([1, 2, 3, 4, 8]))), seed)
    x, waiting = b.input, b.input
    for _ in range(int(rng.integers(2, 7))):
        activation = _ACTIVATIONS[int(rng.integers(3))]
        stride = Size2D(*(int(n) for n in rng.choice([1, 1, 1, 2], 2)))
        shape = b.tensors[x].shape
        match rng.integers(6):
            case 0 | 1:
                kernel = Size2D(*(int(n) for n in rng.choice([1, 3, 3, 5], 2)))
                x = b.conv_2d(x, int(rng.choice([2, 4, 5, 8, 12])), kernel, activation, stride=stride)
            case 2:
                x = b.conv_2d(x, int(rng.choice([4, 6, 16])), Size2D(1, 1), activation)
            case 3 if min(shape[1:3]) > 2:
                x = b.depthwise_conv_2d(x, activation, stride=Size2D(stride.height, stride.height))
            case 4 if min(shape[1:3]) > 3:
                x = b.max_pool(x, Size2D(2, 2))
            case _:
                y = b.conv_2d(b.depthwise_conv_2d(x, activation), b.channels(x), Size2D(1, 1)) if shape[1] > 2 else x
                x = b.add(x, y) if y != x else b.logistic(x)
        waiting = x
    end = rng.integers(3)
    return b.finish(x if end == 0 else b.mean(waiting) if end == 1 else b.average_pool(waiting))


def wide_chain(seed: int) -> Graph:
    """What :func:`random_chain` has none of: VALID padding, dilation, several output channels for each input channel,
    branches that meet, pools that overlap or average, channels that Winograd takes; ends that are dense or a softmax.
    """
    rng = np.random.default_rng((13, seed))
    height, width = int(rng.choice([6, 7, 8, 8, 9, 10, 12, 12, 13, 16])), int(rng.integers(6, 17))
    b = Builder(f"wide_{seed}", (1, height, width, int(rng.choice([1, 2, 3, 3, 4, 5, 8, 16]))), seed)
    x = b.input
    for _ in range(int(rng.integers(2, 6))):
        x = _wide_link(b, x, rng)
    end = rng.integers(6)
    if end < 2:
        x = b.mean(x) if end else b.average_pool(x)
    elif end < 5:
        x = b.flatten(x)
    if end in (0, 2, 3):
        x = b.fully_connected(x, int(rng.integers(1, 12)), _ACTIVATIONS[int(rng.integers(2))])
    elif end in (1, 4):
        x = b.classify(x, int(rng.integers(2, 12)))
    return b.finish(x)


def _wide_link(b: Builder, x: int, rng: np.random.Generator) -> int:
    """One or a few more layers on an image."""
    _, height, width, channels = b.tensors[x].shape
    activation = _ACTIVATIONS[int(rng.integers(3))]
    stride = Size2D(*(int(n) for n in rng.choice([1, 1, 1, 2, 3], 2)))
    kernel = Size2D(*(int(n) for n in rng.choice([1, 2, 3, 3, 5], 2)))
    dilation = Size2D(*(int(n) for n in rng.choice([1, 1, 1, 2], 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    same = bool(rng.integers(2)) or height <= reach[0] or width <= reach[1]
    match rng.integers(9):
        case 0 | 1:
            depth = int(rng.choice([2, 3, 4, 8, 12]))
            return b.conv_2d(x, depth, kernel, activation, stride=stride, dilation=dilation, same=same)
        case 2 | 8:  # Winograd, where four rows can be had
            y = b.conv_2d(x, 16, Size2D(1, 1), activation)
            return b.conv_2d(y, int(rng.choice([8, 16])), Size2D(3, 3), activation)
        case 3:
            y = x if channels <= 4 else b.conv_2d(x, int(rng.integers(1, 5)), Size2D(1, 1))
            multiplier, square = int(rng.choice([1, 2, 4])), Size2D(stride.height, stride.height)
            return b.depthwise_conv_2d(y, activation, kernel=kernel, stride=square, same=same, multiplier=multiplier)
        case 4 if min(height, width) > 3:
            pool, window = (ops.MaxPool2D, ops.AveragePool2D)[int(rng.integers(2))], Size2D(int(rng.integers(2, 4)), 2)
            return _pool(b, x, pool, window, Size2D(*(int(n) for n in rng.integers(1, 3, 2))), bool(rng.integers(2)))
        case 5:  # two branches
            first = b.conv_2d(x, 8, kernel, activation, dilation=dilation)
            return b.add(first, b.conv_2d(x, 8, Size2D(3, 1), Activation.NONE), activation)
        case 6:  # an addition that skips two layers
            y = b.conv_2d(x, channels, Size2D(1, 1), activation)
            return b.add(x, b.conv_2d(y, channels, kernel, activation), activation)
        case _:
            return b.conv_2d(x, int(rng.choice([4, 6, 20])), Size2D(1, 1), activation)


def _pool(b: Builder, x: int, kind: Any, kernel: Size2D, stride: Size2D, same: bool) -> int:
    """Windows that may overlap, and reach beyond the image."""
    _, height, width, channels = b.tensors[x].shape
    padding = same_padding(height, width, kernel, stride, ops.ONE) if same else ops.Padding2D()
    rows, columns = SlidingWindow(kernel, stride, ops.ONE, padding).output(height, width)
    pooled = b._like(x, "pool", (1, rows, columns, channels))
    return b._append(kind, (x,), pooled, {"kernel": kernel, "stride": stride, "padding": padding})


def wide_plan(seed: int) -> NetworkPlan:
    """A plan of a wide chain: in the least arena, or by rows in that; or as one chain, with some plan that this has."""
    rng, graph = np.random.default_rng((17, seed)), wide_chain(seed)
    if rng.integers(4) == 0:
        try:
            return compile_smallest(graph, ZERO, by_rows=True)
        except InputError as error:  # its first layer takes no rows, which the message says
            if "take no rows as they come" not in str(error):
                raise
    multiple, simple = simplifications(graph)[0]
    ends = longest(simple.graph)
    if ends is None or rng.integers(4) == 0:
        return compile_smallest(graph, ZERO)

    def among(problem: Problem) -> Problem:
        stages = list(problem.stages)
        at = problem.positions.index(ends[0])
        plain = [c for c in stages[at].candidates if c.plan.input_format is c.plan.output_format is Format.S8]
        stages[at] = dataclasses.replace(stages[at], candidates=(plain[int(rng.integers(len(plain)))],))
        return dataclasses.replace(problem, stages=tuple(stages))

    return compile_network(graph, ZERO, chains={multiple: (ends,)}, among=among)


def every_partition(graph: Graph) -> Iterator[Chains]:
    """Every way to make chains of some operators."""
    count = len(graph.operators)
    ranges = [
        (i, j)
        for i in range(count)
        for j in range(i + 2, count + 1)
        if is_closed(graph, i, j) and chain_of(graph, graph.operators[i:j]) is not None
    ]
    for number in range(count // 2 + 1):
        for chosen in itertools.combinations(ranges, number):
            if all(a[1] <= b[0] for a, b in itertools.pairwise(chosen)):
                yield chosen


def longest(graph: Graph) -> tuple[int, int] | None:
    """The longest chain that there can be."""
    count = len(graph.operators)
    for size in range(count, 1, -1):
        for first in range(count - size + 1):
            chain = chain_of(graph, graph.operators[first : first + size])
            if chain is not None and is_closed(graph, first, first + size) and shape_of(chain) is not None:
                return first, first + size
    return None


def replayed(plan: NetworkPlan) -> int:
    """How many chains a plan has, each replayed byte by byte."""
    chains = [(each.lowered.layer, each.plan) for each in plan.layers if isinstance(each.lowered.layer, LayerChain)]
    for chain, chosen in chains:
        CHAINS.replay(chain, chosen)
    return len(chains)


def check(seed: int, folder: Path) -> NetworkPlan:
    """A random chain's plan, once every layer's bytes are those of the reference on the host."""
    return _checked(compile_smallest(random_chain(seed), ZERO), folder)


def _checked(plan: NetworkPlan, folder: Path) -> NetworkPlan:
    library = Library(plan, folder)
    for number in range(3):
        library.check(emit.random_inputs(plan, number))
    return plan


def run(plan: NetworkPlan, board: bool) -> None:
    """Assert that a plan computes what the reference does, on the host or as promised on the board."""
    if board:
        trial = network_trial.run(plan, 2)
        assert trial.passed, trial
        assert trial.cycles is not None
        assert abs(trial.cycles - plan.machine_cycles) <= 0.05 * trial.cycles, (trial.cycles, plan.machine_cycles)
        return
    with tempfile.TemporaryDirectory() as folder:
        _checked(plan, Path(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """The program: every fault is told with its seed, and the next one tried."""
    parser = argparse.ArgumentParser(description="Random chains against the reference.")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="no new one is begun after so many")
    parser.add_argument("--board", action="store_true")
    given = parser.parse_args(arguments)
    started, tried, wrong, refused, traits = time.monotonic(), 0, 0, 0, dict[str, int]()
    for seed in range(given.first, given.first + given.count):
        if time.monotonic() - started > given.seconds:
            break
        tried += 1
        try:
            plan = wide_plan(seed)
            chains = replayed(plan)
            run(plan, given.board)
        except (InfeasibleError, UnsupportedModelError) as error:  # what no kernel computes, as a scale above 1
            refused += 1
            print(f"{seed}: refused: {error}")
            continue
        except Exception as error:
            wrong += 1
            print(f"{seed}: {type(error).__name__}: {str(error)[:2000]}", flush=True)
            continue
        for trait in _traits(plan, chains):
            traits[trait] = traits.get(trait, 0) + 1
    where = "board" if given.board else "host"
    print(f"{tried} networks from {given.first} on the {where}, {wrong} of them wrong, {refused} refused; {traits}")
    raise SystemExit(wrong > 0)


def _traits(plan: NetworkPlan, chains: int) -> list[str]:
    """What is special about a plan, to see that nothing is missing."""
    inner = [each for each in plan.layers if each.plan.family == CHAINS.name]
    options = {name for each in inner for name, _ in each.plan.options}
    kinds = {word for each in inner for word in each.op.words(plan.graph)}
    found = {
        "chains": chains > 0,
        "packed": "packed" in options,
        "by rows": plan.source.by_rows,
        "winograd": any("winograd" in kernel for each in inner for kernel in each.plan.kernels),
        "bands": any(value > 1 for each in inner for name, value in each.plan.options if name.startswith("height")),
        **dict.fromkeys(sorted(kinds), True),
    }
    return [name for name, there in found.items() if there]


if __name__ == "__main__":
    main()
