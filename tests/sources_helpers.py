"""Where an operator comes from: nodes of ONNX, as the front end reads them, and models of Keras and of PyTorch."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx_helpers import CASES, Sketch
from tflite_helpers import schema

from memaopt.networks.formats.model import Model
from memaopt.networks.formats.onnx import moving
from memaopt.networks.formats.onnx.pointwise import POINTWISE
from memaopt.networks.formats.onnx.registry import HANDLERS

_TESTS = Path(__file__).parent
#: Other words for a node: those of bytes, and those that one function reads.
_SAME = {"QGemm": ("Gemm",), "Upsample": ("Resize",)}
#: What lies between an operator and its neighbours, and is then no node's own.
_AROUND = {"QUANTIZE": "QuantizeLinear", "TRANSPOSE": "Transpose"}
_FAR = {(False, False): "exact", (True, False): "exact or one step", (True, True): "one step"}


def onnx_nodes() -> dict[str, dict[str, str]]:
    """For each kind of operator the nodes that become it, and how far that may be from onnxruntime's outputs."""
    noted: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for name, seed in ((name, seed) for name in sorted(CASES) for seed in range(2)):
        sketch = CASES[name](Sketch(np.random.default_rng(seed), unsigned=bool(seed)))
        model = Model.parsed(sketch.SerializeToString(), "sketch.onnx")
        told = {int(match[1]) for note in model.notes if (match := re.match(r"node (\d+) of", note))}
        for op in model.graph.operators:
            node = sketch.graph.node[op.location].op_type
            if op.kind not in ("RESHAPE", "LOOKUP") and _AROUND.get(op.kind, node) == node:
                noted[op.kind, node].append(op.location in told)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    products = [noted[kind, "Conv"] for kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    for each, other in (products, products[::-1]):  # the same arithmetic
        each.extend(other)
    for (kind, node), each in noted.items():
        found[kind][node] = _FAR[any(each), all(each)]
    found["RESHAPE"] = {node: "exact" for node, read in HANDLERS.items() if read is moving.reshape}
    found["TRANSPOSE"], found["DEQUANTIZE"] = {"Transpose": "exact"}, {"DequantizeLinear": "exact"}
    found["LOOKUP"] = {
        node: "one step" if node in ("Add", "Mul", "Sub") else "exact" for node in ("QuantizeLinear", *POINTWISE)
    }
    for kind, nodes in found.items():
        alike = {other: far for node, far in nodes.items() for other in _alike(node)}
        found[kind] = dict(sorted((nodes | alike).items()))
    return found


def _alike(node: str) -> list[str]:
    return [other for other in HANDLERS if _SAME.get(other, (other.removeprefix("QLinear"),)) == (node,) != (other,)]


def left_out(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Nodes that are read and become no operator of their own."""
    return sorted(set(HANDLERS) - {node for nodes in found.values() for node in nodes})


def torch_models() -> Counter[str]:
    """In how many PyTorch models each node is."""
    models = (onnx.load(path) for path in sorted((_TESTS / "torch_models" / "files").glob("*.onnx")))
    return Counter(node for model in models for node in {node.op_type for node in model.graph.node})


def keras_models() -> Counter[str]:
    """In how many of the files that TensorFlow's converter makes of Keras models each operator is."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    found = Counter[str]()
    for path in sorted((_TESTS / "keras_models" / "files").glob("*.tflite")):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
        found.update({names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes})
    return found
