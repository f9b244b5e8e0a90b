"""Nodes that only move elements: the same on bytes, on floats that bytes decide, and on constants."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from memaopt.networks import operators as ops
from memaopt.networks.formats.onnx.building import Building, natural, scalar
from memaopt.networks.formats.onnx.nodes import OnnxNode, axes_of, axis_of
from memaopt.networks.formats.onnx.quantised import quantised
from memaopt.networks.formats.onnx.values import Constant, Held, Integers, Pending, Reals, Shape, Target, Value
from memaopt.networks.formats.onnx.weighted import turned
from memaopt.networks.graph import DType
from memaopt.networks.operators import Bounds, Slice

Move = Callable[[Held], Held]
_FAR = 1 << 40
_COPYING = frozenset({"DepthToSpace", "Gather", "Resize", "Slice", "SpaceToDepth", "Split", "Upsample"})
_FLOAT32 = 1


def shape_of(node: OnnxNode, value: Value) -> Shape:
    if isinstance(value, Constant):
        return tuple(value.array.shape)
    return tuple(value.integers.shape) if isinstance(value, Integers) else value.shape


def moved(node: OnnxNode, building: Building, shape: Shape, move: Move) -> Value:
    """The first input, its elements moved."""
    value = node.value(0)
    if isinstance(value, Held) and node.kind in _COPYING and building.tensors[value.tensor].dtype is DType.FLOAT32:
        return Pending(shape, functools.partial(_quantised_first, node, building, value, move))
    if isinstance(value, Held):
        return move(value)
    if isinstance(value, Pending):
        return value.moved(shape, move)
    if not isinstance(value, Reals):
        raise node.refuse("it moves a quantised constant in a way that is not supported")
    if value.linear is None or value.meaning is None:
        return dataclasses.replace(value, x=move(value.x))
    return building.dequantised(move(value.linear), value.meaning)


def _quantised_first(
    node: OnnxNode, building: Building, x: Held, move: Move, target: Target, bounds: Bounds | None
) -> Held:
    """Floats of the network's input are bytes before they move."""
    if bounds is not None:
        raise node.refuse("it is clamped without being quantised before that")
    return move(quantised(node, building, x, target))


def identity(node: OnnxNode, building: Building) -> Value:
    """Identity, Dropout of inference, a Cast of floats to float32."""
    value = node.value(0)
    if node.kind == "Cast" and (node.get("to") != _FLOAT32 or not isinstance(value, Reals | Pending | Integers)):
        raise node.refuse("a cast of what is computed; of floats to float32 is supported")
    return value


def reshape(node: OnnxNode, building: Building) -> Value:
    value = node.value(0)
    old = shape_of(node, value)
    shape: Shape
    if node.kind == "Flatten":
        axis = node.get("axis", 1) % (len(old) + 1)
        shape = (int(np.prod(old[:axis], dtype=np.int64)), int(np.prod(old[axis:], dtype=np.int64)))
    elif node.kind == "Squeeze":
        given = node.listed("axes", 1)
        axes = [i for i, size in enumerate(old) if size == 1] if given is None else axes_of(node, given, len(old))
        shape = tuple(size for i, size in enumerate(old) if i not in axes)
    elif node.kind == "Unsqueeze":
        rank = len(old) + len(node.listed("axes", 1) or ())
        new, sizes = axes_of(node, node.listed("axes", 1) or (), rank), iter(old)
        shape = tuple(1 if i in new else next(sizes, 0) for i in range(rank))
    else:
        shape = _asked(node, old)
    if np.prod(shape, dtype=np.int64) != np.prod(old, dtype=np.int64):
        raise node.refuse(f"the shape {list(shape)} of an input {list(old)}")
    if isinstance(value, Integers):
        if value.scales.size > 1:
            raise node.refuse("it reshapes a constant of several scales; one is supported")
        return dataclasses.replace(value, integers=value.integers.reshape(shape))
    return moved(node, building, shape, lambda held: building.reshaped(held, shape))


def _asked(node: OnnxNode, old: Shape) -> Shape:
    wanted = [int(size) for size in node.listed("shape", 1) or ()]
    if not node.get("allowzero", 0):
        wanted = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = int(np.prod([size for size in wanted if size != -1], dtype=np.int64))
        wanted[wanted.index(-1)] = int(np.prod(old, dtype=np.int64)) // max(rest, 1)
    return tuple(wanted)


def transpose(node: OnnxNode, building: Building) -> Value:
    value = node.value(0)
    old = shape_of(node, value)
    given = node.get("perm")
    permutation = tuple(range(len(old)))[::-1] if given is None else tuple(given)
    if sorted(permutation) != list(range(len(old))):
        raise node.refuse(f"{list(permutation)} does not permute {len(old)} axes")
    if isinstance(value, Integers):
        return turned(value, permutation)
    shape = tuple(old[axis] for axis in permutation)
    return moved(node, building, shape, lambda held: building.transposed(held, permutation))


