"""Kernels without preconditions: plain loops for convolutions and fully connected layers.

They take any zero point, clamp, stride, dilation, padding, size and rounding, and do TFLite's arithmetic step by
step. Convolutions are assembly, so that their cycles are known. What is left to the compiler (fully connected layers,
and scales that are doubles) has cycles fitted to counts on the virtual board (GCC 12.2 -O3).
"""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import REWIND, Call, Loop, Node, Rendered, Scan, Straight, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import data_bytes, dimensions
from memaopt.kernels.leads import window_lead
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import LINE, Array, short_name
from memaopt.problems.layers import Conv, Depthwise, FullyConnected


class _Compiled(NamedTuple):
    """Cycles of plain C as GCC 12.2 makes it at -O3, fitted to counts of layers on the virtual board: of a product, of
    a row of a window at a position, of a column in such a row, of an output.
    """

    tap: float
    output: int
    row: int = 0
    column: int = 0


#: Products of elements, of a window's tap over all elements; inside the image and where it reaches beyond.
_CONV, _CONV_INSIDE, _CONV_CUT = _Compiled(11, 20), _Compiled(14, 0), _Compiled(8, 0, row=60)
#: Of one row or column of taps, and of more.
_LINE_INSIDE, _INSIDE = _Compiled(19.4, 4), _Compiled(8, 14, row=30)
_LINE_CUT, _CUT = _Compiled(7, 5, column=18), _Compiled(4, 96, column=12)
_FULLY_CONNECTED, _EVEN = _Compiled(12.75, 334), 40
"""An output is rounded in doubles; as ONNX has it, in floats."""

#: Bytes of C with one or two outputs of at most four taps: GCC writes its loops out, over positions as well.
_FEW_WRITTEN_OUT = 1760


def reference_rounding(layer: Conv | Depthwise | FullyConnected, name: str) -> list[Array]:
    """Each output channel's bias, and how the reference rounds it."""
    q = layer.requantization
    if q.scales is not None:
        bias = Array("int32_t", f"{name}_bias", layer.bias, "bias of each output channel")
        if q.even:
            return [bias, Array("float", f"{name}_scales", q.scales.astype(np.float32), "scale of each output channel")]
        return [bias, Array("double", f"{name}_scales", q.scales, "scale of each output channel")]
    assert q.multipliers is not None
    assert q.shifts is not None
    channels = np.stack([layer.bias, q.multipliers, q.shifts], axis=1)
    return [Array("int32_t", f"{name}_channels", channels, "bias, multiplier, shift of each channel")]


