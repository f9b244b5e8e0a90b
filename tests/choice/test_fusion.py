"""Two operators as one layer: what is offered, what the memory plan then holds, that choice and claims agree."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from network_helpers import MCU, Library

from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.network import NetworkCertificate
from memaopt.choice import fusion
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.problem import prepare
from memaopt.emit import network as emit
from memaopt.errors import FalseClaimError, InfeasibleError
from memaopt.kernels.registry import Format
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite.writer import write
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import network as network_trial

_ONE, _TWO = Size2D(1, 1), Size2D(2, 2)
ZERO = MCU.with_wait_states(0)


def _separable() -> Graph:
    """A wide tensor between a 1x1 convolution and a strided depthwise one sets the peak, unless they are one."""
    b = Builder("separable", (1, 24, 24, 3), seed=6)
    x = b.conv_2d(b.input, 8, Size2D(3, 3), Activation.RELU)
    x = b.conv_2d(x, 24, _ONE, Activation.RELU6)
    x = b.depthwise_conv_2d(x, Activation.RELU, stride=_TWO)
    return b.finish(b.conv_2d(x, 8, _ONE))


def _branched() -> Graph:
    """An inverted residual whose input waits, and a convolution that two operators read."""
    b = Builder("branched", (1, 12, 12, 4), seed=7)
    x = b.conv_2d(b.input, 8, _ONE)
    y = b.depthwise_conv_2d(b.conv_2d(x, 24, _ONE, Activation.RELU), Activation.RELU)
    x = b.add(x, b.conv_2d(y, 8, _ONE))
    z = b.conv_2d(x, 4, _ONE, Activation.RELU)
    return b.finish(b.add(z, b.depthwise_conv_2d(z, Activation.RELU)))


def _batched(graph: Graph, batch: int) -> Graph:
    tensors = [
        t if t.is_constant or len(t.shape) != 4 else dataclasses.replace(t, shape=(batch, *t.shape[1:]))
        for t in graph.tensors
    ]
    return graph.replace(tensors=tensors)


def _fused(plan: NetworkPlan) -> list[tuple[int, int]]:
    return [(layer.within, layer.position) for layer in plan.layers if layer.within is not None]


@pytest.mark.parametrize(("build", "batch"), [(_separable, 1), (_separable, 2), (_branched, 1)])
def test_fused_layers_on_board_and_host(build: Any, batch: int, tmp_path: Path) -> None:
    """Catches wrong bytes, accesses or offsets of a layer that stands for two operators, in batches and beside
    branches, and an arena that the choice did not foresee."""
    graph = _batched(build(), batch)
    for arena in (None, "least"):
        plan = compile_network(graph, ZERO, arena=_least_arena(graph) if arena else None)
        assert _fused(plan) or arena  # in place, or depth first, some take less
        trial = network_trial.run(plan, 3)
        for layer in trial.layers:
            assert layer.wrong == 0, layer.name
            assert layer.counted == layer.promised, layer.name
        assert trial.passed
        assert sum(layer.macs for layer in plan.layers) == plan.macs == _macs(graph)
        Library(plan, tmp_path / str(arena)).check(emit.random_inputs(plan, 1))


def test_fused_layers_built_by_clang() -> None:
    """Catches accesses that another compiler adds, as of an initialiser that it keeps as a constant."""
    pytest.importorskip("ziglang")
    trial = network_trial.run(compile_network(_separable(), ZERO), 1, compiler="zig")
    for layer in trial.layers:
        assert layer.counted == layer.promised, layer.name
    assert trial.passed


def _macs(graph: Graph) -> int:
    return compile_network(graph, ZERO, formats=False).macs


def _least_arena(graph: Graph) -> int:
    with pytest.raises(InfeasibleError, match=r"needs an arena of [\d,]+ bytes, [\d,]+ more than the 16 given") as e:
        compile_network(graph, ZERO, arena=16)
    return int(str(e.value).split("arena of ")[1].split()[0].replace(",", ""))


@pytest.mark.parametrize("build", [_separable, _branched, zoo.mobilenet_v2])
def test_the_choice_knows_the_arena(build: Any) -> None:
    """Catches a live set of a fused layer that is not the one that the memory plan has."""
    graph = build()
    for arena in (None,) if build is zoo.mobilenet_v2 else (None, _least_arena(graph)):
        plan = compile_network(graph, ZERO, arena=arena)
        problem = prepare(plan.graph, ZERO)
        by_position = dict(zip(problem.positions, problem.stages, strict=True))
        needed = [
            next(c.arena_bytes for c in by_position[layer.position].candidates if c.plan == layer.plan)
            for layer in plan.layers
        ]
        assert plan.memory.lower_bound == max(needed)
        assert plan.memory.arena_bytes == plan.memory.lower_bound


def test_the_tensor_between_takes_no_memory() -> None:
    """Catches an arena that still holds it: apart, input and output of a layer are alive together."""
    graph = _separable()
    apart = compile_network(graph, ZERO, formats=False)
    assert not _fused(apart)
    assert apart.arena_bytes >= 24 * 24 * 24
    plan = compile_network(graph, ZERO)
    assert plan.tensor_bytes < 24 * 24 * 24
    (between,) = [plan.graph.operators[first].output for first, _ in _fused(plan)][-1:]
    assert plan.format_of(between) is Format.FUSED


def test_only_pairs_with_nobody_else_are_offered() -> None:
    """Catches a tensor that is never written although somebody else reads it, or the network's user does."""
    graph = _branched()
    problem = prepare(graph, ZERO)
    for second, first in problem.pairs.items():
        between = graph.operators[first].output
        assert isinstance(graph.operators[first], ops.Conv2D)
        assert graph.consumers[between] == (second,)
    read_twice = [t for t, readers in graph.consumers.items() if len(readers) > 1]
    assert read_twice
    assert not {graph.producers[t] for t in read_twice if t in graph.producers} & set(problem.pairs.values())
    watched = graph.replace(outputs=[*graph.outputs, *(graph.operators[i].output for i in problem.pairs.values())])
    assert not prepare(watched, ZERO).pairs
    assert not prepare(graph, ZERO, formats=False).pairs