def pad(node: OnnxNode, building: Building) -> Value:
    old = shape_of(node, node.value(0))
    if node.get("mode", "constant") != "constant":
        raise node.refuse(f"mode {node.get('mode')}; constant is supported")
    filled = scalar(node.given[2]) if node.has(2) else node.get("value", 0.0)
    if filled != 0.0:
        raise node.refuse("it pads with something other than 0, the only one supported")
    pads = node.listed("pads", 1) or ()
    axes = axes_of(node, node.integers(3, "axes"), len(old)) if node.has(3) else natural(len(old))
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        raise node.refuse(f"pads {list(pads)} of {len(axes)} axes; none negative are supported")
    sides = [(0, 0)] * len(old)
    for i, axis in enumerate(axes):
        sides[axis] = pads[i], pads[len(axes) + i]
    shape = tuple(size + before + after for size, (before, after) in zip(old, sides, strict=True))
    node.linear(0)

    def move(held: Held) -> Held:
        whole = building.settled(held) if held.is_reshaped else held
        made = building.like(whole, shape, whole.axes)
        building.add(ops.Pad, (whole.tensor,), made, paddings=tuple(sides[axis] for axis in whole.axes))
        return made

    return moved(node, building, shape, move)


def slices(node: OnnxNode, building: Building) -> Value:
    """Slice: starts and ends counted from either side, clamped."""
    old = shape_of(node, node.value(0))
    starts, ends = node.listed("starts", 1) or (), node.listed("ends", 2) or ()
    axes = node.listed("axes", 3)
    steps = node.integers(4, "steps") if node.has(4) else (1,) * len(starts)
    axes = axes_of(node, tuple(range(len(starts))) if axes is None else axes, len(old))
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise node.refuse("starts, ends, axes and steps do not go together")
    spans = [Slice(0, 1, size) for size in old]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        taken = range(old[axis])[slice(start, end if abs(end) < _FAR or end > 0 else None, step)]
        if not taken:
            raise node.refuse("a slice is empty")
        spans[axis] = Slice(taken[0], step, len(taken))
    return _sliced(node, building, spans)


def _sliced(node: OnnxNode, building: Building, spans: list[Slice]) -> Value:
    shape = tuple(span.length for span in spans)

    def move(held: Held) -> Held:
        whole = building.settled(held) if held.is_reshaped else held
        made = building.like(whole, shape, whole.axes)
        building.add(ops.StridedSlice, (whole.tensor,), made, slices=tuple(spans[axis] for axis in whole.axes))
        return made

    return moved(node, building, shape, move)


def split(node: OnnxNode, building: Building) -> list[Value]:
    old = shape_of(node, node.value(0))
    axis, count = axis_of(node, node.get("axis", 0), len(old)), len(node.outputs)
    each = -(-old[axis] // count)
    given = node.listed("split", 1) or tuple(min(each, old[axis] - i * each) for i in range(count))
    if len(given) != count or sum(given) != old[axis] or min(given) < 1:
        raise node.refuse(f"parts {list(given)} of {old[axis]} in {count} outputs")
    parts, start = list[Value](), 0
    for length in given:
        spans = [Slice(0, 1, size) for size in old]
        spans[axis] = Slice(start, 1, length)
        parts.append(_sliced(node, building, spans))
        start += length
    return parts


def concat(node: OnnxNode, building: Building) -> Value:
    """Inputs of other scales become the output's by a table each, as QuantizeLinear has it: exact."""
    values = [node.linear(i) if not isinstance(node.value(i), Held) else node.value(i) for i in range(len(node.given))]
    shapes = [shape_of(node, value) for value in values]
    axis = axis_of(node, node.get("axis", 0), len(shapes[0]))
    if any(
        len(s) != len(shapes[0]) or s[:axis] + s[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for s in shapes
    ):
        raise node.refuse(f"shapes {', '.join(str(list(s)) for s in shapes)} do not concatenate on axis {axis}")
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])

    def emit(target: Target, bounds: Bounds | None) -> Held:
        building.at(node)
        if bounds is not None:
            raise node.refuse("it is clamped without being quantised before that")
        held = [building.quantised(v, target) if isinstance(v, Reals) else v for v in values]
        axes = next((h.axes for h in held if isinstance(h, Held) and not h.is_reshaped), natural(len(shape)))
        laid = [building.laid(h, axes) for h in held if isinstance(h, Held)]
        made = building.activation(shape, axes, target, node.outputs[0])
        building.add(ops.Concatenation, tuple(h.tensor for h in laid), made, axis=axes.index(axis))
        return made

    first = values[0]
    if isinstance(first, Held):  # bytes of one meaning
        return emit(building.target(first), None)
    meanings = {value.meaning for value in values if isinstance(value, Reals)}
    if len(meanings) == 1 and isinstance(first, Reals) and first.linear is not None and first.meaning is not None:
        return building.dequantised(emit(Target(first.meaning, first.linear.unsigned), None), first.meaning)
    return Pending(shape, emit)
