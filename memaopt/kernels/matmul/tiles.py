"""BATCH_MATMUL of halfwords by assembly: two rows by three columns, or by two, a tile.

A word of each takes five loads in one group, six cycles, and six SMLAD for 12 products. The last rows and the last
columns, where they do not fill a tile, are computed again with those before them.
"""

import math
from collections.abc import Iterator

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Call, Loop, Node, Rendered, Straight
from memaopt.kernels.emitted import Emitted, binary, emitted
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.matmul.packing import HalfwordPacking, Way, way_of
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import Array, short_name
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import MatMul

#: Columns of a tile, and words of a row in a turn.
_COLUMNS, _TURNS = (3, 2), (8, 4, 2)

#: What GCC 12.2 makes at -O3 of two rows and of the calls, their cycles less what the ends are counted high; and
#: what fetching takes of a tile, among whose loads and stores it falls behind. Fitted.
_TWO_ROWS, _CALL, _FETCHED = Compiled(40, 5), Compiled(24, 0), 4.5
#: Bytes of its C at most (`tests/kernels/test_frames.py`), and of stack with the kernel's.
_MOST_CODE, _STACK = 1200, 160


class TiledMatMul:
    """Sums that fit 32 bits and round in one multiplication, of at least two rows and columns."""

    name = "tiles of halves"
    computes = MatMul

    def plans(self, layer: MatMul) -> tuple[Plan, ...]:
        way = way_of(layer)
        return () if way is None else pareto(_plans(layer, way))

    def emit(self, layer: MatMul, plan: Plan, name: str) -> Emitted:
        way = way_of(layer)
        assert way is not None
        n, turn = plan.option("columns"), plan.option("turn")
        first, second = way.packings(layer, 2 * turn)
        kernel = _kernel(layer, way, first, n, turn)
        arrays = [_numbers(way, name)]
        return emitted(
            binary(name),
            plan,
            f"BATCH_MATMUL {dimensions(layer.first_shape)} by {dimensions(layer.second_shape)}",
            "kernels/matmul/tile_layer.c.j2",
            arrays=arrays,
            kernels=(kernel,),
            batches=layer.batches,
            first=first,
            second=second,
            columns=second.rows,
            n=n,
            kernel=kernel.name,
        )


def _plans(layer: MatMul, way: Way) -> Iterator[Plan]:
    """For each turn the columns that take the fewest cycles."""
    rows, _, columns = layer.size
    for turn in _TURNS:
        first, second = way.packings(layer, 2 * turn)
        reached = [
            n for n in _COLUMNS if rows >= 2 and columns >= n and max(2 * n * first.padded, columns + n) <= REACH
        ]
        if reached:
            yield min((_plan(layer, way, first, second, n, turn) for n in reached), key=lambda plan: plan.cycles)


def _plan(layer: MatMul, way: Way, first: HalfwordPacking, second: HalfwordPacking, n: int, turn: int) -> Plan:
    batch, pairs, words = math.prod(layer.batches), -(-first.rows // 2), first.padded // 2
    whole, more = second.rows // n, int(second.rows % n > 0)
    kernel, looped = _kernel(layer, way, first, n, turn), words > turn
    calls = tuple(
        Call(kernel, (tiles, words // turn) if looped else (tiles,)) for tiles in (whole, *((1,) if more else ()))
    )
    fetched = Straight((_FETCHED * (whole + more),), (0,))
    row = (piece(_TWO_ROWS), *(node for call in calls for node in (piece(_CALL), call)), fetched)
    code: tuple[Node, ...] = (*around.entry(), Loop((*first.code, *second.code, Loop(row, pairs)), batch))
    tiles, called, values = pairs * (whole + more), pairs * (1 + more), way.output(layer).words + 1
    # of a call: tiles are an argument on the stack, and what it keeps there
    kept = saved(9) + loads(1, 4) + stores(2 + values, 4)
    # of a tile: the first sum, the others' start; outputs, tiles left, and both moved on
    stack = kept.times(called) + (loads(values, 4) + loads(2, 4) + stores(2, 4)).times(tiles)
    one = Promise(
        (first.reads, second.reads),
        stores(2 * n * tiles, 1),
        loads(values * called, 4),
        first.writes + second.writes + loads((2 + n) * words * tiles, 4),
        stack,
    )
    size = 4 * words_of(calls[0])
    return Plan(
        family=TiledMatMul.name,
        tile=f"2x{n} by {turn}",
        cycles=round(cycles_of(code)),
        promise=one.times(batch),
        data_bytes=data_bytes([_numbers(way, "")]),
        code_bytes=_MOST_CODE + size,
        scratch_bytes=2 * first.padded * (first.rows + second.rows),
        stack_bytes=_STACK,
        kernels=(kernel.name,),
        shared_bytes=size,
        code=code,
        alignment=4,
        requantization=way.proven.describe(),
        options=(("columns", n), ("turn", turn)),
    )


def _numbers(way: Way, name: str) -> Array:
    proven = way.proven
    columns = [proven.start, proven.multiplier, proven.addend]
    columns += [] if proven.negative is None else [proven.negative]
    told = "first sum, multiplier, addend" + (", of negative sums besides" if proven.negative is not None else "")
    return Array("int32_t", f"{name}_numbers", np.array([int(column[0]) for column in columns]), told)


def _kernel(layer: MatMul, way: Way, first: HalfwordPacking, n: int, turn: int) -> Rendered:
    output, words, columns = way.output(layer), first.padded // 2, layer.size[2]
    values = (
        ("q", output),
        ("words", words),
        ("columns", columns),
        ("n", n),
        ("turn", turn),
        ("looped", words > turn),
    )
    details = f"{words} words, {columns} columns, {turn} words a turn, rounding {output.slug}"
    return Rendered(short_name(f"halves_2x{n}", details), "kernels/matmul/tile.c.j2", values)


FAMILIES = (TiledMatMul(),)