class _Generic:
    """What the three generic kernels share."""

    name: ClassVar[str] = "generic"
    template: ClassVar[str]
    code: ClassVar[int]
    most: ClassVar[int]
    tap: ClassVar[float]

    def _arrays(self, layer: Conv | Depthwise | FullyConnected, name: str) -> list[Array]:
        weights = Array("int8_t", f"{name}_weights", layer.weights, "weights, in the order of the model")
        return [weights, *reference_rounding(layer, name)]

    def _plan(
        self,
        layer: Conv | Depthwise | FullyConnected,
        taps: int,
        outputs: int,
        cycles: float,
        rounds: int,
        few: bool,
        lead: int | None = None,
        apart: int = 1,
    ) -> Plan:
        """``taps``: products with elements inside the image; ``rounds``: times that all weights are read;
        ``few``: of outputs and of taps, so that GCC writes loops out.
        """
        words = 2 if layer.requantization.even else 3  # a double counts as two
        parameters = loads(taps, 1) + loads(words * outputs, 4)
        return Plan(
            family=self.name,
            tile="",
            cycles=round(cycles),
            promise=Promise((loads(taps, 1),), stores(outputs, 1), parameters),
            data_bytes=data_bytes(self._arrays(layer, "")),
            code_bytes=_FEW_WRITTEN_OUT if few else self.most,
            code=self._code(taps, outputs, cycles, rounds, apart),
            words=False,
            lead=lead,
            requantization=ARITHMETIC,
        )

    def _code(self, taps: int, outputs: int, cycles: float, rounds: int, apart: int) -> tuple[Node, ...]:
        """Compiled loops: over taps, over outputs and, for each position (or row) anew, over the weights. Those of one
        output lie ``apart`` bytes from each other; the next output's follow, or lie beside them.
        """
        each = cycles / outputs
        tap = min(self.tap, each * outputs / max(taps, 1) / 2)  # a window may lie beside the image
        weights = compiled(28, tap, 1, apart / 4)
        start = Straight((0.0,), (REWIND,))
        per = taps / outputs
        rest = compiled(self.code - 32, each - tap * per, 3)
        if apart == 1:
            # Eight at a time: as many as a read has.
            several = compiled(28, 8 * tap, 8, 0.25)
            return (Loop((start, Loop((Loop((several,), per / 8), rest), outputs / rounds)), rounds),)
        one = (start, Loop((weights,), per), rest)
        return (Loop((Loop(one, outputs / rounds, 0.25), Loop((), 1, -outputs / rounds / 4)), rounds),)

    def _emit(
        self,
        layer: Conv | Depthwise | FullyConnected,
        plan: Plan,
        name: str,
        title: str,
        kernel: Rendered | None = None,
        **values: Any,
    ) -> Emitted:
        arrays = self._arrays(layer, name)
        return emitted(
            unary(name),
            plan,
            title,
            self.template,
            arrays=arrays,
            kernels=() if kernel is None else (kernel,),
            layer=layer,
            kernel="" if kernel is None else kernel.name,
            **values,
        )


class _Sizes(NamedTuple):
    """``groups`` of ``outputs`` channels each, of ``depth`` elements each; ``apart``: the weights of an output's taps
    lie as many bytes from each other as there are outputs, those of one tap beside each other.
    """

    groups: int
    outputs: int
    depth: int
    apart: bool


class _GenericWindow(_Generic):
    """What convolutions share: assembly for the layer's own sizes, unless its scales are doubles."""

    template = "kernels/generic/generic_conv.c.j2"
    title: ClassVar[str]

    def _sizes(self, layer: Any) -> _Sizes:
        raise NotImplementedError

    def _compiled(self, layer: Any) -> float:
        """Cycles of what GCC 12.2 makes of the plain C."""
        raise NotImplementedError

    def plans(self, layer: Conv | Depthwise) -> tuple[Plan, ...]:
        sizes, output = self._sizes(layer), layer.output
        # The input channel that each output's elements start at.
        first = np.arange(output.channels) // sizes.outputs * sizes.depth
        lead = window_lead(layer.window, layer.shape, output, first, 1)
        taps = layer.window.taps(layer.shape, output) * output.channels * sizes.depth
        apart = output.channels if sizes.apart else 1
        few = output.channels <= 2 and math.prod(layer.window.kernel) <= 4
        plan = self._plan(layer, taps, output.elements, self._compiled(layer), output.positions, few, lead, apart)
        kernel = _kernel(layer, sizes)
        if kernel is None:
            return (plan,)
        call = _call(layer, sizes, kernel)
        code = (around.piece(around.CALL), call, _scan(layer, sizes))
        size = 4 * words_of(call)
        made = dataclasses.replace(
            plan,
            cycles=round(cycles_of(code)) - _SKIPPED * _columns_beside(layer, sizes),
            code=code,
            code_bytes=size + 28,
            shared_bytes=size,
            stack_bytes=68,
            promise=plan.promise._replace(stack=_stack(layer, sizes)),
            kernels=(kernel.name,),
        )
        return (made,)

    def emit(self, layer: Conv | Depthwise, plan: Plan, name: str) -> Emitted:
        sizes = self._sizes(layer)
        kernel = _kernel(layer, sizes)
        title = f"{self.title} {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        return self._emit(layer, plan, name, title, kernel, depth=sizes.depth, apart=sizes.apart)


