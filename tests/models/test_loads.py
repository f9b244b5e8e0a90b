"""What constants wait at least, held to what all code waits."""

import pytest

from memaopt.kernels.code import REWIND, Loop, Straight
from memaopt.machines.mcu import mcu
from memaopt.models.loads import loading
from memaopt.models.waits import timing, waiting

STOCK = timing(mcu("stm32l4r5"))
START = Straight((0.0,), (REWIND,))
HELD = STOCK.data_lines * STOCK.line


def _loads(words: int, step: float = 1.0) -> Straight:
    return Straight((1.0,) * words, (1,) * words, step)


@pytest.mark.parametrize(
    ("body", "reads"),
    [
        ((_loads(50),), 25),
        ((Loop((_loads(50),), 20),), 500),
        ((Loop((START, _loads(HELD)), 20),), HELD // 2),
        ((Loop((START, _loads(HELD + 8)), 20),), 20 * (HELD + 8) // 2),
        ((Loop((START, _loads(8)), 20, advance=8.0),), 80),
        ((Loop((Loop((START, _loads(8)), 3), Straight((1.0,), (0,))), 20, advance=8.0),), 80),
        ((Loop((_loads(16, 0.25),), 10),), 20),
        ((Loop((_loads(8),), 2.5),), 8),
        ((Loop((Straight((1.0,) * 9, (0,) * 9),), 100),), 0),
    ],
    ids=["once", "streamed", "held", "too many to hold", "moved on", "moved on outside", "bytes", "part", "none"],
)
def test_each_read_that_the_cache_does_not_hold_waits(body: tuple[Straight | Loop, ...], reads: int) -> None:
    """Catches reads that are counted though they are held, or that nobody counts, and a bound above what it bounds."""
    assert loading(body, STOCK) == reads * STOCK.first
    assert loading(body, STOCK) <= waiting(body, STOCK)
