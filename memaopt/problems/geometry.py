"""Sizes and places of NHWC images, and the windows that slide over them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Image(NamedTuple):
    """Height, width and channels of one NHWC activation."""

    height: int
    width: int
    channels: int

    @property
    def elements(self) -> int:
        return self.height * self.width * self.channels

    @property
    def positions(self) -> int:
        return self.height * self.width


class Pair(NamedTuple):
    """Rows and columns of a kernel, stride or dilation."""

    height: int
    width: int


class Padding(NamedTuple):
    """Rows above and columns to the left of the image; what is needed below and to the right follows."""

    top: int = 0
    left: int = 0


_ONE = Pair(1, 1)
_NO_PADDING = Padding()


@dataclass(frozen=True)
class Window:
    """A kernel sliding over an image."""

    kernel: Pair
    stride: Pair = _ONE
    dilation: Pair = _ONE
    padding: Padding = _NO_PADDING

    def describe(self) -> str:
        """For head comments."""
        text = f"kernel {self.kernel.height}x{self.kernel.width}, stride {self.stride.height}x{self.stride.width}"
        if self.dilation != _ONE:
            text += f", dilation {self.dilation.height}x{self.dilation.width}"
        return f"{text}, padding {self.padding.top} above and {self.padding.left} on the left"

    @property
    def extent(self) -> Pair:
        """Rows and columns of the image from the first tap to the last, (kernel - 1) * dilation + 1."""
        rows, columns = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return Pair(rows, columns)

    def taps(self, image: Image, output: Image) -> int:
        """(output position, kernel tap) pairs that fall inside the image, one channel."""
        rows, columns = (
            _inside(size, outputs, kernel, stride, dilation, before)
            for size, outputs, kernel, stride, dilation, before in zip(
                image[:2], output[:2], self.kernel, self.stride, self.dilation, self.padding, strict=True
            )
        )
        return rows * columns

    def rows_inside(self, image: Image, output: Image) -> int:
        """(output row, kernel row) pairs that fall inside the image."""
        (height, top), kernel = (image.height, self.padding.top), self.kernel.height
        return _inside(height, output.height, kernel, self.stride.height, self.dilation.height, top)


def _inside(size: int, outputs: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    at = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None, :] * dilation - before
    return int(np.count_nonzero((at >= 0) & (at < size)))
