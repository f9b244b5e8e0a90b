"""Small quantised ONNX models for tests: an operator on floats between DequantizeLinear and QuantizeLinear, by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

Rng = np.random.Generator
OPSET = 17


@dataclass
class Sketch:
    """A model that grows by nodes; bytes are int8 or uint8."""

    rng: Rng
    unsigned: bool = False
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: list[Any] = field(default_factory=list)

    @property
    def dtype(self) -> type[Any]:
        return np.uint8 if self.unsigned else np.int8

    def name(self) -> str:
        return f"t{len(self.nodes) + len(self.constants) + len(self.inputs)}"

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        names = [f"{kind.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def meaning(self, scale: float | None = None) -> tuple[str, str]:
        """A scale and a zero point."""
        value = float(self.rng.uniform(0.02, 0.08)) if scale is None else scale
        zero = int(self.rng.integers(60, 190)) - (0 if self.unsigned else 128)
        return self.constant(np.float32(value)), self.constant(np.array(zero, self.dtype))

    def bytes(self, *shape: int, scale: float | None = None) -> str:
        """Floats of an input of bytes."""
        name = f"x{len(self.inputs)}"
        kind = TensorProto.UINT8 if self.unsigned else TensorProto.INT8
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return str(self.add("DequantizeLinear", name, *self.meaning(scale)))

    def weights(self, *shape: int, axis: int | None = 0, scale: float = 0.01) -> tuple[str, Any]:
        """Floats of int8 weights, of a scale for each output where an axis is given; and the scales."""
        data = np.clip(np.rint(self.rng.normal(0, 40, shape)), -127, 127).astype(np.int8)
        count = 1 if axis is None else shape[axis]
        scales = (scale * self.rng.uniform(0.5, 1.5, count)).astype(np.float32)
        zeros = np.zeros(count, np.int8)
        given = (scales[0], zeros[0]) if axis is None else (scales, zeros)
        more = {} if axis is None else {"axis": axis}
        name = self.add("DequantizeLinear", self.constant(data), *(self.constant(g) for g in given), **more)
        return name, scales

    def bias(self, x: str, scales: Any) -> str:
        """int32 at the scale of the products."""
        given = next(node for node in self.nodes if node.output[0] == x)
        scale = next(numpy_helper.to_array(c) for c in self.constants if c.name == given.input[1])
        steps = self.rng.integers(-3000, 3000, len(scales)).astype(np.int32)
        return str(
            self.add(
                "DequantizeLinear",
                self.constant(steps),
                self.constant((scales * scale).astype(np.float32)),
                self.constant(np.zeros(len(scales), np.int32)),
                axis=0,
            )
        )

    def quantised(self, x: str, scale: float | None = None) -> str:
        """Bytes of floats, and their floats again."""
        meaning = self.meaning(scale)
        return str(self.add("DequantizeLinear", self.add("QuantizeLinear", x, *meaning), *meaning))

    def model(self, *outputs: str, scale: float | None = None) -> ModelProto:
        """The model whose outputs are the bytes of these floats."""
        ends = []
        kind = TensorProto.UINT8 if self.unsigned else TensorProto.INT8
        for output in outputs:
            name = self.add("QuantizeLinear", output, *self.meaning(scale))
            ends.append(helper.make_tensor_value_info(name, kind, None))
        graph = helper.make_graph(self.nodes, "sketch", self.inputs, ends, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


Case = Callable[[Sketch], ModelProto]


def conv(group: int = 1, depthwise: bool = False, per_channel: bool = True, **attributes: Any) -> Case:
    def case(s: Sketch) -> ModelProto:
        x = s.bytes(1, 6, 9, 8)
        groups = 6 if depthwise else group
        w, scales = s.weights(12 if depthwise else 4, 6 // groups, 3, 3, axis=0 if per_channel else None)
        each = scales if per_channel else np.repeat(scales, 12 if depthwise else 4)
        return s.model(s.add("Conv", x, w, s.bias(x, each), group=groups, **attributes))

    return case


def transposed(
    group: int = 1, kernel: Sequence[int] = (3, 3), per_channel: bool = True, image: Sequence[int] = (5, 4), **more: Any
) -> Case:
    def case(s: Sketch) -> ModelProto:
        x = s.bytes(1, 6, *image)
        w, scales = s.weights(6, 4 // group, *kernel, axis=1 if per_channel else None)
        each = np.tile(scales, group) if per_channel else np.repeat(scales, 4)
        return s.model(s.add("ConvTranspose", x, w, s.bias(x, each), group=group, **more), scale=0.2)

    return case


def normalised(*shape: int) -> Case:
    """Of channels, some of which are turned over, or all one value."""

    def case(s: Sketch) -> ModelProto:
        x, rng, n = s.bytes(*shape), s.rng, shape[1]
        factors = rng.normal(0, 1, n) * (np.arange(n) != 1)
        parts = [factors, rng.normal(0, 1, n), rng.normal(0, 1, n), rng.uniform(0.1, 2, n)]
        given = [s.constant(part.astype(np.float32)) for part in parts]
        return s.model(s.add("Relu", s.add("BatchNormalization", x, *given)))

    return case


def _conv_1d(s: Sketch) -> ModelProto:
    x = s.bytes(2, 5, 14)
    w, scales = s.weights(4, 5, 3)
    return s.model(s.add("Conv", x, w, s.bias(x, scales), pads=[1, 1], strides=[2]))


def _gemm(s: Sketch) -> ModelProto:
    x = s.bytes(3, 20)
    w, scales = s.weights(7, 20)
    return s.model(s.add("Gemm", x, w, s.bias(x, scales), transB=1))


def _matmul(s: Sketch) -> ModelProto:
    x = s.bytes(2, 3, 20)
    return s.model(s.add("MatMul", x, s.weights(20, 7, axis=1)[0]))


def _flattened(s: Sketch) -> ModelProto:
    """The weights' columns follow the image, which lies channels last."""
    x = s.bytes(2, 4, 6, 5)
    w, scales = s.weights(8, 4, 3, 3)
    image = s.quantised(s.add("Relu", s.add("Conv", x, w, s.bias(x, scales), pads=[1, 1, 1, 1])), 0.1)
    m, scales = s.weights(7, 240)
    return s.model(s.add("Gemm", s.add("Flatten", image), m, s.bias(image, scales), transB=1), scale=0.2)


