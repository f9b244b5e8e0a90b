"""CONV_2D of one channel by windows of 1x1: what a position becomes is a row of a table of 256.

An output is a function of one byte, so that all of a position's are known offline, whatever their rounding is. They
are copied, in words; of up to three channels a row is a byte, a halfword or a word. The table takes 256 bytes a channel
where weights and constants take 16 or less.
"""

import math

import numpy as np

from memaopt import fixedpoint
from memaopt.access import loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Call, Constants, Node, Rendered, TableLoads
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import LINE, Array
from memaopt.problems.layers import Conv

_FRAME = around.Frame(60, 24)
_INPUTS, _WORD = 256, 4


def _unroll(layer: Conv) -> int:
    """Positions a turn."""
    return math.gcd(layer.output.positions, 2 if layer.output.channels >= _WORD else 4)


def _row(layer: Conv) -> int:
    """Bytes of a row."""
    return _WORD if layer.output.channels == _WORD - 1 else layer.output.channels


def _kernel(layer: Conv) -> Rendered:
    channels, unroll = layer.output.channels, _unroll(layer)
    values = ("channels", channels), ("unroll", unroll), ("row", _row(layer))
    addressed = [Constants(row, f"{row}, r11, r2", table=True) for row in ("r12", "lr")]
    constants = tuple(addressed) if channels % _WORD == 0 else (Constants("r2", "", table=True),)
    return Rendered(f"table_rows_{unroll}x{channels}", "kernels/table_rows/table_rows.c.j2", values, constants)


class TableRows:
    """Of channels in fours, or fewer, at every position of the image."""

    name = "table rows"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        if layer.shape.channels != 1 or layer.output != layer.shape._replace(channels=layer.output.channels):
            return ()
        window = layer.window
        channels, row, count = layer.output.channels, _row(layer), layer.output.positions
        fits = channels < _WORD or channels % _WORD == 0
        if window.kernel != (1, 1) or window.stride != (1, 1) or any(window.padding) or not fits:
            return ()
        kernel, width = _kernel(layer), min(row, _WORD)
        # Three of a word's bytes are stored one by one.
        written = stores(count * channels, 1) if channels == _WORD - 1 else stores(count * channels // width, width)
        call = Call(kernel, (count / _unroll(layer),))
        code: tuple[Node, ...] = (*around.entry(), around.piece(around.CALL), call)
        size, read = _INPUTS * row, loads(count * row // width, width)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(count, 1),), written, read, stack=saved(9)),
                data_bytes=size,
                code_bytes=4 * words_of(call) + _FRAME.code,
                stack_bytes=36 + _FRAME.stack,
                kernels=(kernel.name,),
                shared_bytes=4 * words_of(call),
                code=(*code, TableLoads(size, read.loads, marked=True, row=row)),
                alignment=4,
                requantization="the reference's own arithmetic, computed offline",
            ),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        kernel, row = _kernel(layer), _row(layer)
        rows = np.zeros((_INPUTS, row), np.uint8)
        rows[:, : layer.output.channels] = _table(layer).astype(np.uint8)
        table = rows.reshape(-1, _WORD).astype(np.int64)
        words = fixedpoint.wrap_int32((table << np.arange(0, 32, 8)).sum(axis=1))
        comment = "outputs of each input, from -128 up"
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)} by a table",
            "kernels/table_rows/table_rows_layer.c.j2",
            arrays=[Array("int32_t", f"{name}_table", words, comment, alignment=LINE)],
            kernels=(kernel,),
            kernel=kernel.name,
            middle=_INPUTS // 2 * row // _WORD,
            turns=layer.output.positions // _unroll(layer),
        )


def _table(layer: Conv) -> Int64Array:
    """Outputs [inputs, channels]."""
    x = np.arange(-128, 128)[:, None] - layer.input_zero_point
    return layer.requantization.apply(x * layer.weights.reshape(1, -1).astype(np.int64) + layer.bias)


FAMILIES = (TableRows(),)
