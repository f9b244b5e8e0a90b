"""Resize and Upsample of images: nearest neighbours, and the mean of the nearest four by their distance."""

from __future__ import annotations

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, channels_last
from memaopt.networks.formats.onnx.moving import moved, shape_of
from memaopt.networks.formats.onnx.nodes import OnnxNode
from memaopt.networks.formats.onnx.values import Held, Shape, Value
from memaopt.networks.operators.registry import OPERATORS
from memaopt.problems.resize import RESIZE_UNIT

_NEAREST = (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"))
_LINEAR = {
    "half_pixel": {"half_pixel_centers": True},
    "pytorch_half_pixel": {"half_pixel_centers": True},
    "align_corners": {"align_corners": True},
    "asymmetric": {},
}


def resize(node: OnnxNode, building: Building) -> Value:
    """Nearest neighbours of an image, by whole factors: each element so many times, in all modes that are taken."""
    old, mode = shape_of(node, node.value(0)), node.get("mode", "nearest")
    if mode not in ("nearest", "linear") or len(old) != 4:
        raise node.refuse(f"mode {mode} of {len(old)} dimensions; nearest and linear of 4 are supported")
    if mode == "linear":
        return _linear(node, building, old)
    modes = node.get("coordinate_transformation_mode", "half_pixel"), node.get("nearest_mode", "round_prefer_floor")
    if modes not in _NEAREST and node.kind != "Upsample":
        raise node.refuse(f"{modes[0]} with {modes[1]}; {' or '.join(map(' with '.join, _NEAREST))} is supported")
    factors = _factors(node, old)
    if len(factors) != 4 or factors[:2] != (1.0, 1.0) or any(f < 1 or f != int(f) for f in factors):
        raise node.refuse(f"factors {list(factors)}; whole ones of rows and columns are supported")
    shape = tuple(size * int(f) for size, f in zip(old, factors, strict=True))

    node.bounded(shape)
    for size, wanted in zip(old[2:], shape[2:], strict=True):
        taken = np.floor(np.arange(wanted).astype(np.float32) * (np.float32(size) / np.float32(wanted)))
        if not np.array_equal(taken, np.arange(size).repeat(wanted // size)):
            raise node.refuse(f"{size} elements as {wanted}: TFLite's floats take others")

    def move(held: Held) -> Held:
        image = building.laid(held, channels_last(4))
        made = building.like(image, shape, channels_last(4))
        building.add(ops.ResizeNearestNeighbor, (image.tensor,), made)
        return made

    return moved(node, building, shape, move)


def _factors(node: OnnxNode, old: Shape) -> tuple[float, ...]:
    position = 1 if node.kind == "Upsample" else 2
    if node.has(3):
        return tuple(size / n for size, n in zip(node.integers(3, "sizes"), old, strict=False))
    return tuple(float(f) for f in np.asarray(node.constant(position, "scales")).reshape(-1))


def _linear(node: OnnxNode, building: Building, old: Shape) -> Value:
    """TFLite's, where positions are whole in its 1/1024: sums of four bytes, rounded once."""
    mode = "asymmetric" if node.kind == "Upsample" else node.get("coordinate_transformation_mode", "half_pixel")
    factors = _factors(node, old)
    shape = tuple(int(size * factor) for size, factor in zip(old, factors, strict=False))
    if len(factors) != 4 or shape[:2] != old[:2] or min(shape) < 1 or mode not in _LINEAR or node.get("antialias", 0):
        raise node.refuse(f"linear of factors {list(factors)} with {mode}; rows and columns are supported")
    less = 1 if mode == "align_corners" else 0
    for size, wanted, factor in zip(old[2:], shape[2:], factors[2:], strict=True):
        whole = wanted > less and (size - less) * RESIZE_UNIT % (wanted - less) == 0 and size * factor == wanted
        if not whole or (mode == "pytorch_half_pixel" and wanted == 1):
            raise node.refuse(f"{size} elements as {wanted}: TFLite's positions in 1/{RESIZE_UNIT} are others")

    def move(held: Held) -> Held:
        image = building.laid(held, channels_last(4))
        made = building.like(image, shape, channels_last(4))
        building.add(OPERATORS["RESIZE_BILINEAR"], (image.tensor,), made, **_LINEAR[mode])
        building.note(node, "at most one step apart, at ties: TFLite rounds them away from zero, and ONNX sums floats")
        return made

    return moved(node, building, shape, move)
