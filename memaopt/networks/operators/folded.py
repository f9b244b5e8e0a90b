"""Operators on integers that are known before the network runs: shapes, and what converters compute with them.

Reading such an operator is computing it: the tensor that it writes is a constant from then on, and no network has the
operator. Operators that can also run (STRIDED_SLICE, MUL, ...) do the same where their inputs are known
(:meth:`Operator.known`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy.typing as npt

from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.source import Source

INTEGERS = (DType.INT32, DType.INT64)


class Folded(ABC):
    """What is left to a subclass: :meth:`value`."""

    kind: ClassVar[str]
    options: ClassVar[Options | None] = None

    @classmethod
    @abstractmethod
    def value(cls, source: Source) -> npt.NDArray[Any]:
        """What it writes; UnsupportedModelError if that is not known, or not as large as the output tensor says."""


def is_known(tensor: Tensor) -> bool:
    """Whether it holds integers, that mean themselves, before the network runs."""
    return tensor.is_constant and tensor.dtype in INTEGERS


def known_value(source: Source, position: int) -> npt.NDArray[Any]:
    """An input's elements; UnsupportedModelError if only a run of the network can tell."""
    tensor = source.tensor(position)
    if tensor.data is None:
        raise source.refuse(f"input {tensor.name!r} is computed; a constant is supported")
    return tensor.data


def held(source: Source, output: Tensor, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The value in the type and shape of an output, to which integers wrap."""
    if value.size != output.elements:
        raise source.refuse(f"the output is {list(output.shape)} in the file but {list(value.shape)} by its inputs")
    return value.reshape(output.shape).astype(output.dtype.value, order="C")
