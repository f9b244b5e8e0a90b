"""Streams as they are emitted: on this computer, on the virtual board, from reset, and as their certificate says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import memaopt
from memaopt.board.projects import usual_layout
from memaopt.certificates import network as certificate
from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.errors import FalseClaimError, InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.streaming.window import Stream
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.words import Fill
from memaopt.trials import library
from memaopt.trials import network as trial
from memaopt.trials.samples import Samples
from memaopt.trials.validation import validate

MCU = mcu("stm32l4r5")


def _separable() -> Graph:
    """Depthwise convolutions at one position of a push, of many taps and of few, over rows of one frame and of two."""
    b = Builder("separable", (1, 31, 1, 8), seed=5)
    x = b.depthwise_conv_2d(b.input, Activation.NONE, kernel=Size2D(17, 1), same=False)
    x = b.conv_2d(x, 12, Size2D(3, 1), Activation.RELU, stride=Size2D(2, 1), same=False)
    x = b.depthwise_conv_2d(x, Activation.NONE, kernel=Size2D(3, 1), same=False)
    return b.finish(b.fully_connected(b.flatten(x), 3))


def _padded() -> Graph:
    """Padding before and after the window, and more rows between its ends than a push reads."""
    b = Builder("padded", (1, 40, 2, 16), seed=5)
    x = b.conv_2d(b.input, 12, Size2D(3, 1), stride=Size2D(2, 1))
    return b.finish(b.fully_connected(b.mean(b.conv_2d(x, 4, Size2D(5, 2))), 3))


def _plan(name: str, fill: Fill = "zero", hop: int | None = None) -> NetworkPlan:
    made = {"separable": _separable, "padded": _padded}
    graph = made[name]() if name in made else zoo.build(name)
    return compile_network(Model.of(graph), MCU, stream=Stream(axis="rows", hop=hop, fill=fill))


def test_depthwise_layers_read_kept_rows_where_they_lie() -> None:
    """Catches rows that are moved together for a layer that could read them apart, with one phase or with two."""
    for hop, made in ((1, (2, 3, 1)), (2, (1, 2, 1))):
        kinds = [op.kind for op in _plan("separable", hop=hop).graph.operators]
        assert tuple(map(kinds.count, ("JOINED_DEPTHWISE_CONV_2D", "LATER_ROWS", "MOVED_ROWS"))) == made, hop


@pytest.mark.parametrize(
    ("name", "fill", "hop"),
    [
        ("tcn", "zero", 2),
        ("cnn_1d", "first", 3),
        ("separable", "first", 1),
        ("causal_ds_cnn", "first", 1),
        ("padded", "first", 1),
    ],
)
def test_a_push_is_exact_on_this_computer(name: str, fill: Fill, hop: int) -> None:
    """Catches a library whose reset or first push is not what its reference says, or whose phases go on in the wrong
    copy."""
    plan = _plan(name, fill, hop)
    library.check(plan, library.files_of(certificate.certify(plan)))
    library._execute(plan)


@pytest.mark.board
@pytest.mark.parametrize(
    ("name", "fill", "hop"),
    [
        ("tcn", "first", None),
        ("causal_ds_cnn", "zero", None),
        ("cnn_1d", "first", 3),
        ("separable", "zero", 1),
        ("padded", "zero", 2),
    ],
)
def test_a_push_keeps_its_promise_on_the_board(name: str, fill: Fill, hop: int | None) -> None:
    """Catches a state that is not what the next push needs, or an access that nobody promised."""
    plan = _plan(name, fill, hop)
    assert plan.push is not None
    found = trial.run(plan, plan.push.warming + 3, layout=usual_layout(MCU))
    assert found.passed, found
    assert found.pushed
    assert found.image is not None
    assert found.cycles is not None
    assert found.image.cycles == pytest.approx(found.cycles, rel=0.02)


def test_a_certificate_speaks_of_the_stream(tmp_path: Path) -> None:
    """Catches a certificate that holds of another hop, or claims fewer rows than are computed."""
    model = tmp_path / "tcn.tflite"
    model.write_bytes(Model.of(zoo.build("tcn")).data)
    signed = memaopt.certify(model, MCU, stream="rows")
    assert isinstance(signed, NetworkCertificate)
    assert signed.push is not None
    assert (signed.push.macs, signed.push.window_macs, signed.totals.state_bytes) == (3_280, 128_080, 272)
    file = tmp_path / "certificate.json"
    signed.write(file)
    assert "stream: along rows, hop 1, filled with zeros at first" in memaopt.verify(file).premises
    data = json.loads(signed.to_json())
    for change, said in (
        ({"stream": {"axis": "rows", "hop": 2, "fill": "zero"}}, "SRAM|memory|is claimed|no kernel|layers"),
        ({"stream": {"axis": "rows", "hop": 99, "fill": "zero"}}, "would do"),
        ({"stream": {"axis": "rows", "hop": None, "fill": "zero"}}, "stream.hop is claimed"),
        ({"push": {**data["push"], "macs": 1}}, "push.macs is claimed"),
    ):
        changed = NetworkCertificate.from_json(json.dumps({**data, **change})).signed()
        changed.write(file)
        with pytest.raises(FalseClaimError, match=said):
            memaopt.verify(file)


def test_samples_are_not_pushes() -> None:
    """Catches an accuracy of samples that each depend on those before."""
    with pytest.raises(InputError, match=r"keeps a state from run to run, .* would push it on"):
        validate(_plan("tcn"), Samples(np.zeros((1, 40, 8), np.int8), None))
