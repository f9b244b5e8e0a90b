"""Which layer of a chain computes which rows when, and which rows lie where meanwhile.

Demand-driven: each part computes bands of its own height, and a band is computed when a reader needs a row of it.
Between two parts lies a line buffer whose rows are one after the other, from the first that some reader still needs on;
rows of padding above and below the image are among them. Where the next rows find no room, those that are still needed
move to the front. Nothing is computed twice.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import NamedTuple

from memaopt.alignment import align
from memaopt.kernels.leads import lead_of
from memaopt.problems.bands import Reach, Rows, dense_rows, rows_of
from memaopt.problems.geometry import Image
from memaopt.problems.layers import FullyConnected, Layer, LayerChain, Mean, Pool, PoolKind

HEIGHTS = (1, 2, 3, 4, 6, 8)
"""What no band of a part is higher than."""


def band_height(rows: int, most: int) -> int:
    """The most rows in a band that divide all ``rows``, up to ``most``."""
    return max(h for h in range(1, most + 1) if rows % h == 0)


class StepKind(StrEnum):
    """What a step does: a row of the input, or of padding, comes into a line buffer; the rows of one move to its front;
    a part computes its next band (or adds rows to its sums); sums become the output.
    """

    FEED = "feed"
    PAD = "pad"
    MOVE = "move"
    COMPUTE = "compute"
    FINISH = "finish"


class ChainStep(NamedTuple):
    """``of`` is a tensor where rows come or move, else a part."""

    kind: StepKind
    of: int


class Reader(NamedTuple):
    """A part that reads a tensor, as its input number ``slot``."""

    part: int
    slot: int


class Rowed(NamedTuple):
    """A tensor of the chain as rows: ``height`` of ``row_bytes``, with ``above`` and ``below`` rows of padding that
    hold ``fill``."""

    height: int
    row_bytes: int
    above: int
    below: int
    fill: int
    readers: tuple[Reader, ...]

    @property
    def rows(self) -> int:
        """All rows, those of padding too."""
        return self.above + self.height + self.below


@dataclass(frozen=True)
class ChainRows:
    """A chain as rows: its parts' rows (the last is None if it ``sums`` all of its input), and its tensors'. ``fed``:
    rows of its input come one at a time. What is summed has rows of no bytes, which are those of its input."""

    parts: tuple[Rows | None, ...]
    lines: tuple[Rowed, ...]
    fed: bool = False

    @property
    def sums(self) -> bool:
        """Whether the last part sums rows."""
        return self.parts[-1] is None

    @property
    def dense(self) -> bool:
        """Whether the last part is fully connected: it keeps sums in memory of its own from band to band."""
        last = self.parts[-1]
        return last is not None and isinstance(last.layer, FullyConnected)

    @cached_property
    def buffered(self) -> tuple[int, ...]:
        """The tensors that have a line buffer. The input has none if it is there whole, without padding around it."""
        first = self.lines[0]
        return tuple(range(0 if first.above or first.below or self.fed else 1, len(self.lines) - 1))

    def reads(self, part: int) -> tuple[tuple[int, Reader], ...]:
        """The tensors that a part reads."""
        return self._reads[part]

    @cached_property
    def _reads(self) -> tuple[tuple[tuple[int, Reader], ...], ...]:
        found: list[list[tuple[int, Reader]]] = [[] for _ in self.parts]
        for tensor, line in enumerate(self.lines):
            for reader in line.readers:
                found[reader.part].append((tensor, reader))
        return tuple(map(tuple, found))

    def reach(self, reader: Reader) -> Reach:
        """The rows that a part reads of an input."""
        rows = self.parts[reader.part]
        return Reach() if rows is None else rows.reaches[reader.slot]


def sums_rows(layer: Layer, image: Image) -> bool:
    """Whether a layer's output is one sum for each channel over a whole image."""
    if isinstance(layer, Pool):
        whole = layer.window.kernel == image[:2] and layer.output.positions == 1 and layer.window.padding == (0, 0)
        return whole and layer.kind is PoolKind.AVERAGE
    return isinstance(layer, Mean) and layer.shape == (1, *image) and sorted(layer.axes) in ([1, 2], [0, 1, 2])


