"""Layers of images computed depth first, a band each in turn: between them lie line buffers in scratch memory.

Each part is a layer of fewer rows (:mod:`memaopt.problems.bands`), computed by any kernel there is for it. A table has
a byte for each step of the order (:mod:`memaopt.kernels.chains.order`); pointers say where each buffer ends and where
each reader's window starts. An average over all that the chain computes adds rows to 32-bit sums as they come.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.chains import fed
from memaopt.kernels.chains.order import (
    HEIGHTS,
    ChainRows,
    ChainStep,
    Order,
    Reader,
    Rowed,
    StepKind,
    band_height,
    order_of,
    shape_of,
)
from memaopt.kernels.chains.replay import replay
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.emitted import Emitted, composed, function_of
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import dimensions, pareto
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.pooling.channel_sums import SCALE, proven_of, sums_of
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Layer, LayerChain, Mean, Pool

_MOST_SCRATCH = 8
"""Sizes of the parts' own scratch memory that are tried for each choice of heights."""
_STACK = 96  # the frame of the C around the parts
_CODE, _CASE_CODE = 200, 60  # bytes of code around the parts, and of each kind of step

#: A turn of the loop over steps, its dispatch and its share of the call; by the counts of chains on the board.
_STEP = Compiled(28, 16)
_SUM_BYTE, _SUM, _SUMMED = Compiled(16, 6), Compiled(32, 12), Compiled(48, 16)

Plans = Callable[[Layer], tuple[Plan, ...]]
Emit = Callable[[Layer, Plan, str], Emitted]


class _Chosen(NamedTuple):
    """The kernel of each part (None: it sums), with the format of each tensor."""

    order: Order
    picks: tuple[int, ...]
    plans: tuple[Plan | None, ...]
    formats: tuple[Format, ...]


class _Path(NamedTuple):
    """A choice of kernels for the first parts."""

    cycles: int
    picks: tuple[int, ...]
    formats: tuple[Format, ...]


