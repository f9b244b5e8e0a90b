"""What a chain takes with the kernels that were chosen for its parts: scratch memory, accesses, what it executes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around, staging
from memaopt.kernels.around import Compiled
from memaopt.kernels.chains import fed
from memaopt.kernels.chains.order import (
    ChainRows,
    Order,
    StepKind,
)
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.dense_rows.dense_rows import Ends, ends
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.staging import CopyCost
from memaopt.problems.dense_band import DenseBand
from memaopt.problems.layers import LayerChain

#: A turn of the loop over steps, its dispatch and its share of the call; by the counts of chains on the board.
_STEP = Compiled(28, 16)
#: An offset out of the table of those that change.
_PLACE = Compiled(12, 5)
_SUM_BYTE, _SUM, _SUMMED = Compiled(16, 6), Compiled(32, 12), Compiled(48, 16)


class Chosen(NamedTuple):
    """The kernel of each part (None: it sums), with the format of each tensor. ``apart``: what channels take of
    constants that are kept, and the chain's own tables, may be elsewhere than the other constants."""

    order: Order
    picks: tuple[int, ...]
    plans: tuple[Plan | None, ...]
    formats: tuple[Format, ...]
    apart: bool = False

    @property
    def kept(self) -> tuple[int, ...]:
        """The parts whose constants are in SRAM from the first step on."""
        return tuple(part for part, plan in enumerate(self.plans) if plan is not None and plan.kept is not None)


def kept_bytes(chain: LayerChain, chosen: Chosen) -> int:
    """What no line buffer and no part's own memory shares bytes with: words kept from row to row, sums, constants."""
    return _before_constants(chain, chosen) + 4 * sum(_words(chosen, part) for part in chosen.kept)


def constants_at(chain: LayerChain, chosen: Chosen) -> dict[int, int]:
    """Offsets in scratch of the constants that are kept there, by part."""
    at, found = _before_constants(chain, chosen), dict[int, int]()
    for part in chosen.kept:
        found[part] = at
        at += 4 * _words(chosen, part)
    return found


def copies_of(chosen: Chosen) -> list[CopyCost]:
    """The copies of constants that are kept."""
    streams = [plan.streams for plan in chosen.plans if plan is not None and plan.kept is not None]
    return [copy for plan in streams if plan is not None for copy in staging.copies_of(plan)]


def table_bytes(order: Order) -> int:
    """Of the steps, a byte each, and of the places that change."""
    return len(order.steps) + (0 if order.packing is None else 2 * len(order.packing.places))


def _words(chosen: Chosen, part: int) -> int:
    """Words of a part's constants as its kernel reads them."""
    plan = chosen.plans[part]
    assert plan is not None
    return plan.kernel_bytes // 4


def own_bytes(chosen: Chosen) -> tuple[int, ...]:
    """Of each part's own memory while it computes; what a fully connected one has is kept."""
    sizes = [0 if plan is None else plan.scratch_bytes for plan in chosen.plans]
    return (*sizes[:-1], 0 if chosen.order.shape.dense else sizes[-1])


def placed_bytes(chosen: Chosen) -> tuple[int, ...]:
    """Of each part's own memory that has places which change, where buffers are packed: a kernel whose constants are
    kept knows them by where its own memory is, so that this stays."""
    return tuple(0 if part in chosen.kept else size for part, size in enumerate(own_bytes(chosen)))


def _staying(chosen: Chosen) -> int:
    """Bytes of the memory that those kernels use in turns."""
    return max((align(own_bytes(chosen)[part], 4) for part in chosen.kept), default=0)


def _before_constants(chain: LayerChain, chosen: Chosen) -> int:
    shape, last = chosen.order.shape, chosen.plans[-1]
    sums = last.scratch_bytes if last is not None and shape.dense else 4 * chain.output.channels * shape.sums
    return _before_sums(chosen) + sums


def _before_sums(chosen: Chosen) -> int:
    return 4 * fed.word_count(chosen.order) if chosen.order.shape.fed else 0