def _kernel(layer: Conv | Depthwise, sizes: _Sizes) -> Rendered | None:
    """The assembly for a layer; None if its scales are doubles."""
    q, window = layer.requantization, layer.window
    if q.scales is not None:
        return None
    kind = "depthwise" if sizes.apart else "conv"
    details = (
        f"{dimensions(layer.shape)} to {dimensions(layer.output)}, {window.describe()}, "
        f"{sizes.outputs} channels a group, zero points {layer.input_zero_point} and {q.zero_point}, "
        f"clamp {q.minimum} to {q.maximum}"
    )
    return Rendered(
        short_name(f"generic_{kind}", details),
        "kernels/generic/generic_window.c.j2",
        (
            ("layer", layer),
            ("details", details),
            ("title", "DEPTHWISE_CONV_2D" if sizes.apart else "CONV_2D"),
            ("groups", sizes.groups),
            ("outputs", sizes.outputs),
            ("depth", sizes.depth),
            ("apart", sizes.apart),
            ("inside", _inside(layer)),
            ("step", layer.output.channels if sizes.apart else sizes.depth),
        ),
    )


def _inside(layer: Conv | Depthwise) -> bool:
    """Whether every window lies inside the image."""
    kernel, output = layer.window.kernel, layer.output
    return layer.window.taps(layer.shape, output) == kernel.height * kernel.width * output.positions


def _call(layer: Conv | Depthwise, sizes: _Sizes, kernel: Rendered) -> Call:
    """A call of the assembly: its loops go over rows, columns, groups, their outputs, rows of the window, its columns
    and elements; of the latter three those inside the image, in the mean.
    """
    output, window = layer.output, layer.window
    taps = window.taps(layer.shape, output)
    rows = window.rows_inside(layer.shape, output)
    trips: list[float] = [output.height, output.width]
    trips += [times for times in (sizes.groups, sizes.outputs) if times > 1]
    trips += [window.kernel.height, window.kernel.width * rows / output.height / window.kernel.height]
    if sizes.depth > 1:
        trips.append(sizes.depth * taps / max(rows * output.width * window.kernel.width, 1))
    return Call(kernel, tuple(trips))


def _stack(layer: Conv | Depthwise, sizes: _Sizes) -> Access:
    """Of the assembly: arguments, where it is in the input, top, left, and what is left to do."""
    window, output, inside = layer.window, layer.output, _inside(layer)
    several, groups = sizes.outputs > 1, sizes.groups > 1
    each = loads(2 * sizes.apart + (not inside) + several, 4) + stores(sizes.apart + several, 4)
    group = each.times(sizes.outputs) + stores(several + groups, 4) + loads(groups, 4)
    position = group.times(sizes.groups) + loads(5, 4) + stores(2 + sizes.apart + groups, 4)
    row = position.times(output.width) + loads(2, 4) + stores(3, 4)
    cut = 0 if inside else window.rows_inside(layer.shape, output) * output.width * output.channels
    return saved(9) + stores(5, 4) + row.times(output.height) + loads(cut, 4)


#: Cycles that a product takes beyond the branch over it.
_SKIPPED = 3


def _columns_beside(layer: Conv | Depthwise, sizes: _Sizes) -> int:
    """Columns of windows, in rows of the image but beside it, whose product is branched over: of one channel that is no
    loop, which would not turn.
    """
    if sizes.depth > 1:
        return 0
    window, output = layer.window, layer.output
    columns = window.rows_inside(layer.shape, output) * output.width * window.kernel.width
    return (columns - window.taps(layer.shape, output)) * output.channels


def _scan(layer: Conv | Depthwise, sizes: _Sizes) -> Scan:
    """The reads of weights and parameters: all of them at each position."""
    window, output = layer.window, layer.output
    loads = (window.taps(layer.shape, output) * sizes.depth + 3 * output.positions) * output.channels
    # Weights that lie apart are in lines of their own, or some beside each other; one more has the parameters.
    lines = math.ceil(window.kernel.height * window.kernel.width * min(output.channels / LINE, 1)) + 1
    size, lines = layer.weights.size + 12 * output.channels, lines if sizes.apart else 1
    return Scan(size, output.positions, loads, lines, _seeks(layer, sizes))


