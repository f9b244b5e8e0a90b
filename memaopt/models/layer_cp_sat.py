"""The best schedule of a layer's nest for a solver, from what a schedule is: loops, levels, tiles and arrivals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memaopt.errors import UnfinishedError
from memaopt.models.layer_nest import CHANNELS_OUTSIDE, ROWS_OUTSIDE, LayerSpace, NestSchedule
from memaopt.solver import empty_model, limited

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

_LIMIT = 60.0


def solve(space: LayerSpace) -> NestSchedule | None:
    """A schedule with the fewest external bytes, proven by CP-SAT; None if it proves that nothing fits. Raises
    UnfinishedError if it proves neither within its deterministic limit.
    """
    from ortools.sat.python import cp_model

    nest = space.nest
    model = empty_model()
    rows_outside, whole = model.new_bool_var("rows outside"), model.new_bool_var("whole")
    band, block = model.new_int_var(1, nest.rows, "band"), model.new_int_var(1, nest.units, "block")
    held = model.new_int_var(0, nest.units, "held")
    model.add(held == 0).only_enforce_if(~rows_outside)
    mixed = [read for read in space.staged if not read.by_unit]
    model.add_implication(whole, ~rows_outside)
    if not mixed:
        model.add(whole == 0)
    streamed = nest.units - held
    bands, blocks = _trips(model, nest.rows, band, nest.rows), _trips(model, streamed, block, nest.units)
    many_bands, many_blocks = _more_than_one(model, bands), _more_than_one(model, blocks)

    # Constants: those that stream arrive once a band, if there are several blocks of them inside the bands.
    again = model.new_bool_var("constants again")
    model.add_bool_and(rows_outside, many_blocks).only_enforce_if(again)
    model.add_bool_or(~rows_outside, ~many_blocks, again)
    visits = _visits(model, again, bands, nest.rows)
    arriving = model.new_int_var(0, nest.units * nest.rows, "units arriving")
    model.add_multiplication_equality(arriving, [streamed, visits])
    moved: Any = nest.weight_bytes * (held + arriving) + int(space.stores) * nest.output

    # Inputs that every unit reads come once a block with channels outside, if there are several bands and they go.
    sweeps = model.new_bool_var("inputs again")
    model.add_bool_and(~rows_outside, ~whole, many_bands).only_enforce_if(sweeps)
    model.add_bool_or(rows_outside, whole, ~many_bands, sweeps)
    moved += sum(read.moved for read in mixed) * _visits(model, sweeps, blocks, nest.units)
    moved += sum(read.moved for read in space.staged if read.by_unit)

    streaming = model.new_int_var(0, nest.units, "units streaming")
    model.add_min_equality(streaming, [block, streamed])
    tiles: Any = nest.weight_bytes * (held + streaming)
    if space.stores:
        tile = model.new_int_var(0, nest.rows * nest.units, "output tile")
        model.add_multiplication_equality(tile, [band, block])
        tiles += nest.output_bytes * tile
    for i, read in enumerate(space.staged):
        lines = model.new_int_var(0, read.rows, f"rows {i}")
        model.add_element(band, [0, *(read.held(rows) for rows in range(1, nest.rows + 1))], lines)
        size = model.new_int_var(0, read.rows * read.row_bytes, f"tile {i}")
        model.add(size == lines * read.row_bytes).only_enforce_if(rows_outside)
        if read.by_unit:
            cut = model.new_int_var(0, read.rows * nest.units, f"part {i}")
            model.add_multiplication_equality(cut, [lines, block])
            model.add(size == cut * (read.row_bytes // nest.units)).only_enforce_if(~rows_outside)
        else:
            model.add(size == lines * read.row_bytes).only_enforce_if(~whole)
            model.add(size == read.moved).only_enforce_if(whole)
        tiles += size
    model.add(tiles <= space.capacity)
    model.minimize(moved)

    solver = limited(_LIMIT)
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status != cp_model.OPTIMAL:
        raise UnfinishedError("CP-SAT did not come to an end on a layer's nest")
    order = ROWS_OUTSIDE if solver.value(rows_outside) else CHANNELS_OUTSIDE
    found = [solver.value(number) for number in (band, block, held)]
    return NestSchedule(order, found[0], found[1], found[2], bool(solver.value(whole)))


def _trips(model: cp_model.CpModel, length: Any, block: cp_model.IntVar, most: int) -> cp_model.IntVar:
    """The smallest t with t * block >= length, which is at most ``most``."""
    trips = model.new_int_var(0, most, f"trips by {block.name}")
    covered: Any = model.new_int_var(0, most * most, f"covered by {block.name}")
    model.add_multiplication_equality(covered, [trips, block])
    model.add(covered >= length)
    model.add(covered < length + block)
    return trips


def _more_than_one(model: cp_model.CpModel, trips: cp_model.IntVar) -> cp_model.IntVar:
    many = model.new_bool_var(f"several {trips.name}")
    model.add(trips >= 2).only_enforce_if(many)
    model.add(trips <= 1).only_enforce_if(~many)
    return many


def _visits(model: cp_model.CpModel, again: cp_model.IntVar, trips: cp_model.IntVar, most: int) -> cp_model.IntVar:
    """``trips`` if the tiles come again, else 1."""
    visits = model.new_int_var(1, max(most, 1), f"visits by {trips.name}")
    model.add(visits == trips).only_enforce_if(again)
    model.add(visits == 1).only_enforce_if(~again)
    return visits
