"""A fuzzing bench: hostile files, random networks and interrupted writes, each class with a count and a rate.

    python -m tests.fuzz --minutes 1                       # a minute of each class
    python -m tests.fuzz --class elfs --count 2000 --seed 0

A case is made from its class, the seed and its number alone, so each can be tried again.
"""

import sys
from pathlib import Path

# The tests' helpers import each other by their bare names.
_TESTS = str(Path(__file__).resolve().parents[1])
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
