"""``bench traffic --network``: what a network moves from outside SRAM against the SRAM that there is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from memaopt.bench.layer_traffic import im2col_bytes, reference_bytes
from memaopt.choice.external import StagedNetwork, stage
from memaopt.errors import InfeasibleError
from memaopt.models import layer_closed_form
from memaopt.models.layer_nest import (
    CHANNELS_OUTSIDE,
    ROWS_OUTSIDE,
    LayerSpace,
    NestSchedule,
    external_bytes,
    why_not_in,
)
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.simplify.simplify import simplify
from memaopt.networks.zoo import zoo
from memaopt.report.console import table

SIZES = tuple((4 << 10) << i for i in range(7))
_EVALUATIONS = 1000


class StagedLayerRow(BaseModel, frozen=True, extra="forbid"):
    """One layer of a staged network: its schedule, what crosses for it, and what no order of its products is below."""

    operator: str
    rows_outside: bool
    band: int
    block: int
    held: int
    whole: bool
    bytes: int
    least: int


class SizeRow(BaseModel, frozen=True, extra="forbid"):
    """Bytes from and to outside with ``sram`` bytes: of the choice that no other beats and of its walk; of each layer's
    best schedule with every tensor out and in; of what the tilers found of those. None where nothing fits: why is the
    ``reason``.
    """

    sram: int
    staged: int | None
    walked: int | None
    apart: int | None
    grid: int | None
    random: int | None
    layers: tuple[StagedLayerRow, ...] = ()
    reason: str = ""


class NetworkTraffic(BaseModel, frozen=True, extra="forbid"):
    """A network's traffic over sizes of SRAM, with what does not depend on them."""

    name: str
    compulsory: int
    im2col: int
    reference: int
    sizes: tuple[SizeRow, ...]


def network_of(source: str) -> Graph:
    """The simplified network of a file, or of the zoo by its name."""
    read = Model.read(source).graph if Path(source).suffix or Path(source).exists() else zoo.build(source)
    return simplify(read).graph


def study(graph: Graph, sizes: tuple[int, ...] = SIZES) -> NetworkTraffic:
    """Stage a network in each size. Raises UnfinishedError where that is too wide a search."""
    ample = stage(graph, 1 << 30)
    lowered = [low for op in graph.operators if (low := op.lower(graph)) is not None]
    return NetworkTraffic(
        name=graph.name,
        compulsory=ample.compulsory,
        im2col=sum(map(im2col_bytes, lowered)),
        reference=sum(map(reference_bytes, lowered)),
        sizes=tuple(_row(graph, ample, size) for size in sizes),
    )


def _row(graph: Graph, ample: StagedNetwork, sram: int) -> SizeRow:
    spaces = [_alone(layer.space, sram) for layer in ample.layers]
    try:
        found = stage(graph, sram)
        reason = ""
    except InfeasibleError as error:
        found, reason = None, str(error)
    return SizeRow(
        sram=sram,
        staged=None if found is None else found.bytes,
        walked=None if found is None else found.replayed()[0],
        apart=_sum(layer_closed_form.solve, spaces),
        grid=_sum(_grid, spaces),
        random=_sum(_random, spaces),
        layers=() if found is None else tuple(_layers(graph, found)),
        reason=reason,
    )


def _layers(graph: Graph, staged: StagedNetwork) -> Iterator[StagedLayerRow]:
    for layer in staged.layers:
        schedule = layer.schedule
        yield StagedLayerRow(
            operator=f"{layer.position} {graph.operators[layer.position].kind}",
            rows_outside=schedule.order == ROWS_OUTSIDE,
            band=schedule.band,
            block=schedule.block,
            held=schedule.held,
            whole=schedule.whole,
            bytes=layer.bytes,
            least=layer.least,
        )


def _alone(space: LayerSpace, sram: int) -> LayerSpace:
    """The layer with all that it reads and writes outside."""
    return LayerSpace(space.nest, frozenset(range(len(space.nest.inputs))), True, sram)