def _biased_product(s: Sketch) -> ModelProto:
    x = s.bytes(1, 3, 20)
    bias = s.constant(s.rng.normal(0, 1, 7).astype(np.float32))
    return s.model(s.add("Add", s.add("MatMul", x, s.weights(20, 7, axis=1)[0]), bias))


def _of_two(s: Sketch) -> ModelProto:
    return s.model(s.add("MatMul", s.bytes(2, 3, 8), s.bytes(2, 8, 5)), scale=0.1)


def pair(kind: str, first: Sequence[int] = (1, 4, 5, 3), second: Sequence[int] = (1, 4, 5, 3)) -> Case:
    return lambda s: s.model(s.add(kind, s.bytes(*first), s.bytes(*second)))


def unary(kind: str, **attributes: Any) -> Case:
    return lambda s: s.model(s.add(kind, s.bytes(2, 130), **attributes))


def _clip(s: Sketch) -> ModelProto:
    return s.model(s.add("Clip", s.bytes(2, 130), s.constant(np.float32(0)), s.constant(np.float32(2))))


def _swish(s: Sketch) -> ModelProto:
    """Quantised between: one table of the first tensor."""
    x = s.bytes(2, 130)
    return s.model(s.add("Mul", x, s.quantised(s.add("Sigmoid", x), 1 / 250)))


def image(kind: str, shape: Sequence[int] = (1, 4, 9, 7), **attributes: Any) -> Case:
    return lambda s: s.model(s.add(kind, s.bytes(*shape), **attributes))


