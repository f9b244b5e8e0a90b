"""Gather by constants, DepthToSpace and SpaceToDepth: elements that move, exact."""

from __future__ import annotations

import math

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.moving import moved, shape_of
from memaopt.networks.formats.onnx.nodes import OnnxNode, axis_of
from memaopt.networks.formats.onnx.values import Held, Value
from memaopt.networks.operators import Slice
from memaopt.networks.operators.registry import OPERATORS


def gather(node: OnnxNode, building: Building) -> Value:
    """Elements of an axis, by indices that are known: a slice where they are equally far apart."""
    old = shape_of(node, node.value(0))
    axis = axis_of(node, node.get("axis", 0), len(old))
    given = np.asarray(node.constant(1, "its index"))
    found = [int(i) % old[axis] for i in given.reshape(-1) if -old[axis] <= int(i) < old[axis]]
    if given.dtype.kind not in "iu" or not found or len(found) != given.size:
        raise node.refuse(f"an index of {given.size} elements for an axis of {old[axis]}; some within it are supported")
    kept = (*old[:axis], len(found), *old[axis + 1 :])
    shape = (*old[:axis], *given.shape, *old[axis + 1 :])
    steps = sorted(set(np.diff(found).tolist())) or [1]

    def move(held: Held) -> Held:
        whole = building.settled(held) if held.is_reshaped else held
        made, place = building.like(whole, kept, whole.axes), whole.axes.index(axis)
        if len(steps) == 1 and steps[0] != 0:
            spans = [Slice(0, 1, size) for size in whole.physical]
            spans[place] = Slice(found[0], steps[0], len(found))
            building.add(ops.StridedSlice, (whole.tensor,), made, slices=tuple(spans))
        else:
            building.add(ops.Gather, (whole.tensor,), made, axis=place, indices=tuple(found))
        return building.reshaped(made, shape)

    return moved(node, building, shape, move)


def depth_to_space(node: OnnxNode, building: Building) -> Value:
    """Channels as blocks of positions; in mode CRD, PyTorch's PixelShuffle, each channel's block is together."""
    old, block = shape_of(node, node.value(0)), node.get("blocksize", 0)
    mode = node.get("mode", "DCR")
    if len(old) != 4 or block < 1 or old[1] % (block * block) or mode not in ("DCR", "CRD"):
        raise node.refuse(f"blocks of {block} in mode {mode} of an input {list(old)}")
    channels = old[1] // (block * block)
    shape = (old[0], channels, old[2] * block, old[3] * block)
    order = np.arange(old[1]).reshape(channels, block * block).T.reshape(-1)

    def move(held: Held) -> Held:
        image = building.laid(held, channels_last(4))
        if mode == "CRD" and channels > 1 and block > 1:
            turned = building.like(image, old, channels_last(4))
            building.add(ops.Gather, (image.tensor,), turned, axis=3, indices=tuple(order.tolist()))
            image = turned
        made = building.like(image, shape, channels_last(4))
        building.add(OPERATORS["DEPTH_TO_SPACE"], (image.tensor,), made, block=block)
        return made

    return moved(node, building, shape, move)


def space_to_depth(node: OnnxNode, building: Building) -> Value:
    """Blocks of positions as channels."""
    old, block = shape_of(node, node.value(0)), node.get("blocksize", 0)
    if len(old) != 4 or block < 1 or math.gcd(old[2], old[3]) % block:
        raise node.refuse(f"blocks of {block} of an input {list(old)}")
    shape = (old[0], old[1] * block * block, old[2] // block, old[3] // block)

    def move(held: Held) -> Held:
        image = building.laid(held, channels_last(4))
        made = building.like(image, shape, channels_last(4))
        building.add(OPERATORS["SPACE_TO_DEPTH"], (image.tensor,), made, block=block)
        return made

    return moved(node, building, shape, move)