def _dense_ends(chosen: Chosen) -> Ends | None:
    """What the first and the last band of a fully connected part do besides."""
    shape, plan = chosen.order.shape, chosen.plans[-1]
    if not shape.dense:
        return None
    rows = shape.parts[-1]
    assert rows is not None
    assert plan is not None
    band = rows.band(chosen.order.heights[-1])
    assert isinstance(band, DenseBand)
    return ends(band, plan)


class ScratchLayout(NamedTuple):
    """Offsets in scratch: of the line buffers by tensor, of the sums, of each part's own; and its bytes. From ``start``
    on bytes are shared: where a packing has its places, all buffers start there, and of parts' own memory only that has
    an offset which stays."""

    lines: dict[int, int]
    sums: int
    work: dict[int, int]
    bytes: int
    start: int


def layout_of(chain: LayerChain, chosen: Chosen) -> ScratchLayout:
    """What is not needed at the same time shares bytes: largest first, each as low as it fits."""
    order, buffered = chosen.order, chosen.order.shape.buffered
    kept = kept_bytes(chain, chosen)
    sums = _before_sums(chosen)
    dense = {len(chosen.plans) - 1: sums} if order.shape.dense else {}
    if order.packing is not None:
        start = kept + _staying(chosen)
        work = dict.fromkeys(chosen.kept, kept) | dense
        return ScratchLayout(dict.fromkeys(buffered, start), sums, work, start + order.packing.bytes, start)
    sizes = {("line", t): order.bytes(t) for t in buffered}
    sizes |= {("work", i): align(size, 4) for i, size in enumerate(own_bytes(chosen)) if size}
    placed: dict[tuple[str, int], int] = {}
    most = kept
    for item in sorted(sizes, key=lambda item: (-sizes[item], item)):
        at = kept
        for other in sorted((o for o in placed if frozenset((item, o)) in order.apart), key=lambda o: placed[o]):
            if placed[other] - at >= sizes[item]:
                break
            at = max(at, placed[other] + sizes[other])
        placed[item] = at
        most = max(most, at + sizes[item])
    lines = {t: placed["line", t] for t in buffered}
    work = {i: placed.get(("work", i), 0) for i in range(len(chosen.plans))} | dense
    return ScratchLayout(lines, sums, work, most, kept)


