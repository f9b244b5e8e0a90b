"""MEAN, SUM, REDUCE_MAX and REDUCE_MIN over any axes, and ARG_MAX and ARG_MIN along one: element by element."""

import math
from typing import Any

from memaopt.access import loads, stores
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.elementwise.floats import float_text
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plain import ARITHMETIC, plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import ArgExtreme, Extreme, Mean, PoolKind
from memaopt.problems.sixteen import Mean16

#: What GCC 12.2 makes of an element of ARG_MAX at -O3, and of an output.
_COMPARED, _FOUND = Compiled(26, 11), Compiled(40, 14)
#: Of an element that is reduced, and of an output, in one loop and in several: by counts of 24 layers on the board.
_SUMMED, _MEAN = (Compiled(24, 7), Compiled(24, 7)), (Compiled(160, 24), Compiled(160, 42))
_GREATER, _GREATEST = (Compiled(24, 8.5), Compiled(24, 8.8)), (Compiled(160, 12), Compiled(160, 38))
#: Bytes of code, as measured by tests/kernels/test_frames.py.
_MOST_CODE, _MOST_FOUND = 320, 184


class GenericMean:
    """MEAN and SUM."""

    name = "generic"
    computes = Mean

    def plans(self, layer: Mean) -> tuple[Plan, ...]:
        if layer.requantization.scales is not None and not layer.requantization.even:
            return ()
        several = len(layer.axes) > 1
        return (_plan(layer, _SUMMED[several], _MEAN[several], ARITHMETIC),)

    def emit(self, layer: Mean, plan: Plan, name: str) -> Emitted:
        result = rescaled(layer, "acc")
        start = -layer.count * layer.input_zero_point
        return emitted_reduction(layer, plan, name, "sum", start=start, compare="", result=result)


def rescaled(layer: Mean, acc: str) -> str:
    """The C text of the output of a sum."""
    q = layer.requantization
    if q.scales is not None:
        scaled = f"rescale_to_even({acc}, {float_text(float(q.scales[0]))}f)"
    else:
        assert q.multipliers is not None
        assert q.shifts is not None
        scaled = f"rescale({acc}, {int(q.multipliers[0])}, {int(q.shifts[0])})"
    return f"clamp({scaled} + ({q.zero_point}), {q.minimum}, {q.maximum})"


class GenericExtreme:
    """REDUCE_MAX and REDUCE_MIN."""

    name = "generic"
    computes = Extreme

    def plans(self, layer: Extreme) -> tuple[Plan, ...]:
        several = len(layer.axes) > 1
        return (_plan(layer, _GREATER[several], _GREATEST[several]),)

    def emit(self, layer: Extreme, plan: Plan, name: str) -> Emitted:
        greatest = layer.kind is PoolKind.MAX
        what, start, compare = ("REDUCE_MAX", -128, ">") if greatest else ("REDUCE_MIN", 127, "<")
        result = f"clamp(acc, {layer.minimum}, {layer.maximum})"
        return emitted_reduction(layer, plan, name, what, start=start, compare=compare, result=result)


def _plan(layer: Mean | Extreme, tap: Compiled, output: Compiled, requantization: str = "") -> Plan:
    """``tap`` is of each element, ``output`` of each output."""
    outputs = layer.elements // layer.count
    code = (Loop((Loop((piece(tap),), layer.count), piece(output)), outputs),)
    return plain(code, Promise((loads(layer.elements, 1),), stores(outputs, 1)), _MOST_CODE, requantization)


def emitted_reduction(
    layer: Mean | Extreme | Mean16, plan: Plan, name: str, what: str, bits: int = 8, **values: Any
) -> Emitted:
    """The text of any axes, of so many bits an element."""
    strides = [math.prod(layer.shape[d + 1 :]) for d in range(len(layer.shape))]
    axes = list(zip(layer.shape, strides, strict=True))
    kept = [axes[d] for d in range(len(axes)) if d not in layer.axes]
    reduced = [axes[d] for d in range(len(axes)) if d in layer.axes]
    index = [f"i{i} * {stride}" for i, (_, stride) in enumerate(kept)]
    index += [f"j{i} * {stride}" for i, (_, stride) in enumerate(reduced)]
    return emitted(
        unary(name, bits),
        plan,
        f"{what} of {dimensions(layer.shape)} over axes {layer.axes}",
        "kernels/pooling/generic_reduction.c.j2",
        kept=kept,
        reduced=reduced,
        index=" + ".join(index) or "0",
        bits=bits,
        **values,
    )


class GenericArgExtreme:
    """ARG_MAX and ARG_MIN."""

    name = "generic"
    computes = ArgExtreme

    def plans(self, layer: ArgExtreme) -> tuple[Plan, ...]:
        n, outputs = math.prod(layer.shape), layer.outputs
        code = (Loop((piece(_FOUND), Loop((piece(_COMPARED),), layer.shape[1] - 1)), outputs),)
        written = stores(outputs * layer.size // 4, 4)
        return (plain(code, Promise((loads(n, 1),), written), _MOST_FOUND, "", alignment=4),)

    def emit(self, layer: ArgExtreme, plan: Plan, name: str) -> Emitted:
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
