"""The one of a file's subgraphs that is the network: by its name, its signature's, or its number."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Cli
from tensors_helpers import activation
from tflite_helpers import changed, schema

from memaopt.api import certify, emit, verify
from memaopt.certificates.network import NetworkCertificate
from memaopt.machines.mcu import mcu
from memaopt.networks import operators as ops
from memaopt.networks import reference
from memaopt.networks.formats import model as files
from memaopt.networks.graph import Graph


def _chain() -> Graph:
    """TANH and RELU."""
    tensors = (activation("x", (1, 4), 0.1), activation("t", (1, 4), 1 / 128), activation("y", (1, 4), 0.1))
    operators = (ops.Tanh(inputs=(0,), outputs=(1,)), ops.Relu(inputs=(1,), outputs=(2,), location=1))
    return Graph("chain", tensors, operators, (0,), (2,))


def _named(model: Any) -> None:
    """A second subgraph, which ends earlier, by a name and a signature of its own."""
    second = copy.deepcopy(model.subgraphs[0])
    second.name, second.outputs = b"early", [second.operators[0].outputs[0]]
    model.subgraphs.append(second)
    model.signatureDefs = []
    for number, key in enumerate((b"whole", b"first_part")):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, number
        maps = []
        for name, tensors in ((b"x", model.subgraphs[number].inputs), (b"y", model.subgraphs[number].outputs)):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, int(tensors[0])
            maps.append([entry])
        signature.inputs, signature.outputs = maps
        model.signatureDefs.append(signature)


@pytest.mark.parametrize("asked", ["early", "first_part", "1"])
def test_a_subgraph_by_name(asked: str, tmp_path: Path, cli: Cli) -> None:
    """Catches a subgraph, or a signature, that is not the one that was named, is not certified with the rest, or that
    computes something else than LiteRT's runner of it."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path = tmp_path / "net.tflite"
    path.write_bytes(changed(_chain(), _named))
    certificate = certify(path, mcu("stm32l4r5"), subgraph=asked)
    assert isinstance(certificate, NetworkCertificate)
    graph = certificate.plan.source
    x = np.random.default_rng(0).integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
    runner = interpreter.Interpreter(model_content=path.read_bytes()).get_signature_runner("first_part")
    np.testing.assert_array_equal(reference.run(graph, [x])[0], runner(x=x)["y"])
    assert graph.outputs != files.Model.read(path).graph.outputs
    emit(certificate, tmp_path / "out")
    assert f"subgraph {asked}" in verify(tmp_path / "out" / "certificate.json").premises
    assert f"{asked} is the network" in cli("inspect", path, "--subgraph", asked).out


def test_a_subgraph_that_there_is_not(tmp_path: Path, cli: Cli) -> None:
    """Catches a name or number that ends in a traceback, or in the first subgraph without a word."""
    path = tmp_path / "net.tflite"
    path.write_bytes(changed(_chain(), _named))
    for asked in ("late", "2", "-1"):
        refused = cli("solve", path, "--subgraph", asked)
        assert refused.code == 2
        assert f"--subgraph {asked}: net.tflite has 2 subgraphs: main (0), early (1), whole (0), first_part (1)" in (
            refused.err
        )
