"""Tables of 256 outputs: every unary int8 operator."""

from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Call, Constants, Rendered, TableLoads
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import LINE, Array
from memaopt.problems.layers import Lookup

#: What GCC 12.2 makes of the C at -O3 for an element, until the table is read and from then on: a lookup, and one that
#: the assembly leaves over.
_LOOKUP, _LOOKUP_REST = (Compiled(12, 5), Compiled(12, 6)), (Compiled(8, 4), Compiled(8, 4))
_TABLE = 256  # bytes


class _Cycles(NamedTuple):
    """Of looking up sixteen elements a turn, instruction by instruction (docs/timing.md)."""

    call: int = 27  # eight registers pushed and popped, and a layer's entry and exit
    eight: int = 1 + 16 + 8  # loads in a row, those of the table too; stored
    turn: int = 1 + 1 + 2  # the output moves on, counted, and back
    rest: int = 20  # the loop over elements left over, fitted to counts of layers (GCC 12.2 -O3)
    each: int = 9


_CYCLES = _Cycles()


class TableLookup:
    """Any unary int8 operator: 256 outputs, computed offline."""

    name = "lookup"
    computes = Lookup

    def plans(self, layer: Lookup) -> tuple[Plan, ...]:
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 1), loads(n, 1))
        code = (around.each_looked_up(n, _TABLE, *_LOOKUP),)
        cycles = round(cycles_of(code)) + around.LEAF_CYCLES
        return (Plan(self.name, "", cycles, promise, data_bytes=_TABLE, code_bytes=44, code=code, in_place=True),)

    def emit(self, layer: Lookup, plan: Plan, name: str) -> Emitted:
        table = [Array("int8_t", f"{name}_table", layer.table, "output of each input, from -128 up", alignment=LINE)]
        return emitted(
            unary(name),
            plan,
            f"a table of 256 outputs, {layer.elements} elements",
            "kernels/elementwise/lookup.c.j2",
            arrays=table,
            layer=layer,
        )


class LookupSixteens:
    """The same, sixteen elements a turn: bytes of the input follow each other as loads, and then those of the table."""

    name = "lookup sixteens"
    computes = Lookup
    _per_turn = 16
    _kernel = Rendered(
        "lookup_sixteens",
        "kernels/elementwise/lookup_sixteens.c.j2",
        constants=(Constants("r3", "", table=True),),
    )

    def plans(self, layer: Lookup) -> tuple[Plan, ...]:
        turns, rest = divmod(layer.elements, self._per_turn)
        if not turns:
            return ()
        c, code = _CYCLES, 4 * (6 + 24 * self._per_turn // 8)
        turn = self._per_turn // 8 * c.eight + c.turn
        cycles = c.call + turn * turns + (c.rest + c.each * rest if rest else 0)
        return (
            Plan(
                family=self.name,
                tile=str(self._per_turn),
                cycles=cycles,
                promise=Promise(
                    (loads(layer.elements, 1),),
                    stores(layer.elements, 1),
                    loads(layer.elements, 1),
                    stack=saved(8),
                ),
                data_bytes=_TABLE,
                code_bytes=code + (72 if rest else 20),
                stack_bytes=48,
                kernels=(self._kernel.name,),
                shared_bytes=code,
                code=(
                    *around.entry(),
                    Call(self._kernel, (turns,)),
                    TableLoads(_TABLE, layer.elements - rest, layer.elements, marked=True),
                    around.each_looked_up(rest, _TABLE, *_LOOKUP_REST, layer.elements),
                ),
                in_place=True,
            ),
        )

    def emit(self, layer: Lookup, plan: Plan, name: str) -> Emitted:
        turns, rest = divmod(layer.elements, self._per_turn)
        by_byte = np.roll(layer.table, 128)
        comment = "output of each input: 0 to 127, then -128 to -1"
        table = [Array("int8_t", f"{name}_table", by_byte, comment, alignment=LINE)]
        return emitted(
            unary(name),
            plan,
            f"a table of 256 outputs, {layer.elements} elements",
            "kernels/elementwise/lookup_sixteens_layer.c.j2",
            arrays=table,
            kernels=(self._kernel,),
            layer=layer,
            kernel=self._kernel.name,
            turns=turns,
            rest=rest,
        )


FAMILIES = (TableLookup(), LookupSixteens())
