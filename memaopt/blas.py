"""The threads of numpy's matrix products, which are those of whatever library numpy brings along."""

import os

_NUMBERS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_thread() -> None:
    """From now on a process that loads numpy multiplies on one thread, unless its user says otherwise: for those that
    share the cores among them."""
    for number in _NUMBERS:
        os.environ.setdefault(number, "1")
