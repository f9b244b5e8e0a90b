"""UNIDIRECTIONAL_SEQUENCE_LSTM: the four gates of a unit at once, so that each input is read once for all of them."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.lstm import GATES, Lstm

#: What GCC 12.2 makes at -O3 of four products with one input, of what a unit is besides, of its recurrent sums
#: besides their products, and of a cell that is cleared.
_PRODUCTS, _UNIT, _RECURRENT, _CLEARED = Compiled(44, 22.7), Compiled(2500, 832), Compiled(270, 103), Compiled(8, 4)
#: Bytes of code at most, twice as many for each loop of two turns, which GCC writes out
#: (`tests/kernels/test_frames.py`).
_CODE, _MOST_CODE = 3072, 11264


class GenericLstm:
    """Any sizes."""

    name = "generic"
    computes = Lstm

    def plans(self, layer: Lstm) -> tuple[Plan, ...]:
        first = Loop((piece(_PRODUCTS),), layer.inputs)
        again = (piece(_RECURRENT), Loop((piece(_PRODUCTS),), layer.units))
        each, later = layer.batch * layer.units, layer.steps - 1
        code = (
            *around.entry(),
            Loop((piece(_CLEARED),), each),
            Loop((piece(_UNIT), first), each),
            Loop((piece(_UNIT), first, *again), each * later),
        )
        units, recurrent = each * layer.steps, each * later
        weights = loads(GATES * (units * layer.inputs + recurrent * layer.units), 1)
        cells = stores(units + each, 2) + loads(units, 2)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise(
                    (loads(units * layer.inputs, 1),),
                    stores(units, 1) + loads(recurrent * layer.units, 1),
                    weights + loads(GATES * (units + recurrent), 4),
                    cells,
                ),
                data_bytes=data_bytes(_arrays(layer, "")),
                code_bytes=min(_CODE << [layer.batch, layer.units, layer.steps].count(2), _MOST_CODE),
                code=code,
                scratch_bytes=2 * layer.units,
                stack_bytes=32,
                alignment=2,
                words=False,
                requantization=ARITHMETIC,
            ),
        )

    def emit(self, layer: Lstm, plan: Plan, name: str) -> Emitted:
        title = (
            f"UNIDIRECTIONAL_SEQUENCE_LSTM of {layer.batch} x {layer.steps} steps, "
            f"{layer.inputs} inputs, {layer.units} units"
        )
        return emitted(unary(name), plan, title, "kernels/lstm/lstm.c.j2", arrays=_arrays(layer, name), layer=layer)


def _arrays(layer: Lstm, name: str) -> list[Array]:
    return [
        Array("int8_t", f"{name}_weights", layer.weights, "of each unit and input, for its four gates"),
        Array("int8_t", f"{name}_recurrent", layer.recurrent, "of each unit and output, for its four gates"),
        Array("int32_t", f"{name}_bias", layer.bias, "of each unit's gates, the input's zero point folded in"),
        Array("int32_t", f"{name}_recurrent_bias", layer.recurrent_bias, "likewise, the output's"),
    ]


FAMILIES = (GenericLstm(),)
