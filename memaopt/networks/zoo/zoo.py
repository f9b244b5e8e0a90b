"""Networks with seeded weights for examples, tests and benchmarks.

The four architectures of MLPerf Tiny, with the shapes of its reference models, and one in the manner of
MobileNetV2; :mod:`memaopt.networks.zoo.attention` has a transformer, :mod:`memaopt.networks.zoo.sliding` three for
signals, :mod:`memaopt.networks.zoo.large` larger ones, :mod:`memaopt.networks.zoo.outgrown` two that outgrow a chip.
Weights are random integers; each layer's output scale
and zero point follow from the range that its exact accumulators take on a few seeded inputs, so every layer's output
is spread over int8. The bytes are the same everywhere: nothing but integers and single float operations decides them,
save what the C library's erfcf decides of GELU's table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from memaopt.errors import InputError
from memaopt.networks import operators as ops
from memaopt.networks.formats.tflite.writer import write
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import attention, outgrown, sliding
from memaopt.networks.zoo import large as zoo_large
from memaopt.networks.zoo.builder import Builder
from memaopt.writer import write_files

_RELU, _RELU6 = Activation.RELU, Activation.RELU6
_TWO = Size2D(2, 2)


def fc_autoencoder() -> Graph:
    """Anomaly detection: 640 inputs through a bottleneck of 8, all fully connected."""
    b = Builder("fc_autoencoder", (1, 640), seed=1)
    x = b.input
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = b.fully_connected(x, units, _RELU)
    return b.finish(b.fully_connected(x, 640))


def ds_cnn() -> Graph:
    """Keyword spotting: one 10x4 convolution and four depthwise-separable blocks of 64 channels."""
    b = Builder("ds_cnn", (1, 49, 10, 1), seed=2)
    x = b.conv_2d(b.input, 64, Size2D(10, 4), _RELU, stride=_TWO)
    for _ in range(4):
        x = b.depthwise_conv_2d(x, _RELU)
        x = b.conv_2d(x, 64, Size2D(1, 1), _RELU)
    return b.finish(b.classify(b.average_pool(x), 12))


def resnet8() -> Graph:
    """Image classification: three residual blocks of 16, 32 and 64 channels."""
    b = Builder("resnet8", (1, 32, 32, 3), seed=3)
    three = Size2D(3, 3)
    x = b.conv_2d(b.input, 16, three, _RELU)
    for channels, stride in ((16, Size2D(1, 1)), (32, _TWO), (64, _TWO)):
        y = b.conv_2d(x, channels, three, _RELU, stride=stride)
        y = b.conv_2d(y, channels, three)
        if stride == _TWO:
            x = b.conv_2d(x, channels, Size2D(1, 1), stride=stride)
        x = b.add(x, y, _RELU)
    return b.finish(b.classify(b.average_pool(x), 10))


def mobilenet_v1() -> Graph:
    """Visual wake words: MobileNetV1 of width 0.25 on 96x96. Half the channels of the later pointwise layers have
    weights of zero, as training leaves them in the reference model."""
    b = Builder("mobilenet_v1", (1, 96, 96, 3), seed=4)
    x = b.conv_2d(b.input, 8, Size2D(3, 3), _RELU, stride=_TWO)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    for i, (channels, stride) in enumerate(blocks):
        x = b.depthwise_conv_2d(x, _RELU, stride=Size2D(stride, stride))
        x = b.conv_2d(x, channels, Size2D(1, 1), _RELU, dead=0.5 if i > 5 else 0.0)
    return b.finish(b.classify(b.average_pool(x), 2))


def mobilenet_v2() -> Graph:
    """Inverted residuals with linear bottlenecks on 64x64, explicit padding before strides, a mean at the end."""
    b = Builder("mobilenet_v2", (1, 64, 64, 3), seed=5)
    x = b.conv_2d(b.input, 16, Size2D(3, 3), _RELU6, stride=_TWO)
    x = b.depthwise_conv_2d(x, _RELU6)
    x = b.conv_2d(x, 8, Size2D(1, 1))
    for channels, stride in ((8, 2), (8, 1), (16, 2), (16, 1), (24, 2), (24, 1), (32, 1), (56, 2), (56, 1)):
        y = b.conv_2d(x, 6 * b.channels(x), Size2D(1, 1), _RELU6)
        if stride == 2:
            y = b.depthwise_conv_2d(b.pad(y, ((0, 0), (0, 1), (0, 1), (0, 0))), _RELU6, stride=_TWO, same=False)
        else:
            y = b.depthwise_conv_2d(y, _RELU6)
        y = b.conv_2d(y, channels, Size2D(1, 1))
        x = b.add(x, y) if stride == 1 and channels == b.channels(x) else y
    x = b.conv_2d(x, 128, Size2D(1, 1), _RELU6)
    return b.finish(b.classify(b.mean(x), 10))


SMALL: dict[str, Callable[[], Graph]] = {
    "fc_autoencoder": fc_autoencoder,
    "ds_cnn": ds_cnn,
    "resnet8": resnet8,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}
NETWORKS = SMALL | attention.NETWORKS | sliding.NETWORKS | zoo_large.NETWORKS | outgrown.NETWORKS


@cache
def build(name: str) -> Graph:
    """The network of that name, built once; InputError if there is none."""
    if name not in NETWORKS:
        raise InputError(f"no network {name!r} in the zoo: choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def with_float_ends(graph: Graph) -> Graph:
    """The network with float32 inputs and outputs: QUANTIZE before and DEQUANTIZE after it."""
    tensors, before, after = list(graph.tensors), [], []
    inputs, outputs = [], []
    for index in graph.inputs:
        tensors.append(Tensor(f"{tensors[index].name}_float", tensors[index].shape, DType.FLOAT32))
        inputs.append(len(tensors) - 1)
        before.append(ops.Quantize(inputs=(inputs[-1],), outputs=(index,)))
    for index in graph.outputs:
        tensors.append(Tensor(f"{tensors[index].name}_float", tensors[index].shape, DType.FLOAT32))
        outputs.append(len(tensors) - 1)
        after.append(ops.Dequantize(inputs=(index,), outputs=(outputs[-1],)))
    operators = [op.model_copy(update={"location": i}) for i, op in enumerate((*before, *graph.operators, *after))]
    return Graph(f"{graph.name}_float", tuple(tensors), tuple(operators), tuple(inputs), tuple(outputs))


def save(folder: str | Path, names: tuple[str, ...] = tuple(NETWORKS)) -> list[Path]:
    """Write ``<name>.tflite`` for each name into the folder, which is made if need be; the paths."""
    contents = {name: write(build(name)) for name in names}
    target = write_files({f"{name}.tflite": data for name, data in contents.items()}, folder, keep=True)
    return [target / f"{name}.tflite" for name in names]
