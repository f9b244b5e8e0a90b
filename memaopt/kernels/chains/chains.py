"""Layers of images computed depth first, a band each in turn: between them lie line buffers in scratch memory.

Each part is a layer of fewer rows (:mod:`memaopt.problems.bands`), computed by any kernel there is for it. A table has
a byte for each step of the order (:mod:`memaopt.kernels.chains.order`); pointers say where each buffer ends and where
each reader's window starts. Buffers have bytes of their own, or places that change with the steps
(:mod:`memaopt.kernels.chains.packed`). An average over all that the chain computes adds rows to 32-bit sums as they
come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memaopt.access import Access
from memaopt.kernels import staging
from memaopt.kernels.chains import fed
from memaopt.kernels.chains.kept import keeping_of, worth_keeping
from memaopt.kernels.chains.least import least_order, rows_during
from memaopt.kernels.chains.order import (
    HEIGHTS,
    ChainRows,
    ChainStep,
    Order,
    Reader,
    StepKind,
    band_height,
    order_of,
    shape_of,
)
from memaopt.kernels.chains.packed import early_order, held_bytes, packed_bytes, packed_order
from memaopt.kernels.chains.paths import Cost, Path, paths_of
from memaopt.kernels.chains.pricing import (
    Chosen,
    code_of,
    constants_at,
    copies_of,
    kept_bytes,
    layout_of,
    own_bytes,
    own_code,
    placed_bytes,
    promise_of,
    table_bytes,
)
from memaopt.kernels.chains.replay import replay
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

#: In the place of the plan of a part that sums rows.
_SUMS = Plan("sums", "", 0, Promise((), Access()), 0, 0)

Plans = Callable[[Layer], tuple[Plan, ...]]
Emit = Callable[[Layer, Plan, str], Emitted]


@dataclass(frozen=True)
class ChainKernels:
    """Chains, of the kernels that ``find`` offers for a layer and ``text`` emits."""

    find: Plans
    text: Emit

    name = "depth first"
    computes = LayerChain

    def plans(self, layer: LayerChain) -> tuple[Plan, ...]:
        shape = shape_of(layer)
        if shape is None:
            return ()
        apart = [
            self._plan(layer, chosen)
            for heights in _heights(shape)
            for chosen in self._fastest(order_of(shape, heights), (0,) * len(heights))
        ]
        packed = [
            self._plan(layer, chosen) for heights in _heights(shape) for chosen in self._packed(layer, heights, apart)
        ]
        return pareto([*apart, *packed])

    def _packed(self, chain: LayerChain, heights: tuple[int, ...], apart: Sequence[Plan]) -> Iterator[Chosen]:
        """Packed line buffers for whoever reads and writes plain int8, where no buffers of their own (``apart``) are as
        fast in as little memory."""
        shape = shape_of(chain)
        assert shape is not None
        early = early_order(shape, heights)
        for chosen in self._fastest(early, held_bytes(shape, heights)[1]):
            if not (chosen.formats[0] is chosen.formats[-1] is Format.S8):
                continue
            work = own_bytes(chosen)
            size = kept_bytes(chain, chosen) + packed_bytes(shape, heights, work)
            cycles = sum(early.bands[i] * plan.cycles for i, plan in enumerate(chosen.plans) if plan is not None)
            fewer = (p for p in apart if p.cycles <= cycles and p.scratch_bytes <= size)
            if any(p.input_format is p.output_format is Format.S8 for p in fewer):
                continue
            if (order := packed_order(shape, heights, work)) is not None:
                yield chosen._replace(order=order)

    def _fastest(self, order: Order, beside: tuple[int, ...]) -> Iterator[Chosen]:
        """The fastest kernels for each of some sizes of what a part takes with its own memory, ``beside`` so many
        bytes of rows, and each format of the ends."""
        shape = order.shape
        offers = [self._offers(order, part) for part in range(len(shape.parts))]
        if not all(offers):
            return
        taken = [[held + p.scratch_bytes for _, p in offer] for held, offer in zip(beside, offers, strict=True)]
        least = max(map(min, taken))
        sizes = sorted({size for each in taken for size in each if size >= least})
        seen = set[Path]()
        for size in sizes if len(sizes) <= _MOST_SCRATCH else sizes[:: -(-len(sizes) // _MOST_SCRATCH)]:
            small = [
                [pick for pick, takes in zip(offer, each, strict=True) if takes <= size]
                for offer, each in zip(offers, taken, strict=True)
            ]
            for path in paths_of(order, small):
                if path in seen:
                    continue
                seen.add(path)
                plans = [next(p for i, p in offer if i == pick) for offer, pick in zip(offers, path.picks, strict=True)]
                yield Chosen(order, path.picks, _without_sums(shape, plans), path.formats)

    def in_parts(self, layer: LayerChain, plan: Plan) -> Iterator[Plan]:
        """A plan with the constants of some of its parts copied into scratch once, before the first step: of those
        that save most for their bytes; of all for which that saves, of half of their bytes, of a quarter and so on.
        """
        chosen = self._chosen(layer, plan)
        parts, most = worth_keeping(chosen), None
        while parts:
            size = sum(parts.values())
            if most is None or size <= most:
                most = size // 2
                for apart in (False, True):
                    keeping = keeping_of(chosen, parts, apart)
                    if keeping is not None:
                        yield dataclasses.replace(self._plan(layer, keeping), streams=plan)
            parts.popitem()

    def least(self, layer: LayerChain, room: int | None, cost: Cost) -> int | None:
        """What none of :meth:`plans` with plain int8 at its ends, and so many bytes of scratch memory at most (None:
        without a limit), costs less than, with a ``cost`` for each band beside the cycles of what a chain does itself;
        found without an order of its steps. None if there is no such plan."""
        shape = shape_of(layer)
        assert shape is not None
        found = []
        for heights in _heights(shape):
            order = least_order(shape, heights)
            left = [None if room is None else room - rows for rows in rows_during(shape, heights)]
            offers = [
                [each for each in self._by_cycles(order, part) if most is None or each[1].scratch_bytes <= most]
                for part, most in enumerate(left)
            ]
            paths = paths_of(order, offers, cost) if all(offers) else []
            plain = [path for path in paths if path.formats[0] is path.formats[-1] is Format.S8]
            if plain:
                path = min(plain)
                unsaid = _without_sums(shape, [_SUMS] * len(shape.parts))
                # What ends a fully connected part is the chain's own.
                last = [plan for _, plan in offers[-1]] if shape.dense else unsaid[-1:]
                made = [Chosen(order, path.picks, (*unsaid[:-1], plan), path.formats) for plan in last]
                found.append(int(path.cycles + min(cycles_of(own_code(layer, each)) for each in made)))
        return min(found, default=None)

    def _by_cycles(self, order: Order, part: int) -> list[tuple[int, Plan]]:
        return sorted(self._offers(order, part), key=lambda each: each[1].cycles)

    def _offers(self, order: Order, part: int) -> list[tuple[int, Plan]]:
        """The plans of a part's band that every core can have, numbered; of a part that sums rows, one that is none."""
        rows = order.shape.parts[part]
        if rows is None:
            return [(0, _SUMS)]
        found = enumerate(self.find(rows.band(order.heights[part])))
        most = 4 if part in order.aligned else 1
        return [(number, plan) for number, plan in found if plan.alignment <= most and plan.runs_on(False)]

    def _plan(self, chain: LayerChain, chosen: Chosen) -> Plan:
        order, plans = chosen.order, [plan for plan in chosen.plans if plan is not None]
        promise, code, own = promise_of(chain, chosen), code_of(chain, chosen), own_code(chain, chosen)
        counts, copies = order.bands, copies_of(chosen)
        cycles = sum(counts[i] * plan.cycles for i, plan in enumerate(chosen.plans) if plan is not None)
        kernels = {kernel: plan for plan in plans for kernel in plan.kernels}
        shared = {plan.kernels: plan.shared_bytes for plan in plans if plan.kernels}
        packing = order.packing
        bands = " and ".join(map(str, sorted(set(order.heights)))) + (", packed" if packing else "")
        bands += staging.APART * chosen.apart
        return Plan(
            family=self.name,
            tile=f"{len(chain.parts)} layers, bands of {bands}",
            cycles=round(cycles + cycles_of(own) + sum(copy.cycles for copy in copies)),
            promise=promise,
            data_bytes=sum(plan.data_bytes for plan in plans) + (0 if chosen.apart else table_bytes(order)),
            channel_bytes=sum(plan.channel_bytes for plan in plans) + (table_bytes(order) if chosen.apart else 0),
            code_bytes=sum(plan.code_bytes - (plan.shared_bytes if plan.kernels else 0) for plan in plans)
            + sum(shared.values())
            + _CASE_CODE * len(order.counts)
            + sum(copy.code_bytes for copy in copies)
            + _CODE,
            scratch_bytes=layout_of(chain, chosen).bytes,
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
                *((f"kept_{part}", 1) for part in chosen.kept),
                *([("packed", 1)] if packing else []),
                *([("apart", 1)] if chosen.apart else []),
            ),
        )

    def parts(self, chain: LayerChain, plan: Plan) -> tuple[Plan, ...]:
        """What one of :meth:`plans` computes a band of each part with; of a part that sums rows there is none."""
        return tuple(part for part in self._chosen(chain, plan).plans if part is not None)

    def replay(self, chain: LayerChain, plan: Plan) -> None:
        """Raise FalseClaimError unless the steps of one of :meth:`plans` compute the chain, byte by byte."""
        chosen = self._chosen(chain, plan)
        layout = layout_of(chain, chosen)
        kept = kept_bytes(chain, chosen)
        replay(chosen.order, layout.lines, layout.work, layout.bytes, chosen.plans, kept, layout.start)

    def _chosen(self, chain: LayerChain, plan: Plan) -> Chosen:
        shape = shape_of(chain)
        assert shape is not None
        numbers = range(len(chain.parts))
        named, heights = dict(plan.options), tuple(plan.option(f"height_{part}") for part in numbers)
        packed = "packed" in named
        order: Order | None = early_order(shape, heights) if packed else order_of(shape, heights)
        assert order is not None
        picks = tuple(plan.option(f"kernel_{part}") for part in numbers)
        plans = [next(p for i, p in self._offers(order, part) if i == picks[part]) for part in numbers]
        formats = (plan.input_format, *(p.output_format for p in plans))
        chosen = Chosen(order, picks, _without_sums(shape, plans), formats)
        keeping = (part for part in numbers if f"kept_{part}" in named)
        placed = keeping_of(chosen, keeping, "apart" in named, packed=packed)
        assert placed is not None
        return placed

    def emit(self, layer: LayerChain, plan: Plan, name: str) -> Emitted:
        chosen = self._chosen(layer, plan)
        order, shape = chosen.order, chosen.order.shape
        codes = {step: code for code, step in enumerate(order.counts)}
        table, layout = np.array([codes[step] for step in order.steps]), layout_of(layer, chosen)
        constants, inner, copies = constants_at(layer, chosen), list[Emitted](), list[str]()
        for part, (rows, kernel) in enumerate(zip(shape.parts, chosen.plans, strict=True)):
            if rows is None or kernel is None:
                continue
            if part in constants:
                kernel = dataclasses.replace(kernel, kept=(constants[part] - layout.work[part]) // 4)
            made = self.text(rows.band(order.heights[part]), kernel, f"{name}_part{part}")
            inner.append(made)
            if part in constants:
                copies += staging.kept_copies(kernel, made.arrays, "constants", constants[part] // 4)
        stepped = feed_name(name) if shape.fed else name
        apart = chosen.apart
        tables = [Array("int8_t", f"{stepped}_steps", table, "the order of steps, a byte each", stays=apart)]
        if order.packing is not None:
            places = np.array(order.packing.places)
            told = "where rows move, and parts work: words"
            tables.append(Array("int16_t", f"{stepped}_places", places, told, stays=apart))
        title = f"{len(layer.parts)} layers depth first, {dimensions(layer.shape)} -> {dimensions(layer.output)}"
        values: dict[str, object] = {
            "copies": copies,
            "cases": [_case(layer, chosen, step, code) for step, code in codes.items()],
            "steps": len(order.steps),
            "chain": layer,
            "order": order,
            "layout": layout,
            "readers": [(t, r) for t, line in enumerate(shape.lines) for r in line.readers],
            "sums": _sums(layer, chosen),
            "dense": layout.work[len(shape.parts) - 1] if shape.dense else None,
            "function": name,
        }
        notes, template = [f"Bands of {', '.join(map(str, order.heights))} rows."], "kernels/chains/chain.c.j2"
        plan = dataclasses.replace(plan, streams=None)  # its own array is read where it lies
        if not shape.fed:
            return composed(name, plan, title, template, arrays=tables, inner=inner, notes=notes, **values)
        values |= {"feed": codes[ChainStep(StepKind.FEED, 0)], "kept": fed.words_of(order, layout.lines)}
        row = function_of(
            f"int32_t {stepped}(const int8_t *in, int32_t row, int8_t *out, void *scratch)",
            plan,
            f"A row of the input of {name}: 1 after the last one, else 0; -6 if another one is the next.",
            "kernels/chains/chain_feed.c.j2",
            arrays=tables,
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


def _sums(chain: LayerChain, chosen: Chosen) -> dict[str, object] | None:
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


def _case(chain: LayerChain, chosen: Chosen, step: ChainStep, code: int) -> dict[str, object]:
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
        placed = order.packing is not None and placed_bytes(chosen)[step.of] > 0
        case |= {
            "placed": placed,
            "advance": advance,
            "reads": reads,
            "bytes": height * shape.lines[step.of + 1].row_bytes,
        }
    return case
