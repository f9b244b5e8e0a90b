"""ONNX files: against onnxruntime, node by node and whole; what is refused, in a line that says what would do."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_helpers as sketches
import pytest
from cli_helpers import Cli
from onnx import TensorProto, helper, numpy_helper
from onnx_helpers import CASES, Sketch, inputs_of

from memaopt.choice.compile import compile_network
from memaopt.emit.network import files
from memaopt.errors import InputError, MissingToolError, UnsupportedModelError
from memaopt.machines.mcu import mcu
from memaopt.networks import reference
from memaopt.networks.formats.model import Model, examine
from memaopt.networks.formats.onnx.folding import FOLDED
from memaopt.networks.formats.onnx.registry import HANDLERS
from memaopt.networks.graph import Graph
from memaopt.networks.operators import FullyConnected, Rounding
from memaopt.networks.simplify.simplify import simplify

SEEDS = 4
_MISSED = "one step apart"


def _runtime(model: Any, given: dict[str, Any]) -> list[Any]:
    runtime = pytest.importorskip("onnxruntime")
    return list(runtime.InferenceSession(model.SerializeToString()).run(None, given))


def _read(model: Any, name: str = "net.onnx") -> Model:
    return Model.parsed(model.SerializeToString(), name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_operator(name: str) -> None:
    """Catches a layout, a table, a rounding or a scale that onnxruntime has otherwise, and a note that is missing."""
    for seed in range(SEEDS):
        sketch = CASES[name](Sketch(np.random.default_rng(seed), unsigned=bool(seed % 2)))
        given, model = inputs_of(sketch, np.random.default_rng(seed + 1)), _read(sketch)
        for graph in (model.graph, simplify(model.graph).graph):
            for got, wanted in zip(reference.run(graph, [*given.values()]), _runtime(sketch, given), strict=True):
                assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
                most = 1 if any(_MISSED in note for note in model.notes) else 0
                assert np.abs(got.astype(int) - wanted.astype(int)).max() <= most, (name, seed)


def test_a_network_of_exact_nodes() -> None:
    """Catches a difference that only shows where layers follow each other, or a transpose too many."""
    sketch = sketches.network(Sketch(np.random.default_rng(3)))
    model = _read(sketch)
    assert [op.kind for op in simplify(model.graph).graph.operators].count("TRANSPOSE") == 1
    for seed in range(8):
        given = inputs_of(sketch, np.random.default_rng(seed))
        np.testing.assert_array_equal(reference.run(model.graph, [*given.values()])[0], _runtime(sketch, given)[0])


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
def test_all_pairs_of_bytes_are_a_step_apart_at_most(kind: str) -> None:
    """Catches scales for which the fixed point of two tensors is further from their reals than one step."""
    x, y = (each.reshape(1, -1).astype(np.int8) for each in np.meshgrid(*[np.arange(-128, 128)] * 2))
    for seed in range(5):
        s = Sketch(np.random.default_rng(seed))
        scales = np.exp(s.rng.uniform(np.log(1e-2), 0, 3))
        out = float(scales[0] * scales[1] * np.exp(5 * scales[2])) if kind == "Mul" else float(scales[2])
        both = [s.bytes(1, x.size, scale=float(scale)) for scale in scales[:2]]
        graph = _read(s.model(s.add(kind, *both), scale=out)).graph
        meanings = [graph.tensors[i] for i in (*graph.inputs, *graph.outputs)]
        a, b = (t.scale * (v.astype(np.float32) - t.zero_point) for t, v in zip(meanings, (x, y), strict=False))
        reals = {"Add": a + b, "Sub": a - b, "Mul": a * b}[kind].astype(np.float32)
        wanted = np.clip(np.rint(reals / np.float32(meanings[2].scale)) + meanings[2].zero_point, -128, 127)
        assert np.abs(reference.run(graph, [x, y])[0] - wanted).max() <= 1


def test_few_accumulators_differ() -> None:
    """Catches a count of those that differ which is not all of them: every accumulator of a channel is tried."""
    counts = []
    for seed in range(4):
        model = _read(CASES["gemm"](Sketch(np.random.default_rng(seed))))
        op = next(op for op in model.graph.operators if isinstance(op, FullyConnected))
        assert op.rounding is Rounding.NEAREST
        low, high = op.accumulator_range(model.graph).ends
        exact = op.model_copy(update={"rounding": Rounding.EVEN}).rounded_once(model.graph)
        every = np.arange(low.min(), high.max() + 1)[:, None]
        apart = exact.apply(every) != op.rounded_once(model.graph).apply(every)
        counts.append(np.count_nonzero(apart & (every >= low) & (every <= high)))
        total = int((high - low + 1).sum())
        told = any(f"at {counts[-1]} of {total:,} accumulators" in note for note in model.notes)
        assert told if counts[-1] else not model.notes
    assert any(counts)


def test_ties_are_rounded_as_onnxruntime_does() -> None:
    """Catches scales that are powers of two, with every fourth accumulator on a tie, rounded away from zero."""

    def model() -> Any:
        s = Sketch(np.random.default_rng(1))
        x = s.bytes(1, 20, scale=0.5)
        data = s.constant(s.rng.integers(-20, 20, (20, 7)).astype(np.int8))
        w = s.add("DequantizeLinear", data, s.constant(np.float32(0.5)), s.constant(np.int8(0)))
        return s.model(s.add("MatMul", x, w), scale=8.0)

    read = _read(model())
    assert {op.rounding for op in read.graph.operators if isinstance(op, FullyConnected)} == {Rounding.EVEN}
    assert read.notes == ()
    for seed in range(20):
        given = inputs_of(model(), np.random.default_rng(seed))
        np.testing.assert_array_equal(reference.run(read.graph, [*given.values()])[0], _runtime(model(), given)[0])


def _float(kind: str = "Conv") -> Any:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1, 4, 4]) for n in "xy")
    w = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
    graph = helper.make_graph([helper.make_node(kind, ["x", "w"], ["y"])], "g", [x], [y], [w])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _unquantised(s: Sketch) -> Any:
    x = s.bytes(1, 3, 8, 8)
    w, scales = s.weights(4, 3, 3, 3)
    return s.model(s.add("Sigmoid", s.add("Conv", x, w, s.bias(x, scales))))


def _two_unknown(s: Sketch) -> Any:
    return s.model(s.add("Einsum", s.add("LRN", s.bytes(1, 3, 8, 8), size=3), equation="abcd->abcd"))


def _open_size(s: Sketch) -> Any:
    model = CASES["gemm"](s)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "K"
    return model


def _changed(change: Callable[[Any], None]) -> Callable[[Sketch], Any]:
    def make(s: Sketch) -> Any:
        model = CASES["conv"](s)
        change(model.graph)
        return model

    return make


def _mixed(graph: Any) -> None:
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _unordered(graph: Any) -> None:
    nodes = [*graph.node][::-1]
    del graph.node[:]
    graph.node.extend(nodes)


def _nowhere(graph: Any) -> None:
    del graph.output[:]


def _elsewhere(graph: Any) -> None:
    graph.initializer[0].data_location = TensorProto.EXTERNAL


def _enormous(graph: Any) -> None:
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            huge = np.full_like(numpy_helper.to_array(constant), 1e30)
            constant.CopyFrom(numpy_helper.from_array(huge, constant.name))


def _far(s: Sketch) -> Any:
    """Offsets of which the factors are a millionth."""
    rows = [s.constant(np.full(4, value, np.float32)) for value in (1e-3, 1e5, 0.0, 1.0)]
    return s.model(s.add("BatchNormalization", s.bytes(1, 4, 3, 3), *rows), scale=1e-5)


def _steep(s: Sketch) -> Any:
    slopes = s.constant(np.array([0.5, 9, -0.3, 0.37], np.float32).reshape(4, 1, 1))
    return s.model(s.add("PRelu", s.bytes(1, 4, 3, 3, scale=0.1), slopes), scale=0.01)


def _by_thirds(s: Sketch) -> Any:
    factors = s.constant(np.array([1, 1, 3, 3], np.float32))
    return s.model(s.add("Resize", s.bytes(1, 2, 4, 4), "", factors, mode="linear"))


REFUSED = {
    "steep": (_steep, r"\(PRelu\): slopes of 8 bits are \d+ steps off; one is supported"),
    "thirds": (_by_thirds, r"\(Resize\): 4 elements as 12: TFLite's positions in 1/1024 are others"),
    "cut away": (
        sketches.transposed(kernel=(2, 2), pads=[2, 0, 0, 0]),
        r"\(ConvTranspose\): pads \[2, 0\] of a window",
    ),
    "far": (_far, "a rescaled accumulator can reach 1e.10, which does not fit 32 bits"),
    "mixed": (_changed(_mixed), r"\(DequantizeLinear\): bytes of uint8 with a zero point of int8"),
    "unordered": (_changed(_unordered), r"no node before it that is supported gives its input"),
    "no output": (_changed(_nowhere), "it has no output"),
    "elsewhere": (_changed(_elsewhere), "net.onnx: constant 'c0' is stored outside the file"),
    "enormous": (_changed(_enormous), "does not fit 32 bits"),
    "float": (lambda s: _float(), "computes in float32.*preprocess .*quantize_static"),
    "dynamic": (lambda s: _float("MatMulInteger"), "quantised while it runs.*quantize_static"),
    "unquantised": (_unquantised, r"\(Sigmoid\): its input is not quantised before it"),
    "unknown": (_two_unknown, "operator LRN is not supported.*operator Einsum is not supported"),
    "open": (_open_size, "only the first size may be left open"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str, tmp_path: Path) -> None:
    """Catches a refusal that names one thing of several, or nothing that would do; inspect shows the file anyway."""
    make, text = REFUSED[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(make(Sketch(np.random.default_rng(0))).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a second line on stderr
        with pytest.raises(UnsupportedModelError, match=text):
            Model.read(path)
    if name != "elsewhere":  # a file without its constants is none
        assert examine(path).refusals


def test_no_file_of_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches bytes that are no model, halves of one, and a package that is missing, told otherwise than in a line."""
    whole = CASES["conv"](Sketch(np.random.default_rng(0))).SerializeToString()
    path = tmp_path / "net.onnx"
    for data in (b"", b"nothing", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(InputError):
            Model.read(path)
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        with contextlib.suppress(InputError):  # anything else is a fault
            assert isinstance(Model.read(path).graph, Graph)
    path.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingToolError, match=r"pip install 'memaopt\[onnx\]'"):
        Model.read(path)


