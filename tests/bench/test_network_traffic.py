"""``bench traffic --network``: its figures, and that each of its columns is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli
from layers_helpers import conv, depthwise, fully_connected

from memaopt.bench.layer_traffic import im2col_bytes, reference_bytes
from memaopt.bench.network_traffic import NetworkTraffic, network_of, study
from memaopt.networks.operators.operator import Lowered

_RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def found() -> NetworkTraffic:
    return study(network_of("resnet8"), (512, 4 << 10, 16 << 10, 64 << 10))


def test_nothing_moves_less_than_what_is_staged(found: NetworkTraffic) -> None:
    """Catches a tiler, or another library's way, below the choice that none beats, and a choice below the bound."""
    for row in found.sizes[1:]:
        assert row.staged is not None
        assert row.apart is not None
        assert found.compulsory <= row.staged == row.walked <= row.apart
        for searched in (row.grid, row.random):
            assert searched is None or searched >= row.apart
        assert row.apart <= found.im2col <= found.reference
        assert sum(layer.bytes for layer in row.layers) == row.staged
        assert all(layer.bytes >= layer.least for layer in row.layers)
    assert found.sizes[-1].staged == found.compulsory


def test_what_does_not_fit_is_left_open(found: NetworkTraffic) -> None:
    """Catches a figure for SRAM in which no layer's rows fit."""
    assert found.sizes[0].staged is None
    assert found.sizes[0].layers == ()
    assert "and there are 512" in found.sizes[0].reason
    assert not any(row.reason for row in found.sizes[1:])


def test_others_move_what_their_loops_load() -> None:
    """Catches a slip in the counts: every product's two bytes, every patch, constants for every two positions."""
    layer = conv(_RNG, (3, 3, 2), 4, (1, 1))
    assert reference_bytes(Lowered(layer, (0,))) == 2 * 9 * 8 + 36 * 5
    assert im2col_bytes(Lowered(layer, (0,))) == 18 + 5 * (8 + 16) + 36
    by_channel = depthwise(_RNG, (3, 3, 2), (3, 3))
    taps = 4 * 4 + 4 * 6 + 9
    assert reference_bytes(Lowered(by_channel, (0,))) == 2 * taps * 2 + 18 * 5
    assert im2col_bytes(Lowered(by_channel, (0,))) == taps * 2 + 9 * (18 + 8) + 18
    dense = fully_connected(_RNG, 10, 3)
    assert reference_bytes(Lowered(dense, (0,))) == 60 + 15
    assert im2col_bytes(Lowered(dense, (0,))) == dense.operands.bytes + 12


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    """Catches a table, JSON or plot that does not say what was found."""
    said = cli("bench traffic --network ds_cnn --sram 16KiB --layers")
    assert said.code == 0
    assert "16 KiB" in said.out
    assert "DEPTHWISE_CONV_2D" in said.out
    data = cli("bench traffic --network ds_cnn --sram 16KiB --json").json
    assert f"{data['sizes'][0]['staged']:,}" in said.out
    assert NetworkTraffic.model_validate(data, strict=False).compulsory == data["compulsory"]
    pytest.importorskip("matplotlib")
    assert cli("bench", "traffic", "--network", "ds_cnn", "--sram", "16KiB", "--plots", tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.glob("traffic*")) == ["traffic_ds_cnn.png", "traffic_ds_cnn.svg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network ds_cnn", "bench traffic --network"),
        ("traffic --network no_such", "no network 'no_such'"),
        ("traffic --sram 4KiB", "--sram has no effect"),
        ("traffic --network ds_cnn --mcu stm32f446", "--mcu has no effect on bench --network"),
        ("traffic --network ds_cnn --tiles", "one study at a time"),
    ],
)
def test_wrong_use_is_one_line(cli: Cli, arguments: str, message: str) -> None:
    """Catches an option without an effect, and a network that there is not."""
    said = cli(f"bench {arguments}")
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
