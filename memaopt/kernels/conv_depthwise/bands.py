"""The planes between a convolution and the depthwise layer that reads it, and the bands that they come in."""

from typing import NamedTuple

from memaopt.kernels import strips
from memaopt.kernels.depthwise.kernels import Geometry
from memaopt.problems.layers import ConvDepthwise, Depthwise


class Planes(NamedTuple):
    """Where the values lie: ``row`` bytes from a row to the next, ``channel`` from a channel to the next, ``pitch``
    bytes for a row of one channel, values from column ``left`` on. ``rows`` in all; everything is ``bytes`` long.
    """

    rows: int
    channels: int
    row: int
    channel: int
    pitch: int
    left: int
    width: int
    bytes: int

    def zeros(self) -> list[tuple[int, int]]:
        """(offset of the first, number) of the words of zeros around the rows, ``pitch`` bytes apart."""
        rows = self.rows * self.channels
        right = [(at, rows) for at in range((self.left + self.width) // 2 * 4, self.pitch, 4)]
        # The word after the last row is the left of a row that does not exist.
        beyond = (self.bytes - rows * self.pitch) // 4
        return [(4 * i, rows + (i < beyond)) for i in range(self.left // 2)] + right


class Band(NamedTuple):
    """Planes from row ``top`` of the convolution on (a row below 0 is zeros): ``moved`` rows are gone since the last
    band, ``rows`` are computed, ``zeros`` rows of zeros are filled; ``y`` is the first row of outputs.
    """

    y: int
    top: int
    moved: int
    rows: range
    zeros: int


def planes_of(layer: Depthwise, shape: Geometry, banded: bool) -> Planes:
    """The planes with as few columns as the walk can do with."""
    channels, width = layer.shape.channels, layer.shape.width
    columns, left = shape.plane.pitch // 2, shape.plane.left
    pitch = max(left + width, columns - left)
    pitch += pitch % 2
    rows = shape.plane.rows
    size = 2 * (rows * channels * pitch + max(columns - pitch, 0))
    row, channel = (2 * pitch * channels, 2 * pitch) if banded else (2 * pitch, 2 * pitch * rows)
    return Planes(rows, channels, row, channel, 2 * pitch, left, width, size)


def bands_of(layer: ConvDepthwise, rows: int, band: int) -> list[Band]:
    """The bands of ``band`` rows of outputs, the planes being ``rows`` high; one without zeros if it is 0."""
    conv, depthwise = layer.conv.output.height, layer.depthwise
    if not band:
        return [Band(0, 0, 0, range(conv), 0)]
    bands: list[Band] = []
    for y in range(0, depthwise.output.height, band):
        at = min(y, depthwise.output.height - band)
        top = at * depthwise.window.stride.height - depthwise.window.padding.top
        moved = top - bands[-1].top if bands else rows
        new = range(top + rows - moved, top + rows)
        inside = range(max(new.start, 0), max(min(new.stop, conv), 0))
        bands.append(Band(at, top, moved if bands else 0, inside, len(new) - len(inside)))
    return bands


def lead_of_bands(layer: ConvDepthwise, bands: list[Band], band: int) -> int:
    """The lead where each band's rows of the convolution are computed before its outputs are written."""
    conv, output = layer.conv, layer.output
    tops = [
        b.rows.start * conv.window.stride.height - conv.window.padding.top if b.rows else conv.shape.height
        for b in bands
    ]
    ends = [(b.y + (band or output.height)) * output.width * output.channels for b in bands]
    return strips.copied_rows_lead(conv, tops, ends)
