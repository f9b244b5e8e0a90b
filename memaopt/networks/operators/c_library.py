"""The C library's float functions, which TFLite's tables are made with."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
from collections.abc import Callable

import numpy as np


@functools.cache
def float_function(name: str) -> Callable[[float], np.float32]:
    """The function of one float, as TFLite calls it; without one, the double function rounded to float (they differ
    by an ulp at most, which seldom reaches a table)."""
    try:
        function = getattr(ctypes.CDLL(ctypes.util.find_library("m")), f"{name}f")
    except (OSError, AttributeError, TypeError):
        return lambda x: np.float32(_double(name, x))
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return lambda x: np.float32(function(x))


def _double(name: str, x: float) -> float:
    try:
        found: float = getattr(math, name)(x)
    except OverflowError:
        return math.inf
    return found
