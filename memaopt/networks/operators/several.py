"""Operators of a file with several outputs, read as one that writes them into a block, and moves out of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.block_output import BlockOutput
from memaopt.networks.operators.form import Options
from memaopt.networks.operators.operator import Operator
from memaopt.networks.operators.source import Source


class Several(ABC):
    """What is left to a subclass: :meth:`parts`. ``custom``: what a file calls an operator that is none of TFLite's
    builtin ones."""

    kind: ClassVar[str]
    options: ClassVar[Options | None] = None
    custom: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def parts(cls, source: Source) -> list[Operator]:
        """The operators that compute its outputs, whose tensors may be appended to the source's."""


def in_block(
    op: Operator, outputs: Iterable[int], offsets: Iterable[int], size: int, tensors: list[Tensor]
) -> list[Operator]:
    """The operator, which writes a block of so many bytes (a new tensor, appended), and the moves of these outputs out
    of it, each from its offset on."""
    tensors.append(Tensor(f"{op.kind.lower()}_{op.location}/outputs", (size,), DType.INT8))
    block = len(tensors) - 1
    moves = [
        BlockOutput(inputs=(block,), outputs=(index,), location=op.location, offset=offset)
        for index, offset in zip(outputs, offsets, strict=True)
    ]
    return [op.model_copy(update={"outputs": (block,)}), *moves]
