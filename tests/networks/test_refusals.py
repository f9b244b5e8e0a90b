"""What stands in the way of a network: all of it, counted, in one line; and shown by `inspect`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks_helpers import inputs
from tensors_helpers import activation
from tflite_helpers import changed, put

from memaopt.cli import main as cli
from memaopt.errors import InputError, UnsupportedModelError
from memaopt.networks import checks, reference
from memaopt.networks import operators as ops
from memaopt.networks.formats import model as files
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.registry import OPERATORS as OPERATORS_BY_KIND
from memaopt.networks.refusals import Refusal, error_of

RNN, CUSTOM, OPERATORS = 24, 32, "subgraphs[0].operators"


def _chain() -> Graph:
    """TANH, RELU, TANH, RELU6, LOGISTIC, RELU, one after another."""
    kinds = (ops.Tanh, ops.Relu, ops.Tanh, ops.Relu6, ops.Logistic, ops.Relu)
    tensors = [activation("x", (1, 4), 0.1)]
    operators = []
    for i, kind in enumerate(kinds):
        scale, zero_point = (1 / 128, 0) if kind is ops.Tanh else (1 / 256, -128) if kind is ops.Logistic else (0.1, 0)
        tensors.append(activation(f"t{i}", (1, 4), scale, zero_point))
        operators.append(kind(inputs=(i,), outputs=(i + 1,), location=i))
    return Graph("chain", tuple(tensors), tuple(operators), (0,), (len(kinds),))


def _obstructed(model: Any) -> None:
    """Kinds are RELU's, RELU6's and LOGISTIC's codes changed; then a type, a scale and a variable."""
    put("operatorCodes[1].builtinCode", RNN)(model)
    put("operatorCodes[2].builtinCode", CUSTOM)(model)
    put("operatorCodes[2].customCode", "MyOp")(model)
    put("subgraphs[0].tensors[0].type", 7)(model)
    put("subgraphs[0].tensors[5].quantization.scale", [0.5])(model)
    put("subgraphs[0].tensors[3].isVariable", True)(model)


def test_everything_in_the_way_is_told_at_once() -> None:
    """Catches a refusal that stops at the first thing, that miscounts the layers, or that takes two lines."""
    with pytest.raises(UnsupportedModelError) as caught:
        reader.parse(changed(_chain(), _obstructed), "net.tflite")
    told = str(caught.value)
    assert told.startswith("net.tflite is not supported as it is: operator RNN is not supported (2 layers); ")
    assert 'operator CUSTOM MyOp is not supported, but by C of yours: custom=["MyOp=header.h"] (1 layer)' in told
    assert "int16 in TANH is not supported (1 layer)" in told
    assert "operator 4 (LOGISTIC): output scale 0.5" in told
    assert "state of TANH is not supported (1 layer)" in told
    assert told.count("; ") == 5  # one of them within a text
    assert "\n" not in told


def test_many_are_counted_not_listed() -> None:
    """Catches a line as long as the network, and one that counts what it leaves out wrongly."""
    told = str(error_of("net", tuple(Refusal(f"operator {i} is bent", i) for i in range(20))))
    assert told.count("is bent") == 8
    assert told.endswith("; and 12 more, which `memaopt inspect` shows")


def test_inspect_shows_what_is_not_supported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an operator that is left out, marked wrongly or not at all, and figures of layers that are refused."""
    path = tmp_path / "net.tflite"
    path.write_bytes(changed(_chain(), _obstructed))

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(("inspect", str(path), *arguments))
        assert not ended.value.code
        return capsys.readouterr().out

    text = run()
    assert text.count("not supported  ") == 6
    assert "operator RNN is not supported (2 layers)" in text
    assert re.search(r"3 +CUSTOM MyOp +not supported  ", text)
    found = json.loads(run("--json"))
    assert [row["kind"] for row in found["rows"]] == ["TANH", "RNN", "TANH", "CUSTOM MyOp", "LOGISTIC", "RNN"]
    assert not any(row["supported"] for row in found["rows"])
    assert found["inputs"] == ["x int16[1,4] scale 0.1 zero point 0"]
    assert len(found["refusals"]) == 5


def test_what_is_supported_is_read_between_what_is_not(tmp_path: Path) -> None:
    """Catches operators that are lost because an earlier one is refused, and subgraphs that hide the main one."""
    path = tmp_path / "net.tflite"

    def change(model: Any) -> None:
        put("operatorCodes[1].builtinCode", RNN)(model)
        model.subgraphs.append(model.subgraphs[0])

    path.write_bytes(changed(_chain(), change))
    found = files.examine(path)
    assert [op.kind for op in found.graph.operators] == ["TANH", "TANH", "RELU6", "LOGISTIC"]
    assert [op.location for op in found.unread] == [1, 5]
    assert found.inputs == (0,)
    assert found.notes == ("of 2 subgraphs 1 is not read: the first is the network",)
    with pytest.raises(UnsupportedModelError, match=r"operator RNN is not supported .2 layers."):
        files.Model.read(path)


def test_a_subgraph_that_nothing_runs_is_left_out() -> None:
    """Catches another network of the file that is read in the first one's place, or refused."""
    data = changed(_chain(), lambda model: model.subgraphs.append(model.subgraphs[0]))
    read, alone = (reader.parse(made, "net") for made in (data, writer.write(_chain())))
    assert [op.kind for op in read.operators] == [op.kind for op in alone.operators]
    values = next(inputs(np.random.default_rng(6), alone))
    for found, expected in zip(reference.run(read, values), Oracle(data).run(values), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_comparison_names_the_scale_that_is_too_great() -> None:
    """Catches a scale of one input that is called a ratio, and no word of which input's it is."""
    tensors = (activation("a", (4,), 0.5), activation("b", (4,), 2.0), Tensor("y", (4,), DType.BOOL))
    less = OPERATORS_BY_KIND["LESS"](inputs=(0, 1), outputs=(2,))
    with pytest.raises(UnsupportedModelError, match="the second input's scale 2 is out of range; below 1 is supported"):
        checks.check(Graph("less", tensors, (less,), (0, 1), (2,)))


def test_kernels_that_tflite_lacks_are_told_as_such() -> None:
    """Catches "TFLite does not load the network" where only its reference kernels do not: there is no ELU of them."""
    data = changed(_chain(), put("operatorCodes[1].builtinCode", 111))
    with pytest.raises(InputError, match=r"TFLite's reference kernels do not load the network: .*ELU"):
        Oracle(data)


def test_a_file_behind_vela_is_told_what_to_hand_in() -> None:
    """Catches an operator of Ethos-U that is named, with a list of others, and not where it comes from."""

    def compiled(model: Any) -> None:
        code = model.operatorCodes[1]
        code.builtinCode = code.deprecatedBuiltinCode = 32
        code.customCode = "ethos-u"

    with pytest.raises(UnsupportedModelError, match="compiled for an Ethos-U by Vela; hand in the file from before"):
        reader.parse(changed(_chain(), compiled))
