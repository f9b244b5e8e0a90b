"""Pictures of a compiled network as SVG: text that a page carries with it, whose colours are the page's.

Everything in them that carries a figure has a title, which browsers show and read aloud.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from memaopt.choice.network_plan import NetworkPlan

_WIDTH = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 28, 40
_COLOURS = 6
#: An SMLAD a cycle, of two products; a word a cycle. Chained rows and Winograd get more multiply-accumulates of one.
_PEAK_MACS, _PEAK_BYTES = 2.0, 4.0


class Mark(NamedTuple):
    """A point of a picture: where, in its units, what it is, and whether it is the one that was chosen."""

    x: float
    y: float
    title: str
    chosen: bool = False


def memory_map(plan: NetworkPlan) -> str:
    """Time from left to right, an operator a step; addresses from the bottom: who has which bytes of the arena when."""
    memory = plan.memory
    steps, top = max(len(memory.order), 1), max(memory.arena_bytes, 1)
    height = 420
    x = _scale(0, steps, _LEFT, _WIDTH - _RIGHT)
    y = _scale(0, top, height - _BOTTOM, _TOP)
    step_of = {operator: step for step, operator in enumerate(memory.order)}
    boxes = [
        (b.first, b.last, b.offset, b.size, f"c{i % _COLOURS}", " = ".join(_short(plan, t) for t in b.tensors))
        for i, b in enumerate(memory.buffers)
    ]
    boxes += [
        (step_of[s.operator], step_of[s.operator], s.offset, s.size, "scratch", "scratch") for s in memory.scratch
    ]
    parts = []
    for first, last, offset, size, colour, name in boxes:
        box = _box(x(max(first, 0)), y(offset + size), x(last + 1), y(offset))
        title = f"{name}: {size:,} bytes at [{offset:,}, {offset + size:,}), steps {max(first, 0)} to {last}"
        parts.append(f'<rect class="{colour} block" {box}><title>{escape(title)}</title></rect>')
    bound = f"the largest live set, {memory.lower_bound:,} bytes: no packing in this order is smaller"
    parts.append(_level(y(memory.lower_bound), "bound", bound))
    ticks = [(y(top * i / 4), f"{top * i // 4:,}") for i in range(5)]
    marks = [(x(step + 0.5), str(step)) for step in _some(steps)]
    return _frame(height, parts, ticks, marks, "bytes", "step", f"memory map: an arena of {top:,} bytes")


def roofline(plan: NetworkPlan) -> str:
    """Work a cycle against work a byte, each layer a point, and the line of an SMLAD or a word a cycle; logarithmic."""
    marks = [
        Mark(
            layer.macs / max(layer.traffic.bytes, 1),
            layer.macs / max(layer.machine_cycles, 1),
            f"{number}: {layer.kind}, {layer.macs / max(layer.traffic.bytes, 1):.2f} MAC a byte, "
            f"{layer.macs / max(layer.machine_cycles, 1):.2f} a cycle",
        )
        for number, layer in enumerate(plan.layers)
        if layer.macs
    ]
    if not marks:
        return ""
    least_x, most_x = min(m.x for m in marks) / 1.5, max([_PEAK_MACS / _PEAK_BYTES, *(m.x for m in marks)]) * 1.5
    least_y, most_y = min(m.y for m in marks) / 1.5, max([_PEAK_MACS, *(m.y for m in marks)]) * 1.3
    height = 340
    x = _log_scale(least_x, most_x, _LEFT, _WIDTH - _RIGHT)
    y = _log_scale(least_y, most_y, height - _BOTTOM, _TOP)
    knee = _PEAK_MACS / _PEAK_BYTES
    start = max(least_x, least_y / _PEAK_BYTES)
    roof = [(start, min(_PEAK_MACS, start * _PEAK_BYTES)), (max(knee, start), _PEAK_MACS), (most_x, _PEAK_MACS)]
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in roof)
    parts = [
        f'<polyline class="bound" points="{line}"><title>{_PEAK_MACS:g} MAC a cycle, '
        f"{_PEAK_BYTES:g} bytes a cycle</title></polyline>"
    ]
    parts += [_point(x(m.x), y(m.y), m) for m in marks]
    ticks = [(y(v), f"{v:g}") for v in _decades(least_y, most_y)]
    under = [(x(v), f"{v:g}") for v in _decades(least_x, most_x)]
    return _frame(height, parts, ticks, under, "MAC a cycle", "MAC a byte moved", "roofline of the layers")


def front(marks: Sequence[Mark]) -> str:
    """Bytes of arena against cycles. The chosen point is marked; each says its bytes where there is room for them."""
    height = 300
    within_x, within_y = _margins([m.x for m in marks]), _margins([m.y for m in marks])
    x = _scale(*within_x, _LEFT + 10, _WIDTH - _RIGHT - 60)
    y = _scale(*within_y, height - _BOTTOM, _TOP + 12)
    parts = [_point(x(m.x), y(m.y), m) for m in marks]
    ends = {min(m.x for m in marks), max(m.x for m in marks)}
    texts: list[tuple[float, float, str]] = []
    for mark in sorted(marks, key=lambda m: (not m.chosen, m.x not in ends)):
        text = f"{mark.x:,.0f}{' (chosen)' if mark.chosen else ''}"
        left, base = x(mark.x) + 7, y(mark.y) - 6
        if not any(_overlap(left, base, text, *other) for other in texts):
            texts.append((left, base, text))
    parts += [f'<text x="{left:.1f}" y="{base:.1f}">{text}</text>' for left, base, text in texts]
    ticks = [(y(v), f"{v / 1e6:g} M") for v in _steps(*within_y)]
    under = [(x(v), f"{v:,.0f}") for v in _steps(*within_x)]
    return _frame(height, parts, ticks, under, "cycles", "bytes of arena", "front of arena and cycles")


def _overlap(left: float, base: float, text: str, other_left: float, other_base: float, other: str) -> bool:
    """Whether two texts lie on each other, at 7.5 by 13 for each character."""
    apart = left + 7.5 * len(text) < other_left or other_left + 7.5 * len(other) < left
    return not apart and abs(base - other_base) < 13


def stacked(rows: Sequence[tuple[str, Sequence[tuple[str, int]], int]], label: str) -> str:
    """A bar for each row (its name, its parts with their bytes, and a line at so many bytes)."""
    height = 56 * len(rows) + 10
    parts = []
    for number, (name, kinds, limit) in enumerate(rows):
        top = 56 * number + 24
        x = _scale(0, max(limit, sum(size for _, size in kinds), 1), _LEFT, _WIDTH - _RIGHT)
        parts.append(f'<text x="8" y="{top + 15}">{escape(name)}</text>')
        parts.append(f'<rect class="empty" {_box(x(0), top, x(limit), top + 22)}><title>{limit:,} bytes</title></rect>')
        start = 0
        for colour, (kind, size) in enumerate(kinds):
            box = _box(x(start), top, max(x(start + size), x(start) + 1.5 * (size > 0)), top + 22)
            parts.append(f'<rect class="c{colour} block" {box}><title>{escape(kind)}: {size:,} bytes</title></rect>')
            start += size
        where = f'x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="{top - 5}" y2="{top + 27}"'
        parts.append(f'<line class="bound" {where}><title>{limit:,} bytes</title></line>')
    return _svg(height, parts, label)


def graph(plan: NetworkPlan) -> str:
    """The layers from top to bottom, with an arc for what is read by another than the next."""
    row, width = 34, 560
    producer = {plan.roots.get(layer.op.output): number for number, layer in enumerate(plan.layers)}
    parts = []
    for number, layer in enumerate(plan.layers):
        top = 8 + row * number
        shape = "x".join(map(str, plan.graph.tensors[layer.op.output].shape[1:]))
        text = f"{number}  {layer.kind.lower().replace('_', ' ')}  {shape}"
        title = f"{layer.name}: {layer.plan.family} {layer.plan.tile}"
        parts.append(
            f'<g><title>{escape(title)}</title><rect class="node" x="60" y="{top}" width="{width - 160}" height="24" '
            f'rx="5"/><text x="72" y="{top + 16}">{escape(text)}</text></g>'
        )
        for tensor in dict.fromkeys(plan.roots.get(i, -1) for i in layer.lowered.inputs):
            source = producer.get(tensor)
            if source is None or source >= number:
                continue
            start, side = 8 + row * source + 24, width - 100
            if source == number - 1:
                parts.append(f'<path class="edge" d="M 260 {start} V {top}"/>')
            else:
                reach = side + min(90, 14 + 6 * (number - source))
                parts.append(
                    f'<path class="edge" d="M {side} {start - 12} C {reach} {start}, {reach} {top}, '
                    f'{side} {top + 12}"/>'
                )
    return _svg(row * len(plan.layers) + 16, parts, "the network's layers", width)


def _short(plan: NetworkPlan, tensor: int) -> str:
    return plan.graph.tensors[tensor].name.split(";")[0].rsplit("/", 1)[-1][:40] or str(tensor)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _log_scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    linear = _scale(math.log(low), math.log(high), start, end)
    return lambda value: linear(math.log(value))


def _margins(values: Sequence[float]) -> tuple[float, float]:
    edge = 0.08 * (max(values) - min(values)) or 0.1 * max(max(values), 1.0)
    return min(values) - edge, max(values) + edge


def _steps(low: float, high: float) -> list[float]:
    """Multiples of the least 1, 2 or 5 times a power of ten of which there are six at most."""
    steps = (m * 10.0**e for e in range(-3, 12) for m in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= 6)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]


def _some(steps: int) -> range:
    """At most twenty of so many steps."""
    return range(0, steps, max(1, -(-steps // 20)))


def _box(left: float, top: float, right: float, bottom: float) -> str:
    return f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0):.1f}" height="{max(bottom - top, 0):.1f}"'


def _point(x: float, y: float, mark: Mark) -> str:
    kind, radius = ("chosen", 7) if mark.chosen else ("point", 5)
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(mark.title)}</title></circle>'


def _level(y: float, kind: str, title: str) -> str:
    right = _WIDTH - _RIGHT
    where = f'x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line class="{kind}" {where}><title>{escape(title)}</title></line>'


def _frame(
    height: int,
    parts: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    under: Sequence[tuple[float, str]],
    up: str,
    along: str,
    label: str,
) -> str:
    """Parts between axes, whose ticks are places and texts."""
    bottom, right = height - _BOTTOM, _WIDTH - _RIGHT
    lines = [f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>' for y, _ in ticks]
    texts = [f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}">{escape(text)}</text>' for y, text in ticks]
    texts += [f'<text class="under" x="{x:.1f}" y="{bottom + 16}">{escape(text)}</text>' for x, text in under]
    texts.append(f'<text x="8" y="13">{escape(up)}</text>')
    texts.append(f'<text class="along" x="{right}" y="{height - 6}">{escape(along)}</text>')
    return _svg(height, [*lines, *parts, *texts], label)


def _svg(height: float, parts: Sequence[str], label: str, width: int = _WIDTH) -> str:
    box = f'viewBox="0 0 {width} {height}" style="min-width:{width * 2 // 3}px"'
    return f'<svg {box} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
