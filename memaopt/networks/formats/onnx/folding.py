"""Nodes whose inputs are known: computed by ONNX's own reference, once, while the file is read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from memaopt.networks import limits
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Array, Constant, Integers, Value

FOLDED = frozenset({
    "Abs", "Add", "Cast", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Flatten", "Gather", "Greater",
    "Identity", "Less", "Max", "Min", "Mul", "Neg", "Pow", "QuantizeLinear", "ReduceProd", "Reshape", "Shape", "Size",
    "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""What is folded; each gives no more elements than :func:`_extent` counts."""


def folded(node: OnnxNode) -> Value | None:
    """The constant that a node gives, if all that it reads is known; its first output."""
    if node.kind in ("Shape", "Size") and node.given and not isinstance(node.given[0], Constant):
        shape = getattr(node.given[0], "shape", None)
        if isinstance(node.given[0], Integers):
            shape = node.given[0].integers.shape
        if shape is None:
            return None
        if node.kind == "Size":
            return Constant(np.array(math.prod(shape), np.int64))
        start, end = node.get("start", 0), node.get("end", len(shape))
        return Constant(np.array(shape[start:end], np.int64))
    known = [value for value in node.given if value is not None]
    if node.kind not in FOLDED or not known or not all(isinstance(value, Constant) for value in known):
        return None
    arrays = [value.array if isinstance(value, Constant) else None for value in node.given]
    if _extent(node, [array for array in arrays if array is not None]) > limits.MAX_CONSTANT_BYTES:
        raise node.refuse(f"a constant of more than {limits.MAX_CONSTANT_BYTES:,} elements")
    return Constant(np.asarray(evaluated(node, arrays)[0]))


def _extent(node: OnnxNode, arrays: Sequence[Array]) -> int:
    """At most so many elements come of it."""
    if node.kind == "ConstantOfShape":
        return math.prod(max(int(size), 0) for size in arrays[0].reshape(-1)[: limits.MAX_RANK])
    if node.kind == "Concat":
        return sum(array.size for array in arrays)
    if node.kind == "Gather":
        return arrays[0].size * arrays[1].size
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    except ValueError:
        return max(array.size for array in arrays)


def evaluated(node: OnnxNode, arguments: Sequence[Array | None]) -> list[Array]:
    """The outputs of a node by ONNX's reference; what that cannot compute is refused."""
    from onnx.helper import make_node
    from onnx.reference import ReferenceEvaluator

    names = ["" if value is None else f"input_{i}" for i, value in enumerate(arguments)]
    feeds = {name: value for name, value in zip(names, arguments, strict=True) if name}
    given = {name: value for name, value in node.attributes.items() if value != []}
    try:
        proto = make_node(node.kind, names, [f"output_{i}" for i in range(len(node.outputs))], **given)
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(proto, opsets={"": node.opset}).run(None, feeds)
    except Exception as error:  # whatever the reference raises on a node that is not valid
        raise node.refuse(f"it is not valid: {' '.join(str(error).split())[:200]}") from None
    return [np.asarray(each) for each in found]
