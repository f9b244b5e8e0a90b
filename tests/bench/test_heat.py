"""The heat map of convolutions over channels in and out, windows and strides."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from memaopt.bench import heat, plots
from memaopt.machines.mcu import mcu

MACHINE = mcu("stm32l4r5")


def test_cells_are_counted_and_alike_but_for_their_sizes() -> None:
    """A cell in the wrong place, one whose prediction is off, or layers that differ in more than their sizes."""
    shape = heat.WINDOWS[2]
    (conv,) = (layer for _, layer in heat.layers([shape], [16], [8]))
    (found,) = heat.study(MACHINE, [(shape, conv)])
    assert (found.window, found.stride, found.inputs, found.outputs) == (3, 2, 16, 8)
    assert found.macs == 36 * 9 * 16 * 8
    assert found.predicted == pytest.approx(found.counted, rel=0.03)
    every = [layer for _, layer in heat.layers(inputs=(1, 8), outputs=(3,))]
    assert len(every) == 2 * len(heat.WINDOWS)
    assert {(layer.input_zero_point, layer.requantization.zero_point) for layer in every} == {(-128, -128)}
    assert {layer.output[:2] for layer in every} == {(12, 12), (6, 6)}


def test_table_and_map(tmp_path: Path) -> None:
    """Channels in and out that are swapped, and a map that is not drawn."""
    cells = [
        heat.Cell(window=3, stride=1, inputs=x, outputs=y, kernel="", macs=100, predicted=1, counted=100 * x + y)
        for x in (1, 2)
        for y in (4, 8, 16)
    ]
    told = io.StringIO()
    heat.print_heat(Console(file=told, width=80), cells, MACHINE)
    lines = [line.split() for line in told.getvalue().splitlines()]
    assert ["1", "1.04", "1.08", "1.16"] in lines
    assert ["2", "2.04", "2.08", "2.16"] in lines
    pytest.importorskip("matplotlib")
    files = plots.write_heat(cells, MACHINE.title, tmp_path)
    assert [path.name for path in files] == ["heat.png", "heat.svg"]
    assert "3x3, stride 1" in files[1].read_text(encoding="utf-8")
