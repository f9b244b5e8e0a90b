"""A float ``.tflite`` file as one of int8: weights for each channel and symmetric, activations by what samples showed.

Weights of eight or sixteen bits that the file holds (of a dynamic range, or float16) are taken as they are there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaopt.errors import InputError
from memaopt.networks.formats.tflite.oracle import Array
from memaopt.networks.operators.quantization import Meaning
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.posttraining.rules import SUPPORTED, SYMMETRIC, WEIGHTED, WeightedOperands, meaning
from memaopt.networks.posttraining.scales import floats, meanings, observed
from memaopt.networks.posttraining.tree import Tree
from memaopt.networks.refusals import Refusal, error_of

_MOST_BIAS = 1 << 30


def quantised(data: bytes, name: str, samples: Sequence[Sequence[Array]]) -> bytes:
    """The file of int8 that computes what the float file does, as near as its scales allow.

    Each of ``samples`` has the float32 values of all inputs. InputError for a file that is not of floats,
    UnsupportedModelError for operators without a rule.
    """
    tree = Tree(data, name)
    _unpack_constants(tree)
    _demand_rules(tree)
    ranges = observed(tree, samples)
    broken = next((i for i, ends in ranges.items() if not np.isfinite(ends).all()), None)
    if broken is not None:
        raise InputError(f"{name}: tensor {broken} is not finite on these samples")
    found = meanings(tree, ranges)
    made: dict[tuple[int, ...], int] = {}
    for op in list(tree.operators):
        kind = tree.kind(op)
        inputs = [int(i) for i in op.inputs]
        if kind in WEIGHTED and tree.is_constant(inputs[WEIGHTED[kind].weights]):
            inputs = _weighted(tree, inputs, WEIGHTED[kind], found, made)
        elif kind in SYMMETRIC:
            inputs = [_symmetric(tree, i, made) for i in inputs]
        op.inputs = inputs
        if kind in OPERATORS:
            tree.raise_version(op, OPERATORS[kind].version)
    used = tree.used()
    for index, one in found.items():
        if index in used and tree.dtype(index) == "FLOAT32":
            if tree.is_constant(index):
                tree.put(index, "INT8", _steps(tree.values(index), one.scale, one.zero_point))
            tree.quantise(index, "INT8", np.array([one.scale]), np.array([one.zero_point]))
    return tree.packed()


def _unpack_constants(tree: Tree) -> None:
    """A DEQUANTIZE of a constant becomes the constant's floats."""
    kept = []
    for op in tree.operators:
        source, target = int(op.inputs[0]) if len(op.inputs) else -1, int(op.outputs[0])
        if tree.kind(op) != "DEQUANTIZE" or not tree.is_constant(source):
            kept.append(op)
            continue
        values = tree.values(source).astype(np.float32)
        if tree.dtype(source) != "FLOAT16":
            given = tree.tensors[source].quantization
            along = [1] * values.ndim
            if len(given.scale) > 1:
                along[given.quantizedDimension] = -1
            zero_points = np.asarray(given.zeroPoint, np.float32)
            values = (values - zero_points.reshape(along)) * np.asarray(given.scale, np.float32).reshape(along)
        tree.put(target, "FLOAT32", values)
    tree.subgraph.operators = kept


def _demand_rules(tree: Tree) -> None:
    refused = []
    for number, op in enumerate(tree.operators):
        kind, touched = tree.kind(op), [*floats(tree, op.inputs), *floats(tree, op.outputs)]
        bytes_ = [i for i in op.outputs if tree.dtype(int(i)) in ("INT8", "UINT8", "INT16")]
        if bytes_:
            raise InputError(
                f"{tree.name}: operator {number} ({kind}) writes {tree.dtype(int(bytes_[0])).lower()}: it "
                "is quantised already"
            )
        if touched and kind not in SUPPORTED:
            message = f"operator {number} ({kind}) has no rule that makes int8 of its floats"
            refused.append(Refusal(message, number, f"int8 of {kind}"))
    if refused:
        raise error_of(tree.name, tuple(refused))
    if len(floats(tree, tree.subgraph.inputs)) != len(tree.subgraph.inputs):
        raise InputError(f"{tree.name}: an input is not float32; networks of floats can be quantised")


def _weighted(
    tree: Tree, inputs: list[int], at: WeightedOperands, found: dict[int, Meaning], made: dict[tuple[int, ...], int]
) -> list[int]:
    """The operands with weights and bias of integers."""
    index, scale = inputs[at.weights], found[inputs[at.input]].scale
    bias = inputs[at.bias] if len(inputs) > at.bias else -1
    key = (index, bias, inputs[at.input], at.axis)
    if key not in made:
        made[key] = _weights(tree, index, at.axis, bias, scale)
    changed = list(inputs)
    changed[at.weights] = made[key]
    if bias >= 0:
        scales = np.asarray(tree.tensors[made[key]].quantization.scale, np.float64) * scale
        steps = np.rint(tree.values(bias).astype(np.float64).reshape(-1) / scales)
        source = tree.tensors[bias]
        changed[at.bias] = tree.added(source.name, source.shape, "INT32", steps.astype(np.int32))
        tree.quantise(changed[at.bias], "INT32", scales, np.zeros(len(scales)))
    return changed


def _weights(tree: Tree, index: int, axis: int, bias: int, scale: float) -> int:
    """Weights in int8, of a scale for each channel, which is such that the bias too fits."""
    if tree.dtype(index) != "FLOAT32":
        return index
    values, source = tree.values(index), tree.tensors[index]
    others = tuple(a for a in range(values.ndim) if a != axis)
    scales = np.abs(values).max(axis=others).astype(np.float64) / 127
    if bias >= 0:
        scales = np.maximum(scales, np.abs(tree.values(bias).astype(np.float64).reshape(-1)) / (scale * _MOST_BIAS))
    scales = np.where(scales > 0, scales, 1 / 127).astype(np.float32)
    along = [1] * values.ndim
    along[axis] = -1
    new = tree.added(source.name, source.shape, "INT8", _steps(values, scales.reshape(along), 0))
    tree.quantise(new, "INT8", scales, np.zeros(len(scales)), axis)
    return new


def _symmetric(tree: Tree, index: int, made: dict[tuple[int, ...], int]) -> int:
    """A constant whose zero point is 0; anything else as it is."""
    if index < 0 or tree.dtype(index) != "FLOAT32" or not tree.is_constant(index):
        return index
    if (index,) not in made:
        values, source = tree.values(index), tree.tensors[index]
        one = meaning(float(values.min()), float(values.max()), symmetric=True)
        new = tree.added(source.name, source.shape, "INT8", _steps(values, one.scale, 0))
        tree.quantise(new, "INT8", np.array([one.scale]), np.zeros(1))
        made[(index,)] = new
    return made[(index,)]


def _steps(values: Array, scale: Array | float, zero_point: int) -> Array:
    steps: Array = np.clip(np.rint(values.astype(np.float64) / scale) + zero_point, -128, 127)
    return steps.astype(np.int8)