def _seeks(layer: Conv | Depthwise, sizes: _Sizes) -> int:
    """Of them, those that do not follow the one before: of weights and, behind these, of parameters."""
    window, shape, output = layer.window, layer.shape, layer.output
    if sizes.apart and output.channels > 1:
        return (window.taps(shape, output) + output.positions) * output.channels
    width, starts = window.kernel.width, np.arange(output.width) * window.stride.width - window.padding.left
    cut = int(((starts < 0) | (starts + (width - 1) * window.dilation.width >= shape.width)).sum())
    # Where a window's rows are cut each begins anew.
    runs = output.height * (output.width - cut) + window.rows_inside(shape, output) * cut
    return (runs + output.positions) * output.channels


class GenericConv(_GenericWindow):
    """CONV_2D, element by element."""

    computes = Conv
    title = "CONV_2D"
    code = 500
    most = 640
    tap = 7

    def _sizes(self, layer: Conv) -> _Sizes:
        return _Sizes(layer.groups, layer.output.channels // layer.groups, layer.weights.shape[3], apart=False)

    def _compiled(self, layer: Conv) -> float:
        taps, depth = layer.window.taps(layer.shape, layer.output) * layer.output.channels, int(layer.weights.shape[3])
        n, rows = layer.output.elements, layer.window.kernel.height * layer.output.elements
        window = _CONV_INSIDE if _inside(layer) else _CONV_CUT
        return _CONV.tap * taps * depth + window.tap * taps + window.row * rows + _CONV.output * n


class GenericDepthwise(_GenericWindow):
    """DEPTHWISE_CONV_2D, element by element."""

    computes = Depthwise
    title = "DEPTHWISE_CONV_2D"
    code = 560
    most = 640
    tap = 15.5

    def _sizes(self, layer: Depthwise) -> _Sizes:
        return _Sizes(layer.shape.channels, layer.multiplier, 1, apart=True)

    def _compiled(self, layer: Depthwise) -> float:
        window = layer.window
        taps = window.taps(layer.shape, layer.output) * layer.output.channels
        n, (height, width) = layer.output.elements, window.kernel
        if _inside(layer):
            c = _LINE_INSIDE if min(height, width) == 1 else _INSIDE
            return c.tap * taps + c.row * height * n + c.output * n
        if min(height, width) == 1:
            c, steps = _LINE_CUT, height * width * n
        else:
            # A row outside the image is passed over as a whole.
            rows = window.rows_inside(layer.shape, layer.output)
            c, steps = _CUT, width * rows * layer.output.width * layer.output.channels
        return c.tap * taps + c.column * steps + c.output * n


class GenericFullyConnected(_Generic):
    """FULLY_CONNECTED with loops over rows, outputs and inputs."""

    computes = FullyConnected
    template = "kernels/generic/generic_fully_connected.c.j2"
    code = 252
    most = 408
    tap = _FULLY_CONNECTED.tap

    def plans(self, layer: FullyConnected) -> tuple[Plan, ...]:
        outputs = layer.rows * len(layer.weights)
        output = _EVEN if layer.requantization.even else _FULLY_CONNECTED.output
        cycles = _FULLY_CONNECTED.tap * layer.macs + output * outputs
        m, k = layer.weights.shape
        return (self._plan(layer, layer.macs, outputs, cycles, layer.rows, m <= 2 and k <= 4),)

    def emit(self, layer: FullyConnected, plan: Plan, name: str) -> Emitted:
        m, k = layer.weights.shape
        title = f"FULLY_CONNECTED {layer.rows}x{k} -> {layer.rows}x{m}"
        return self._emit(layer, plan, name, title, outputs=m, depth=k)


FAMILIES = (GenericConv(), GenericDepthwise(), GenericFullyConnected())
