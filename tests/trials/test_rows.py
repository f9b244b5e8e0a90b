"""Networks whose input comes by rows: exact on host and board, certified, and refused where rows cannot be taken."""

from __future__ import annotations

import ctypes
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from chains_helpers import ZERO, random_chain
from network_helpers import Library

import memaopt
from memaopt.board.projects import usual_layout
from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.compile import compile_network
from memaopt.choice.least import compile_smallest
from memaopt.choice.placement import NetworkPlacement
from memaopt.emit import network as emit
from memaopt.errors import FalseClaimError, InfeasibleError, InputError
from memaopt.machines.mcu import mcu
from memaopt.memory.row_bound import bound
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Size2D
from memaopt.networks.simplify import simplify
from memaopt.networks.streaming.window import Stream
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import library
from memaopt.trials import network as trial


def _with_mean() -> Graph:
    """Rows that are summed as they come, behind a stride that leaves the last row of the input unread."""
    b = Builder("summed", (1, 10, 6, 4), 3)
    x = b.conv_2d(b.input, 6, Size2D(3, 3), stride=Size2D(2, 2), same=False)
    return b.finish(b.mean(b.conv_2d(x, 5, Size2D(1, 1))))


@pytest.mark.slow
@pytest.mark.parametrize("graph", [random_chain(1), random_chain(3), _with_mean()], ids=("plain", "odd", "summed"))
def test_rows_are_taken_one_at_a_time(graph: Graph, tmp_path: Path) -> None:
    """Catches an output that is not the reference's, a pointer lost between two rows, and a row that is refused or
    taken when it should not be."""
    plan = compile_smallest(graph, ZERO, by_rows=True)
    built = Library(plan, tmp_path)
    for number in range(2):
        built.check(emit.random_inputs(plan, number))
    (image,) = emit.random_inputs(plan, 7)
    (wanted,) = reference.run(plan.source, [image])
    feed = getattr(built._library, f"{plan.name}_feed")
    found, rows = np.zeros_like(wanted), list(np.ascontiguousarray(image)[0])
    for first in (2, len(rows)):  # an image that is left, and one from its start
        for y, row in enumerate(rows[:first]):
            alone = row.copy()
            last = y + 1 == len(rows)
            assert feed(y, ctypes.c_void_p(alone.ctypes.data), ctypes.c_void_p(found.ctypes.data)) == last
            alone[...] = 99
    np.testing.assert_array_equal(found, wanted)
    assert feed(3, ctypes.c_void_p(rows[0].ctypes.data), None) == -6
    assert feed(-1, ctypes.c_void_p(rows[0].ctypes.data), None) == -6
    assert feed(0, None, None) == -4
    library._execute(plan)


@pytest.mark.slow
@pytest.mark.board
def test_rows_keep_their_promise_on_the_board() -> None:
    """Catches an access that nobody promised, such as of the words that are kept from row to row."""
    plan = compile_smallest(random_chain(1), ZERO, by_rows=True)
    found = trial.run(plan, 2, layout=usual_layout(plan.mcu))
    assert found.passed, found
    assert found.image is not None
    assert found.cycles is not None
    assert abs(found.cycles - plan.machine_cycles) <= 0.05 * found.cycles


def test_the_input_takes_no_bytes(tmp_path: Path) -> None:
    """Catches an input that is in the arena, a bound that counts it whole, and a certificate that says other than its
    library does."""
    model = Model.of(random_chain(0))
    plan, whole = (compile_smallest(model, ZERO, by_rows=by_rows) for by_rows in (True, False))
    size = plan.source.tensors[plan.source.inputs[0]].nbytes
    assert plan.arena_bytes < whole.arena_bytes
    simple = simplify.simplify(plan.source).graph
    fed, there = bound(simple), bound(simple.replace(by_rows=False))
    assert fed is not None
    assert there is not None
    assert fed.bytes <= there.bytes >= size
    signed = certificate.certify(plan)
    assert signed.by_rows
    path, file = tmp_path / signed.model, tmp_path / "certificate.json"
    path.write_bytes(model.data)
    signed.write(file)
    assert "input: by rows, kept nowhere" in memaopt.verify(file).premises
    changed = {**json.loads(signed.to_json()), "by_rows": False}
    NetworkCertificate.from_json(json.dumps(changed)).signed().write(file)
    with pytest.raises(FalseClaimError):
        memaopt.verify(file)


def test_what_does_not_come_by_rows() -> None:
    """Catches a library that would need its input whole after all, and a message without a way out."""
    with pytest.raises(InputError, match=r"an input int8\[1, rows, columns, channels\] would do"):
        compile_network(zoo.build("fc_autoencoder"), ZERO, by_rows=True)
    b = Builder("first", (1, 8, 8, 4), 1)
    dense = b.finish(b.fully_connected(b.flatten(b.input), 3))
    with pytest.raises(InputError, match=r"none starts with operator 0 \(RESHAPE\); .* would do"):
        compile_network(dense, ZERO, by_rows=True)
    with pytest.raises(InfeasibleError, match="no plan takes less than"):
        compile_network(random_chain(1), ZERO, by_rows=True, arena=64)
    with pytest.raises(InputError, match="a push takes frames as they come"):
        compile_network(zoo.build("tcn"), ZERO, by_rows=True, stream=Stream(axis="rows"))
    two = dataclasses.replace(random_chain(1), by_rows=True)
    assert simplify.simplify(two).graph.by_rows


def test_the_output_may_be_outside() -> None:
    """Catches rows that know nothing of the memory that their output is in, and another tensor outside with them."""
    model, machine = Model.of(random_chain(1)), mcu("stm32f469")
    plan = compile_network(model, machine, place=NetworkPlacement(output="fmc"), by_rows=True)
    assert plan.ends_away
    found = trial.run(plan)
    assert found.passed
    signed = certificate.certify(plan)
    network_check.verify(signed, model)
    for place in (NetworkPlacement(activations="fmc"), NetworkPlacement(input="fmc", output="fmc")):
        with pytest.raises(InputError, match=r'input comes by rows .* but for its outputs \(place="output=fmc"\)'):
            compile_network(model, machine, place=place, by_rows=True)
