"""BATCH_MATMUL with two products an instruction: a batch's operands as halfwords, tiles of two rows and two columns."""

import math

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.matmul.packing import way_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.layers import MatMul

#: What GCC 12.2 makes at -O3 of four words of a tile, of a tile of four outputs besides, and of a row of tiles, whose
#: cycles are in those of its tiles; and what each output less takes less. Fitted to 56 counts, within 15 %.
_STEP, _TILE, _ROW, _LACKED = Compiled(80, 30.7), Compiled(220, 85), Compiled(30, 0), 50.4
#: The same where there is one row or one column, so that half of a tile's sums are left out, and what a single
#: step takes less, which needs no loop. Fitted to 20 counts.
_STEP_OF_ONE, _TILE_OF_ONE, _UNLOOPED = Compiled(80, 20), Compiled(220, 55), 30
#: Bytes of its code at most (`tests/kernels/test_frames.py`), and of its stack.
_MOST_CODE, _STACK = 2048, 96
#: Halfwords that a turn takes of a row.
_FOUR = 4


class HalvesMatMul:
    """Sums that fit 32 bits and round in one multiplication."""

    name = "halves"
    computes = MatMul

    def plans(self, layer: MatMul) -> tuple[Plan, ...]:
        way = way_of(layer)
        if way is None:
            return ()
        rows, _, columns = layer.size
        first, second = way.packings(layer, _FOUR)
        batch, words = math.prod(layer.batches), first.padded // 2
        pairs = -(-rows // 2), -(-columns // 2)
        tiles = math.prod(pairs)
        step, tile = _STEP, _TILE._replace(cycles=_TILE.cycles - _LACKED * (4 - rows * columns / tiles))
        if (rows == 1) != (columns == 1):
            unlooped = _UNLOOPED if words == _FOUR // 2 else 0
            step, tile = _STEP_OF_ONE, _TILE_OF_ONE._replace(cycles=_TILE_OF_ONE.cycles - unlooped)
        row = (piece(_ROW), Loop((piece(tile), Loop((piece(step),), words // 2)), pairs[1]))
        code = (*around.entry(), Loop((*first.code, *second.code, Loop(row, pairs[0])), batch))
        one = Promise(
            (first.reads, second.reads),
            stores(rows * columns, 1),
            scratch=first.writes + second.writes + loads(4 * tiles * words, 4),
        )
        return (
            Plan(
                family=self.name,
                tile="2x2",
                cycles=round(cycles_of(code)),
                promise=one.times(batch),
                data_bytes=0,
                code_bytes=_MOST_CODE,
                scratch_bytes=2 * first.padded * (rows + columns),
                stack_bytes=_STACK,
                code=code,
                alignment=4,
                requantization=way.proven.describe(),
            ),
        )

    def emit(self, layer: MatMul, plan: Plan, name: str) -> Emitted:
        way = way_of(layer)
        assert way is not None
        first, second = way.packings(layer, _FOUR)
        proven, output = way.proven, way.output(layer)
        negative = "" if proven.negative is None else f"{int(proven.negative[0])}"
        return emitted(
            binary(name),
            plan,
            f"BATCH_MATMUL {dimensions(layer.first_shape)} by {dimensions(layer.second_shape)}",
            "kernels/matmul/halves.c.j2",
            batches=layer.batches,
            first=first,
            second=second,
            words=first.padded // 2,
            start=int(proven.start[0]),
            multiplier=int(proven.multiplier[0]),
            addend=output.addend("acc[j]", f"{int(proven.addend[0])}", negative),
            shift=proven.shift,
            low=output.low,
            high=output.high,
        )


FAMILIES = (HalvesMatMul(),)
