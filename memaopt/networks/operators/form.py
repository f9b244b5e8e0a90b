"""An operator's form in a .tflite file, as data: which options table it has, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

if TYPE_CHECKING:
    from memaopt.networks.graph import Tensor


class Field(NamedTuple):
    """A slot of an options table, by its name in TFLite's schema (``strideH``; empty where it has none any more), with
    its bytes.

    The value of an ``enumeration`` is the name of a member (``SAME``), or the bare number where it has none. A
    ``vector`` is a tuple. ``real``: a float; ``text``: a string. ``default`` is what a file leaves out.
    """

    name: str
    width: int
    enumeration: str = ""
    vector: bool = False
    real: bool = False
    default: int = 0
    text: bool = False


class Options(NamedTuple):
    """An options table: its name and number in the union ``BuiltinOptions``, and its slots 0, 1, ..."""

    name: str
    number: int
    fields: tuple[Field, ...]


class Form(NamedTuple):
    """What is written: constant int32 operands by what they are for, and the options that have no default."""

    operands: Mapping[str, npt.ArrayLike] = {}
    options: Mapping[str, Any] = {}
    order: tuple[int, ...] = ()
    """Where it is not inputs, then operands, then states: for each operand of the file, its position among those, or -1
    for one that is left out."""
    states: tuple[Tensor, ...] = ()
    """What the operator keeps from one call to the next."""
    intermediates: tuple[Tensor, ...] = ()
    """What the operator says of values that it computes on the way."""


PADDING = Field("padding", 1, "Padding")
ACTIVATION = Field("fusedActivationFunction", 1, "ActivationFunctionType")
POT_SCALE = Field("potScaleInt16", 1, default=1)
"""Of sums: whether int16 whose scales are powers of two are shifted, not rescaled."""
