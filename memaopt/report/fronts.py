"""What flash, arena and SRAM buy in cycles: a network's fronts, printed and drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from memaopt.choice.pareto import Point
from memaopt.errors import InputError, MissingToolError
from memaopt.machines import dma
from memaopt.memory import row_bound
from memaopt.memory.row_bound import RowBound
from memaopt.report.console import table
from memaopt.writer import write_file

#: Fronts with slowest points so many times slower than the fastest have a scale of powers.
_WIDE = 8


def print_fronts(
    console: Console,
    fronts: Mapping[str, Sequence[Point]],
    rows: RowBound | None,
    *,
    sets: bool = False,
    with_dma: bool = False,
) -> None:
    """A table for each budget, from the fastest library to the smallest, and below the arena's its bound by rows.
    Depth first is looked at where the least arena of such plans is known. ``sets``: tensors between layers may lie
    outside; ``with_dma``: the machine has its DMA."""
    outside = any(p.outside_bytes for points in fronts.values() for p in points)
    headings = ("cycles", "at zero waits", "arena", "SRAM", "flash", *(("moved outside",) if outside else ()))
    for budget, points in fronts.items():
        deep = any(p.least_arena is not None for p in points)
        console.print(Text.assemble((budget, "bold"), " against cycles", "" if deep else ", layer by layer"))
        made = table((budget, *headings, "proof", ""), words=("proof", ""))
        for p in points:
            limited = {"arena": p.arena_bytes, "SRAM": p.sram_bytes, "flash": p.flash_bytes}[budget]
            numbers = [limited, p.machine_cycles, p.cycles, p.arena_bytes, p.sram_bytes, p.flash_bytes]
            numbers += [p.outside_bytes] if outside else []
            made.add_row(*(f"{n:,}" for n in numbers), p.proof, _marks(p))
        console.print(made)
        if budget == "arena" and rows is not None:
            console.print(row_bound.told(rows.bytes, min(p.arena_bytes for p in points)))
        console.print(_least(points), end="")
    if sets:
        console.print("each point is proven for the tensors outside that are tried within its budget, not for all sets")
    if with_dma:
        console.print(dma.MODELLED)


def _least(points: Sequence[Point]) -> str:
    """How far the smallest arena of a front is from the least, where that is known."""
    smallest = min(points, key=lambda point: point.arena_bytes)
    if smallest.least_arena is None:
        return ""
    known = "" if smallest.least_arena == smallest.arena_bytes else ", and none with less than the last one's is known"
    return f"no plan in the file's order, depth first or not, is below {smallest.least_arena:,} bytes{known}\n"


def _marks(point: Point) -> str:
    """What is told beside a point."""
    deep = sum(last - first for first, last in point.chains)
    return "default" if point.default else f"{deep} layers depth first" if deep else ""


def plot_fronts(fronts: Mapping[str, Sequence[Point]], path: Path, rows: RowBound | None = None) -> None:
    """The fronts side by side, as steps: between two points the larger budget buys nothing. ``rows``: what no schedule
    by whole rows has an arena below, a line. The same fronts make the same file.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingToolError("plots need matplotlib: pip install 'memaopt[plots]'") from None
    figure = Figure(figsize=(4 * len(fronts), 3.2), layout="constrained")
    axes = figure.subplots(1, len(fronts), squeeze=False)[0]
    for axis, (budget, points) in zip(axes, fronts.items(), strict=True):
        name = f"{budget.lower()}_bytes"
        sizes = [getattr(point, name) / 1024 for point in points]
        cycles = [point.machine_cycles / 1e6 for point in points]
        axis.step(sizes, cycles, where="pre", marker="o", markersize=3)
        for size, height, point in zip(sizes, cycles, points, strict=True):
            label = f"{size:.1f}, the default" if point.default else f"{size:.1f}"
            axis.annotate(label, (size, height), fontsize=5, rotation=45, xytext=(2, 2), textcoords="offset points")
        marked = [(size, height) for size, height, point in zip(sizes, cycles, points, strict=True) if point.default]
        axis.plot(*zip(*marked, strict=True) if marked else ((), ()), "o", markersize=7, fillstyle="none")
        if budget == "arena" and rows is not None:
            axis.axvline(rows.bytes / 1024, color="gray", linewidth=0.8, linestyle="--")
        axis.set_xlabel(f"{budget} (KiB)")
        axis.set_ylabel("million cycles")
        if max(cycles) > _WIDE * min(cycles):
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("{x:g}")
        axis.margins(0.15)
        axis.grid(alpha=0.3)
    drawn = io.BytesIO()
    try:
        # Text as text, names by what they are of, and no date.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "memaopt"}):
            kind = path.suffix.removeprefix(".") or "png"
            figure.savefig(drawn, format=kind, metadata={"Date": None} if kind == "svg" else None)
    except ValueError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    write_file(path, drawn.getvalue())
