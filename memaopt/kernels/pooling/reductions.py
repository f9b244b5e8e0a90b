"""MEAN, SUM, REDUCE_MAX and REDUCE_MIN over any axes, and ARG_MAX and ARG_MIN along one: element by element."""

import math
from typing import Any

from memaopt.access import loads, stores
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import ArgExtreme, Extreme, Layer, Mean, PoolKind

_ARITHMETIC = "the reference's own arithmetic"
#: What GCC 12.2 makes of an element of ARG_MAX at -O3, and of an output.
_COMPARED, _FOUND = Compiled(26, 11), Compiled(40, 14)


class GenericMean:
    """MEAN and SUM."""

    name = "generic"
    computes = Mean

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Mean)
        if layer.requantization.scales is not None:
            return ()
        # One loop over what is reduced, or several.
        tap, output = (6, 31) if len(layer.axes) == 1 else (6.7, 42)
        return (_plan(layer, tap, output, _ARITHMETIC),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Mean)
        q = layer.requantization
        assert q.multipliers is not None
        assert q.shifts is not None
        scaled = f"rescale(acc, {int(q.multipliers[0])}, {int(q.shifts[0])})"
        result = f"clamp({scaled} + ({q.zero_point}), {q.minimum}, {q.maximum})"
        start = -layer.count * layer.input_zero_point
        return _emitted(layer, plan, name, "sum", start=start, compare="", result=result)


class GenericExtreme:
    """REDUCE_MAX and REDUCE_MIN."""

    name = "generic"
    computes = Extreme

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Extreme)
        return (_plan(layer, 8, 40),)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Extreme)
        greatest = layer.kind is PoolKind.MAX
        what, start, compare = ("REDUCE_MAX", -128, ">") if greatest else ("REDUCE_MIN", 127, "<")
        result = f"clamp(acc, {layer.minimum}, {layer.maximum})"
        return _emitted(layer, plan, name, what, start=start, compare=compare, result=result)


def _plan(layer: Mean | Extreme, tap: float, output: float, requantization: str = "") -> Plan:
    """``tap`` cycles for each element, ``output`` for each output."""
    outputs = layer.elements // layer.count
    return Plan(
        family="generic",
        tile="",
        cycles=round(tap * layer.elements + output * outputs),
        promise=Promise((loads(layer.elements, 1),), stores(outputs, 1)),
        data_bytes=0,
        code_bytes=200,
        code=(Loop((Loop((compiled(24, tap),), layer.count), compiled(160, output)), outputs),),
        requantization=requantization,
    )


def _emitted(layer: Mean | Extreme, plan: Plan, name: str, what: str, **values: Any) -> Emitted:
    strides = [math.prod(layer.shape[d + 1 :]) for d in range(len(layer.shape))]
    axes = list(zip(layer.shape, strides, strict=True))
    kept = [axes[d] for d in range(len(axes)) if d not in layer.axes]
    reduced = [axes[d] for d in range(len(axes)) if d in layer.axes]
    index = [f"i{i} * {stride}" for i, (_, stride) in enumerate(kept)]
    index += [f"j{i} * {stride}" for i, (_, stride) in enumerate(reduced)]
    return emitted(
        unary(name),
        plan,
        f"{what} of {dimensions(layer.shape)} over axes {layer.axes}",
        "kernels/pooling/generic_reduction.c.j2",
        kept=kept,
        reduced=reduced,
        index=" + ".join(index) or "0",
        **values,
    )


class GenericArgExtreme:
    """ARG_MAX and ARG_MIN."""

    name = "generic"
    computes = ArgExtreme

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, ArgExtreme)
        n, outputs = math.prod(layer.shape), layer.outputs
        code = (Loop((piece(_FOUND), Loop((piece(_COMPARED),), layer.shape[1] - 1)), outputs),)
        written = stores(outputs * layer.size // 4, 4)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(n, 1),), written),
                data_bytes=0,
                code_bytes=120,
                code=code,
                alignment=4,
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, ArgExtreme)
        greatest = layer.kind is PoolKind.MAX
        return emitted(
            f"void {name}(const int8_t *in, int{8 * layer.size}_t *out, void *scratch)",
            plan,
            f"{'ARG_MAX' if greatest else 'ARG_MIN'} of {dimensions(layer.shape)} along the middle axis",
            "kernels/pooling/arg_extreme.c.j2",
            layer=layer,
            compare=">" if greatest else "<",
            store=f"store_s{8 * layer.size}",
        )


FAMILIES = (GenericMean(), GenericExtreme(), GenericArgExtreme())
