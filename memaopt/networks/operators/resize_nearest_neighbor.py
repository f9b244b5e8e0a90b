"""RESIZE_NEAREST_NEIGHBOR of an image's rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt import fixedpoint
from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import Graph
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.moving import Moving
from memaopt.networks.operators.operator import Array
from memaopt.networks.operators.resizing import Resizing
from memaopt.problems import movement


class ResizeNearestNeighbor(Resizing, Moving):
    kind: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options(
        "ResizeNearestNeighborOptions", 74, (Field("alignCorners", 1), Field("halfPixelCenters", 1))
    )

    def nearest(self, graph: Graph, axis: int) -> Int64Array:
        """The input index of each output index along an axis, in TFLite's float arithmetic."""
        inputs, outputs = graph.tensor_of(self).shape[axis], graph.output_of(self).shape[axis]
        less = 1 if self.align_corners and outputs > 1 else 0
        scale = np.float32(inputs - less) / np.float32(outputs - less)
        positions = (np.arange(outputs).astype(np.float32) + np.float32(0.5 if self.half_pixel_centers else 0)) * scale
        rounded = fixedpoint.round_half_away_from_zero(positions) if self.align_corners else np.floor(positions)
        return np.minimum(rounded.astype(np.int64), inputs - 1)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        resized: Array = arguments[0][:, self.nearest(graph, 1)][:, :, self.nearest(graph, 2)]
        return resized

    def pieces(self, graph: Graph) -> list[movement.Piece]:
        batch, rows, columns, channels = shape = graph.output_of(self).shape
        _, height, width, _ = graph.tensor_of(self).shape

        def steps(count: int, stride: int) -> Int64Array:
            return np.arange(count, dtype=np.int64) * stride

        across = self.nearest(graph, 1) * (width * channels), self.nearest(graph, 2) * channels
        tables = (
            (steps(batch, height * width * channels), *across, steps(channels, 1)),
            tuple(
                steps(n, s)
                for n, s in zip(shape, (rows * columns * channels, columns * channels, channels, 1), strict=True)
            ),
        )
        return [movement.Piece(0, (batch, rows, columns, channels), *tables)]

    def is_identity(self, graph: Graph) -> bool:
        sizes = graph.tensor_of(self).shape
        return all(self.nearest(graph, axis).tolist() == list(range(sizes[axis])) for axis in (1, 2))
