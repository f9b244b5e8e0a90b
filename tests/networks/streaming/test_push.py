"""Pushes: what a window's rows are computed from, exactness on random networks, and requests that no stream meets."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memaopt.errors import InputError
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Reshape, Size2D
from memaopt.networks.streaming.rows import work_of
from memaopt.networks.streaming.steps import RowRange, RowStep
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.networks.zoo import sliding, zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.bands import Reach
from memaopt.problems.words import Axis
from tests.streams_helpers import check_pushes, random_stream, stream_of


@pytest.mark.parametrize(
    ("step", "rows", "reads", "clean"),
    [
        (RowStep(1, Reach(3)), RowRange(2, 4), RowRange(2, 6), RowRange(0, 8)),
        (RowStep(1, Reach(3, 1, 1)), RowRange(0, 1), RowRange(-1, 2), RowRange(1, 9)),
        (RowStep(1, Reach(4, 2, 1)), RowRange(1, 3), RowRange(1, 7), RowRange(1, 4)),
        (RowStep(1, Reach(1, 2, -3)), RowRange(0, 2), RowRange(3, 6), RowRange(0, 4)),
    ],
)
def test_a_step_knows_what_its_rows_are_made_from(
    step: RowStep, rows: RowRange, reads: RowRange, clean: RowRange
) -> None:
    """Catches a window that is off by one, or padding taken for frames."""
    assert step.reads(rows) == reads
    assert step.clean(RowRange(0, 10), 99) == clean


def test_rows_are_computed_once_kept_and_computed_again() -> None:
    """Catches rows that are kept though padding made them, or computed though they are there."""
    b = Builder("same", (1, 12, 1, 2), seed=1)
    x = b.conv_2d(b.input, 3, Size2D(3, 1))
    graph = b.finish(b.fully_connected(b.flatten(b.conv_2d(x, 2, Size2D(3, 1))), 2))
    work = work_of(graph, 0, 1, 1)
    first, second = (work.rows[graph.operators[i].output] for i in (0, 1))
    assert (first.kept, first.fresh, first.again) == (
        RowRange(1, 10),
        RowRange(10, 11),
        (RowRange(0, 1), RowRange(11, 12)),
    )
    assert (second.kept, second.fresh, second.again) == (
        RowRange(2, 9),
        RowRange(9, 10),
        (RowRange(0, 2), RowRange(10, 12)),
    )
    assert second.computed == (RowRange(0, 2), RowRange(9, 12))


def test_what_nobody_reads_is_neither_computed_nor_kept() -> None:
    """Catches heads that a causal network computes again for a last step that never sees them."""
    push, _ = streamed(zoo.build("tcn"), Stream())
    assert not any(rows.again for rows in push.work.rows.values())
    assert push.macs < push.window_macs / 35


@pytest.mark.parametrize("name", sliding.NETWORKS)
def test_the_zoo_streams_exactly(name: str) -> None:
    """Catches a push that differs from the window, on more pushes than a window has frames."""
    graph = zoo.build(name)
    push, asked = streamed(graph, Stream(axis="rows"))
    assert asked.hop == push.hop == {"cnn_1d": 4}.get(name, 1)
    assert check_pushes(push, graph, np.random.default_rng(5), 50) > 5


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_stream_exactly(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches what no network written by hand has: paddings, strides and dilations in any order, and any hop; and, of
    every other one, rows that wait even where moving them costs less."""
    if seed % 2 == 0:
        monkeypatch.setattr("memaopt.networks.streaming.waiting._LEAST", 0)
    rng = np.random.default_rng(seed)
    graph = random_stream(rng)
    push = stream_of(graph, int(rng.integers(1, 4)))
    assert push is None or check_pushes(push, graph, rng, 12)


@pytest.mark.parametrize(
    ("hop", "waits"),
    [(1, [(1, 26), (1, 30), (1, 35)]), (2, [(1, 13), (1, 15), (2, 17)]), (3, [(3, 8)]), (4, [(2, 6), (2, 7)])],
)
def test_rows_that_no_operator_reads_wait_where_they_lie(hop: int, waits: list[tuple[int, int]]) -> None:
    """Catches rows that move with every push though only the ends of a window are computed again, one that leaves too
    late or joins the older ones at a wrong place, and turns that forget the phases."""
    b = Builder("padded", (1, 44, 4, 2), seed=3)
    x = b.conv_2d(b.input, 16, Size2D(5, 3), stride=Size2D(2, 1))
    x = b.conv_2d(b.conv_2d(x, 8, Size2D(3, 3)), 4, Size2D(3, 3))
    push, _ = streamed(b.finish(b.fully_connected(b.flatten(x), 3)), Stream(axis="rows", hop=hop))
    kept = [(push.graph.tensors[state.read], state.copies) for state in push.graph.states]
    assert sorted((of.shape[1], copies) for of, copies in kept if of.name.endswith("/leaving")) == waits
    assert check_pushes(push, push.whole, np.random.default_rng(2), 60) > 20