def test_inspect_says_what_is_not_exact(tmp_path: Path, cli: Cli) -> None:
    """Catches notes that only the reader knows."""
    path = tmp_path / "net.onnx"
    path.write_bytes(sketches.pair("Add")(Sketch(np.random.default_rng(0))).SerializeToString())
    result = cli("inspect", path)
    assert result.code == 0
    assert "(Add): at most one step apart" in " ".join(result.out.split())
    solved = cli("solve", path)
    assert "every node as ONNX has it, but for 1, at most one step apart" in " ".join(solved.out.split())


def test_the_header_says_how_images_lie_and_how_near_outputs_are() -> None:
    """Catches a library of ONNX that promises TFLite's outputs, or leaves its user to guess where channels are."""
    for name, near in (("conv", "at most one step apart"), ("max_pool", "exactly")):
        model = _read(CASES[name](Sketch(np.random.default_rng(1))))
        header = files(compile_network(model, mcu("stm32l4r5")))["include/net.h"]
        assert "TensorFlow Lite" not in header.split("*/")[0]
        assert near in header.split("*/")[0]
        assert "lie as the ONNX model has them" in header


def test_the_document_names_every_node() -> None:
    """Catches a node that is read and that docs/onnx.md does not speak of, or speaks of and is not read."""
    text = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    named = {word for row in rows for word in re.findall(r"[A-Z]\w+", row.replace("Sigmoid(x)", ""))}
    assert named - {"1D"} >= set(HANDLERS)
    assert named <= {*HANDLERS, *FOLDED}