@dataclass(frozen=True)
class ChainKernels:
    """Chains, of the kernels that ``find`` offers for a layer and ``text`` emits."""

    find: Plans
    text: Emit

    name = "depth first"
    computes = LayerChain

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, LayerChain)
        shape = shape_of(layer)
        if shape is None:
            return ()
        made = [self._plan(layer, chosen) for heights in _heights(shape) for chosen in self._choices(shape, heights)]
        return pareto(made)

    def _choices(self, shape: ChainRows, heights: tuple[int, ...]) -> Iterator[_Chosen]:
        """The fastest kernels for each of some sizes of scratch and each format of the ends."""
        order = order_of(shape, heights)
        offers = [self._offers(order, part) for part in range(len(shape.parts))]
        if not all(offers):
            return
        least = max(min(plan.scratch_bytes for _, plan in offer) for offer in offers)
        sizes = sorted({p.scratch_bytes for offer in offers for _, p in offer if p.scratch_bytes >= least})
        seen = set[_Path]()
        for size in sizes if len(sizes) <= _MOST_SCRATCH else sizes[:: -(-len(sizes) // _MOST_SCRATCH)]:
            small = [[(i, p) for i, p in offer if p.scratch_bytes <= size] for offer in offers]
            for path in _paths(order, small):
                if path in seen:
                    continue
                seen.add(path)
                plans = [next(p for i, p in offer if i == pick) for offer, pick in zip(offers, path.picks, strict=True)]
                yield _Chosen(order, path.picks, _without_sums(shape, plans), path.formats)

    def _offers(self, order: Order, part: int) -> list[tuple[int, Plan]]:
        """The plans of a part's band that every core can have, numbered; of a part that sums rows, one that is none."""
        rows = order.shape.parts[part]
        if rows is None:
            return [(0, Plan("sums", "", 0, Promise((), Access()), 0, 0))]
        found = enumerate(self.find(rows.band(order.heights[part])))
        most = 4 if part in order.aligned else 1
        return [(number, plan) for number, plan in found if plan.alignment <= most and plan.runs_on(False)]

    def _plan(self, chain: LayerChain, chosen: _Chosen) -> Plan:
        order, plans = chosen.order, [plan for plan in chosen.plans if plan is not None]
        promise, code, own = _promise(chain, chosen), _code(chain, chosen), _own(chain, chosen)
        counts = {step.of: count for step, count in order.counts.items() if step.kind is StepKind.COMPUTE}
        cycles = sum(counts[i] * plan.cycles for i, plan in enumerate(chosen.plans) if plan is not None)
        kernels = {kernel: plan for plan in plans for kernel in plan.kernels}
        shared = {plan.kernels: plan.shared_bytes for plan in plans if plan.kernels}
        heights = sorted(set(order.heights))
        return Plan(
            family=self.name,
            tile=f"{len(chain.parts)} layers, bands of {' and '.join(map(str, heights))}",
            cycles=round(cycles + cycles_of(own)),
            promise=promise,
            data_bytes=sum(plan.data_bytes for plan in plans) + len(order.steps),
            code_bytes=sum(plan.code_bytes - (plan.shared_bytes if plan.kernels else 0) for plan in plans)
            + sum(shared.values())
            + _CASE_CODE * len(order.counts)
            + _CODE,
            scratch_bytes=_layout(chain, chosen).bytes,
            stack_bytes=_STACK + max((plan.stack_bytes for plan in plans), default=0),
            kernels=tuple(sorted(kernels)),
            shared_bytes=sum(shared.values()),
            code=code,
            input_format=chosen.formats[0],
            output_format=chosen.formats[-1],
            words=False,
            lead=None if order.shape.fed else order.lead,
            alignment=4,
            requantization="as each part says",
            options=(
                *((f"height_{part}", height) for part, height in enumerate(order.heights)),
                *((f"kernel_{part}", pick) for part, pick in enumerate(chosen.picks)),
            ),
        )

    def replay(self, chain: LayerChain, plan: Plan) -> None:
        """Raise FalseClaimError unless the steps of one of :meth:`plans` compute the chain, byte by byte."""
        chosen = self._chosen(chain, plan)
        layout = _layout(chain, chosen)
        replay(chosen.order, layout.lines, layout.work, layout.bytes, chosen.plans, _kept_bytes(chain, chosen))

    def _chosen(self, chain: LayerChain, plan: Plan) -> _Chosen:
        shape = shape_of(chain)
        assert shape is not None
        numbers = range(len(chain.parts))
        order = order_of(shape, tuple(plan.option(f"height_{part}") for part in numbers))
        picks = tuple(plan.option(f"kernel_{part}") for part in numbers)
        plans = [next(p for i, p in self._offers(order, part) if i == picks[part]) for part in numbers]
        formats = (plan.input_format, *(p.output_format for p in plans))
        return _Chosen(order, picks, _without_sums(shape, plans), formats)

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, LayerChain)
        chosen = self._chosen(layer, plan)
        order, shape = chosen.order, chosen.order.shape
        codes = {step: code for code, step in enumerate(order.counts)}
        table = np.array([codes[step] for step in order.steps])
        inner = [
            self.text(rows.band(order.heights[part]), kernel, f"{name}_part{part}")
            for part, (rows, kernel) in enumerate(zip(shape.parts, chosen.plans, strict=True))
            if rows is not None and kernel is not None
        ]
        stepped = feed_name(name) if shape.fed else name
        steps = Array("int8_t", f"{stepped}_steps", table, "the order of steps, a byte each")
        title = f"{len(layer.parts)} layers depth first, {dimensions(layer.shape)} -> {dimensions(layer.output)}"
        layout = _layout(layer, chosen)
        values: dict[str, object] = {
            "cases": [_case(layer, chosen, step, code) for step, code in codes.items()],
            "steps": len(order.steps),
            "chain": layer,
            "order": order,
            "layout": layout,
            "readers": [(t, r) for t, line in enumerate(shape.lines) for r in line.readers],
            "sums": _sums(layer, chosen),
            "function": name,
        }
        notes, template = [f"Bands of {', '.join(map(str, order.heights))} rows."], "kernels/chains/chain.c.j2"
        if not shape.fed:
            return composed(name, plan, title, template, arrays=[steps], inner=inner, notes=notes, **values)
        values |= {"feed": codes[ChainStep(StepKind.FEED, 0)], "kept": fed.words_of(shape, layout.lines)}
        row = function_of(
            f"int32_t {stepped}(const int8_t *in, int32_t row, int8_t *out, void *scratch)",
            plan,
            f"A row of the input of {name}: 1 after the last one, else 0; -6 if another one is the next.",
            "kernels/chains/chain_feed.c.j2",
            arrays=[steps],
            inner=inner,
            **values,
        )
        first = shape.lines[0]
        template = "kernels/chains/chain_fed.c.j2"
        ends: dict[str, object] = {"feed": stepped, "rows": first.height, "row_bytes": first.row_bytes}
        return composed(name, plan, title, template, arrays=[], inner=[row], notes=notes, **ends)


def feed_name(name: str) -> str:
    """The function of a chain ``name`` that takes one row of its input, if that comes by rows."""
    return f"{name}_feed"


def _kept_bytes(chain: LayerChain, chosen: _Chosen) -> int:
    """What no line buffer and no part's own memory shares bytes with: words kept from row to row, and sums."""
    shape = chosen.order.shape
    return 4 * (chain.output.channels * shape.sums + (fed.word_count(shape) if shape.fed else 0))


def _without_sums(shape: ChainRows, plans: Sequence[Plan]) -> tuple[Plan | None, ...]:
    return tuple(None if rows is None else plan for rows, plan in zip(shape.parts, plans, strict=True))


def _heights(shape: ChainRows) -> Iterator[tuple[int, ...]]:
    """Heights that divide the rows of each part's output; a part that sums takes a row at a time."""
    made = set()
    for most in HEIGHTS:
        heights = tuple(
            band_height(line.height, most) if rows is not None else 1
            for rows, line in zip(shape.parts, shape.lines[1:], strict=True)
        )
        if heights not in made:
            made.add(heights)
            yield heights


def _paths(order: Order, offers: Sequence[Sequence[tuple[int, Plan]]]) -> list[_Path]:
    """The fastest kernels whose formats agree, for each format of the chain's input and output."""
    shape = order.shape
    counts = {step.of: count for step, count in order.counts.items() if step.kind is StepKind.COMPUTE}
    paths = [_Path(0, (), (format_,)) for format_ in (Format.S8, Format.RAW)]
    last = [max((reader.part for reader in line.readers), default=-1) for line in shape.lines]
    for part, offer in enumerate(offers):
        reads = [t for t, line in enumerate(shape.lines) for r in line.readers if r.part == part]
        # Formats of tensors that nobody reads any more do not matter.
        told = [t for t in range(part + 2) if t in (0, part + 1) or last[t] > part]
        best: dict[tuple[Format, ...], _Path] = {}
        for path, (number, plan) in itertools.product(paths, offer):
            if any(path.formats[t] is not plan.input_format for t in reads):
                continue
            if Format.RAW is plan.output_format and not _may_be_raw(shape.lines[part + 1]):
                continue
            longer = _Path(
                path.cycles + counts[part] * plan.cycles, (*path.picks, number), (*path.formats, plan.output_format)
            )
            key = tuple(longer.formats[t] for t in told)
            if key not in best or longer < best[key]:
                best[key] = longer
        paths = list(best.values())
    return [path for path in paths if _may_be_raw(shape.lines[0]) or path.formats[0] is Format.S8]


def _may_be_raw(line: Rowed) -> bool:
    """Whether rows of padding can be written in whole words."""
    return line.row_bytes % 4 == 0 or not (line.above or line.below)


class _Layout(NamedTuple):
    """Offsets in scratch: of the line buffers by tensor, of the sums, of each part's own; and its bytes."""

    lines: dict[int, int]
    sums: int
    work: dict[int, int]
    bytes: int


def _layout(chain: LayerChain, chosen: _Chosen) -> _Layout:
    """What is not needed at the same time shares bytes: largest first, each as low as it fits."""
    order, buffered = chosen.order, chosen.order.shape.buffered
    kept = _kept_bytes(chain, chosen)
    sizes = {("line", t): order.bytes(t) for t in buffered}
    sizes |= {("work", i): align(p.scratch_bytes, 4) for i, p in enumerate(chosen.plans) if p and p.scratch_bytes}
    apart = {frozenset((("line", a), ("line", b))) for a, b in order.together}
    apart |= {frozenset((("line", t), ("work", i))) for i, busy in enumerate(order.busy) for t in busy}
    placed: dict[tuple[str, int], int] = {}
    most = kept
    for item in sorted(sizes, key=lambda item: (-sizes[item], item)):
        at = kept
        for other in sorted((o for o in placed if frozenset((item, o)) in apart), key=lambda o: placed[o]):
            if placed[other] - at >= sizes[item]:
                break
            at = max(at, placed[other] + sizes[other])
        placed[item] = at
        most = max(most, at + sizes[item])
    lines = {t: placed["line", t] for t in buffered}
    sums = 4 * fed.word_count(order.shape) if order.shape.fed else 0
    return _Layout(lines, sums, {i: placed.get(("work", i), 0) for i in range(len(chosen.plans))}, most)


def _copied(count: int) -> Access:
    """Of a copy of so many bytes: in words, and what they leave over in bytes."""
    return loads(count // 4, 4) + stores(count // 4, 4) + loads(count % 4, 1) + stores(count % 4, 1)


def _promise(chain: LayerChain, chosen: _Chosen) -> Promise:
    order, shape = chosen.order, chosen.order.shape
    source, scratch, output, parameters = Access(), Access(), Access(), loads(len(order.steps), 1)
    stack = Access()
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
    for size in order.moves:
        scratch += _copied(size)
    if shape.sums:
        scratch += stores(chain.output.channels, 4)
    if shape.fed:
        kept, twice = fed.access(order, shape.lines[0].height)
        scratch, parameters = scratch + kept, parameters + twice
    return Promise((source,), output, parameters, scratch, stack)


def _added(chain: LayerChain, shape: ChainRows) -> Access:
    """Of a row that is added to the sums."""
    channels = chain.output.channels
    return loads(shape.lines[-2].row_bytes, 1) + loads(channels, 4) + stores(channels, 4)


def _own(chain: LayerChain, chosen: _Chosen) -> tuple[Node, ...]:
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
    if shape.fed:
        words = Loop((around.piece(fed.WORD),), fed.word_count(shape))
        nodes.append(Loop((around.piece(fed.ROW), words), shape.lines[0].height))
    return tuple(nodes)


def _code(chain: LayerChain, chosen: _Chosen) -> tuple[Node, ...]:
    """What one call executes. Parts take turns, so no part finds its code in a cache from its last turn on."""
    counts = {step.of: count for step, count in chosen.order.counts.items() if step.kind is StepKind.COMPUTE}
    turns = max(counts.values())
    parts = [Loop(plan.code, counts[i] / turns) for i, plan in enumerate(chosen.plans) if plan is not None]
    return (*_own(chain, chosen), Loop(tuple(parts), turns))


def _sums(chain: LayerChain, chosen: _Chosen) -> dict[str, object] | None:
    """What the sums of the last part start from, and how they become outputs."""
    layer = chain.parts[-1].layer
    if not chosen.order.shape.sums:
        return None
    assert isinstance(layer, Pool | Mean)
    sums, proven = sums_of(layer), proven_of(layer)
    assert sums is not None
    assert proven is not None
    return {
        "channels": chain.output.channels,
        "width": chain.images[-2].width,
        "scale": SCALE,
        "start": int(proven.start[0]) - SCALE * sums.count * sums.zero_point,
        "multiplier": int(proven.multiplier[0]),
        "addend": int(proven.addend[0]),
        "negative": None if proven.negative is None else int(proven.negative[0]),
        "q": Output.of(proven, sums.function),
    }


def _case(chain: LayerChain, chosen: _Chosen, step: ChainStep, code: int) -> dict[str, object]:
    """A step as the template sees it."""
    order, shape = chosen.order, chosen.order.shape
    line = shape.lines[step.of]
    fill = line.fill & 255
    flipped = fill ^ 128 if chosen.formats[step.of] is Format.RAW else fill
    word = flipped | fill << 8 | flipped << 16 | fill << 24
    case: dict[str, object] = {"code": code, "kind": step.kind, "of": step.of, "line": line, "word": word}
    if step.kind is StepKind.COMPUTE:
        height, reads = order.heights[step.of], chain.parts[step.of].reads
        advance = [
            height * shape.reach(Reader(step.of, slot)).stride * shape.lines[read].row_bytes
            for slot, read in enumerate(reads)
        ]
        case |= {"advance": advance, "reads": reads, "bytes": height * shape.lines[step.of + 1].row_bytes}
    return case
