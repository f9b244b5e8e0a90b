"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN."""

import math

from memaopt.emit.layers.code import Loop, Node, compiled
from memaopt.emit.layers.describe import Layer, Mean, Pool, PoolKind
from memaopt.emit.layers.family import dimensions, plan_comment, unary
from memaopt.emit.layers.leads import window_lead
from memaopt.emit.layers.render import render
from memaopt.emit.layers.result import Emitted, Plan, Promise, loads, stores


def _title(layer: Pool, name: str) -> str:
    kind = "AVERAGE_POOL_2D" if layer.kind is PoolKind.AVERAGE else "MAX_POOL_2D"
    return f"{name}: {kind} {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"


def _code(layer: Pool, taps: float, outputs: float, tap: int, output: int, size: int) -> tuple[Node, ...]:
    """``size`` bytes of compiled code around a loop over the taps of each output (of one channel, or of four)."""
    return (Loop((compiled(size - 24, output), Loop((compiled(24, tap),), taps / outputs)), outputs),)


class GenericPool:
    """Pooling with any window, element by element."""

    name = "generic"
    computes = Pool

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Pool)
        taps = layer.window.taps(layer.shape, layer.output) * layer.shape.channels
        n = layer.output.elements
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=5 * taps + 10 * n,
                promise=Promise((loads(taps, 1),), stores(n, 1)),
                data_bytes=0,
                code_bytes=300,
                code=_code(layer, taps, layer.output.elements, 5, 10, 420),
                lead=window_lead(layer.window, layer.shape, layer.output, range(layer.shape.channels), 1),
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Pool)
        head = plan_comment(_title(layer, name), plan)
        source = render("generic_pool.c.j2", head=head, name=name, layer=layer, window=layer.window)
        return Emitted(name, unary(name), source, plan)


class WordPool:
    """Pooling of four channels at once; a 16-bit sum holds 255 elements."""

    name = "words"
    computes = Pool

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Pool)
        kernel = layer.window.kernel
        if layer.shape.channels % 4 or (layer.kind is PoolKind.AVERAGE and kernel.height * kernel.width > 255):
            return ()
        words = layer.window.taps(layer.shape, layer.output) * layer.shape.channels // 4
        n, average = layer.output.elements, layer.kind is PoolKind.AVERAGE
        return (
            Plan(
                family=self.name,
                tile="4",
                cycles=14 * words + 10 * n if layer.kind is PoolKind.AVERAGE else 8 * words + 5 * n,
                promise=Promise((loads(words, 4),), stores(n, 1)),
                data_bytes=0,
                code_bytes=400,
                code=_code(layer, words, n / 4, *((14, 40) if average else (8, 20)), 840),
                lead=window_lead(layer.window, layer.shape, layer.output, range(0, layer.shape.channels, 4), 4),
                alignment=4,
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Pool)
        head = plan_comment(_title(layer, name), plan)
        source = render("pool_words.c.j2", head=head, name=name, layer=layer, window=layer.window)
        return Emitted(name, unary(name), source, plan)


class GenericMean:
    """MEAN over any axes, element by element."""

    name = "generic"
    computes = Mean

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Mean)
        if layer.requantization.scales is not None:
            return ()
        outputs = layer.elements // layer.count
        # One loop over what is reduced, or several.
        tap, output = (6, 31) if len(layer.axes) == 1 else (6.7, 42)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(tap * layer.elements + output * outputs),
                promise=Promise((loads(layer.elements, 1),), stores(outputs, 1)),
                data_bytes=0,
                code_bytes=200,
                code=(Loop((Loop((compiled(24, tap),), layer.count), compiled(160, output)), outputs),),
                requantization="the reference's own arithmetic",
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Mean)
        strides = [math.prod(layer.shape[d + 1 :]) for d in range(len(layer.shape))]
        axes = list(zip(layer.shape, strides, strict=True))
        kept = [axes[d] for d in range(len(axes)) if d not in layer.axes]
        reduced = [axes[d] for d in range(len(axes)) if d in layer.axes]
        index = [f"i{i} * {stride}" for i, (_, stride) in enumerate(kept)]
        index += [f"j{i} * {stride}" for i, (_, stride) in enumerate(reduced)]
        q = layer.requantization
        assert q.multipliers is not None
        assert q.shifts is not None
        source = render(
            "generic_mean.c.j2",
            head=plan_comment(f"{name}: MEAN of {dimensions(layer.shape)} over axes {layer.axes}", plan),
            name=name,
            layer=layer,
            multiplier=int(q.multipliers[0]),
            shift=int(q.shifts[0]),
            kept=kept,
            reduced=reduced,
            index=" + ".join(index) or "0",
        )
        return Emitted(name, unary(name), source, plan)


FAMILIES = (GenericPool(), GenericMean(), WordPool())