@lru_cache(maxsize=256)
def shape_of(chain: LayerChain) -> ChainRows | None:
    """The chain as rows; None if some part does not compute rows from rows, or tensors' padding differs."""
    parts: list[Rows | None] = []
    for number, part in enumerate(chain.parts):
        last = number == len(chain.parts) - 1
        if last and number and sums_rows(part.layer, chain.images[part.reads[0]]):
            parts.append(None)
            continue
        whole = dense_rows(part.layer, chain.images[part.reads[0]]) if last and number else None
        rows = whole or rows_of(part.layer, chain.images[number + 1].height)
        if rows is None:
            return None
        parts.append(rows)
    lines = []
    for tensor, image in enumerate(chain.images):
        readers = tuple(
            Reader(number, slot)
            for number, part in enumerate(chain.parts)
            for slot, read in enumerate(part.reads)
            if read == tensor
        )
        padded = [(rows, r) for r in readers if (rows := parts[r.part]) is not None]
        above = max((rows.reaches[r.slot].above for rows, r in padded), default=0)
        below = max((rows.reaches[r.slot].below(rows.height, image.height) for rows, r in padded), default=0)
        fills = {rows.padding for rows, _ in padded if rows.padding is not None}
        if len(fills) > 1 and (above or below):
            return None
        height, row_bytes = image.height, image.width * image.channels
        if tensor == len(chain.images) - 1 and (parts[-1] is None or isinstance(chain.parts[-1].layer, FullyConnected)):
            height, row_bytes = chain.images[chain.parts[-1].reads[0]].height, 0
        lines.append(Rowed(height, row_bytes, above, below, fills.pop() if fills else 0, readers))
    return ChainRows(tuple(parts), tuple(lines), chain.by_rows)


class PackedRows(NamedTuple):
    """Line buffers at addresses that change over time: the ``places``, in words, that each move has, and each part with
    memory of its own, in the order of the steps; all within so many ``bytes``."""

    places: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class Order:
    """The steps of a chain whose parts compute bands of so many rows (``heights``), and the rows of each line buffer.

    ``moves``: bytes that move within a buffer, each time. ``together``: pairs of buffers that hold rows at the same
    time; ``busy``: for each part, those that do while it computes. ``aligned``: parts whose windows and bands all start
    at multiples of 4 bytes, if the buffers do. With a ``packing`` no line buffer has bytes of its own.
    """

    shape: ChainRows
    heights: tuple[int, ...]
    steps: tuple[ChainStep, ...]
    capacities: dict[int, int]
    moves: tuple[int, ...]
    together: frozenset[frozenset[int]]
    busy: tuple[frozenset[int], ...]
    aligned: frozenset[int]
    lead: int
    packing: PackedRows | None = None

    @cached_property
    def counts(self) -> dict[ChainStep, int]:
        """How often each step is made, in the order of their first times."""
        found: dict[ChainStep, int] = {}
        for step in self.steps:
            found[step] = found.get(step, 0) + 1
        return found

    @cached_property
    def bands(self) -> dict[int, int]:
        """How many bands each part computes, in the order of their first ones."""
        return {step.of: count for step, count in self.counts.items() if step.kind is StepKind.COMPUTE}

    @cached_property
    def apart(self) -> frozenset[frozenset[tuple[str, int]]]:
        """What may not share bytes: line buffers by their tensors, a part's own memory by the part."""
        lines = {frozenset((("line", a), ("line", b))) for a, b in self.together}
        return frozenset(
            lines | {frozenset((("line", t), ("work", i))) for i, held in enumerate(self.busy) for t in held}
        )

    def bytes(self, tensor: int) -> int:
        """Of a line buffer, in whole words."""
        return align(self.capacities[tensor] * self.shape.lines[tensor].row_bytes, 4)


@lru_cache(maxsize=16)
def order_of(shape: ChainRows, heights: tuple[int, ...]) -> Order:
    """The order of steps; each height divides the rows of its part's output."""
    needed = DemandDriven(shape, heights, None)
    needed.finish()
    run = DemandDriven(shape, heights, needed.needed)
    run.finish()
    return run.order(needed.needed)


