"""A benchmark as plots, each as PNG and SVG. The same figures give the same files: no dates, fixed identifiers."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memaopt.bench.heat import Cell, panels
from memaopt.bench.network_traffic import NetworkTraffic
from memaopt.bench.results import OURS, Bench, Case, TrafficCurve
from memaopt.bench.studies import Study
from memaopt.bench.tables import SHORT, throughput
from memaopt.errors import MissingToolError
from memaopt.networks.names import identifier_of
from memaopt.problems.gemm import Dtype
from memaopt.writer import write_files

_STYLE: Any = {
    "svg.hashsalt": "memaopt",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "figure.dpi": 120,
}
#: Colour and marker by the first word of what a kernel is called in the tables, so that they mean the same everywhere.
_LOOKS = {
    OURS: ("#d62728", "o"),
    "naive": ("#7f7f7f", "s"),
    "inner": ("#9467bd", "v"),
    "CMSIS": ("#1f77b4", "^"),
    "CMSIS fast": ("#17becf", ">"),
    "CMSIS-NN": ("#17becf", "<"),
    "MEMA": ("#2ca02c", "D"),
}
#: Multiply-accumulates a cycle that the core's instructions allow (Arm DDI 0439, instruction timing).
_PEAKS: dict[Dtype, tuple[tuple[str, float], ...]] = {
    "f32": (("VMUL and VADD: 1/2", 1 / 2), ("VFMA: 1/3", 1 / 3)),
    "q15": (("SMLAD: 2", 2.0),),
    "s8": (("SMLAD: 2", 2.0),),
}
#: Colours from few cycles to many.
_HEAT = "RdYlGn_r"
#: Pipelined loads move one word a cycle.
_BYTES_PER_CYCLE = 4


def require_matplotlib() -> None:
    """Raise MissingToolError unless matplotlib is installed."""
    if find_spec("matplotlib") is None:
        raise MissingToolError("plots need matplotlib: pip install 'memaopt[plots]'")


def write_plots(bench: Bench, folder: Path) -> list[Path]:
    """Write every plot that ``bench`` has figures for into ``folder``; returns the files."""
    return _written(lambda: _figures(bench), folder)


def write_network_plot(found: NetworkTraffic, folder: Path) -> list[Path]:
    """Write the plot of a network's traffic into ``folder``; returns the files."""
    return _written(lambda: iter([(f"traffic_{identifier_of(found.name)}", _network(found))]), folder)


def write_studies(studies: Mapping[str, Study], folder: Path) -> list[Path]:
    """Write a plot of each study, by name, into ``folder``; returns the files."""
    return _written(lambda: ((name, _study(found)) for name, found in studies.items()), folder)


def write_heat(cells: Sequence[Cell], machine: str, folder: Path) -> list[Path]:
    """Write the heat map of convolutions on this ``machine`` into ``folder``; returns the files."""
    return _written(lambda: iter([("heat", _heat(cells, machine))]), folder)


def _written(figures: Callable[[], Iterator[tuple[str, Any]]], folder: Path) -> list[Path]:
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    drawn: dict[str, bytes] = {}
    with matplotlib.rc_context(_STYLE):
        for name, figure in figures():
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                file = io.BytesIO()
                figure.savefig(file, format=suffix, metadata=metadata, bbox_inches="tight")
                drawn[f"{name}.{suffix}"] = file.getvalue()
    write_files(drawn, folder, keep=True)
    return [folder / name for name in drawn]


def _figures(bench: Bench) -> Iterator[tuple[str, Any]]:
    for dtype in dict.fromkeys(case.dtype for case in bench.layers):
        cases = [case for case in bench.layers if case.dtype == dtype]
        yield f"layers_{dtype}", _layers(cases, bench)
        if dtype in _PEAKS:
            yield f"roofline_{dtype}", _roofline(cases, bench)
    for dtype in dict.fromkeys(case.dtype for case in bench.squares):
        cases = [case for case in bench.squares if case.dtype == dtype]
        yield f"squares_{dtype}", _squares(cases, bench)
        yield f"energy_{dtype}", _energy(cases, bench)
    for curve in bench.traffic:
        yield f"traffic_{curve.dtype}", _traffic(curve)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _names(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(name for case in cases for name in case.entries))


def _label(name: str) -> str:
    return SHORT.get(name, name)


def _look(name: str) -> tuple[str, str]:
    """Colour and marker."""
    label = _label(name)
    return _LOOKS.get(label) or _LOOKS[label.split()[0]]


