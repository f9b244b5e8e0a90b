"""What every layer is, and the forms that several kinds have: of images, of rows, element by element.

A layer says what a call of it takes and gives. Whoever tries, counts or draws layers needs no more of a kind than that.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from memaopt.problems.geometry import Image, Window
from memaopt.problems.operands import Operand, Operands, axes, used, whole


class Layer:
    """One operator of a simplified network as a problem: what is computed, nothing of how."""

    @property
    def takes(self) -> tuple[Operand, ...]:
        """The inputs of a call."""
        raise NotImplementedError

    @property
    def gives(self) -> Operand:
        """The output of a call."""
        raise NotImplementedError

    @property
    def operands(self) -> Operands:
        """The bytes that one call reads and writes at least: all of them, without weights."""
        return Operands(tuple(each.bytes for each in self.takes), self.gives.bytes)


class OfImage(Layer):
    """From an image to an image, of ``element``."""

    if TYPE_CHECKING:  # fields of some kinds, properties of others

        @property
        def shape(self) -> Image: ...

        @property
        def output(self) -> Image: ...

    element = "int8"

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand(self.shape, self.element),)

    @property
    def gives(self) -> Operand:
        return Operand(self.output, self.element)


class Sliding(OfImage):
    """By a window that slides over the image."""

    window: Window

    @property
    def operands(self) -> Operands:
        rows, columns = axes(whole(self.output), self.shape, self.window)
        elements = len(rows) * len(columns) * self.shape.channels
        return Operands((Operand((elements,), self.element).bytes,), self.gives.bytes)


class Convolving(Sliding):
    """By a window with weights."""

    weights: npt.NDArray[Any]

    @property
    def macs(self) -> int:
        return self.output.positions * self.weights.size

    @property
    def operands(self) -> Operands:
        found = super().operands
        return Operands(
            found.inputs, found.output, used(self.weights.size, whole(self.output), self.shape, self.window)
        )


class Dense(Layer):
    """``rows`` of as many outputs as ``weights`` [M, K] has rows."""

    rows: int
    weights: npt.NDArray[Any]
    source_type = target_type = "int8"

    @property
    def macs(self) -> int:
        return self.rows * self.weights.size

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.rows, self.weights.shape[1]), self.source_type),)

    @property
    def gives(self) -> Operand:
        return Operand((self.rows, len(self.weights)), self.target_type)

    @property
    def operands(self) -> Operands:
        found = super().operands
        return Operands(found.inputs, found.output, self.weights.size)


class OfElements(Layer):
    """Each of ``elements`` by itself."""

    elements: int
    source_type = target_type = "int8"

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.elements,), self.source_type),)

    @property
    def gives(self) -> Operand:
        return Operand((self.elements,), self.target_type)


class OfRows(Layer):
    """Each of ``rows`` of ``depth`` elements by itself."""

    rows: int
    depth: int
    element = "int8"

    @property
    def elements(self) -> int:
        return self.rows * self.depth

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand((self.rows, self.depth), self.element),)

    @property
    def gives(self) -> Operand:
        return Operand((self.rows, self.depth), self.element)


class OverAxes(Layer):
    """What is reduced: the ``axes`` of a ``shape``."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    element = "int8"

    @property
    def count(self) -> int:
        """Elements that one output is of."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return (Operand(self.shape, self.element),)

    @property
    def gives(self) -> Operand:
        return Operand((self.elements // self.count,), self.element)
