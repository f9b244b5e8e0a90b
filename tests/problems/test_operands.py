"""What a layer reads and writes at least: by counting which inputs change an output, and against every kernel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from layers_helpers import conv, conv_depthwise, depthwise, every_family, fully_connected, inputs_of
from layers_reference_helpers import expected

from memaopt.bench.random_layers import random_layers
from memaopt.kernels.registry import plans
from memaopt.problems.geometry import Image, Pair, Window
from memaopt.problems.layers import Layer, MatMul, Pool, PoolKind
from memaopt.problems.movement import Movement as Moving
from memaopt.problems.movement import box
from memaopt.problems.operands import Operands
from memaopt.problems.resize import Resize
from memaopt.problems.step_functions import Rescale

_RNG = np.random.default_rng(5)


def _changing(layer: Layer) -> int:
    """How many elements of the input can change an output, each tried with several others."""
    found = set()
    for _ in range(12):
        (image,) = inputs_of(_RNG, layer)
        for i in set(range(image.size)) - found:
            least, greatest = image.copy(), image.copy()
            least[i], greatest[i] = -128, 127
            if not np.array_equal(expected(layer, least), expected(layer, greatest)):
                found.add(i)
    return len(found)


_LAYERS: dict[str, Layer] = {
    "a stride beyond the kernel": conv(_RNG, (7, 8, 3), 4, (2, 1), stride=(3, 2), padding="valid"),
    "a dilation with holes": conv(_RNG, (9, 9, 2), 3, (2, 2), stride=(2, 2), dilation=(4, 4), padding="valid"),
    "a depthwise layer that skips columns": depthwise(_RNG, (5, 9, 2), (3, 1), stride=(1, 2), padding="valid"),
    "a pool": Pool(PoolKind.AVERAGE, Image(5, 5, 2), Image(2, 2, 2), Window(Pair(2, 2), Pair(2, 2))),
    "a resize that leaves rows out": Resize(Image(9, 4, 2), Image(3, 4, 2), Pair(3 << 10, 1 << 10), False),
}


@pytest.mark.parametrize("name", _LAYERS)
def test_inputs_that_change_an_output_are_those_that_count(name: str) -> None:
    """Catches rows and columns that no window covers taken as read, which would make a bound of what is none."""
    layer = _LAYERS[name]
    assert layer.operands.inputs == (_changing(layer),)


def test_two_layers_as_one_read_what_the_second_needs() -> None:
    """Catches the first layer's whole input where the second one's windows leave rows of what it reads out."""
    layer = conv_depthwise(_RNG, (8, 8, 3), 5, stride=(2, 2), kernel=(1, 1), padding="valid")
    assert layer.operands.inputs[0] <= layer.conv.operands.inputs[0]
    assert layer.operands.weights == layer.conv.weights.size + layer.depthwise.weights.size


@pytest.mark.parametrize("make", [conv, depthwise])
def test_weights_in_the_padding_alone_do_not_count(make: Callable[..., Layer]) -> None:
    """Catches a bound above what a kernel moves that leaves such taps out: of 3 x 3, one is on a pixel."""
    pixel, row = (
        make(_RNG, shape, *outputs, (3, 3), padding="same")
        for outputs in [(4,) if make is conv else ()]
        for shape in [(1, 1, 4), (1, 2, 4)]
    )
    each = 16 if make is conv else 4
    assert (pixel.operands.weights, row.operands.weights) == (each, 3 * each)


def test_what_is_moved_twice_is_read_once() -> None:
    """Catches elements that a tile repeats, counted for each copy."""
    repeated = tuple(box(0, (2, 3), (2, 6), shape=(2, 3), output_start=(0, start)) for start in (0, 3))
    assert Moving("TILE", 12, repeated).operands == Operands((6,), 12)


@pytest.mark.slow
def test_no_kernel_is_below() -> None:
    """Catches a least that some kernel undercuts, for every family and 100 random layers, all plans."""
    layers = [layer for _, layer in random_layers(100, 11)] + [layer for layer, _ in every_family().values()]
    layers += [fully_connected(_RNG, 40, 9, rows=3)]
    layers += [MatMul((2, 1, 7, 12), (3, 5, 12), (False, True), 3, -2, 5, Rescale(1518500250, -7))]
    for layer in layers:
        needed = layer.operands
        for plan in plans(layer):
            promise, where = plan.promise, (type(layer).__name__, plan.family, plan.tile)
            for access, least in zip(promise.inputs, needed.inputs, strict=True):
                assert access.load_bytes >= least, where
            assert promise.output.store_bytes >= needed.output, where
            assert promise.parameters.load_bytes >= needed.weights, where