def _layers(cases: Sequence[Case], bench: Bench) -> Any:
    """Bars: multiply-accumulates a cycle on each layer, with the machine's wait states."""
    figure, axes = _axes(11, 4)
    names = _names(cases)
    width = 0.84 / len(names)
    for i, name in enumerate(names):
        bars = [(x, case.macs / case.entries[name].cycles) for x, case in enumerate(cases) if name in case.entries]
        places = [x - 0.42 + (i + 0.5) * width for x, _ in bars]
        axes.bar(places, [height for _, height in bars], width, color=_look(name)[0], label=_label(name))
    axes.set_xticks(range(len(cases)), [case.name for case in cases], rotation=45, ha="right")
    axes.set_ylabel("multiply-accumulates a cycle")
    axes.set_title(f"Layers, {cases[0].dtype}, {bench.heading.machine}")
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.6, len(cases) - 0.4)
    axes.legend(ncols=len(names), fontsize=8, loc="upper left")
    axes.set_ylim(top=1.18 * axes.get_ylim()[1])
    return figure


def _squares(cases: Sequence[Case], bench: Bench) -> Any:
    """Lines: throughput over N, with the machine's wait states."""
    figure, axes = _axes(7, 4)
    for name in _names(cases):
        mine = [case for case in cases if name in case.entries]
        heights = [throughput(case, case.entries[name].cycles, bench.heading) for case in mine]
        _line(axes, [case.n for case in mine], heights, name)
    axes.set_xlabel("N")
    axes.set_ylabel("million operations a second")
    axes.set_ylim(bottom=0)
    axes.set_title(f"N x N x N, {cases[0].dtype}, {bench.heading.machine}")
    _legend_beside(axes)
    return figure


def _energy(cases: Sequence[Case], bench: Bench) -> Any:
    """Lines: modelled energy over the number of operations, with the machine's wait states."""
    figure, axes = _axes(7, 4)
    for name in _names(cases):
        mine = [case for case in cases if name in case.entries]
        _line(axes, [2e-6 * case.macs for case in mine], [case.entries[name].energy_uj for case in mine], name)
    axes.set_xlabel("million operations")
    axes.set_ylabel("energy, modelled (\N{MICRO SIGN}J)")
    axes.set_ylim(bottom=0)
    axes.set_title(f"N x N x N, {cases[0].dtype}, {bench.heading.machine}")
    _legend_beside(axes)
    return figure


def _line(axes: Any, across: Sequence[float], heights: Sequence[float], name: str) -> None:
    colour, marker = _look(name)
    axes.plot(across, heights, marker=marker, ms=4, color=colour, label=_label(name))


