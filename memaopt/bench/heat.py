"""How many cycles does a multiply-accumulate take, over channels in and out, windows and strides? Counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from memaopt.bench import waits
from memaopt.bench.random_layers import conv_of
from memaopt.machines.mcu import Mcu
from memaopt.problems.geometry import Image
from memaopt.problems.layers import Conv
from memaopt.problems.step_functions import INT8_MIN
from memaopt.report.console import table

#: Channels in, and channels out.
CHANNELS = (1, 2, 3, 4, 8, 16, 32, 64)
#: Of an image whose outputs are whole tiles of three positions.
_SIDE = 12
#: Cycles from which on a figure is told apart, and how: within the goal for convolutions, beyond it, and twice that.
_STYLES = ((3.0, "red"), (1.5, "yellow"), (1.0, "none"), (0.0, "green"))


class SquareWindow(NamedTuple):
    """A square window and its stride in both directions."""

    window: int
    stride: int

    @property
    def name(self) -> str:
        """As in 3x3, stride 2."""
        return f"{self.window}x{self.window}, stride {self.stride}"


WINDOWS = (SquareWindow(1, 1), SquareWindow(3, 1), SquareWindow(3, 2), SquareWindow(5, 1))


class Cell(BaseModel, frozen=True):
    """A convolution at zero wait states: how it is computed, its cycles as predicted and as counted."""

    window: int
    stride: int
    inputs: int
    outputs: int
    kernel: str
    macs: int
    predicted: int
    counted: int

    @property
    def per_mac(self) -> float:
        """Cycles for a multiply-accumulate, as counted."""
        return self.counted / self.macs


def layers(
    shapes: Iterable[SquareWindow] = WINDOWS, inputs: Sequence[int] = CHANNELS, outputs: Sequence[int] = CHANNELS
) -> Iterator[tuple[SquareWindow, Conv]]:
    """Padded convolutions of 12x12 images, alike but for their sizes: zero points of -128, as after a ReLU."""
    for shape in shapes:
        for channels in inputs:
            for made in outputs:
                image, window = Image(_SIDE, _SIDE, channels), (shape.window, shape.window)
                layer = conv_of(np.random.default_rng(0), image, made, window, shape.stride, 1)
                q = replace(layer.requantization, zero_point=INT8_MIN, minimum=INT8_MIN, maximum=-INT8_MIN - 1)
                yield shape, replace(layer, input_zero_point=INT8_MIN, requantization=q)


def study(machine: Mcu, shaped: Iterable[tuple[SquareWindow, Conv]], compiler: str | None = None) -> Iterator[Cell]:
    """Layers as they take the fewest cycles without wait states."""
    at_once = machine.with_wait_states(0)
    for shape, layer in shaped:
        for run in waits.runs_of(shape.name, layer, [at_once], compiler):
            yield Cell(
                window=shape.window,
                stride=shape.stride,
                inputs=layer.shape.channels,
                outputs=layer.output.channels,
                kernel=run.kernel,
                macs=layer.macs,
                predicted=run.predicted,
                counted=run.counted,
            )


def panels(cells: Iterable[Cell]) -> dict[SquareWindow, dict[int, dict[int, Cell]]]:
    """Cells by window and stride, then by channels in, then by channels out."""
    made: dict[SquareWindow, dict[int, dict[int, Cell]]] = {}
    for cell in cells:
        made.setdefault(SquareWindow(cell.window, cell.stride), {}).setdefault(cell.inputs, {})[cell.outputs] = cell
    return made


def print_heat(console: Console, cells: Sequence[Cell], machine: Mcu) -> None:
    """A table for each window and stride: channels in downwards, channels out to the right."""
    console.print(f"Cycles for a multiply-accumulate, {machine.title}, no wait states, {_SIDE}x{_SIDE} images")
    for shape, rows in panels(cells).items():
        _print_panel(console, shape, rows)


def _print_panel(console: Console, shape: SquareWindow, rows: Mapping[int, Mapping[int, Cell]]) -> None:
    made = table(("in \\ out", *(str(outputs) for outputs in next(iter(rows.values())))), words=0)
    for inputs, row in rows.items():
        made.add_row(str(inputs), *(_figure(cell.per_mac) for cell in row.values()))
    console.print(f"\n{shape.name}", style="bold", highlight=False)
    console.print(made)


def _figure(per_mac: float) -> Text:
    return Text(f"{per_mac:.2f}", style=next(style for least, style in _STYLES if per_mac >= least))
