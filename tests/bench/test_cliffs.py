"""The table of cliffs: layers at the edges of the kernels."""

import io

from rich.console import Console

from memaopt.bench import cliffs, random_layers
from memaopt.machines.mcu import mcu
from memaopt.problems.layers import Conv, Depthwise

MACHINE = mcu("stm32l4r5")
_KINDS = Conv, Depthwise
#: What no kernel but the generic one took, or took in time.
_FIXED = (
    "fully connected 2049 to 16",
    "fully connected 3136 to 64",
    "3x3, 512 channels",
    "1x1, 3000 channels",
    "3x3, 32 channels, 4 groups",
    "1x1, 1 positions",
)


def test_what_fell_does_so_no_longer() -> None:
    """A layer beside those that kernels take easily that costs several times as much again."""
    named = [(name, layer) for name, layer in cliffs.layers() if name in _FIXED]
    found = list(cliffs.study(MACHINE, named))
    assert [cliff.layer for cliff in found] == list(_FIXED)
    assert [cliff.layer for cliff in found if not cliff.holds] == []
    console = Console(width=120, record=True, quiet=True)
    cliffs.print_cliffs(console, found, MACHINE)


def test_random_layers_are_told_by_kind() -> None:
    """A count that leaves layers out, a limit that is not the one asked for, or one layer too small to tell."""
    named = list(random_layers.products_of(7, seed=3))
    assert len(named) == 7
    assert all(layer.macs >= random_layers.LEAST_MACS for _, layer in named)
    two = [min((each for each in named if isinstance(each[1], kind)), key=lambda each: each[1].macs) for kind in _KINDS]
    found = list(cliffs.study(MACHINE, two, most=0.1))
    assert [cliff.holds for cliff in found] == [False, False]
    console = Console(width=120, file=io.StringIO(), record=True)
    cliffs.print_beyond(console, found, MACHINE)
    assert "depthwise: 0 of 1 within their limits" in console.export_text()


def test_every_layer_is_large_enough() -> None:
    """A layer so small that its entry is what is measured."""
    assert all(layer.macs >= 9_000 or "640 to" in name or "positions" in name for name, layer in cliffs.layers())
