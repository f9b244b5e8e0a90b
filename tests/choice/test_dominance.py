"""Labels that no other one replaces."""

import numpy as np

from memaopt.choice.dominance import undominated
from memaopt.choice.offers import Option, by_arrays, one_by_one
from memaopt.kernels.registry import Format


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


def test_a_few_rows_are_left_as_many_are() -> None:
    """Catches a row that one comparison of rows keeps and the other drops, or another order of those that stay: values
    are few, so that many are equal in some."""
    rng = np.random.default_rng(2)
    for count in (2, 5, 30) * 20:
        own = rng.integers(0, 3, (count, 6)).tolist()
        rows = [Option(pick, 0, Format.S8, Format.S8, -1, tuple(each), 0) for pick, each in enumerate(own)]
        assert one_by_one(rows) == by_arrays(rows)
