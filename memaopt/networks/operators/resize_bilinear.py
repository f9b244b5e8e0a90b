"""RESIZE_BILINEAR of an image's rows and columns, in 1/1024 of a position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from memaopt.networks.graph import Graph
from memaopt.networks.operators.convolution import image_of
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.operator import Array, Lowered
from memaopt.networks.operators.resizing import Resizing
from memaopt.problems import geometry, resize


class ResizeBilinear(Resizing):
    kind: ClassVar[str] = "RESIZE_BILINEAR"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options(
        "ResizeBilinearOptions", 15,
        (Field("", 4), Field("", 4), Field("alignCorners", 1), Field("halfPixelCenters", 1)),
    )  # fmt: skip

    def layer(self, graph: Graph) -> resize.Resize:
        """The layer of one image."""
        x, y = image_of(graph.tensor_of(self)), image_of(graph.output_of(self))
        steps = []
        for inputs, outputs in zip(x[:2], y[:2], strict=True):
            less = 1 if self.align_corners and outputs > 1 else 0
            steps.append(((inputs - less) * resize.RESIZE_UNIT + (outputs - less) // 2) // (outputs - less))
        return resize.Resize(x, y, geometry.Pair(*steps), self.half_pixel_centers)

    def check_arithmetic(self, graph: Graph) -> None:
        layer = self.layer(graph)
        if self.align_corners and self.half_pixel_centers:
            raise self.refuse(graph, "corners aligned and centers of half pixels; one of them is supported")
        for axis in (0, 1):
            if (layer.positions(axis).lower >= layer.shape[axis]).any():
                raise self.refuse(graph, "a step rounded to 1/1024 reaches beyond the image")

    def work(self, graph: Graph) -> int:
        return 4 * graph.output_of(self).elements

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        return self.layer(graph).apply(arguments[0])

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), (self.input,), graph.tensor_of(self).shape[0])

    def is_identity(self, graph: Graph) -> bool:
        return graph.tensor_of(self).shape == graph.output_of(self).shape