class DemandDriven:
    """The chain on the move. Without ``capacities`` rows move as soon as they can, which shows how many are needed.

    Rows are counted with those of padding: of a tensor, ``base`` is the row at the start of its buffer, ``have`` the
    number that are there or have been, ``window`` the first row that a reader needs next.
    """

    def __init__(self, shape: ChainRows, heights: tuple[int, ...], capacities: dict[int, int] | None) -> None:
        self.shape, self.heights, self.capacities = shape, heights, capacities
        self.base = dict.fromkeys(shape.buffered, 0)
        self.have = dict.fromkeys(range(len(shape.lines)), 0)
        if 0 not in self.base:
            self.have[0] = shape.lines[0].height
        self.window = {
            reader: line.above - shape.reach(reader).above for line in shape.lines for reader in line.readers
        }
        self.needed = dict.fromkeys(shape.buffered, 0)
        self.steps: list[ChainStep] = []
        self.reads: list[int] = []
        self.ends: list[int] = []
        self.written = 0
        self.moves: list[int] = []
        self.unaligned: set[int] = set()
        self._held_together: set[frozenset[int]] = set()
        self._busy: list[set[int]] = [set() for _ in shape.parts]

    @property
    def busy(self) -> tuple[frozenset[int], ...]:
        """For each part, the buffers that hold rows while it computes."""
        return tuple(map(frozenset, self._busy))

    def order(self, capacities: dict[int, int]) -> Order:
        """The order of what was done, with so many rows of each line buffer."""
        shape = self.shape
        lead = lead_of(self.reads, self.ends, shape.lines[0].height * shape.lines[0].row_bytes)
        aligned = frozenset(range(len(shape.parts))) - self.unaligned
        together = frozenset(
            frozenset(pair) for held in self._held_together for pair in itertools.combinations(sorted(held), 2)
        )
        steps, moves = tuple(self.steps), tuple(self.moves)
        return Order(shape, self.heights, steps, capacities, moves, together, self.busy, aligned, lead)

    def _held(self, written: int) -> frozenset[int]:
        """The buffers that hold rows while one is written; none where only rows are counted."""
        if self.capacities is None:
            return frozenset()
        held = frozenset(t for t in self.base if t == written or self.have[t] > self._low(t))
        self._held_together.add(held)
        return held

    def finish(self) -> None:
        """Everything up to the last row of the output."""
        last = len(self.shape.lines) - 1
        self._ensure(last, self.shape.lines[last].rows)
        if self.shape.sums:
            self.steps.append(ChainStep(StepKind.FINISH, last - 1))

    def _ensure(self, tensor: int, rows: int) -> None:
        while self.have[tensor] < rows:
            self._advance(tensor)

    def _advance(self, tensor: int) -> None:
        """The next rows of a tensor."""
        line = self.shape.lines[tensor]
        if not line.above <= self.have[tensor] < line.above + line.height:
            self._came(StepKind.PAD, tensor)
        elif tensor == 0:
            self._came(StepKind.FEED, tensor)
        else:
            self._compute(tensor - 1)

    def _came(self, kind: StepKind, tensor: int) -> None:
        line = self.shape.lines[tensor]
        if kind is StepKind.FEED:
            self._touched((self.have[tensor] - line.above) * line.row_bytes)
        self._room(tensor, 1)
        self._held(tensor)
        self.steps.append(ChainStep(kind, tensor))
        self.have[tensor] += 1

    def _compute(self, part: int) -> None:
        rows, output, reads = self.heights[part], part + 1, self.shape.reads(part)
        for tensor, reader in reads:
            self._ensure(tensor, self.window[reader] + self.shape.reach(reader).rows_in(rows))
        if output in self.base:
            self._room(output, rows)
        for tensor, reader in reads:
            if tensor in self.base and self._misplaced(tensor, self.window[reader]):
                self._move(tensor)
        if any(self._misplaced(t, self.window[r]) for t, r in reads) or self._misplaced(output, self.have[output]):
            self.unaligned.add(part)
        if output not in self.base:
            self.written += rows * self.shape.lines[output].row_bytes
            self._touched(None)
        for tensor, reader in reads:
            if tensor not in self.base:
                self._touched(max(self.window[reader], 0) * self.shape.lines[0].row_bytes)
        self._busy[part] |= self._held(output)
        self.steps.append(ChainStep(StepKind.COMPUTE, part))
        self.have[output] += rows
        for _, reader in reads:
            self.window[reader] += rows * self.shape.reach(reader).stride

    def _touched(self, byte: int | None) -> None:
        """Input is read from a byte on (None: it is not), after which so much of the output has been written."""
        line = self.shape.lines[0]
        self.reads.append(line.height * line.row_bytes if byte is None else byte)
        self.ends.append(self.written)

    def _low(self, tensor: int) -> int:
        """The first row that is still needed."""
        return min(self.have[tensor], *(self.window[reader] for reader in self.shape.lines[tensor].readers))

    def _room(self, tensor: int, rows: int) -> None:
        """Make room for so many rows behind those that are there."""
        most = None if self.capacities is None else self.capacities[tensor]
        if most is None or self.have[tensor] + rows - self.base[tensor] > most:
            self._move(tensor)
        self.needed[tensor] = max(self.needed[tensor], self.have[tensor] + rows - self.base[tensor])

    def _move(self, tensor: int) -> None:
        low = self._low(tensor)
        if low > self.base[tensor]:
            self.moves.append((self.have[tensor] - low) * self.shape.lines[tensor].row_bytes)
            self.base[tensor] = low
            self.steps.append(ChainStep(StepKind.MOVE, tensor))

    def _misplaced(self, tensor: int, row: int) -> bool:
        return (row - self.base.get(tensor, 0)) * self.shape.lines[tensor].row_bytes % 4 != 0
