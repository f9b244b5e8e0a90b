"""uint8 inside a network: the older scheme, read as the int8 of the same reals.

A byte less 128, with its zero point less 128, means the same, and TFLite's kernels of uint8 then do what those of int8
do, but for what :func:`computed` changes or refuses. The network's ends stay uint8, behind a QUANTIZE that flips the
top bit. Weights have a zero point of their own there, which is subtracted when they are read; where a difference then
takes nine bits, weights are int16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt import fixedpoint
from memaopt.errors import UnsupportedModelError
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators import Operator
from memaopt.networks.operators.custom import Custom
from memaopt.networks.operators.operator import EVERY_INT8
from memaopt.networks.operators.registry import KEEPING, OPERATORS
from memaopt.networks.operators.weighted import Weighted

Indices = tuple[int, ...]

_FLIPPED = 128
REFUSED = frozenset(
    [kind for kind, cls in OPERATORS.items() if not cls.unsigned]
    + [kind for kind, cls in KEEPING.items() if not cls.unsigned]
)
"""LiteRT has no uint8 of them, or computes it in float."""


class Node(NamedTuple):
    """An operator of the file: its kind and its tensors."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def flip(tensors: list[Tensor], nodes: Sequence[Node]) -> frozenset[int]:
    """Makes the uint8 tensors that operators compute with int8, in ``tensors``; returns which."""
    touched = {t for node in nodes if _unsigned(node, tensors) for t in (*node.inputs, *node.outputs)}
    weights = {n.inputs[1] for n in nodes if _has_weights(n.kind) and len(n.inputs) > 1}
    flipped = frozenset(t for t in touched if t >= 0 and tensors[t].dtype is DType.UINT8)
    for index in flipped:
        tensors[index] = _flipped(tensors[index], index in weights)
    return flipped


def with_ends(
    operators: Sequence[Operator], inputs: Indices, outputs: Indices, flipped: frozenset[int], tensors: list[Tensor]
) -> tuple[list[Operator], Indices, Indices]:
    """The operators, inputs and outputs of the network whose ends are uint8 again."""
    first = {t: _end(tensors, t) for t in inputs if t in flipped}
    last = {t: _end(tensors, t) for t in outputs if t in flipped and not tensors[t].is_constant}
    before = [ops.Quantize(inputs=(end,), outputs=(t,)) for t, end in first.items()]
    behind = [ops.Quantize(inputs=(t,), outputs=(end,), location=len(operators)) for t, end in last.items()]
    ends = tuple(first.get(t, t) for t in inputs), tuple(last.get(t, t) for t in outputs)
    return [*before, *operators, *behind], *ends


def _end(tensors: list[Tensor], index: int) -> int:
    """The uint8 tensor of an end that an int8 one stands for."""
    inner = tensors[index]
    tensors.append(dataclasses.replace(inner, dtype=DType.UINT8, zero_points=inner.zero_points + _FLIPPED))
    tensors[index] = dataclasses.replace(inner, name=f"{inner.name}/int8")
    return len(tensors) - 1


def computed(op: Operator, kind: str, place: str, tensors: list[Tensor]) -> list[Operator]:
    """The operators that compute what TFLite's kernel of uint8 does, for one (of a ``kind`` of the
    file) whose tensors were flipped."""
    if kind in REFUSED or isinstance(op, Custom):
        raise UnsupportedModelError(f"{place}: uint8 is not supported there", f"uint8 in {kind}")
    if isinstance(op, ops.AveragePool2D):
        return [op.model_copy(update={"ties_up": True})]
    if isinstance(op, Weighted) and tensors[op.weights].dtype is DType.INT16:
        return [op.model_copy(update={"wide": True})]
    if isinstance(op, ops.Concatenation):
        return _concatenation(op, tensors)
    return [op]


def _unsigned(node: Node, tensors: Sequence[Tensor]) -> bool:
    """Whether it computes with uint8, not with int8 beside it. QUANTIZE takes both as they are."""
    dtypes = {tensors[t].dtype for t in (*node.inputs, *node.outputs) if t >= 0}
    return DType.INT8 not in dtypes and (node.kind != "QUANTIZE" or not all(dtype.is_byte for dtype in dtypes))


def _has_weights(kind: str) -> bool:
    return kind in OPERATORS and issubclass(OPERATORS[kind], Weighted)


def _flipped(tensor: Tensor, weights: bool) -> Tensor:
    data, zero_points = tensor.data, tensor.zero_points
    if data is None or not weights or len(zero_points) != 1:
        data = None if data is None else frozen(data.view(np.int8) ^ np.int8(-_FLIPPED))
        return dataclasses.replace(tensor, dtype=DType.INT8, zero_points=zero_points - _FLIPPED, data=data)
    centred = data.astype(np.int64) - zero_points[0]
    held = np.iinfo(np.int8)
    dtype = DType.INT8 if held.min <= centred.min() and centred.max() <= held.max else DType.INT16
    zeros = np.zeros_like(zero_points)
    return dataclasses.replace(tensor, dtype=dtype, zero_points=zeros, data=frozen(centred.astype(dtype.value)))


def frozen(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, which cannot be written to any more."""
    data.setflags(write=False)
    return data


def _concatenation(op: ops.Concatenation, tensors: list[Tensor]) -> list[Operator]:
    """Inputs of another scale or zero point are rescaled first, in float, as ConcatenationWithScaling does."""
    made: list[Operator] = []
    y, inputs = tensors[op.output], list(op.inputs)
    for position, index in enumerate(op.inputs):
        x = tensors[index]
        if x.same_quantization(y) or len(x.scales) != 1 or len(y.scales) != 1:
            continue
        factor = x.scale * (np.float32(1) / y.scale)
        bias = np.float32(-(x.zero_point + _FLIPPED)) * factor
        steps = fixedpoint.round_half_away_from_zero((EVERY_INT8.astype(np.float32) + _FLIPPED) * factor + bias)
        values = np.clip(steps.astype(np.int64) + y.zero_point, -128, 127)
        tensors.append(dataclasses.replace(y, name=f"{x.name}/rescaled", shape=x.shape))
        inputs[position] = len(tensors) - 1
        made.append(
            ops.Lookup(
                inputs=(index,),
                outputs=(inputs[position],),
                location=op.location,
                values=tuple(values.tolist()),
                of="RESCALE",
            )
        )
    return [*made, op.model_copy(update={"inputs": tuple(inputs)})]
