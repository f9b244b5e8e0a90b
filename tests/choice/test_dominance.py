"""Labels that no other one replaces."""

import numpy as np

from memaopt.choice.dominance import undominated


def test_the_first_ones_are_those_of_all() -> None:
    """Catches a label that stays because what replaces it was left out, and one that is lost, where only some of the
    labels are wanted."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 40, (1000, 6))
    values = values[np.lexsort((values.sum(axis=1),))]
    paid, sizes = rng.random((1000, 5)) < 0.5, np.zeros((2, 5), np.int64)
    every = undominated(values, paid, sizes, np.zeros(5, bool))
    first = undominated(values, paid, sizes, np.zeros(5, bool), 20)
    assert 20 < len(first) < len(every)
    assert (first == every[: len(first)]).all()