def _average_alike(s: Sketch) -> ModelProto:
    """Windows cut at the edge, on one scale."""
    x = s.bytes(1, 4, 9, 7)
    y = s.add("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    model = s.model(y)
    model.graph.node[-1].input[1:] = model.graph.node[0].input[1:]
    return model


def _concat(s: Sketch) -> ModelProto:
    return s.model(s.add("Concat", s.bytes(1, 4, 3, 3), s.bytes(1, 2, 3, 3, scale=0.1), axis=1))


def _moves(s: Sketch) -> ModelProto:
    x = s.add("Transpose", s.bytes(1, 4, 6, 2), perm=[0, 2, 3, 1])
    x = s.add("Reshape", x, s.constant(np.array([0, -1, 8], np.int64)))
    first, second = s.add("Split", s.add("Unsqueeze", x, s.constant(np.array([0]))), outputs=2, axis=3)
    ends = [s.constant(np.array(v)) for v in ([1], [1000], [2], [2])]
    return s.model(s.add("Slice", s.add("Concat", second, first, axis=3), *ends))


def _pad(s: Sketch) -> ModelProto:
    return s.model(s.add("Pad", s.bytes(1, 3, 4, 5), s.constant(np.array([0, 1, 0, 2, 0, 0, 1, 1]))))


def _resize(s: Sketch) -> ModelProto:
    factors = s.constant(np.array([1, 1, 2, 3], np.float32))
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return s.model(s.add("Resize", s.bytes(1, 3, 4, 5), "", factors, mode="nearest", **modes))


def _linear(s: Sketch) -> ModelProto:
    factors = s.constant(np.array([1, 1, 2, 4], np.float32))
    return s.model(s.add("Resize", s.bytes(1, 3, 4, 5, scale=0.05), "", factors, mode="linear"))


def _gather(indices: Any, axis: int) -> Case:
    return lambda s: s.model(s.add("Gather", s.bytes(2, 6, 4, 5), s.constant(np.array(indices)), axis=axis))


def _prelu(s: Sketch) -> ModelProto:
    slopes = s.constant(s.rng.uniform(-0.2, 0.3, (1, 5, 1, 1)).astype(np.float32))
    return s.model(s.add("PRelu", s.bytes(1, 5, 16, 16, scale=0.05), slopes), scale=0.04)


def _softmax(s: Sketch) -> ModelProto:
    return s.model(s.add("Softmax", s.bytes(3, 10), axis=-1), scale=1 / 255)


CASES: dict[str, Case] = {
    "conv": conv(pads=[1, 1, 1, 1]),
    "conv_per_tensor": conv(per_channel=False, pads=[0, 2, 1, 1]),
    "conv_groups": conv(2, strides=[2, 1]),
    "conv_same": conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_same_lower": conv(auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv_dilated": conv(dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv_depthwise": conv(depthwise=True, pads=[1, 1, 1, 1]),
    "conv_1d": _conv_1d,
    "transposed": transposed(),
    "transposed_cut": transposed(strides=[2, 3], pads=[1, 0, 0, 2], output_padding=[1, 0]),
    "transposed_far": transposed(kernel=(2, 2), strides=[3, 2]),
    "transposed_same": transposed(kernel=(4, 3), strides=[2, 2], auto_pad="SAME_LOWER", per_channel=False),
    "transposed_sized": transposed(kernel=(4, 3), strides=[2, 2], output_shape=[11, 8]),
    "transposed_groups": transposed(2, strides=[2, 2], dilations=[2, 1], pads=[1, 1, 1, 1]),
    "transposed_1d": transposed(kernel=(4,), strides=[2], pads=[1, 1], image=(7,)),
    "normalised": normalised(2, 5, 4, 3),
    "normalised_lines": normalised(1, 4, 9),
    "normalised_rows": normalised(3, 12),
    "gemm": _gemm,
    "matmul": _matmul,
    "matmul_biased": _biased_product,
    "matmul_of_two": _of_two,
    "flattened": _flattened,
    "add": pair("Add"),
    "add_channels": pair("Add", (1, 4, 5, 3), (4, 1, 1)),
    "sub": pair("Sub"),
    "mul": pair("Mul"),
    "mul_gate": pair("Mul", (1, 4, 5, 3), (1, 4, 1, 1)),
    **{f"unary_{kind.lower()}": unary(kind) for kind in ("Relu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Exp")},
    "leaky_relu": unary("LeakyRelu", alpha=0.1),
    "clip": _clip,
    "swish": _swish,
    "max_pool": image("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max_pool_ceil": image("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "average_pool": image("AveragePool", kernel_shape=[3, 3], strides=[2, 2]),
    "average_pool_padded": image("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "average_pool_cut": _average_alike,
    "global_average_pool": image("GlobalAveragePool"),
    "reduce_mean": image("ReduceMean", axes=[2, 3], keepdims=0),
    "reduce_mean_last": image("ReduceMean", (2, 5, 12), axes=[-1]),
    "concat": _concat,
    "moves": _moves,
    "pad": _pad,
    "resize": _resize,
    "resize_linear": _linear,
    "gather_one": _gather(-1, 2),
    "gather_some": _gather([[3, 0], [5, -1]], 1),
    "gather_reversed": _gather([3, 2, 1], 3),
    "prelu": _prelu,
    "depth_to_space": image("DepthToSpace", (1, 8, 3, 4), blocksize=2),
    "pixel_shuffle": image("DepthToSpace", (2, 12, 3, 4), blocksize=2, mode="CRD"),
    "space_to_depth": image("SpaceToDepth", (1, 3, 4, 6), blocksize=2),
    "gelu": unary("Gelu", domain="com.microsoft"),
    "softmax": _softmax,
}


def network(s: Sketch) -> ModelProto:
    """Nodes that are exact: an image's convolutions, a pool, a table, a product at the end."""
    x = s.bytes(1, 3, 16, 16)
    for depth, outputs, group in ((3, 8, 1), (1, 8, 8), (8, 16, 1)):
        w, scales = s.weights(outputs, depth, 3, 3)
        x = s.add("Conv", x, w, s.bias(x, scales), pads=[1, 1, 1, 1], group=group)
        x = s.quantised(s.add("Relu", x), 0.1)
    x = s.quantised(s.add("HardSwish", s.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])), 0.1)
    x = s.quantised(s.add("Flatten", s.add("GlobalAveragePool", x)), 0.05)
    w, scales = s.weights(10, 16)
    return s.model(s.add("Gemm", x, w, s.bias(x, scales), transB=1), scale=0.1)


def inputs_of(model: ModelProto, rng: Rng) -> dict[str, Any]:
    """Random bytes for each input."""
    found = {}
    for given in model.graph.input:
        dtype = np.uint8 if given.type.tensor_type.elem_type == TensorProto.UINT8 else np.int8
        shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        found[given.name] = rng.integers(low, high + 1, shape).astype(dtype)
    return found
