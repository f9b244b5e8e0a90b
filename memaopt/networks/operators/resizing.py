"""What operators that resize an image's rows and columns have in common."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Form
from memaopt.networks.operators.operator import Links, Operator, Shape, check_rank, depth
from memaopt.networks.operators.source import Source


class Resizing(Operator):
    """[N, H, W, C] to another height and width, which a constant names; scales do not count."""

    counts_scale: ClassVar[bool] = False

    align_corners: bool = False
    half_pixel_centers: bool = False

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(2, 2)
        options, size = source.options(), source.integers(1, "size")
        if size != source.output().shape[1:3]:
            raise source.refuse(f"size {list(size)} is not that of the output")
        align, half = (bool(options.get(name, False)) for name in ("alignCorners", "halfPixelCenters"))
        return cls(**source.common(), align_corners=align, half_pixel_centers=half)

    def write(self, graph: Graph) -> Form:
        options = {"alignCorners": self.align_corners, "halfPixelCenters": self.half_pixel_centers}
        return Form({"size": graph.output_of(self).shape[1:3]}, options)

    def output_shape(self, graph: Graph) -> Shape:
        shape, output = graph.tensor_of(self).shape, graph.output_of(self).shape
        check_rank(graph.place(self), shape, 4)
        check_rank(graph.place(self), output, 4)
        return (shape[0], *output[1:3], shape[3])

    def links(self, graph: Graph) -> Links | None:
        return {self.input: np.arange(depth(graph.output_of(self)))}

    def words(self, graph: Graph) -> tuple[str, ...]:
        named = {"corners aligned": self.align_corners, "half pixels": self.half_pixel_centers}
        return tuple(name for name, given in named.items() if given)
