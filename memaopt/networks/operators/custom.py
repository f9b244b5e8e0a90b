"""An operator of a file's own name, computed by a C function of the user's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from memaopt.networks.graph import C_TYPES, Graph, Tensor
from memaopt.networks.operators.custom_program import computed
from memaopt.networks.operators.of_no_file import OfNoFile
from memaopt.networks.operators.operator import Array, Lowered, Operator
from memaopt.networks.operators.several import in_block
from memaopt.problems.custom import CustomCode, CustomLayer, CustomTensor


class Custom(OfNoFile):
    """``code`` on the inputs. ``several``: its outputs, where the tensor that it writes is a block with all of them;
    that one output is it otherwise. ``options`` are the bytes that the file has of it."""

    kind: ClassVar[str] = "CUSTOM"
    arity: ClassVar[tuple[int, int]] = (1, 16)

    code: CustomCode
    options_data: bytes = b""
    several: tuple[CustomTensor, ...] = ()

    def layer(self, graph: Graph) -> CustomLayer:
        """What is called."""
        inputs = tuple(tensor_of(graph.tensors[index]) for index in self.inputs)
        outputs = self.several or (tensor_of(graph.output_of(self)),)
        return CustomLayer(self.code, inputs, outputs, self.options_data)

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        given = zip(arguments, self.inputs, strict=True)
        data = tuple(np.ascontiguousarray(a, graph.tensors[i].dtype.numpy).tobytes() for a, i in given)
        return np.frombuffer(computed(self.layer(graph), data), graph.output_of(self).dtype.numpy)

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), self.inputs)

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (self.code.name,)


def tensor_of(tensor: Tensor) -> CustomTensor:
    """A tensor as C sees it; UnsupportedModelError is for the checks."""
    one = len(tensor.scales) == 1 and math.isfinite(float(tensor.scales[0]))
    scale, zero = (float(tensor.scale), tensor.zero_point) if one else (0.0, 0)
    return CustomTensor(C_TYPES.get(tensor.dtype, "int8_t"), tensor.dtype.value, tensor.shape, scale, zero)


def with_outputs(op: Custom, outputs: Sequence[int], tensors: list[Tensor]) -> list[Operator]:
    """What computes these tensors, whose operator it is."""
    if len(outputs) == 1:
        return [op]
    several = tuple(tensor_of(tensors[index]) for index in outputs)
    whole = CustomLayer(op.code, (), several, b"")
    made = op.model_copy(update={"several": several})
    return in_block(made, outputs, whole.offsets, whole.gives.bytes, tensors)
