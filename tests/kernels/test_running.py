"""Averages of a window that slides: outputs and sums on the board, in every form of their C."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import layers_run_helpers as running
import numpy as np
import pytest

from memaopt.bench.operator_cases import cases
from memaopt.bench.waits import runs_of
from memaopt.kernels.registry import emit, plans
from memaopt.machines.mcu import mcu
from memaopt.networks.running import averages_all
from memaopt.problems.geometry import Image, Pair, Window
from memaopt.problems.layers import Mean, Pool, PoolKind
from memaopt.problems.running import RunningMean
from memaopt.problems.step_functions import Requantization


def _wholes() -> dict[str, Pool | Mean]:
    """By one multiplication, by two constants of it, and by the reference's arithmetic."""
    q = Requantization(-3, multipliers=np.array([1395864371]), shifts=np.array([-7]))
    window = Window(Pair(96, 1))
    pools = (Pool(PoolKind.AVERAGE, Image(96, 1, 7), Image(1, 1, 7), window, ties_up=up) for up in (False, True))
    return {
        "pool": next(pools),
        "up": next(pools),
        "mean": Mean((96, 7), (0,), 5, q),
        "every": Mean((8, 240), (0,), 5, replace(q, shifts=np.array([-4]))),
        "long": Mean((1 << 18, 7), (0,), 5, q),
    }


@pytest.mark.board
def test_outputs_sums_and_accesses(tmp_path: Path) -> None:
    """Catches a sum that keeps what left the window, an output of the wrong sum, and one rounded by another sign's."""
    layers = {f"{name}_{moved}": RunningMean(each, moved) for name, each in _wholes().items() for moved in (1, 4, 6)}
    emitted = {name: emit(layer, plans(layer)[0], name) for name, layer in layers.items()}
    board, rng = running.OnBoard(tmp_path, list(emitted.values())), np.random.default_rng(3)
    for name, layer in layers.items():
        least, most = -128 * (layer.count - layer.moved), 127 * (layer.count - layer.moved)
        sums = rng.integers(least, most, layer.channels, endpoint=True).astype(np.int32)
        sums[:2] = least, most
        if layer.channels > 7:  # those on either side of the zero point, that rounding tells apart
            sums = np.arange(layer.channels, dtype=np.int32) + layer.count * 5 - layer.channels // 2
        leaving, new = rng.integers(-128, 128, (2, layer.moved, layer.channels)).astype(np.int8)
        got, run = board.run(emitted[name], [sums, leaving, new], np.zeros(layer.channels, np.int8))
        np.testing.assert_array_equal(got, layer.apply(sums, leaving, new), name)
        assert running.counted(emitted[name], run) == emitted[name].plan.promise.buffers, name
        after = np.frombuffer(board.board.read(running.MCU.sram.base + 0x1000, sums.nbytes), np.int32)
        np.testing.assert_array_equal(after, layer.after(sums, leaving, new), name)


@pytest.mark.board
def test_cycles_in_slow_flash() -> None:
    """Catches positions that are written out and priced as a loop, whose branches wait for the flash (50 %), and a
    rounding as the reference's that is priced above what it takes (35 %)."""
    machine, every = mcu("stm32f303").in_setting("stock"), _wholes()["every"]
    assert isinstance(every, Mean)
    for whole, moved in ((every, 1), (every, 4), (replace(every, shape=(1 << 18, 240)), 1)):
        for run in runs_of(f"{whole.shape} {moved}", RunningMean(whole, moved), [machine], None):
            assert abs(run.error) < 0.12, run


def test_averages_of_int16_are_computed_again() -> None:
    """Catches sums of bytes for rows of halfwords."""
    (wide,) = (case.graph for case in cases() if case.kind == "MEAN" and case.types == "int16")
    assert averages_all(wide, wide.operators[0]) is False
    assert averages_all(next(case.graph for case in cases() if case.kind == "MEAN"), wide.operators[0]) is True
