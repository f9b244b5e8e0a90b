"""Operators of a file that keep a tensor from run to run: they are read as others, on a state of the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from memaopt.networks.graph import State
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.operator import Operator
from memaopt.networks.operators.source import Source


class Remembered(NamedTuple):
    """The operators that compute the output, in their order, and the states that they read and write."""

    operators: list[Operator]
    states: tuple[State, ...]


class Keeping(ABC):
    """What is left to a subclass: :meth:`parts`."""

    kind: ClassVar[str]
    options: ClassVar[Options | None] = None
    unsigned: ClassVar[bool] = True
    """Whether LiteRT has it of uint8, in integers."""

    @classmethod
    @abstractmethod
    def parts(cls, source: Source) -> Remembered:
        """What it is read as; new tensors are appended to those of the file. UnsupportedModelError if it is not."""
