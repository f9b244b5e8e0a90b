"""The threads of numpy's matrix products, which are those of whatever library numpy brings along."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_thread() -> None:
    """A process that loads numpy from now on multiplies on one thread, unless its user says otherwise: for those that
    share the cores among them."""
    for number in _NUMBERS:
        os.environ.setdefault(number, "1")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """The same for the processes that are started meanwhile; the environment is as it was afterwards."""
    before = {number: os.environ.get(number) for number in _NUMBERS}
    one_thread()
    try:
        yield
    finally:
        for number, value in before.items():
            if value is None:
                os.environ.pop(number, None)
