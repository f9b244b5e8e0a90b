"""Which int8 each float activation becomes: the ranges that were seen, and the tensors that share a scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from memaopt.networks.formats.tflite.oracle import Array, Oracle
from memaopt.networks.operators.quantization import Meaning
from memaopt.networks.posttraining.rules import ALIKE, GIVEN, meaning
from memaopt.networks.posttraining.tree import Tree

Ranges = dict[int, tuple[float, float]]


def floats(tree: Tree, indices: Sequence[int] | None) -> list[int]:
    """Those of an operator's tensors that are float32."""
    return [int(i) for i in (() if indices is None else indices) if tree.dtype(int(i)) == "FLOAT32"]


def observed(tree: Tree, samples: Sequence[Sequence[Array]]) -> Ranges:
    """The least and the greatest element of each float tensor, over all samples, in TFLite's kernels of float."""
    oracle = Oracle.of_floats(tree.packed())
    activations = {i for op in tree.operators for i in floats(tree, op.outputs)} | {*floats(tree, tree.subgraph.inputs)}
    constants = {i for op in tree.operators for i in floats(tree, op.inputs) if tree.is_constant(i)}
    ranges: Ranges = dict.fromkeys(activations, (np.inf, -np.inf))
    for sample in samples:
        oracle.run(sample)
        for i in activations:
            value = oracle.tensor(i)
            if value.size:
                low, high = ranges[i]
                ranges[i] = min(low, float(value.min())), max(high, float(value.max()))
    for i in constants:
        value = tree.values(i)
        ranges[i] = (float(value.min()), float(value.max())) if value.size else (0.0, 0.0)
    return ranges


def meanings(tree: Tree, ranges: Ranges) -> dict[int, Meaning]:
    """What int8 each float tensor becomes. Where a given scale does not do for those that share it, its tensor is
    rescaled: an operator and a tensor are added to the tree."""
    given = {
        i: GIVEN[tree.kind(op)] for op in tree.operators if tree.kind(op) in GIVEN for i in floats(tree, op.outputs)
    }
    found: dict[int, Meaning] = {}
    for group in _groups(tree, ranges):
        low, high = min(ranges[i][0] for i in group), max(ranges[i][1] for i in group)
        fixed = [i for i in group if i in given]
        common = given[fixed[0]] if fixed else meaning(low, high)
        fits = common.range[0] <= low and high <= common.range[1] + common.scale
        if len({given[i] for i in fixed}) > 1 or not fits:
            common = meaning(low, high)
            for i in fixed if len(group) > 1 else ():
                found[_rescaled(tree, i)] = common
        found |= {i: given.get(i, common) for i in group}
    return found


def _groups(tree: Tree, ranges: Mapping[int, object]) -> list[list[int]]:
    """The tensors that share a scale."""
    group = {i: [i] for i in ranges}
    for op in tree.operators:
        if tree.kind(op) not in ALIKE:
            continue
        first, *rest = [*floats(tree, op.inputs), *floats(tree, op.outputs)] or [-1]
        for other in rest:
            if group[other] is not group[first]:
                group[first] += group[other]
                group.update(dict.fromkeys(group[other], group[first]))
    return [members for i, members in group.items() if members[0] == i]


def _rescaled(tree: Tree, index: int) -> int:
    """A tensor that the operators which want another scale than a given one read in its stead."""
    source = tree.tensors[index]
    copy = tree.added(bytes(source.name or b"") + b"/rescaled", source.shape, "FLOAT32")
    at = next(n for n, op in enumerate(tree.operators) if index in list(op.outputs))
    for op in tree.operators:
        if tree.kind(op) in ALIKE:
            op.inputs = [copy if i == index else int(i) for i in op.inputs]
    tree.inserted(at + 1, "QUANTIZE", 2, [index], [copy])
    return copy
