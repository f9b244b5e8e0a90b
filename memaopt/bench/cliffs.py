"""Where do the kernels fall off? Layers at the edges of what they take: cycles for a multiply-accumulate, counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from pydantic import BaseModel
from rich.console import Console

from memaopt.bench import waits
from memaopt.bench.random_layers import conv_of, depthwise_of, fully_connected_of
from memaopt.machines.mcu import Mcu
from memaopt.problems.geometry import Image
from memaopt.problems.layers import Conv, Depthwise, FullyConnected
from memaopt.report.console import table

#: Cycles that a multiply-accumulate may take: of a depthwise convolution, and of the others.
_MOST_DEPTHWISE, _MOST = 2.2, 1.5
#: What CMSIS-NN's inner loops take of a random layer, as documented.
MOST_OF_ANY = 2.7


class Cliff(BaseModel, frozen=True):
    """A layer at zero wait states: how it is computed, and the cycles counted."""

    layer: str
    kernel: str
    macs: int
    counted: int
    limit: float

    @property
    def per_mac(self) -> float:
        """Cycles for a multiply-accumulate, as counted."""
        return self.counted / self.macs

    @property
    def holds(self) -> bool:
        """Whether they are within the limit."""
        return self.per_mac <= self.limit


def layers() -> Iterator[tuple[str, Conv | Depthwise | FullyConnected]]:
    """Layers, each beside one that kernels take easily; all of 10,000 multiply-accumulates at least."""
    rng = np.random.default_rng(0)
    for k, m in ((2048, 16), (2049, 16), (3136, 64), (640, 1), (640, 3)):
        yield f"fully connected {k} to {m}", fully_connected_of(rng, 1, k, m)
    lowest = fully_connected_of(rng, 1, 640, 16)
    lowest.weights[0, :2] = -128, -1
    lowest.weights[1, :2] = -1, -128
    yield "fully connected 640 to 16, a weight of -128", lowest
    convs: list[tuple[str, Image, int, tuple[int, int], int, int, int]] = [
        ("3x3, 256 channels", Image(6, 6, 256), 8, (3, 3), 1, 1, 1),
        ("3x3, 512 channels", Image(6, 6, 512), 8, (3, 3), 1, 1, 1),
        ("1x1, 3000 channels", Image(4, 4, 3000), 8, (1, 1), 1, 1, 1),
        *((f"1x1, {c} channels", Image(32, 32, c), 16, (1, 1), 1, 1, 1) for c in (1, 2, 3, 4, 8, 16)),
        *((f"1x1, 64 channels to {m}", Image(16, 16, 64), m, (1, 1), 1, 1, 1) for m in (1, 2, 3)),
        *((f"3x3, 16 channels to {m}", Image(16, 16, 16), m, (3, 3), 1, 1, 1) for m in (1, 2, 3)),
        *((f"3x3, 32 channels, {g} groups", Image(16, 16, 32), 32, (3, 3), 1, 1, g) for g in (2, 4, 16)),
        *((f"1x1, {w} positions", Image(1, w, 64), 64, (1, 1), 1, 1, 1) for w in (1, 2, 3, 4)),
        ("5x1, 16 channels", Image(16, 16, 16), 16, (5, 1), 1, 1, 1),
        ("1x5, 16 channels", Image(16, 16, 16), 16, (1, 5), 1, 1, 1),
        ("3x3, stride 2", Image(32, 32, 16), 32, (3, 3), 2, 1, 1),
    ]
    for name, image, outputs, kernel, stride, dilation, groups in convs:
        yield name, conv_of(rng, image, outputs, kernel, stride, dilation, groups)
    windows = [((3, 3), 1, 1), ((3, 3), 2, 1), ((3, 3), 3, 1), ((3, 3), 1, 2), ((5, 5), 1, 1)]
    windows += [(kernel, 1, 1) for kernel in ((1, 3), (3, 1), (2, 2), (1, 9), (9, 1))]
    for kernel, stride, dilation in windows:
        name = f"depthwise {kernel[0]}x{kernel[1]}, stride {stride}, dilation {dilation}"
        yield name, depthwise_of(rng, Image(24, 24, 16), kernel, 1, stride, dilation, -128)


def study(
    machine: Mcu,
    named: Iterable[tuple[str, Conv | Depthwise | FullyConnected]],
    compiler: str | None = None,
    most: float | None = None,
) -> Iterator[Cliff]:
    """Layers as they take the fewest cycles without wait states; ``most`` cycles a multiply-accumulate, whatever it
    is, or each its own."""
    at_once = machine.with_wait_states(0)
    for name, layer in named:
        for run in waits.runs_of(name, layer, [at_once], compiler):
            yield Cliff(
                layer=name,
                kernel=run.kernel,
                macs=layer.macs,
                counted=run.counted,
                limit=most or (_MOST_DEPTHWISE if isinstance(layer, Depthwise) else _MOST),
            )


def print_cliffs(console: Console, cliffs: Sequence[Cliff], machine: Mcu) -> None:
    """A line for each layer."""
    _print_table(console, cliffs, machine)
    _print_held(console, "", cliffs)


def print_beyond(console: Console, cliffs: Sequence[Cliff], machine: Mcu) -> None:
    """A line for each layer beyond its limit, the worst first; then how many are not, by the first word of their
    names."""
    beyond = sorted((cliff for cliff in cliffs if not cliff.holds), key=lambda cliff: -cliff.per_mac)
    if beyond:
        _print_table(console, beyond, machine)
    for kind in dict.fromkeys(cliff.layer.split()[0] for cliff in cliffs):
        _print_held(console, f"{kind}: ", [cliff for cliff in cliffs if cliff.layer.split()[0] == kind])


def _print_held(console: Console, kind: str, cliffs: Sequence[Cliff]) -> None:
    middle = float(np.median([cliff.per_mac for cliff in cliffs]))
    held = f"{sum(cliff.holds for cliff in cliffs)} of {len(cliffs)} within their limits, median {middle:.2f}"
    console.print(f"{kind}{held}", highlight=False)


def _print_table(console: Console, cliffs: Sequence[Cliff], machine: Mcu) -> None:
    title = f"Cycles for a multiply-accumulate, {machine.title}, no wait states"
    made = table(("layer", "kernel", "cycles", "each", "at most"), words=2)
    for cliff in cliffs:
        style = None if cliff.holds else "yellow"
        figures = (f"{cliff.counted:,}", f"{cliff.per_mac:.2f}", f"{cliff.limit:.1f}")
        made.add_row(cliff.layer, cliff.kernel, *figures, style=style)
    console.print(title, style="bold", highlight=False)
    console.print(made)
