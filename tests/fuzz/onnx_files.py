"""Mutated .onnx files: refused in one line, or compiled and built; one operator alone is near to onnxruntime's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_helpers as sketches
from onnx import ModelProto, helper, numpy_helper

from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import DType, Graph
from tests.fuzz import mutate
from tests.fuzz.bench import Rng
from tests.fuzz.host import samples
from tests.fuzz.model_files import ModelFiles
from tests.fuzz.oracle import answered
from tests.fuzz.watch import watched

_AROUND = ("QuantizeLinear", "DequantizeLinear")
_NUMBERS = (0, 1, 2, 3, -1, -2, 7, 127, 128, 255, 256, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 40, -(1 << 62))
_REALS = (0.0, -1.0, 1.0, 0.5, 1e-30, 1e30, float("inf"), float("nan"), 1e-3, 255.0)


def pool() -> list[bytes]:
    """A file for each case of the tests, by int8 and by uint8, and two whole networks."""
    made = [
        case(sketches.Sketch(np.random.default_rng([11, i]), unsigned=bool(i % 2)))
        for i, case in enumerate(sketches.CASES.values())
    ]
    whole = [sketches.network(sketches.Sketch(np.random.default_rng(i))) for i in range(2)]
    return [model.SerializeToString() for model in (*made, *whole)]


def rewritten(rng: Rng, original: bytes) -> bytes:
    """A well-formed file with one to three of its parts changed."""
    model = ModelProto.FromString(original)
    for _ in range(int(rng.integers(1, 4))):
        _CHANGES[int(rng.integers(len(_CHANGES)))](rng, model.graph)
    return bytes(model.SerializeToString())


def _any(rng: Rng, things: Any) -> Any:
    return things[int(rng.integers(len(things)))]


def _attribute(rng: Rng, graph: Any) -> None:
    node = _any(rng, graph.node)
    names = [a.name for a in node.attribute] + ["axis", "axes", "pads", "strides", "dilations", "group", "to", "alpha"]
    name = str(_any(rng, names))
    old = next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)
    values: Any = [int(rng.choice(_NUMBERS)) for _ in range(int(rng.integers(1, 5)))]
    value = values if isinstance(old, Sequence) or (old is None and rng.integers(2)) else values[0]
    if isinstance(old, float):
        value = float(rng.choice(_REALS))
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)
    if rng.integers(4):
        node.attribute.append(helper.make_attribute(name, value))


def _constant(rng: Rng, graph: Any) -> None:
    constant = _any(rng, graph.initializer)
    array = np.array(numpy_helper.to_array(constant))
    style, flat = int(rng.integers(4)), array.reshape(-1)
    if style == 0 and flat.size:
        reals = array.dtype.kind == "f"
        value = float(rng.choice(_REALS)) if reals else int(rng.choice(_NUMBERS)) % 256 - 128
        flat[int(rng.integers(flat.size))] = np.array(value).astype(array.dtype)
    elif style == 1:
        array = flat[: int(rng.integers(flat.size + 1))]
    elif style == 2:
        array = array.astype(_any(rng, (np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_)))
    else:
        array = np.moveaxis(array, 0, -1) if array.ndim > 1 else np.tile(flat, 2)
    constant.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), constant.name))


def _size(rng: Rng, graph: Any) -> None:
    sizes = _any(rng, graph.input).type.tensor_type.shape.dim
    if len(sizes):
        _any(rng, sizes).dim_value = int(rng.choice((0, 1, 2, 3, 5, 16, 1 << 20, 1 << 40)))


def _wiring(rng: Rng, graph: Any) -> None:
    node, other = _any(rng, graph.node), _any(rng, graph.node)
    style = int(rng.integers(4))
    if style == 0 and len(node.input) and len(other.output):
        node.input[int(rng.integers(len(node.input)))] = _any(rng, other.output)
    elif style == 1 and len(node.input):
        del node.input[int(rng.integers(len(node.input)))]
    elif style == 2:
        node.op_type = _any(rng, (other.op_type, "Relu", "Add", "Gather", "BatchNormalization", "Resize", "Nothing"))
    elif len(graph.node) > 1:
        graph.node.remove(node)


_CHANGES = (_attribute, _constant, _size, _wiring)


def mutated(rng: Rng, files: Sequence[bytes]) -> bytes:
    """One mutated file."""
    original = files[int(rng.integers(len(files)))]
    style = int(rng.integers(8))
    if style == 0:
        return original
    return rewritten(rng, original) if style < 5 else mutate.mutated_bytes(rng, original, files)


class OnnxFiles(ModelFiles):
    """Each of one operator near to onnxruntime."""

    name = "onnx-files"
    batch = 24
    ending = "onnx"

    def pool(self) -> list[bytes]:
        return pool()

    def mutated(self, rng: Rng, files: Sequence[bytes]) -> bytes:
        return mutated(rng, files)

    def read(self, data: bytes) -> tuple[Graph, Sequence[str]]:
        model = Model.parsed(data, "fuzzed.onnx")
        return model.graph, model.notes

    def compared(self, data: bytes, plan: NetworkPlan, graph: Graph, notes: Sequence[str], rng: Rng) -> str:
        values = samples(plan, rng)[0]
        with watched():
            expected = reference.run(graph, values)
        whole = ModelProto.FromString(data).graph
        alone = sum(node.op_type not in _AROUND for node in whole.node) == 1
        bytes_only = all(graph.tensors[i].dtype is not DType.FLOAT32 for i in (*graph.inputs, *graph.outputs))
        # A bias of another scale than the products' is integers of theirs in onnxruntime's kernels.
        other = any("up to" in note or "its bias" in note for note in notes)
        if not alone or not bytes_only or other:
            return "accepted"
        names = [end.name for end in whole.input if end.name not in {c.name for c in whole.initializer}]
        feeds = dict(zip(names, values, strict=True))
        verdict = answered(_compare, (data, feeds, expected), "onnxruntime")
        assert "DIFFERS" not in verdict, verdict
        return f"accepted, {verdict}"


def _compare(data: bytes, feeds: dict[str, Any], expected: Sequence[Any]) -> str:
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime is not there"
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        found = onnxruntime.InferenceSession(data, options).run(None, feeds)
    except Exception:  # of several kinds
        return "onnxruntime refuses"
    far = max(
        (np.abs(f.astype(int) - e.reshape(f.shape)).max(initial=0) for f, e in zip(found, expected, strict=True)),
        default=0,
    )
    return "onnxruntime agrees" if far <= 1 else f"onnxruntime DIFFERS by {far} steps"
