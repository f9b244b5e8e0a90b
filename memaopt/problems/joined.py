"""A depthwise convolution of an image that lies nowhere as a whole: its rows were kept, but for new ones."""

from dataclasses import dataclass

from memaopt.problems.content import ByContent
from memaopt.problems.layers import Depthwise, Layer
from memaopt.problems.operands import Operand, Operands, axes, whole


@dataclass(frozen=True, eq=False)
class JoinedDepthwise(Layer, ByContent):
    """A DEPTHWISE_CONV_2D at one position of an image that lies nowhere as a whole: its first ``kept`` rows are one
    input, and those after them another. ``moves``: besides, the input of kept rows becomes the last rows of the image.
    """

    depthwise: Depthwise
    kept: int
    moves: bool = False

    @property
    def macs(self) -> int:
        return self.depthwise.macs

    @property
    def takes(self) -> tuple[Operand, ...]:
        height, width, channels = self.depthwise.shape
        return Operand((self.kept, width, channels)), Operand((height - self.kept, width, channels))

    @property
    def gives(self) -> Operand:
        return self.depthwise.gives

    @property
    def operands(self) -> Operands:
        inner = self.depthwise
        rows, columns = axes(whole(inner.output), inner.shape, inner.window)
        read = len(columns) * inner.shape.channels
        kept = sum(row < self.kept for row in rows)
        return Operands((kept * read, (len(rows) - kept) * read), inner.output.elements, inner.operands.weights)
