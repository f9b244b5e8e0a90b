"""Random int8 networks: batches, several ends, tensors read many times, parts of constants alone, extreme zero points
and scales, axes of size 1, every operator of a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from memaopt.errors import InputError, UnsupportedModelError
from memaopt.networks import checks
from memaopt.networks import operators as ops
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Activation, Operator, Padding2D, Size2D, Slice
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.unary import Unary
from memaopt.networks.operators.window import SlidingWindow, same_padding

Rng = np.random.Generator
Shape = tuple[int, ...]

#: Elements of one tensor, and multiply-accumulates of one layer, beyond which a layer is not taken.
_MOST_ELEMENTS, _MOST_WEIGHTS = 6000, 6000
_ATTEMPTS = 40


def random_network(rng: Rng, name: str, *, most: int = 9, writable: bool = False) -> Graph:
    """A network of one to ``most`` operators that the checks accept; ``writable``: a .tflite file can hold it."""
    while True:
        graph = _Growing(rng, name).grown(int(rng.integers(1, most + 1)))
        try:
            checks.check(graph)
            if writable:
                writer.write(graph)
        except InputError:
            continue
        return graph


def _pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def _scale(rng: Rng) -> float:
    """Mostly usual scales, now and then extreme ones."""
    low, high = (1e-3, 0.5) if rng.integers(6) else (1e-8, 1e6)
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _zero_point(rng: Rng) -> int:
    return int(_pick(rng, (-128, 127, 0, -1, int(rng.integers(-128, 128)))))


def _size(rng: Rng, most: int) -> int:
    """1 as often as not much more."""
    return 1 if rng.integers(5) == 0 else int(rng.integers(1, most + 1))


def _int8(rng: Rng, shape: Shape) -> np.ndarray[Any, Any]:
    """Random bytes, now and then extreme or constant ones."""
    style = rng.integers(6)
    if style == 0:
        return rng.choice(np.array([-128, 127, 0], np.int8), shape)
    if style == 1:
        return np.full(shape, rng.integers(-128, 128), np.int8)
    return rng.integers(-128, 128, shape).astype(np.int8)


class _Growing:
    """A network that gets one operator after another."""

    def __init__(self, rng: Rng, name: str) -> None:
        self.rng = rng
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.ready: list[int] = []
        self.vision = bool(rng.integers(2))
        """Whether it is made of the operators of networks that look at images."""
        self.final: list[int] = []
        """Outputs that are not int8, which nothing reads."""

    def grown(self, operators: int) -> Graph:
        for _ in range(int(_pick(self.rng, (1, 1, 1, 2, 3)))):
            self._start()
        for _ in range(_ATTEMPTS):
            if len(self.operators) >= operators:
                break
            self._step()
        return self._finished()

    def _start(self) -> None:
        rng = self.rng
        rank = int(_pick(rng, (4, 4, 4, 4, 4, 1, 2, 3, 5)))
        if rank == 4:
            batch = int(_pick(rng, (1, 1, 1, 2, 3)))
            shape: Shape = (batch, _size(rng, 14), _size(rng, 14), _size(rng, 20))
        else:
            shape = tuple(_size(rng, 7) for _ in range(rank))
        if math.prod(shape) > _MOST_ELEMENTS:
            shape = (1, *shape[1:3], 1)
        if rng.integers(8) == 0:
            self.tensors.append(Tensor(self._called("input"), shape, DType.FLOAT32))
            self.inputs.append(len(self.tensors) - 1)
            self._put(ops.Quantize, (self.inputs[-1],), shape, float(rng.uniform(0.005, 0.1)), _zero_point(rng))
            return
        index = self._tensor("input", shape, _scale(rng), _zero_point(rng))
        self.inputs.append(index)
        self.ready.append(index)

    def _finished(self) -> Graph:
        """What nothing reads is an output, and now and then something that is read."""
        read = {i for op in self.operators for i in op.inputs}
        ends = [i for i in self.ready if i not in read and i not in self.inputs] + self.final
        inner = [i for i in self.ready if i in read and i not in self.inputs]
        while inner and self.rng.integers(5) == 0:
            ends.append(inner.pop(int(self.rng.integers(len(inner)))))
        if not ends or self.rng.integers(25) == 0:
            ends.append(int(_pick(self.rng, self.inputs)))
        order = self.rng.permutation(len(ends))
        return Graph(
            self.name, tuple(self.tensors), tuple(self.operators), tuple(self.inputs), tuple(ends[i] for i in order)
        )

    def _called(self, what: str) -> str:
        return f"{what}{len(self.tensors)}"

    def _tensor(self, what: str, shape: Shape, scale: float, zero_point: int) -> int:
        q = np.array([scale], np.float32), np.array([zero_point])
        self.tensors.append(Tensor(self._called(what), shape, DType.INT8, *q))
        return len(self.tensors) - 1

    def _constant(self, values: np.ndarray[Any, Any], scales: Any, zero_point: int = 0, axis: int = 0) -> int:
        scales = np.atleast_1d(np.asarray(scales, np.float32))
        zeros = np.full(len(scales), zero_point, np.int64)
        dtype = DType(str(values.dtype))
        self.tensors.append(Tensor(self._called("constant"), values.shape, dtype, scales, zeros, axis, values))
        return len(self.tensors) - 1

    def _quantization(self, x: int) -> tuple[float, int]:
        tensor = self.tensors[x]
        return float(tensor.scale), tensor.zero_point

    def _near(self, x: int) -> tuple[float, int]:
        """The quantisation of x, or one that is not far from it."""
        scale, zero_point = self._quantization(x)
        if self.rng.integers(3) == 0:
            return scale, zero_point
        return scale * float(np.exp(self.rng.uniform(-1.5, 1.5))), _zero_point(self.rng)

    def _put(
        self, cls: type[Operator], inputs: tuple[int, ...], shape: Shape, scale: float, zero_point: int, **more: Any
    ) -> bool:
        """Append an operator if the checks take it, else forget it."""
        before = len(self.tensors)
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_ELEMENTS or not 1e-38 < scale < 1e38:
            return False
        output = self._tensor(cls.kind.lower(), shape, scale, zero_point)
        op = cls(inputs=inputs, outputs=(output,), location=len(self.operators), **more)
        data = tuple(dict.fromkeys(i for i in inputs if not self.tensors[i].is_constant))
        # A network needs an input; one of its own stands in where there are constants alone.
        try:
            checks.check(Graph("one", tuple(self.tensors), (op,), data or tuple(self.inputs[:1]), (output,)))
        except UnsupportedModelError:
            del self.tensors[before:]
            return False
        self.operators.append(op)
        self.ready.append(output)
        return True

    def _step(self) -> None:
        before = len(self.tensors)
        kind = _pick(self.rng, _VISION if self.vision else list(OPERATORS))
        images = [t for t in self.ready if len(self.tensors[t].shape) == 4]
        x = int(_pick(self.rng, images[-2:])) if kind in _WINDOWS and images else self._operand()
        if not _STEPS[kind](self, x):
            used = {i for op in self.operators for i in (*op.inputs, *op.outputs)} | set(self.inputs)
            while len(self.tensors) > before and len(self.tensors) - 1 not in used:
                self.tensors.pop()

    def _operand(self) -> int:
        """A tensor to read: mostly the last one, any other, or now and then a constant."""
        rng = self.rng
        if rng.integers(25) == 0:
            shape = tuple(_size(rng, 6) for _ in range(int(_pick(rng, (4, 4, 2, 1)))))
            return self._constant(_int8(rng, shape), _scale(rng), _zero_point(rng))
        return self.ready[-1] if rng.integers(3) else int(_pick(rng, self.ready))

    # One method for each kind; False where the operand does not do.

    def _weighted(
        self, cls: type[Operator], x: int, weights: Shape, axis: int, depth: int, shape: Shape, **more: Any
    ) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        if math.prod(weights) > _MOST_WEIGHTS or min(shape, default=1) < 1:
            return False
        channels = weights[axis]
        scale, zero_point = _scale(rng), _zero_point(rng)
        typical = scale * float(_pick(rng, (60, 60, 60, 0.01, 3000))) / (float(tensor.scale) * 5000 * math.sqrt(depth))
        count = channels if channels > 1 and rng.integers(2) else 1
        scales = typical * np.exp(rng.uniform(-1, 1, count))
        if not (scales.min() > 1e-37 and scales.max() < 1e37):
            return False
        if rng.integers(6) == 0:
            # powers of two put accumulators on ties, where the direction of rounding shows
            scales = 2.0 ** np.round(np.log2(scales))
            scale = 2.0 ** round(math.log2(scale))
        values = _int8(rng, weights)
        if rng.integers(4) == 0:
            values = np.where(rng.random(weights) < 0.7, 0, values).astype(np.int8)
        if rng.integers(6) == 0:
            values.swapaxes(0, axis)[int(rng.integers(channels))] = 0  # a channel that is constant
        inputs = [x, self._constant(values, scales, 0, axis)]
        if rng.integers(4):
            bias = rng.normal(0, _pick(rng, (3000, 3000, 100000)), channels).astype(np.int32)
            inputs.append(self._constant(bias, scales * float(tensor.scale)))
        fused = {} if cls.kind == "TRANSPOSE_CONV" else {"activation": _pick(rng, list(Activation))}
        return self._put(cls, tuple(inputs), shape, scale, zero_point, **fused, **more)

    def _window(self, x: int, dilated: bool) -> tuple[Size2D, Size2D, Size2D, Padding2D, Shape] | None:
        rng = self.rng
        _, height, width, _ = self.tensors[x].shape
        most = int(_pick(rng, (1, 3, 3, 5, 7)))
        kernel = Size2D(*(min(_size(rng, most), 8) for _ in "hw"))
        if rng.integers(3) == 0:
            kernel = Size2D(3, 3)
        stride = Size2D(*rng.integers(1, 4, 2).tolist()) if rng.integers(2) else ops.ONE
        dilation = Size2D(*rng.integers(1, 4, 2).tolist()) if dilated and rng.integers(4) == 0 else ops.ONE
        same = bool(rng.integers(3))
        padding = same_padding(height, width, kernel, stride, dilation) if same else Padding2D()
        output = SlidingWindow(kernel, stride, dilation, padding).output(height, width)
        return (kernel, stride, dilation, padding, output) if min(output) > 0 else None

    def conv_2d(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, True)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, dilation, padding, (rows, columns) = found
        groups = int(_pick(self.rng, [g for g in range(1, c + 1) if c % g == 0])) if self.rng.integers(6) == 0 else 1
        outputs = groups * (1 + int(self.rng.integers(24 // groups + 1)))
        depth = kernel.height * kernel.width * c // groups
        return self._weighted(
            ops.Conv2D,
            x,
            (outputs, *kernel, c // groups),
            0,
            depth,
            (n, rows, columns, outputs),
            stride=stride,
            dilation=dilation,
            padding=padding,
        )

    def depthwise_conv_2d(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, True)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, dilation, padding, (rows, columns) = found
        outputs = c * int(_pick(self.rng, (1, 1, 1, 2, 3, 8)))
        return self._weighted(
            ops.DepthwiseConv2D,
            x,
            (1, *kernel, outputs),
            3,
            kernel.height * kernel.width,
            (n, rows, columns, outputs),
            stride=stride,
            dilation=dilation,
            padding=padding,
        )

    def transpose_conv(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        kernel, stride = (Size2D(*self.rng.integers(1, most, 2).tolist()) for most in (6, 4))
        size = tuple((count - 1) * step + k for count, step, k in zip((h, w), stride, kernel, strict=True))
        same = bool(self.rng.integers(2))
        if same:
            size = (h * stride.height, w * stride.width)
        outputs, depth = _size(self.rng, 12), max(kernel.height * kernel.width * c // 4, 1)
        shape = (n, *size, outputs)
        more = {"stride": stride, "same": same}
        return self._weighted(OPERATORS["TRANSPOSE_CONV"], x, (outputs, *kernel, c), 0, depth, shape, **more)

    def fully_connected(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if not shape:
            return False
        units, depth = _size(self.rng, 24), shape[-1] if self.rng.integers(2) else math.prod(shape[1:])
        keep = depth == shape[-1] and bool(self.rng.integers(2))
        output = (*shape[:-1], units) if keep else (math.prod(shape) // depth, units)
        return self._weighted(ops.FullyConnected, x, (units, depth), 0, depth, output)

    def _pool(self, cls: type[Operator], x: int) -> bool:
        if len(self.tensors[x].shape) != 4 or (found := self._window(x, False)) is None:
            return False
        n, _, _, c = self.tensors[x].shape
        kernel, stride, _, padding, (rows, columns) = found
        more = {"kernel": kernel, "stride": stride, "padding": padding, "activation": _pick(self.rng, list(Activation))}
        return self._put(cls, (x,), (n, rows, columns, c), *self._quantization(x), **more)

    def average_pool_2d(self, x: int) -> bool:
        return self._pool(ops.AveragePool2D, x)

    def max_pool_2d(self, x: int) -> bool:
        return self._pool(ops.MaxPool2D, x)

    def _binary(self, cls: type[Operator], x: int) -> bool:
        rng, shape = self.rng, self.tensors[x].shape
        style = rng.integers(4)
        if style == 0:
            y = x
        elif style == 1:
            alike = [t for t in self.ready if _broadcasts(self.tensors[t].shape, shape)]
            y = int(_pick(rng, alike)) if alike else x
        else:
            other = tuple(1 if rng.integers(2) else size for size in shape) if style == 2 else shape
            if other and rng.integers(3) == 0:
                other = other[int(rng.integers(len(other))) :]
            y = self._constant(_int8(rng, other), _scale(rng), _zero_point(rng))
        slopes = cls is OPERATORS["PRELU"]
        pair = (x, y) if rng.integers(2) or slopes else (y, x)
        a, b = (float(self.tensors[t].scale) for t in pair)
        scale = (
            a * b * float(np.exp(rng.uniform(-1, 7)))
            if cls is ops.Mul or cls is OPERATORS["SQUARED_DIFFERENCE"]
            else max(a, b) * float(np.exp(rng.uniform(-3, 2)))
        )
        output = np.broadcast_shapes(*(self.tensors[t].shape for t in pair))
        more = {"activation": _pick(rng, list(Activation))} if issubclass(cls, ops.Addition | ops.Mul) else {}
        return self._put(cls, pair, output, scale, _zero_point(rng), **more)

    def add(self, x: int) -> bool:
        return self._binary(ops.Add, x)

    def sub(self, x: int) -> bool:
        return self._binary(ops.Sub, x)

    def mul(self, x: int) -> bool:
        return self._binary(ops.Mul, x)

    def squared_difference(self, x: int) -> bool:
        return self._binary(OPERATORS["SQUARED_DIFFERENCE"], x)

    def prelu(self, x: int) -> bool:
        return self._binary(OPERATORS["PRELU"], x)

    def _extreme(self, cls: type[Operator], x: int) -> bool:
        """Both operands and the output have one quantisation."""
        rng, shape = self.rng, self.tensors[x].shape
        alike = [t for t in self.ready if self.tensors[t].same_quantization(self.tensors[x])]
        broadcast = [t for t in alike if _broadcasts(self.tensors[t].shape, shape)]
        other = tuple(1 if rng.integers(2) else size for size in shape)
        if broadcast and rng.integers(2):
            y = int(_pick(rng, broadcast))
        else:
            y = self._constant(_int8(rng, other), *self._quantization(x))
        output = np.broadcast_shapes(self.tensors[y].shape, shape)
        return self._put(cls, (x, y) if rng.integers(2) else (y, x), output, *self._quantization(x))

    def minimum(self, x: int) -> bool:
        return self._extreme(OPERATORS["MINIMUM"], x)

    def maximum(self, x: int) -> bool:
        return self._extreme(OPERATORS["MAXIMUM"], x)

    def gather(self, x: int) -> bool:
        rng, shape = self.rng, self.tensors[x].shape
        if not shape:
            return False
        axis = int(rng.integers(len(shape)))
        indices = tuple(int(i) for i in rng.integers(shape[axis], size=_size(rng, 6)))
        output = (*shape[:axis], len(indices), *shape[axis + 1 :])
        return self._put(ops.Gather, (x,), output, *self._quantization(x), axis=axis, indices=indices)

    def pack(self, x: int) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        axis = int(rng.integers(len(tensor.shape) + 1))
        same = [t for t in self.ready if self.tensors[t].same_quantization(tensor)]
        alike = [x, *(t for t in same if self.tensors[t].shape == tensor.shape)]
        parts = [x, *(int(_pick(rng, alike)) for _ in range(int(rng.integers(3))))]
        output = (*tensor.shape[:axis], len(parts), *tensor.shape[axis:])
        return self._put(ops.Pack, tuple(parts), output, *self._quantization(x), axis=axis)

    def mean(self, x: int) -> bool:
        return self._reduction(ops.Mean, x, *self._near(x))

    def sum(self, x: int) -> bool:
        scale, zero_point = self._near(x)
        return self._reduction(OPERATORS["SUM"], x, scale * float(_pick(self.rng, (1, 8, 64))), zero_point)

    def reduce_max(self, x: int) -> bool:
        return self._reduction(OPERATORS["REDUCE_MAX"], x, *self._quantization(x))

    def reduce_min(self, x: int) -> bool:
        return self._reduction(OPERATORS["REDUCE_MIN"], x, *self._quantization(x))

    def _reduction(self, cls: type[Operator], x: int, scale: float, zero_point: int) -> bool:
        shape = self.tensors[x].shape
        axes = tuple(i for i in range(len(shape)) if self.rng.integers(2)) or (0,)
        if len(shape) == 4 and self.rng.integers(2):
            axes = (1, 2)
        keep = bool(self.rng.integers(2))
        output = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
        return bool(shape) and self._put(cls, (x,), output, scale, zero_point, axes=axes)

    def pad(self, x: int) -> bool:
        shape = self.tensors[x].shape
        paddings = tuple(
            (0, 0) if self.rng.integers(2) else (int(self.rng.integers(4)), int(self.rng.integers(4))) for _ in shape
        )
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        return bool(shape) and self._put(ops.Pad, (x,), output, *self._quantization(x), paddings=paddings)

    def _move(self, kind: str, x: int, output: Shape, **more: Any) -> bool:
        return bool(output) and self._put(OPERATORS[kind], (x,), output, *self._quantization(x), **more)

    def padv2(self, x: int) -> bool:
        shape, rng = self.tensors[x].shape, self.rng
        paddings = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (len(shape), 2)))
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        value = self._constant(_int8(rng, (1,)), *self._quantization(x))
        return bool(shape) and self._put(
            OPERATORS["PADV2"], (x, value), output, *self._quantization(x), paddings=paddings
        )

    def mirror_pad(self, x: int) -> bool:
        shape, rng = self.tensors[x].shape, self.rng
        mode = _pick(rng, ("REFLECT", "SYMMETRIC"))
        paddings = tuple(
            (int(rng.integers(most + 1)), int(rng.integers(most + 1)))
            for most in (min(size - (mode == "REFLECT"), 3) for size in shape)
        )
        output = tuple(s + a + b for s, (a, b) in zip(shape, paddings, strict=True))
        return self._move("MIRROR_PAD", x, output, paddings=paddings, mode=mode)

    def tile(self, x: int) -> bool:
        shape = self.tensors[x].shape
        multiples = tuple(int(_pick(self.rng, (1, 1, 2, 3))) for _ in shape)
        return self._move("TILE", x, tuple(map(math.prod, zip(shape, multiples, strict=True))), multiples=multiples)

    def broadcast_to(self, x: int) -> bool:
        shape = self.tensors[x].shape
        return self._move("BROADCAST_TO", x, tuple(_size(self.rng, 4) if size == 1 else size for size in shape))

    def reverse_v2(self, x: int) -> bool:
        shape = self.tensors[x].shape
        return bool(shape) and self._move("REVERSE_V2", x, shape, axes=(int(self.rng.integers(len(shape))),))

    def depth_to_space(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        block = int(_pick(self.rng, [b for b in (1, 2, 3) if c % b**2 == 0]))
        return self._move("DEPTH_TO_SPACE", x, (n, h * block, w * block, c // block**2), block=block)

    def space_to_depth(self, x: int) -> bool:
        if len(self.tensors[x].shape) != 4:
            return False
        n, h, w, c = self.tensors[x].shape
        block = int(_pick(self.rng, [b for b in (1, 2, 3) if h % b == w % b == 0]))
        return self._move("SPACE_TO_DEPTH", x, (n, h // block, w // block, c * block**2), block=block)

    def space_to_batch_nd(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) not in (3, 4):
            return False
        block = tuple(self.rng.integers(1, 4, len(shape) - 2).tolist())
        edges = tuple(
            (int(before), int(-(n + before) % b)) for n, b, before in zip(shape[1:], block, (0, 2), strict=False)
        )
        inner = (sum((n, *edge)) // b for n, b, edge in zip(shape[1:], block, edges, strict=False))
        return self._move(
            "SPACE_TO_BATCH_ND", x, (shape[0] * math.prod(block), *inner, shape[-1]), block=block, edges=edges
        )

    def batch_to_space_nd(self, x: int) -> bool:
        """Back from several batches, or from one."""
        shape, rng = self.tensors[x].shape, self.rng
        if len(shape) not in (3, 4):
            return False
        first = int(_pick(rng, [b for b in (1, 2, 3) if shape[0] % b == 0]))
        block = (first, 1)[: len(shape) - 2]
        edges = tuple((int(rng.integers(min(n * b, 2))), 0) for n, b in zip(shape[1:], block, strict=False))
        inner = (n * b - edge[0] for n, b, edge in zip(shape[1:], block, edges, strict=False))
        return self._move("BATCH_TO_SPACE_ND", x, (shape[0] // first, *inner, shape[-1]), block=block, edges=edges)

    def concatenation(self, x: int) -> bool:
        rng, tensor = self.rng, self.tensors[x]
        if not tensor.shape:
            return False
        axis = int(rng.integers(len(tensor.shape)))
        parts = [x]
        for _ in range(int(rng.integers(4))):
            alike = [
                t
                for t in self.ready
                if self.tensors[t].same_quantization(tensor) and _joins(self.tensors[t].shape, tensor.shape, axis)
            ]
            if alike and rng.integers(3):
                parts.insert(int(rng.integers(len(parts) + 1)), int(_pick(rng, alike)))
            else:
                shape = tuple(_size(rng, 4) if i == axis else s for i, s in enumerate(tensor.shape))
                parts.append(self._constant(_int8(rng, shape), *self._quantization(x)))
        output = tuple(
            sum(self.tensors[t].shape[axis] for t in parts) if i == axis else s for i, s in enumerate(tensor.shape)
        )
        return self._put(ops.Concatenation, tuple(parts), output, *self._quantization(x), axis=axis)

    def reshape(self, x: int) -> bool:
        shape, elements = self.tensors[x].shape, self.tensors[x].elements
        low = [d for d in range(1, 17) if elements % d == 0]
        a = int(_pick(self.rng, low))
        b = int(_pick(self.rng, [d for d in low if elements // a % d == 0]))
        output = _pick(
            self.rng,
            [
                (elements,),
                (1, elements),
                tuple(reversed(shape)),
                (a, b, elements // a // b),
                (1, a, b, elements // a // b),
                (1, 1, *shape)[:6],
            ],
        )
        return math.prod(output) == elements and self._put(ops.Reshape, (x,), output, *self._quantization(x))

    def squeeze(self, x: int) -> bool:
        shape = self.tensors[x].shape
        output = tuple(s for s in shape if s > 1 or self.rng.integers(2))
        return bool(output) and self._put(ops.Squeeze, (x,), output, *self._quantization(x))

    def expand_dims(self, x: int) -> bool:
        shape = self.tensors[x].shape
        axis = int(self.rng.integers(len(shape) + 1))
        if len(shape) >= 6:
            return False
        return self._put(ops.ExpandDims, (x,), (*shape[:axis], 1, *shape[axis:]), *self._quantization(x))

    def transpose(self, x: int) -> bool:
        shape = self.tensors[x].shape
        permutation = tuple(self.rng.permutation(len(shape)).tolist())
        output = tuple(shape[i] for i in permutation)
        return bool(shape) and self._put(ops.Transpose, (x,), output, *self._quantization(x), permutation=permutation)

    def strided_slice(self, x: int) -> bool:
        rng, slices = self.rng, []
        for size in self.tensors[x].shape:
            if rng.integers(2):
                slices.append(Slice(0, 1, size))
                continue
            start, step = int(rng.integers(size)), int(_pick(rng, (1, 1, 2, 3, -1, -2)))
            room = (size - start + step - 1) // step if step > 0 else (start - step) // -step
            slices.append(Slice(start, step, int(rng.integers(1, room + 1))))
        output = tuple(s.length for s in slices)
        if rng.integers(3) == 0:
            output = tuple(length for length in output if length > 1)
        return bool(slices) and self._put(ops.StridedSlice, (x,), output, *self._quantization(x), slices=tuple(slices))

    def resize_nearest_neighbor(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) != 4:
            return False
        style = self.rng.integers(3)
        output = (shape[0], _size(self.rng, 20), _size(self.rng, 20), shape[3])
        return self._put(
            ops.ResizeNearestNeighbor,
            (x,),
            output,
            *self._quantization(x),
            align_corners=bool(style == 1),
            half_pixel_centers=bool(style == 2),
        )

    def resize_bilinear(self, x: int) -> bool:
        shape = self.tensors[x].shape
        if len(shape) != 4:
            return False
        style, output = self.rng.integers(3), (shape[0], _size(self.rng, 20), _size(self.rng, 20), shape[3])
        more = {"align_corners": bool(style == 1), "half_pixel_centers": bool(style == 2)}
        return self._move("RESIZE_BILINEAR", x, output, **more)

    def batch_matmul(self, x: int) -> bool:
        """With a constant, or with itself transposed."""
        rng, shape = self.rng, self.tensors[x].shape
        if not 2 <= len(shape) <= 5:
            return False
        if rng.integers(2):
            pair, transposed, columns = (x, x), (False, True), shape[-2]
        else:
            columns, transposed = _size(rng, 12), (False, bool(rng.integers(2)))
            matrix = (columns, shape[-1]) if transposed[1] else (shape[-1], columns)
            batch = shape[:-2] if rng.integers(2) else ()
            pair = (x, self._constant(_int8(rng, (*batch, *matrix)), _scale(rng), int(_pick(rng, (0, 0, 7)))))
        a, b = (float(self.tensors[t].scale) for t in pair)
        scale = a * b * math.sqrt(shape[-1]) * float(np.exp(rng.uniform(1, 5)))
        output = (*shape[:-1], columns)
        return self._put(OPERATORS["BATCH_MATMUL"], pair, output, scale, _zero_point(rng), transposed=transposed)

    def softmax(self, x: int) -> bool:
        beta = float(_pick(self.rng, (1.0, 1.0, 0.3, 4.0)))
        return self._put(ops.Softmax, (x,), self.tensors[x].shape, 1 / 256, -128, beta=beta)

    def l2_normalization(self, x: int) -> bool:
        return self._put(OPERATORS["L2_NORMALIZATION"], (x,), self.tensors[x].shape, 1 / 128, 0)

    def logistic(self, x: int) -> bool:
        zero_point = int(_pick(self.rng, (-128, _zero_point(self.rng))))
        return self._put(ops.Logistic, (x,), self.tensors[x].shape, 1 / 256, zero_point)

    def tanh(self, x: int) -> bool:
        scale = float(_pick(self.rng, (1 / 128, self.rng.uniform(0.003, 0.02))))
        return self._put(ops.Tanh, (x,), self.tensors[x].shape, scale, _zero_point(self.rng))

    def _unary(self, cls: type[Operator], x: int, **more: Any) -> bool:
        return self._put(cls, (x,), self.tensors[x].shape, *self._near(x), **more)

    def sqrt(self, x: int) -> bool:
        return self._root(OPERATORS["SQRT"], x)

    def rsqrt(self, x: int) -> bool:
        return self._root(OPERATORS["RSQRT"], x)

    def _root(self, cls: type[Operator], x: int) -> bool:
        """Of what nothing is below 0 in."""
        shape, (scale, zero_point) = self.tensors[x].shape, self._quantization(x)
        if zero_point != -128 and not self._put(ops.Quantize, (x,), shape, scale, -128):
            return False
        return self._unary(cls, x if zero_point == -128 else self.ready[-1])

    def island(self, cls: type[Operator], x: int) -> bool:
        """Floats between DEQUANTIZE and QUANTIZE; squares of large ones would be more steps than 32 bits hold."""
        tensor = self.tensors[x]
        if tensor.is_constant or tensor.scale > 1:
            return False
        first = len(self.operators)
        for kind in (ops.Dequantize, cls):
            self.tensors.append(Tensor(self._called(kind.kind.lower()), tensor.shape, DType.FLOAT32))
            output = len(self.tensors) - 1
            self.operators.append(kind(inputs=(x,), outputs=(output,), location=len(self.operators)))
            x = output
        if self._put(ops.Quantize, (x,), tensor.shape, float(self.rng.uniform(0.005, 0.1)), _zero_point(self.rng)):
            return True
        del self.operators[first:]
        return False

    def leaky_relu(self, x: int) -> bool:
        return self._unary(ops.LeakyRelu, x, alpha=float(self.rng.uniform(-1, 1.5)))

    def dequantize(self, x: int) -> bool:
        """To float32, which is an output of the network."""
        return self._end(ops.Dequantize, x, self.tensors[x].shape, DType.FLOAT32)

    def arg_max(self, x: int) -> bool:
        return self._arg_extreme(OPERATORS["ARG_MAX"], x)

    def arg_min(self, x: int) -> bool:
        return self._arg_extreme(OPERATORS["ARG_MIN"], x)

    def _arg_extreme(self, cls: type[Operator], x: int) -> bool:
        shape = self.tensors[x].shape
        if not shape:
            return False
        axis = int(self.rng.integers(len(shape)))
        dtype = _pick(self.rng, (DType.INT32, DType.INT64))
        return self._end(cls, x, (*shape[:axis], *shape[axis + 1 :]), dtype, axis=axis)

    def _end(self, cls: type[Operator], x: int, shape: Shape, dtype: DType, **more: Any) -> bool:
        """An output of the network that is not int8; not too often, since nothing can follow."""
        if self.rng.integers(2) or self.tensors[x].is_constant:
            return False
        self.tensors.append(Tensor(self._called(cls.kind.lower()), shape, dtype))
        output = len(self.tensors) - 1
        self.operators.append(cls(inputs=(x,), outputs=(output,), location=len(self.operators), **more))
        self.final.append(output)
        return True


def _broadcasts(a: Shape, b: Shape) -> bool:
    return all(x == y or 1 in (x, y) for x, y in zip(reversed(a), reversed(b), strict=False))


def _joins(a: Shape, b: Shape, axis: int) -> bool:
    return len(a) == len(b) and all(x == y for i, (x, y) in enumerate(zip(a, b, strict=True)) if i != axis)


def _step_of(kind: str) -> Callable[[_Growing, int], bool]:
    """How an operator is put: its own method, or as any unary one."""
    own: Callable[[_Growing, int], bool] | None = getattr(_Growing, kind.lower(), None)
    if own is not None:
        return own
    if issubclass(OPERATORS[kind], FloatOnly):
        return lambda growing, x: growing.island(OPERATORS[kind], x)
    assert issubclass(OPERATORS[kind], Unary), f"how is {kind} put?"
    return lambda growing, x: growing._unary(OPERATORS[kind], x)


#: Every operator of a file, by its name.
_STEPS = {kind: _step_of(kind) for kind in OPERATORS}
_WINDOWS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESIZE_NEAREST_NEIGHBOR",
    "RESIZE_BILINEAR",
    "TRANSPOSE_CONV",
    "SPACE_TO_DEPTH",
    "DEPTH_TO_SPACE",
)
_VISION = (
    *("CONV_2D",) * 4, *("DEPTHWISE_CONV_2D",) * 3, "ADD", "ADD", "FULLY_CONNECTED", "MEAN", "PAD", "RELU6", "MUL",
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR", "RESHAPE", "HARD_SWISH",
)  # fmt: skip
