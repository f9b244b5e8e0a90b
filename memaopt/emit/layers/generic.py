"""Kernels without preconditions: plain loops for convolutions and fully connected layers.

They take any zero point, clamp, stride, dilation, padding, size and rounding, and do TFLite's arithmetic step by
step. Cycles are fitted to counts on the virtual board (GCC 12.2 -O3), for they depend on the compiler.
"""

from typing import ClassVar

import numpy as np

from memaopt.emit.layers.code import REWIND, Loop, Node, Straight, compiled
from memaopt.emit.layers.describe import Conv, Depthwise, FullyConnected, Layer
from memaopt.emit.layers.family import data_bytes, definitions, dimensions, plan_comment, unary
from memaopt.emit.layers.leads import window_lead
from memaopt.emit.layers.render import Array, render
from memaopt.emit.layers.result import Emitted, Plan, Promise, loads, stores

_FULL = "the reference's own arithmetic"


class _Generic:
    """What the three generic kernels share."""

    name: ClassVar[str] = "generic"
    template: ClassVar[str]
    code: ClassVar[int]
    tap: ClassVar[float]

    def _arrays(self, layer: Conv | Depthwise | FullyConnected, name: str) -> list[Array]:
        weights = Array("int8_t", f"{name}_weights", layer.weights, "weights, in the order of the model")
        q = layer.requantization
        if q.scales is not None:
            bias = Array("int32_t", f"{name}_bias", layer.bias, "bias of each output channel")
            return [weights, bias, Array("double", f"{name}_scales", q.scales, "scale of each output channel")]
        assert q.multipliers is not None
        assert q.shifts is not None
        channels = np.stack([layer.bias, q.multipliers, q.shifts], axis=1)
        return [weights, Array("int32_t", f"{name}_channels", channels, "bias, multiplier, shift of each channel")]

    def _plan(
        self, layer: Conv | Depthwise | FullyConnected, taps: int, outputs: int, cycles: float, rounds: int,
        lead: int | None = None, apart: int = 1,
    ) -> Plan:  # fmt: skip
        """``taps``: products with elements inside the image; ``rounds``: times that all weights are read."""
        parameters = loads(taps, 1) + loads(3 * outputs, 4)  # a double counts as two words
        return Plan(
            family=self.name,
            tile="",
            cycles=round(cycles),
            promise=Promise((loads(taps, 1),), stores(outputs, 1), parameters),
            data_bytes=data_bytes(self._arrays(layer, "")),
            code_bytes=self.code,
            code=self._code(taps, outputs, cycles, rounds, apart),
            lead=lead,
            requantization=_FULL,
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
        self, layer: Conv | Depthwise | FullyConnected, plan: Plan, name: str, title: str, **values: object
    ) -> Emitted:
        arrays = self._arrays(layer, name)
        source = render(
            self.template,
            head=plan_comment(title, plan),
            data=definitions(arrays),
            name=name,
            layer=layer,
            **values,
        )
        return Emitted(name, unary(name), source, plan, tuple(a.name for a in arrays))


class GenericConv(_Generic):
    """CONV_2D with loops over positions, channels and taps."""

    computes = Conv
    template = "generic_conv.c.j2"
    code = 500
    tap = 7

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Conv)
        window, n = layer.window, layer.output.elements
        taps = window.taps(layer.shape, layer.output) * layer.output.channels
        depth, rows = layer.weights.shape[3], window.kernel.height * n
        inside = taps == window.kernel.width * rows
        cycles = 11 * taps * depth + (14 * taps + 20 * n if inside else 8 * taps + 60 * rows + 20 * n)
        first = np.arange(layer.output.channels) // (layer.output.channels // layer.groups) * depth
        lead = window_lead(window, layer.shape, layer.output, first, 1)
        return (self._plan(layer, taps * depth, layer.output.elements, cycles, layer.output.positions, lead),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Conv)
        title = f"{name}: CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        return self._emit(layer, plan, name, title, window=layer.window, depth=layer.weights.shape[3])


class GenericDepthwise(_Generic):
    """DEPTHWISE_CONV_2D with loops over positions, channels and taps."""

    computes = Depthwise
    template = "generic_depthwise.c.j2"
    code = 560
    tap = 15.5

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Depthwise)
        window = layer.window
        taps = window.taps(layer.shape, layer.output) * layer.output.channels
        n, (height, width) = layer.output.elements, window.kernel
        if taps == height * width * n:
            cycles = 19.4 * taps + 4 * n if min(height, width) == 1 else 8 * taps + 30 * height * n + 14 * n
        elif min(height, width) == 1:
            cycles = 7 * taps + 18 * height * width * n + 5 * n
        else:
            # A row outside the image is passed over as a whole.
            steps = width * window.rows_inside(layer.shape, layer.output) * layer.output.width * layer.output.channels
            cycles = 4 * taps + 12 * steps + 96 * n
        first = np.arange(layer.output.channels) // layer.multiplier
        lead = window_lead(window, layer.shape, layer.output, first, 1)
        channels = layer.output.channels
        return (self._plan(layer, taps, n, cycles, layer.output.positions, lead, channels),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Depthwise)
        shapes = f"{dimensions(layer.shape)} -> {dimensions(layer.output)}"
        title = f"{name}: DEPTHWISE_CONV_2D {shapes}, {layer.window.describe()}"
        return self._emit(layer, plan, name, title, window=layer.window)


class GenericFullyConnected(_Generic):
    """FULLY_CONNECTED with loops over rows, outputs and inputs."""

    computes = FullyConnected
    template = "generic_fully_connected.c.j2"
    code = 252
    tap = 12.75

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, FullyConnected)
        outputs = layer.rows * len(layer.weights)
        return (self._plan(layer, layer.macs, outputs, 12.75 * layer.macs + 334 * outputs, layer.rows),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, FullyConnected)
        m, k = layer.weights.shape
        title = f"{name}: FULLY_CONNECTED {layer.rows}x{k} -> {layer.rows}x{m}"
        return self._emit(layer, plan, name, title, outputs=m, depth=k)


FAMILIES = (GenericConv(), GenericDepthwise(), GenericFullyConnected())
