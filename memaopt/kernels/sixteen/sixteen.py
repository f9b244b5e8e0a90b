"""Convolutions, matrix products, pools and softmax of int16 activations ("16x8"), element by element.

Cycles are those of GCC 12.2 at -O3, fitted to counts of 50 layers on the virtual board: all but
small ones within a quarter, and a window of 5 over one channel with sums of int32, a third.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import ARITHMETIC, plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.sixteen import Conv16, Depthwise16, FullyConnected16, Pool16, Softmax16

#: Of a product, an output, a tap of a window inside the image, likewise where GCC writes loops out, and one beside it.
_PRODUCT, _OUTPUT = Compiled(24, 5.5), Compiled(160, 50)
_TAP, _TAP_WRITTEN_OUT, _BESIDE = Compiled(60, 46), Compiled(60, 24), Compiled(10, 12)
#: Bytes of a convolution with one or two outputs of at most four taps: GCC writes its loops out, over positions too.
_FEW_WRITTEN_OUT = 2816
#: Of sums of int32: a product, an output, a tap; one where GCC writes loops out, at borders and where there are none.
_PRODUCT_32, _OUTPUT_32, _TAP_32 = Compiled(24, 8.9), Compiled(160, 48), Compiled(60, 23.5)
_TAP_32_AT_BORDERS, _TAP_32_WRITTEN_OUT = Compiled(60, 14.5), Compiled(60, 4.5)
#: Of a depthwise convolution: an output, a row of its window, a tap at borders and where there are none, one beside the
#: image; what several output channels of an input's, and a tap's dilation, take more; written out, an output and a tap.
_SUMMED, _WINDOW_ROW, _NEXT = Compiled(160, 45), Compiled(40, 17.5), Compiled(10, 2)
_UNDER, _INSIDE = Compiled(60, 17), Compiled(60, 9.2)
_DIVIDED, _DILATED = 15, 4.5
_SUMMED_WRITTEN_OUT, _UNDER_WRITTEN_OUT = Compiled(160, 41.5), Compiled(60, 10.8)
#: Of a matrix product's product and output, which is rescaled in double.
_FULLY_CONNECTED, _DOUBLE = Compiled(24, 8.8), Compiled(216, 503)
#: Of an element under a window, a row of them and an output; likewise where GCC writes loops out; of a position.
_ELEMENT, _ROW, _GREATEST = Compiled(16, 9), Compiled(24, 8), Compiled(40, 10)
_ELEMENT_WRITTEN_OUT, _GREATEST_WRITTEN_OUT, _POSITION = Compiled(12, 5), Compiled(30, 5), Compiled(60, 10)
#: Of an element of a mean, a row of them, an output; of a position of windows that reach beyond the image.
_ADDED, _MEAN_ROW, _MEAN, _AT_BORDERS = Compiled(16, 7), Compiled(24, 2), Compiled(60, 37), Compiled(80, 70)
#: Of softmax: an element in each pass, a row.
_COMPARED, _POWER, _SHARE, _SUM = Compiled(14, 8), Compiled(110, 40), Compiled(60, 20.7), Compiled(200, 90)


class _Sixteen:
    """What the families share. What is left to a subclass: its constants, accesses and code."""

    name: ClassVar[str] = "generic 16x8"
    template: ClassVar[str]
    code_bytes: ClassVar[int]
    stack_bytes: ClassVar[int] = 0
    rounding: ClassVar[str] = ARITHMETIC

    def _plan(self, layer: Any, promise: Promise, code: tuple[Node, ...]) -> tuple[Plan, ...]:
        made = plain(code, promise, self.most_code(layer), self.rounding, alignment=2, arrays=self.arrays(layer, ""))
        return (replace(made, family=self.name, stack_bytes=self.stack_bytes),)

    def most_code(self, layer: Any) -> int:
        """Bytes of code at most: `tests/kernels/test_frames.py`."""
        return self.code_bytes

    def arrays(self, layer: Any, name: str) -> Sequence[Array]:
        """The layer's constants: none."""
        return ()

    def _emitted(self, layer: Any, plan: Plan, name: str, title: str, **values: Any) -> Emitted:
        arrays = self.arrays(layer, name)
        return emitted(unary(name, 16), plan, title, self.template, arrays=arrays, layer=layer, **values)


def _sums(layer: Conv16 | FullyConnected16) -> dict[str, str]:
    """The type of sums in C, and what makes a product of that type."""
    return {"sums": "int32_t", "product": ""} if layer.narrow else {"sums": "int64_t", "product": "(int64_t)"}


