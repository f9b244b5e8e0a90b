"""A network staged from outside SRAM: against every choice by hand, against a walk, and what it must reach."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path

import pytest

from memaopt.choice.external import StagedNetwork, stage
from memaopt.choice.layer_nests import nests_of
from memaopt.errors import InfeasibleError
from memaopt.memory import row_network
from memaopt.models import layer_exhaustive
from memaopt.models.layer_nest import LayerSpace, external_bytes, footprint
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.simplify.simplify import simplify
from memaopt.networks.zoo.builder import Builder
from memaopt.networks.zoo.zoo import build

_RELU = Activation.RELU


def _residual(seed: int) -> Graph:
    """Two convolutions beside a short cut, a depthwise layer before them, a pool and a sum of products after them."""
    b = Builder("residual", (1, 4, 3, 2), seed=seed)
    x = b.depthwise_conv_2d(b.input, _RELU)
    y = b.conv_2d(x, 3, Size2D(3, 3), _RELU)
    y = b.conv_2d(y, 2, ops.ONE, Activation.NONE)
    return b.finish(b.fully_connected(b.average_pool(b.add(x, y)), 3))


def _least(graph: Graph, sram: int) -> int | None:
    """The fewest bytes over the places of all tensors before and after each operator, each layer by every schedule."""
    network = row_network.of(graph)
    lowered = {i: low for i, op in enumerate(graph.operators) if (low := op.lower(graph)) is not None}
    nests = nests_of(graph, network, lowered)
    size = {t: x.rows * x.row_bytes for t, x in network.tensors.items()}
    readers = {t: [i for i, op in enumerate(network.operators) if t in [r.tensor for r in op.reads]] for t in size}
    known: dict[LayerSpace, int | None] = {}

    def layer(space: LayerSpace) -> int | None:
        if space not in known:
            best = layer_exhaustive.solve(space) if space.capacity >= 0 else None
            known[space] = None if best is None else external_bytes(space, best)
        return known[space]

    def best(step: int, inside: frozenset[int], outside: frozenset[int]) -> int | None:
        if step == len(nests):
            return 0
        op, found = network.operators[step], []
        alive = sorted(inside | outside)
        for kept in itertools.product((False, True), repeat=len(alive)):
            now = frozenset(t for t, here in zip(alive, kept, strict=True) if here)
            moved = sum(size[t] for t in now - inside) + sum(size[t] for t in inside - now - outside)
            there = outside | (inside - now)
            for stores in (True, False):
                resident = sum(size[t] for t in now) + (0 if stores else size[op.output])
                reads = frozenset(i for i, read in enumerate(op.reads) if read.tensor not in now)
                crossing = layer(LayerSpace(nests[step], reads, stores, sram - resident))
                if crossing is None:
                    continue
                later = {t for t in size if any(reader > step for reader in readers[t])}
                after = (now | (frozenset() if stores else {op.output})) & later
                rest = best(step + 1, after, (there | ({op.output} if stores else frozenset())) & later)
                last = 0 if stores or op.output not in network.outputs else size[op.output]
                if rest is not None:
                    found.append(moved + crossing + last + rest)
        return min(found, default=None)

    return best(0, frozenset(), network.inputs)


def _two_outputs(seed: int) -> Graph:
    """A network that gives out what it also reads."""
    b = Builder("two_outputs", (1, 4, 3, 2), seed=seed)
    x = b.conv_2d(b.input, 3, Size2D(3, 3), _RELU)
    made = b.finish(b.conv_2d(x, 2, ops.ONE, Activation.NONE))
    return dataclasses.replace(made, outputs=(x, *made.outputs))


@pytest.mark.parametrize("sram", [24, 40, 60, 70, 90, 130])
def test_an_output_that_is_read_goes_outside_too(sram: int) -> None:
    """Catches an output of the network that stays in SRAM, because a layer reads it, and is never stored."""
    graph = simplify(_two_outputs(1)).graph
    least = _least(graph, sram)
    if least is not None:
        staged = stage(graph, sram)
        assert staged.bytes == least >= staged.compulsory
        assert staged.replayed()[0] == least


def test_a_network_that_moves_nothing() -> None:
    """Catches a greatest of nothing, where all that a network does is to call its input another shape."""
    image = Builder("reshaped", (1, 4, 3, 2), seed=1).tensors[0]
    flat = dataclasses.replace(image, name="flat", shape=(1, 24))
    staged = stage(Graph("reshaped", (image, flat), (ops.Reshape(inputs=(0,), outputs=(1,)),), (0,), (1,)), 100)
    assert (staged.bytes, staged.packed(), staged.replayed(), staged.gap) == (0, 0, (0, 0), 0.0)


@pytest.mark.parametrize("sram", [30, 41, 56, 64, 75, 90, 110])
def test_no_choice_by_hand_is_better(sram: int) -> None:
    """Catches a place, a move or a schedule that the search leaves out, and one that it takes and that is none."""
    graph = simplify(_residual(sram)).graph
    least = _least(graph, sram)
    if least is None:
        with pytest.raises(InfeasibleError, match="bytes of SRAM for its rows"):
            stage(graph, sram)
    else:
        assert stage(graph, sram).bytes == least


def _check(staged: StagedNetwork) -> None:
    moved, peak = staged.replayed()
    assert moved == staged.bytes >= staged.compulsory
    assert peak <= staged.packed() <= staged.sram
    for layer in staged.layers:
        assert external_bytes(layer.space, layer.schedule) >= layer.least
        assert footprint(layer.space, layer.schedule) <= layer.space.capacity


@pytest.mark.parametrize("name", ["ds_cnn", "resnet8", "mobilenet_v1", "mobilenet_v2", "fc_autoencoder"])
@pytest.mark.parametrize("sram", [16, 32, 64])
def test_what_is_promised_is_walked(name: str, sram: int) -> None:
    """Catches bytes that a walk of all blocks does not find, tiles beyond the SRAM, and a bound that is none."""
    staged = stage(simplify(build(name)).graph, sram << 10)
    _check(staged)
    assert sram < 64 or staged.bytes == staged.compulsory


#: Thousands of bytes with 16, 32 and 64 KiB, at most.
_MODELS = {
    "kws_ref_model": (25, 25, 25),
    "pretrainedResnet_quant": (275, 181, 82),
    "vww_96_int8": (338, 209, 62),
    "ad01_int8": (273, 273, 273),
}


@pytest.mark.parametrize("name", _MODELS)
def test_the_reference_models(name: str) -> None:
    """Catches more traffic than the models of MLPerf Tiny need."""
    folder = os.environ.get("MEMAOPT_MODELS")
    if folder is None:
        pytest.skip("MEMAOPT_MODELS names no folder")
    graph = simplify(Model.read(Path(folder) / f"{name}.tflite").graph).graph
    for sram, most in zip((16, 32, 64), _MODELS[name], strict=True):
        staged = stage(graph, sram << 10)
        _check(staged)
        assert staged.bytes <= most * 1000