def _sum(search: Callable[[LayerSpace], NestSchedule | None], spaces: list[LayerSpace]) -> int | None:
    """The bytes of what a search finds for all layers; None if for one it finds nothing."""
    total = 0
    for space in spaces:
        found = search(space)
        if found is None:
            return None
        total += external_bytes(space, found)
    return total


def _best_of(space: LayerSpace, schedules: Iterator[NestSchedule]) -> NestSchedule | None:
    fitting = (schedule for schedule in schedules if why_not_in(space, schedule) is None)
    return min(fitting, key=lambda schedule: external_bytes(space, schedule), default=None)


def _grid(space: LayerSpace) -> NestSchedule | None:
    """Bands and blocks of powers of two or whole, both orders, all constants held or none, inputs kept or not."""
    nest = space.nest

    def points() -> Iterator[NestSchedule]:
        for band in _powers(nest.rows):
            for block in _powers(nest.units):
                yield from (NestSchedule(ROWS_OUTSIDE, band, block, held) for held in (0, nest.units))
                yield from (NestSchedule(CHANNELS_OUTSIDE, band, block, 0, whole) for whole in (False, True))

    return _best_of(space, points())


def _random(space: LayerSpace) -> NestSchedule | None:
    """Schedules drawn independently, bands, blocks and what is held uniformly on a logarithmic scale."""
    nest, rng = space.nest, random.Random(0)

    def drawn(most: int) -> int:
        return min(most, int(math.exp(rng.uniform(0, math.log(most + 1)))))

    def points() -> Iterator[NestSchedule]:
        for _ in range(_EVALUATIONS):
            band, block = drawn(nest.rows), drawn(nest.units)
            if rng.random() < 0.5:
                yield NestSchedule(ROWS_OUTSIDE, band, block, nest.units - drawn(nest.units + 1) + 1)
            else:
                yield NestSchedule(CHANNELS_OUTSIDE, band, block, 0, rng.random() < 0.5)

    return _best_of(space, points())


def _powers(size: int) -> list[int]:
    return sorted({size, *(1 << i for i in range(size.bit_length()) if 1 << i <= size)})


def print_study(console: Console, found: NetworkTraffic, *, layers: bool) -> None:
    """A size a line; with ``layers``, then those of each size."""
    console.print(Text.assemble((found.name, "bold"), ", bytes from and to outside SRAM"))
    made = table(("SRAM", "staged", "gap", "walked", "tensors out and in", "grid", "random"))
    for row in found.sizes:
        gap = "" if row.staged is None else f"{row.staged / found.compulsory - 1:.1%}"
        cells = (row.staged, row.walked, row.apart, row.grid, row.random)
        texts = ["-" if cell is None else f"{cell:,}" for cell in cells]
        made.add_row(_size(row.sram), texts[0], gap, *texts[1:])
    console.print(made)
    for row in found.sizes:
        if row.reason:
            console.print(f"{_size(row.sram)}: {row.reason}", soft_wrap=True, highlight=False)
    console.print(
        f"lower bound {found.compulsory:,}; layer by layer with im2col, as CMSIS-NN {found.im2col:,}; all outside, as "
        f"TFLite Micro's reference kernels {found.reference:,} (both modelled)",
        highlight=False,
    )
    for row in found.sizes if layers else ():
        if row.layers:
            _print_layers(console, row)


def _size(sram: int) -> str:
    return f"{sram:,} bytes" if sram % 1024 else f"{sram >> 10} KiB"


def _print_layers(console: Console, row: SizeRow) -> None:
    console.print(Text(_size(row.sram), style="bold"))
    made = table(("operator", "outside", "band", "block", "held", "bytes", "least", "gap"), words=(0, 1))
    for layer in row.layers:
        held = "input" if layer.whole else str(layer.held)
        gap = f"{layer.bytes / layer.least - 1:.1%}" if layer.least else ""
        order = "rows" if layer.rows_outside else "channels"
        numbers = (f"{layer.band:,}", f"{layer.block:,}", held, f"{layer.bytes:,}", f"{layer.least:,}")
        made.add_row(layer.operator, order, *numbers, gap)
    console.print(made)
