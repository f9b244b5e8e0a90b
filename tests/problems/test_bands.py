"""Bands: a layer's rows, a few at a time, from just the rows that they read."""

import numpy as np
import pytest
from layers_helpers import conv, depthwise, inputs_of
from layers_reference_helpers import expected

from memaopt.kernels.registry import plans
from memaopt.problems.bands import Reach, rows_of
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Layer, Lookup, Pool, PoolKind, Softmax
from memaopt.problems.step_functions import Rescale


def _layers() -> dict[str, tuple[Layer, Image, Image]]:
    """Layers with the images that they read and write."""
    rng = np.random.default_rng(3)
    strided = conv(rng, (13, 6, 4), 8, (5, 3), stride=(2, 1))
    wide = depthwise(rng, (9, 7, 4), (3, 3), dilation=(2, 2))
    plain = conv(rng, (6, 5, 8), 4, zero_point=7)
    image, pooled = Image(8, 6, 4), Image(4, 3, 4)
    most = Pool(PoolKind.MAX, Image(7, 6, 4), pooled, Window(Pair(3, 2), Pair(2, 2), padding=Padding(1, 0)))
    mean = Pool(PoolKind.AVERAGE, image, pooled, Window(Pair(2, 2), Pair(2, 2)))
    shape, scale = (1, *image), Rescale(1 << 30, 0)
    total = Binary(BinaryKind.ADD, shape, shape, 3, -5, 1, Rescale(1 << 30, -19), scale, scale)
    table = Lookup(image.elements, rng.integers(-128, 128, 256).astype(np.int8))
    return {
        "strided": (strided, strided.shape, strided.output),
        "dilated": (wide, wide.shape, wide.output),
        "1x1": (plain, plain.shape, plain.output),
        "maximum": (most, most.shape, pooled),
        "average": (mean, image, pooled),
        "sum": (total, image, image),
        "table": (table, image, image),
    }


_LAYERS = _layers()


@pytest.mark.parametrize("name", _LAYERS)
@pytest.mark.parametrize("height", [1, 2, 3])
def test_bands_make_the_whole(name: str, height: int) -> None:
    """Catches a band that reads other rows than those under its windows, or padding that is not the layer's own."""
    layer, shape, output = _LAYERS[name]
    rows = rows_of(layer, output.height)
    assert rows is not None
    images = [x.reshape(shape) for x in inputs_of(np.random.default_rng(5), layer)]
    whole = expected(layer, *images).reshape(output)
    for top in range(0, output.height, height):
        count = min(height, output.height - top)
        read = []
        for image, reach in zip(images, rows.reaches, strict=True):
            above, below = reach.above, reach.below(output.height, shape.height)
            assert (above + below == 0) or rows.padding is not None
            padded = np.pad(image, ((above, below), (0, 0), (0, 0)), constant_values=rows.padding or 0)
            first = reach.first(top) + above
            read.append(padded[first : first + reach.rows_in(count)])
        band = rows.band(count)
        assert plans(band)
        np.testing.assert_array_equal(expected(band, *read).reshape(count, *output[1:]), whole[top : top + count])


def test_halo() -> None:
    """Catches rows that are counted twice, or not at all, between neighbouring bands."""
    reach = Reach(extent=3, stride=1, above=1)
    assert [reach.rows_in(n) for n in (1, 2, 5)] == [3, 4, 7]
    assert reach.below(5, 5) == 1
    assert Reach(extent=3, stride=2, above=0).below(4, 8) == 1


def test_what_has_no_rows() -> None:
    """Catches a layer of vectors, or an average that leaves padding out, being cut into rows."""
    padded = Pool(PoolKind.AVERAGE, Image(4, 4, 4), Image(4, 4, 4), Window(Pair(3, 3), padding=Padding(1, 1)))
    assert rows_of(padded, 4) is None
    assert rows_of(Softmax(4, 4, 1 << 30, 1, -100), 4) is None
