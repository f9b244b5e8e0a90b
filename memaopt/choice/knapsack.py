"""What the stages to come cost at least, by what is left of one budget: a shortest path for every amount that is left.

Multipliers alone price a layer that takes much as if a fraction of it could be had. Here each layer is had or not; only
amounts are rounded, down to a unit, so that what comes out is a lower bound.
"""

from __future__ import annotations

import numpy as np

from memaopt.choice.dominance import Array
from memaopt.choice.label_stages import NEVER, Costs, Layers

#: Amounts that are told apart.
_STEPS = 1 << 13


class Knapsack:
    """For each stage, each state before it and each amount of a budget that is left, the least sum of weights from
    there to the end whose sizes keep within it. ``room`` is the whole budget."""

    def __init__(self, layers: Layers, weights: Costs, sizes: Costs, room: int) -> None:
        self._sizes = layers.to_go(sizes)
        spare = max(room - int(self._sizes[0][0]), 0)
        self._unit = spare // _STEPS + 1
        count = spare // self._unit + 1
        following = np.zeros((len(layers.states[-1]), count), np.int64)
        self._least = [following]
        for i in reversed(range(len(layers.stages))):
            rows = list(zip(weights[i], sizes[i], strict=True))
            here = np.full((len(layers.states[i]), count), NEVER)
            for state, edges in enumerate(layers.edges[i]):
                for edge in edges:
                    weight, more = rows[edge.row]
                    # Beyond what the stages from here on take in any case.
                    steps = int(more + self._sizes[i + 1][edge.to] - self._sizes[i][state]) // self._unit
                    if steps < count:
                        reached = here[state, steps:]
                        np.minimum(reached, following[edge.to, : count - steps] + weight, out=reached)
            following = np.minimum(here, NEVER)
            self._least.append(following)
        self._least.reverse()

    def least(self, i: int, state: int, left: Array) -> Array:
        """For labels before stage ``i`` that leave so much, the least sum of weights to go."""
        table = self._least[i][state]
        steps = (left - self._sizes[i][state]) // self._unit
        return np.where(steps < 0, NEVER, table[np.clip(steps, 0, len(table) - 1)])