def _copied(count: int) -> Access:
    """Of a copy of so many bytes: in words, and what they leave over in bytes."""
    return loads(count // 4, 4) + stores(count // 4, 4) + loads(count % 4, 1) + stores(count % 4, 1)


def promise_of(chain: LayerChain, chosen: Chosen) -> Promise:
    """The accesses of one call, those of its parts among them."""
    order, shape = chosen.order, chosen.order.shape
    source, scratch, output, parameters, stack = Access(), Access(), Access(), Access(), Access()
    tables = loads(len(order.steps), 1)
    for step, count in order.counts.items():
        line = shape.lines[step.of]
        if step.kind is StepKind.FEED:
            source += _copied(line.row_bytes).only_loads.times(count)
            scratch += _copied(line.row_bytes).only_stores.times(count)
        elif step.kind is StepKind.PAD:
            whole = line.row_bytes % 4 == 0
            scratch += (stores(line.row_bytes // 4, 4) if whole else stores(line.row_bytes, 1)).times(count)
        elif step.kind is StepKind.COMPUTE:
            plan = chosen.plans[step.of]
            if plan is None:
                scratch += _added(chain, shape).times(count)
                continue
            promise = plan.promise.times(count)
            parameters, stack = parameters + promise.parameters, stack + promise.stack
            scratch += promise.scratch
            for read, access in zip(chain.parts[step.of].reads, promise.inputs, strict=True):
                if read in shape.buffered:
                    scratch += access
                else:
                    source += access
            if step.of + 1 in shape.buffered:
                scratch += promise.output
            else:
                output += promise.output
        elif step.kind is StepKind.FINISH:
            scratch += loads(chain.output.channels, 4)
            output += stores(chain.output.channels, 1)
    for part in chosen.kept:
        scratch += stores(_words(chosen, part), 4)
    if order.packing is not None:
        tables += loads(len(order.packing.places), 2)
    parameters += loads(sum(copy.words for copy in copies_of(chosen)), 4)
    for size, times in Counter(order.moves).items():
        scratch += _copied(size).times(times)
    if shape.sums:
        scratch += stores(chain.output.channels, 4)
    if (dense := _dense_ends(chosen)) is not None:
        scratch, parameters, output = scratch + dense.scratch, parameters + dense.parameters, output + dense.output
    if shape.fed:
        kept, twice = fed.access(order, shape.lines[0].height)
        scratch, tables = scratch + kept, tables + twice
    channels = loads(sum(copy.channel_words for copy in copies_of(chosen)), 4)
    if chosen.apart:
        return Promise((source,), output, parameters, scratch, stack, channels + tables)
    return Promise((source,), output, parameters + tables, scratch, stack, channels)


def _added(chain: LayerChain, shape: ChainRows) -> Access:
    """Of a row that is added to the sums."""
    channels = chain.output.channels
    return loads(shape.lines[-2].row_bytes, 1) + loads(channels, 4) + stores(channels, 4)


def own_code(chain: LayerChain, chosen: Chosen) -> tuple[Node, ...]:
    """What the chain does beside its parts."""
    order, shape = chosen.order, chosen.order.shape
    nodes: list[Node] = [*around.entry(), Loop((around.piece(_STEP),), len(order.steps))]
    call, channels = around.piece(around.CALL), chain.output.channels
    for step, count in order.counts.items():
        line = shape.lines[step.of]
        if step.kind is StepKind.FEED:
            whole = line.row_bytes % 4 == 0
            copy = around.copy_words(line.row_bytes / 4) if whole else around.copy_bytes(line.row_bytes)
            nodes.append(Loop((call, copy), count))
        elif step.kind is StepKind.PAD:
            nodes.append(Loop((call, around.fill_words(line.row_bytes / 4)), count))
        elif step.kind is StepKind.COMPUTE and chosen.plans[step.of] is None:
            added = Loop((around.piece(_SUM_BYTE),), line.row_bytes)
            nodes.append(Loop((added, Loop((around.piece(_SUM),), channels)), count))
        elif step.kind is StepKind.FINISH:
            nodes.append(Loop((around.piece(_SUMMED),), channels))
    if order.moves:
        mean = sum(order.moves) / len(order.moves)
        nodes.append(Loop((call, around.copy_words(mean / 4)), len(order.moves)))
    if order.packing is not None:
        nodes.append(Loop((around.piece(_PLACE),), len(order.packing.places)))
    if (dense := _dense_ends(chosen)) is not None:
        nodes += dense.code
    if shape.fed:
        words = Loop((around.piece(fed.WORD),), fed.word_count(order))
        nodes.append(Loop((around.piece(fed.ROW), words), shape.lines[0].height))
    return tuple(nodes)


def code_of(chain: LayerChain, chosen: Chosen) -> tuple[Node, ...]:
    """What one call executes. Parts take turns, so no part finds its code in a cache from its last turn on."""
    counts = chosen.order.bands
    turns = max(counts.values())
    parts = [Loop(plan.code, counts[i] / turns) for i, plan in enumerate(chosen.plans) if plan is not None]
    copied = (node for copy in copies_of(chosen) for node in copy.code)
    return (*copied, *own_code(chain, chosen), Loop(tuple(parts), turns))


def bands_of(code: tuple[Node, ...]) -> Iterator[tuple[float, tuple[Node, ...]]]:
    """Of what :func:`code_of` gives: how many bands each part computes, and what one executes."""
    turns = code[-1]
    assert isinstance(turns, Loop)
    for part in turns.body:
        assert isinstance(part, Loop)
        yield turns.trips * part.trips, part.body
