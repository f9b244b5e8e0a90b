"""Random chains of image layers, in the least arena that any partition has; run as a script, many of them on the host.

python tests/chains_helpers.py 300
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from network_helpers import MCU, Library

from memaopt.choice.least import compile_smallest
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import network as emit
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder

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


def check(seed: int, folder: Path) -> NetworkPlan:
    """A random chain's plan, once every layer's bytes are those of the reference on the host."""
    plan = compile_smallest(random_chain(seed), ZERO)
    library = Library(plan, folder)
    for number in range(3):
        library.check(emit.random_inputs(plan, number))
    return plan


def main(count: int, first: int = 0) -> None:
    chained = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            chained += bool(check(seed, Path(folder)).chains)
    print(f"{count} networks are right on the host, {chained} of them with chains")


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:]))