def _legend_beside(axes: Any) -> None:
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _plain(axis: Any) -> None:
    """Numbers as they are on a logarithmic axis, at 1, 2 and 5 of each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1000 else f"{value:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _roofline(cases: Sequence[Case], bench: Bench) -> Any:
    """Points: each layer's rate over its intensity, below what the core computes and what its loads bring."""
    figure, axes = _axes(6, 4.5)
    names, intensities = _names(cases), []
    for name in names:
        mine = [(case.macs, case.entries[name]) for case in cases if name in case.entries]
        across = [macs / entry.bytes for macs, entry in mine]
        intensities += across
        colour, marker = _look(name)
        axes.scatter(
            across,
            [macs / entry.cycles for macs, entry in mine],
            s=14,
            marker=marker,
            color=colour,
            label=_label(name),
            zorder=3,
        )
    low, high = 0.8 * min(intensities), 1.6 * max(intensities)
    peaks = _PEAKS[cases[0].dtype]
    top = peaks[0][1]
    ridge = top / _BYTES_PER_CYCLE
    axes.plot([low, ridge], [low * _BYTES_PER_CYCLE, top], color="black", lw=1)
    for i, (text, peak) in enumerate(peaks):
        start = peak / _BYTES_PER_CYCLE
        axes.plot([min(start, high), max(high, 2 * ridge)], [peak, peak], color="black", lw=1, ls="--" if i else "-")
        axes.annotate(text, (max(high, 2 * ridge), peak), ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-accumulates for a byte between memory and registers")
    axes.set_ylabel("multiply-accumulates a cycle")
    axes.set_title(f"Roofline, {cases[0].dtype}, {bench.heading.machine}")
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    _legend_beside(axes)
    return figure


def _traffic(curve: TrafficCurve) -> Any:
    """Lines: external bytes against the size of the SRAM, and what nothing can beat."""
    figure, axes = _axes(6, 4)
    sizes = [point.sram / 1024 for point in curve.points]
    grid = [point for point in curve.points if point.grid is not None]
    axes.plot(
        [point.sram / 1024 for point in grid],
        [point.grid for point in grid],
        marker="^",
        color="#1f77b4",
        label="powers of two",
    )
    certified = [point.certified for point in curve.points]
    axes.plot(sizes, certified, marker="o", color=_LOOKS[OURS][0], label=f"{OURS}, certified")
    axes.plot(sizes, [point.bound for point in curve.points], color="black", ls="--", label="lower bound")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_xlabel("SRAM (KiB)")
    axes.set_ylabel("external bytes")
    axes.set_title(f"{curve.problem} {curve.dtype}, all operands in {curve.memory}")
    axes.legend(fontsize=8)
    return figure


def _network(found: NetworkTraffic) -> Any:
    """Lines: what crosses against the size of the SRAM, and what does not depend on it."""
    figure, axes = _axes(6.5, 4)
    for label, colour, marker, name in (
        ("random", "#9467bd", "v", "random"),
        ("powers of two", "#1f77b4", "^", "grid"),
        ("every tensor out and in", "#2ca02c", "D", "apart"),
        (f"{OURS}, staged", _LOOKS[OURS][0], "o", "staged"),
    ):
        rows = [row for row in found.sizes if getattr(row, name) is not None]
        heights = [getattr(row, name) for row in rows]
        axes.plot([row.sram / 1024 for row in rows], heights, marker=marker, color=colour, label=label, markersize=4)
    for label, height, style in (
        ("all outside, as TFLite Micro (modelled)", found.reference, ":"),
        ("im2col, as CMSIS-NN (modelled)", found.im2col, "-."),
        ("lower bound", found.compulsory, "--"),
    ):
        axes.axhline(height, color="black", ls=style, lw=1, label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xticks([row.sram / 1024 for row in found.sizes], [f"{row.sram / 1024:g}" for row in found.sizes])
    axes.set_xlabel("SRAM (KiB)")
    axes.set_ylabel("bytes from and to outside")
    axes.set_title(f"{found.name}, constants and tensors outside SRAM")
    _legend_beside(axes)
    return figure


def _heat(cells: Sequence[Cell], machine: str) -> Any:
    """A map for each window and stride: cycles for a multiply-accumulate over channels in and out."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    maps = panels(cells)
    columns = min(len(maps), 2)
    figure = Figure(figsize=(5.5 * columns, 4.5 * -(-len(maps) // columns)), layout="constrained")
    norm = LogNorm(min(cell.per_mac for cell in cells), max(cell.per_mac for cell in cells))
    every = []
    for number, (shape, rows) in enumerate(maps.items(), 1):
        axes = figure.add_subplot(-(-len(maps) // columns), columns, number)
        figures = [[cell.per_mac for cell in row.values()] for row in rows.values()]
        axes.imshow(figures, norm=norm, cmap=_HEAT, aspect="auto")
        for y, row in enumerate(figures):
            for x, per_mac in enumerate(row):
                axes.text(x, y, f"{per_mac:.2f}", ha="center", va="center", fontsize=7)
        outputs = [str(made) for made in next(iter(rows.values()))]
        axes.set_xticks(range(len(outputs)), outputs)
        axes.set_yticks(range(len(rows)), [str(inputs) for inputs in rows])
        axes.set_xlabel("channels out")
        axes.set_ylabel("channels in")
        axes.set_title(shape.name, fontsize=9)
        axes.grid(visible=False)
        every.append(axes)
    bar = figure.colorbar(ScalarMappable(norm, _HEAT), ax=every, label="cycles for a multiply-accumulate")
    _plain(bar.ax.yaxis)
    figure.suptitle(f"Convolutions on {machine}, no wait states", fontsize=10)
    return figure


def _study(found: Study) -> Any:
    """Lines: the figures of a study, case by case."""
    figure, axes = _axes(7, 4)
    cases = [point.case for point in found.points]
    for name in found.drawn:
        axes.plot(cases, [point.figures[name] for point in found.points], marker="o", ms=4, label=name)
    axes.tick_params(axis="x", rotation=60 if len(cases) > 10 else 0)
    axes.set_xlabel(found.axis)
    axes.set_ylabel(found.unit)
    axes.set_title(found.title, fontsize=9)
    axes.legend(fontsize=8)
    return figure