def test_a_deferred_operator_is_an_alias() -> None:
    """Catches a memory plan in which the convolution's input dies before the depthwise layer has run."""
    graph = _separable()
    problem = prepare(graph, ZERO)
    seen = fusion.in_memory(graph, problem.pairs.values())
    for first in problem.pairs.values():
        op = seen.operators[first]
        assert isinstance(op, ops.Reshape)
        assert seen.tensors[op.output].nbytes == seen.tensors[op.input].nbytes
    assert fusion.in_memory(graph, []) is graph


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NetworkCertificate]:
    path = tmp_path_factory.mktemp("fused") / "separable.tflite"
    path.write_bytes(write(_separable()))
    cert = certificate.certify(compile_network(path, MCU), path.name)
    assert cert.layers[-2].within is not None
    return path, cert


def test_a_true_certificate_verifies(signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a check that fails on the truth."""
    path, cert = signed
    network_check.verify(NetworkCertificate.from_json(cert.to_json()), Model.read(path))


def _without_within(data: dict[str, Any]) -> None:
    data["layers"][-2]["within"] = None


def _another_within(data: dict[str, Any]) -> None:
    data["layers"][-2]["within"] = data["layers"][-2]["operator"]


def _a_layer_less(data: dict[str, Any]) -> None:
    del data["layers"][-2]


def _an_input_that_dies(data: dict[str, Any]) -> None:
    buffers = data["memory"]["buffers"]
    wide = next(b for b in buffers if len(b["tensors"]) > 1)
    wide["tensors"] = wide["tensors"][:1]


@pytest.mark.parametrize("change", [_without_within, _another_within, _a_layer_less, _an_input_that_dies])
def test_false_claims_are_found(change: Any, signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches an operator that no layer computes, and a fused layer that claims another."""
    path, cert = signed
    data = copy.deepcopy(json.loads(cert.to_json()))
    change(data)
    changed = NetworkCertificate.from_json(json.dumps(data))
    changed = changed.signed()
    with pytest.raises(FalseClaimError):
        network_check.verify(changed, Model.read(path))
