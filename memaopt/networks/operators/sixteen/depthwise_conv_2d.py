"""DEPTHWISE_CONV_2D of int16 activations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from memaopt.networks.graph import DType, Graph
from memaopt.networks.operators.depthwise_conv_2d import DepthwiseConv2D
from memaopt.networks.operators.operator import Lowered
from memaopt.networks.operators.sixteen.convolution import Convolution16
from memaopt.problems.sixteen import Depthwise16


class DepthwiseConv2D16(Convolution16, DepthwiseConv2D):
    """Sums are int64 always: a bias of int32 is read as int64 by TFLite Micro and refused by LiteRT."""

    kind: ClassVar[str] = "DEPTHWISE_CONV_2D"
    sums: ClassVar[type[np.signedinteger[Any]]] = np.int64

    def check_types(self, graph: Graph) -> None:
        super().check_types(graph)
        if self.bias is not None:
            self.expect(graph, self.bias, "bias", DType.INT64)

    def lower(self, graph: Graph) -> Lowered | None:
        layer = Depthwise16(weights=graph.tensors[self.weights].values[0], **self.parts16(graph))
        return Lowered(layer, (self.input,), graph.tensor_of(self).shape[0])
