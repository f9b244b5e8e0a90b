"""Convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, as converters write dilation; batches left open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tensors_helpers import activation, constant
from tflite_helpers import changed

from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import Graph
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.simplify import simplify


def _line(crop: int) -> Graph:
    """A causal convolution of 3 taps, 4 apart, over 20 positions of a line."""
    rng = np.random.default_rng(3)
    length = 7 + crop // 4
    made = [(1, 20, 5), (4, length, 5), (4, 1, length, 5), (4, 1, length - 2, 6), (4, length - 2, 6), (1, 20, 6)]
    tensors = [activation(f"t{i}", shape, 0.1, 3) for i, shape in enumerate(made)]
    tensors.append(constant("w", rng.integers(-127, 128, (6, 1, 3, 5)).astype(np.int8), np.array([0.01])))
    tensors.append(constant("b", rng.integers(-500, 500, 6).astype(np.int32), np.array([0.001])))
    operators = (
        OPERATORS["SPACE_TO_BATCH_ND"](inputs=(0,), outputs=(1,), block=(4,), edges=((8, crop),)),
        ops.ExpandDims(inputs=(1,), outputs=(2,), location=1),
        ops.Conv2D(inputs=(2, 6, 7), outputs=(3,), location=2, activation=ops.Activation.RELU),
        ops.Reshape(inputs=(3,), outputs=(4,), location=3),
        OPERATORS["BATCH_TO_SPACE_ND"](inputs=(4,), outputs=(5,), location=4, block=(4,), edges=((0, crop),)),
    )
    return Graph("line", tuple(tensors), operators, (0,), (5,))


def _image() -> Graph:
    """A depthwise convolution, dilated by 2 and 3, padded on all sides."""
    rng = np.random.default_rng(4)
    made = [(2, 8, 7, 4), (12, 6, 4, 4), (12, 4, 2, 4), (2, 8, 6, 4)]
    tensors = [activation(f"t{i}", shape, 0.1, -5) for i, shape in enumerate(made)]
    tensors.append(constant("w", rng.integers(-127, 128, (1, 3, 3, 4)).astype(np.int8), np.array([0.01])))
    operators = (
        OPERATORS["SPACE_TO_BATCH_ND"](inputs=(0,), outputs=(1,), block=(2, 3), edges=((2, 2), (2, 3))),
        ops.DepthwiseConv2D(inputs=(1, 4), outputs=(2,), location=1),
        OPERATORS["BATCH_TO_SPACE_ND"](inputs=(2,), outputs=(3,), location=2, block=(2, 3), edges=((0, 0), (0, 0))),
    )
    return Graph("image", tuple(tensors), operators, (0,), (3,))


@pytest.mark.parametrize("graph", [_line(0), _line(4), _image()], ids=["line", "cropped", "image"])
def test_it_is_a_dilated_convolution(graph: Graph) -> None:
    """Catches padding or crops on the wrong side, blocks of another axis, and batches that stay."""
    simple = simplify.simplify(graph).graph
    (conv,) = (op for op in graph.operators if op.macs(graph))
    assert [op.kind for op in simple.operators if not op.alias] == [conv.kind]
    oracle, rng = Oracle(writer.write(graph)), np.random.default_rng(0)
    for _ in range(3):
        x = rng.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)
        (expected,) = oracle.run([x])
        for network in (graph, simple):
            np.testing.assert_array_equal(reference.run(network, [x])[0], expected)


def test_a_convolution_of_its_own_padding_stays() -> None:
    """Catches padding of each batch taken for padding of the image."""
    graph = _line(0)
    conv = graph.operators[2].model_copy(update={"padding": ops.Padding2D(0, 0, 1, 1)})
    tensors = list(graph.tensors)
    for index, shape in ((3, (4, 1, 7, 6)), (4, (4, 7, 6)), (5, (1, 28, 6))):
        tensors[index] = activation(f"t{index}", shape, 0.1, 3)
    padded = graph.replace(tensors=tensors, operators=[*graph.operators[:2], conv, *graph.operators[3:]])
    assert len(simplify.simplify(padded).graph.operators) == 5


def test_batches_that_a_file_leaves_open_follow_from_the_operators() -> None:
    """Catches blocks of batches taken for one, since the file leaves the first size of every tensor open."""
    graph = _line(0)

    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors[:6]:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
            tensor.shape = np.array([1, *tensor.shape[1:]], np.int32)

    read = reader.parse(changed(graph, change))
    assert [read.tensors[t].shape for t in range(6)] == [graph.tensors[t].shape for t in range(6)]
