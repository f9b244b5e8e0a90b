"""What is waited for a DMA: the formula against two clocks, and that its floor is one."""

import random

from memaopt.models.fetching import Outside
from memaopt.models.transfers import least_waiting_for, transfer_cycles, waiting_for


def _clocked(blocks: list[int], computing: float, outside: Outside) -> float:
    """The core and the DMA, block by block: the cycles until the last is computed with."""
    core = arrived = 0.0
    for number, block in enumerate(blocks):
        if number == 0:
            arrived = transfer_cycles(block, outside)
        core = max(core, arrived)
        if number + 1 < len(blocks):
            arrived = core + transfer_cycles(blocks[number + 1], outside)
        core += computing * block / sum(blocks)
    return core


def test_the_formula_is_what_two_clocks_say() -> None:
    """Catches a wait that is counted twice or left out, and a floor above what a plan costs or beside which more to
    compute costs less."""
    rng = random.Random(0)
    for _ in range(300):
        blocks = [rng.randint(1, 400) for _ in range(rng.randint(2, 9))]
        first = rng.randint(0, 60)
        outside = Outside(first, rng.randint(0, first), (rng.randint(0, 9), rng.randint(1, 9)))
        computing, more = sorted(rng.uniform(0, 2e5) for _ in range(2))
        waited = waiting_for(blocks, computing, outside)
        assert abs(computing + waited - _clocked(blocks, computing, outside)) < 1e-6
        floor = least_waiting_for(blocks, computing, outside)
        assert floor <= waited + 1e-6
        assert computing + floor <= more + waiting_for(blocks, more, outside) + 1e-6