class _Convolution16(_Sixteen):
    """Of either kind."""

    stack_bytes = 48

    def arrays(self, layer: Conv16 | Depthwise16, name: str) -> Sequence[Array]:
        """Weights and what there is of each output channel."""
        weights = Array("int8_t", f"{name}_weights", layer.weights, "weights, in the order of the model")
        reduced = np.where(layer.multipliers < 0x7FFF0000, (layer.multipliers + (1 << 15)) >> 16, 0x7FFF)
        pair = (layer.multipliers, layer.shifts) if layer.narrow else (reduced, 15 - layer.shifts)
        said = f"multiplier and {'shift' if layer.narrow else 'right shift'} of each output channel"
        bias = "int32_t" if layer.narrow else "int64_t"
        return [
            weights,
            Array(bias, f"{name}_bias", layer.bias, "bias of each output channel"),
            Array("int32_t", f"{name}_channels", np.stack(pair, axis=1), said),
        ]

    def most_code(self, layer: Conv16 | Depthwise16) -> int:
        """Where there are few outputs and taps, GCC writes its loops out."""
        few = layer.output.channels <= 2 and math.prod(layer.window.kernel) <= 4
        return _FEW_WRITTEN_OUT if few else self.code_bytes


class GenericConv16(_Convolution16):
    computes = Conv16
    template = "kernels/sixteen/conv.c.j2"
    code_bytes = 640

    def plans(self, layer: Conv16) -> tuple[Plan, ...]:
        n, depth = layer.output.elements, layer.shape.channels
        taps = layer.window.taps(layer.shape, layer.output) * layer.output.channels
        beside = n * layer.window.kernel.height * layer.window.kernel.width - taps
        parameters = loads(taps * depth, 1) + loads((3 if layer.narrow else 4) * n, 4)  # a long bias: two words
        promise = Promise((loads(taps * depth, 2),), stores(n, 2), parameters)
        short = depth <= 2 or layer.window.kernel.width <= 2
        output, product, tap = _OUTPUT, _PRODUCT, _TAP_WRITTEN_OUT if short else _TAP
        if layer.narrow:
            output, product = _OUTPUT_32, _PRODUCT_32
            tap = (_TAP_32_AT_BORDERS if beside else _TAP_32_WRITTEN_OUT) if short else _TAP_32
        inside = (piece(tap), Loop((piece(product),), depth))
        each = (piece(output), Loop(inside, taps / n), Loop((piece(_BESIDE),), beside / n))
        return self._plan(layer, promise, (*around.entry(), Loop(each, n)))

    def emit(self, layer: Conv16, plan: Plan, name: str) -> Emitted:
        sizes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        title = f"CONV_2D of int16 {sizes}, {layer.window.describe()}"
        return self._emitted(layer, plan, name, title, **_sums(layer))


class GenericDepthwise16(_Convolution16):
    computes = Depthwise16
    template = "kernels/sixteen/depthwise.c.j2"
    code_bytes = 560

    def plans(self, layer: Depthwise16) -> tuple[Plan, ...]:
        n = layer.output.elements
        taps = layer.window.taps(layer.shape, layer.output) * layer.output.channels
        beside = n * layer.window.kernel.height * layer.window.kernel.width - taps
        parameters = loads(taps, 1) + loads(4 * n, 4)  # a bias counts as two words
        promise = Promise((loads(taps, 2),), stores(n, 2), parameters)
        output, tap, rows = _SUMMED, _UNDER if beside else _INSIDE, layer.window.kernel.height
        if max(layer.window.kernel) <= 2:
            output, tap, rows = _SUMMED_WRITTEN_OUT, _UNDER_WRITTEN_OUT, 0
        output = output._replace(cycles=output.cycles + (_DIVIDED if layer.multiplier > 1 else 0))
        tap = tap._replace(cycles=tap.cycles + (_DILATED if max(layer.window.dilation) > 1 else 0))
        inside = (Loop((piece(tap),), taps / n), Loop((piece(_NEXT),), beside / n))
        each = (piece(output), Loop((piece(_WINDOW_ROW),), rows), *inside)
        return self._plan(layer, promise, (*around.entry(), Loop(each, n)))

    def emit(self, layer: Depthwise16, plan: Plan, name: str) -> Emitted:
        sizes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        return self._emitted(layer, plan, name, f"DEPTHWISE_CONV_2D of int16 {sizes}, {layer.window.describe()}")