def test_a_flat_input_has_the_frames_of_its_image() -> None:
    """Catches frames that are cut in another place than where the image has its rows."""
    b = Builder("flat", (1, 20 * 3), seed=2)
    image = b._append(Reshape, (b.input,), b._like(b.input, "image", (1, 20, 3, 1)), {})
    x = b.conv_2d(image, 4, Size2D(5, 3), same=False)
    graph = b.finish(b.fully_connected(b.flatten(x), 3))
    push, asked = streamed(graph, Stream(axis="rows", hop=2))
    assert asked.axis == "rows"
    assert push.graph.tensors[push.graph.given[0]].shape == (1, 6)
    assert check_pushes(push, graph, np.random.default_rng(2), 30) > 20


@pytest.mark.parametrize(("frames", "seen"), [(26, 1), (27, 2)])
def test_kept_rows_that_a_reshape_renames_are_read_before_they_are_written(frames: int, seen: int) -> None:
    """Catches a state that is written while an alias of it, or another state made from that, still needs it."""
    b = Builder("renamed", (1, frames, 1, 3), seed=2)
    image = b._append(Reshape, (b.input,), b._like(b.input, "image", (1, frames, 1, 3)), {})
    x = b.conv_2d(image, 4, Size2D(seen, 1), stride=Size2D(2, 1), same=False)
    graph = b.finish(b.fully_connected(b.mean(x), 3))
    push, _ = streamed(graph, Stream(axis="rows", hop=1))
    assert check_pushes(push, graph, np.random.default_rng(2), 40) > 20


@pytest.mark.parametrize("hop", [1, 2, 3])
@pytest.mark.parametrize("average", [Builder.average_pool, Builder.mean])
def test_averages_over_time_go_on_from_sums(average: Callable[[Builder, int], int], hop: int) -> None:
    """Catches a row that leaves the sum too late, or goes on in another one's place; and all rows added again."""
    b = Builder("running", (1, 26, 2, 3), seed=4)
    x = b.conv_2d(b.input, 5, Size2D(3, 1), same=False)
    push, _ = streamed(b.finish(b.fully_connected(average(b, x), 3)), Stream(axis="rows", hop=hop))
    copies = [state.copies for state in push.graph.states]
    assert (24 // hop - 1 in copies) == ("RUNNING_MEAN" in [op.kind for op in push.graph.operators])
    assert ("RUNNING_MEAN" in [op.kind for op in push.graph.operators]) == (24 // hop - 1 >= 7)
    assert check_pushes(push, push.whole, np.random.default_rng(2), 60) > 20


def test_one_value_a_frame_is_no_flat_input() -> None:
    """Catches an input [1, time, 1, 1] that is taken for a flat one because something flattens it."""
    b = Builder("one", (1, 20, 1, 1), seed=2)
    with pytest.raises(InputError, match="would do"):
        streamed(b.finish(b.fully_connected(b.flatten(b.input), 3)), Stream(axis="rows"))


def test_the_first_frame_fills_the_window() -> None:
    """Catches a window that is said to begin with its first frame, and begins with something else."""
    push, _ = streamed(zoo.build("tcn"), Stream(fill="first"))
    frames = np.arange(8, dtype=np.int8).reshape(1, 1, 1, 8)
    (window,) = push.windows([frames])
    assert (window == frames).all()


def _dense() -> Graph:
    b = Builder("dense", (1, 9, 1, 4), seed=1)
    return b.finish(b.fully_connected(b.flatten(b.input), 3))


def _flat() -> Graph:
    b = Builder("flat", (1, 36), seed=1)
    return b.finish(b.fully_connected(b.input, 3))


@pytest.mark.parametrize(
    ("made", "axis", "hop", "said"),
    [
        (_flat, "auto", None, "no clear axis of time; an input .1, time, .... would do"),
        (partial(zoo.build, "ds_cnn"), "auto", None, "no clear axis of time; rows or columns would do"),
        (partial(zoo.build, "tcn"), "columns", None, "no columns to slide along; rows would do"),
        (partial(zoo.build, "tcn"), "rows", 40, "the window has 40 frames; 1 to 39 would do"),
        (partial(zoo.build, "tcn"), "rows", 0, "1 to 39 would do"),
        (_dense, "rows", 1, "FULLY_CONNECTED. reads the whole window.* would do"),
    ],
)
def test_a_bad_request_is_told_what_would_do(made: Callable[[], Graph], axis: Axis, hop: int | None, said: str) -> None:
    """Catches a traceback, or a stream that saves nothing."""
    with pytest.raises(InputError, match=said) as found:
        streamed(made(), Stream(axis=axis, hop=hop))
    assert "\n" not in str(found.value)


@pytest.mark.skipif("MEMAOPT_MODELS" not in os.environ, reason="MEMAOPT_MODELS is not set")
@pytest.mark.parametrize(
    ("hop", "macs", "state"), [(1, 1_105_408, 48_480), (2, 1_105_408, 24_470), (4, 1_211_648, 22_850)]
)
def test_keyword_spotting_computes_what_was_derived(hop: int, macs: int, state: int) -> None:
    """Catches rows that are computed twice, or kept though nobody reads them, in a real network."""
    graph = Model.read(Path(os.environ["MEMAOPT_MODELS"]) / "kws_ref_model.tflite").graph
    push, _ = streamed(graph, Stream(axis="rows", hop=hop))
    assert (push.macs, push.state_bytes) == (macs, state)
    assert check_pushes(push, graph, np.random.default_rng(1), 4) == 4
