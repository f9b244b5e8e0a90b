"""DEPTH_TO_SPACE and SPACE_TO_DEPTH: square blocks of positions against channels."""

from __future__ import annotations

from typing import ClassVar, Self

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.form import Field, Form
from memaopt.networks.operators.gathered import Gathered
from memaopt.networks.operators.source import Source

BLOCK_SIZE = Field("blockSize", 4)


class Blocks(Gathered):
    """``block`` positions a side."""

    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8,)

    block: int

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(1, 1)
        block = source.options().get(BLOCK_SIZE.name, 0)
        if not 0 < block < 1 << 15:
            raise source.refuse(f"blocks of {block}; 1 to 32767 are supported")
        return cls(**source.common(), block=block)

    def write(self, graph: Graph) -> Form:
        return Form(options={BLOCK_SIZE.name: self.block})

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"blocks {self.block}x{self.block}",)