class GenericFullyConnected16(_Sixteen):
    computes = FullyConnected16
    template = "kernels/sixteen/fully_connected.c.j2"
    code_bytes = 672

    def arrays(self, layer: FullyConnected16, name: str) -> Sequence[Array]:
        return [
            Array("int8_t", f"{name}_weights", layer.weights, "weights, in the order of the model"),
            Array("int32_t" if layer.narrow else "int64_t", f"{name}_bias", layer.bias, "bias of each output channel"),
            Array("double", f"{name}_scales", layer.scales, "scale of each output channel"),
        ]

    def plans(self, layer: FullyConnected16) -> tuple[Plan, ...]:
        outputs, depth = layer.weights.shape
        n = layer.rows * outputs
        parameters = loads(n * depth, 1) + loads((3 if layer.narrow else 4) * n, 4)  # a double is two words
        promise = Promise((loads(n * depth, 2),), stores(n, 2), parameters)
        each = (piece(_DOUBLE), Loop((piece(_FULLY_CONNECTED),), depth))
        return self._plan(layer, promise, (*around.entry(), Loop(each, n)))

    def emit(self, layer: FullyConnected16, plan: Plan, name: str) -> Emitted:
        m, k = layer.weights.shape
        title = f"FULLY_CONNECTED of int16 {layer.rows}x{k} -> {layer.rows}x{m}"
        return self._emitted(layer, plan, name, title, **_sums(layer))


class GenericPool16(_Sixteen):
    computes = Pool16
    template = "kernels/sixteen/pool.c.j2"
    code_bytes = 864
    rounding = ""

    def plans(self, layer: Pool16) -> tuple[Plan, ...]:
        channels, output = layer.shape.channels, layer.output
        taps = layer.window.taps(layer.shape, output)
        rows = layer.window.rows_inside(layer.shape, output) * output.width
        promise = Promise((loads(taps * channels, 2),), stores(output.elements, 2), Access())
        row: tuple[Node, ...] = (piece(_ROW), Loop((piece(_ELEMENT),), taps / rows))
        each: tuple[Node, ...] = (piece(_GREATEST), Loop(row, rows / output.positions))
        if max(layer.window.kernel) <= 2:
            row = (Loop((piece(_ELEMENT_WRITTEN_OUT),), taps / rows),)
            each = (piece(_GREATEST_WRITTEN_OUT), Loop(row, rows / output.positions))
        at = _POSITION
        if layer.average and max(layer.window.kernel) > 2:
            each = (
                piece(_MEAN),
                Loop((piece(_MEAN_ROW), Loop((piece(_ADDED),), taps / rows)), rows / output.positions),
            )
            at = _AT_BORDERS if layer.window.padding != (0, 0) else at
        position = (piece(at), Loop(each, channels))
        return self._plan(layer, promise, (*around.entry(), Loop(position, output.positions)))

    def emit(self, layer: Pool16, plan: Plan, name: str) -> Emitted:
        what = "AVERAGE_POOL_2D" if layer.average else "MAX_POOL_2D"
        sizes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        return self._emitted(layer, plan, name, f"{what} of int16 {sizes}, {layer.window.describe()}")


class GenericSoftmax16(_Sixteen):
    computes = Softmax16
    template = "kernels/sixteen/softmax.c.j2"
    code_bytes = 944

    def arrays(self, layer: Softmax16, name: str) -> Sequence[Array]:
        return [
            Array("int16_t", f"{name}_exp", layer.exponentials, "exp(x) of x from -10 to 0, in Q0.15"),
            Array("int16_t", f"{name}_reciprocal", layer.reciprocals, "1 / (1 + x) of x from 0 to 1, in Q0.15"),
        ]

    def plans(self, layer: Softmax16) -> tuple[Plan, ...]:
        n, rows = layer.elements, layer.rows
        parameters = loads(2 * (n + rows), 2)
        promise = Promise((loads(2 * n, 2),), stores(2 * n, 2) + loads(n, 2), parameters)
        passes = (Loop((piece(of),), layer.depth) for of in (_COMPARED, _POWER, _SHARE))
        return self._plan(layer, promise, (*around.entry(), Loop((piece(_SUM), *passes), rows)))

    def emit(self, layer: Softmax16, plan: Plan, name: str) -> Emitted:
        return self._emitted(layer, plan, name, f"SOFTMAX of int16, {layer.rows} rows of {layer.depth}")


FAMILIES = (GenericConv16(), GenericDepthwise16(), GenericFullyConnected16(), GenericPool16(), GenericSoftmax16())
