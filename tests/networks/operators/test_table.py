"""docs/operators.md: every operator of a file, by the code itself. Run as a program, this writes it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

from memaopt.bench import operator_cases
from memaopt.bench.operators import OperatorSpeed, OperatorStudy, print_operators, study
from memaopt.machines.mcu import mcu
from memaopt.networks.formats.tflite.flow import FLOW
from memaopt.networks.graph import DType
from memaopt.networks.operators import Operator

_ROOT = Path(__file__).parents[3]
_DOCUMENT = _ROOT / "docs" / "operators.md"
_SPEEDS = Path(__file__).parent / "speeds.json"
_SEEDS = 6
_HEAD = """\
# Operators

What a network may hold, as the code has it (`python tests/networks/operators/test_table.py` writes this file).
[networks.md](networks.md) has the arithmetic, [onnx.md](onnx.md) what ONNX's is. A row is an operator of a `.tflite`
file with activations of 8 bits, or of 16 with weights of int8 (16x8).

- **types**: of inputs and outputs. Weights are int8, or int4 in the file; floats behind DEQUANTIZE are those that an
  int8 decides. uint8 is uint8 throughout, of one scale a tensor and any zero point.
- **TFLite, Keras**: the interpreter whose outputs are equalled bit for bit, and of {keras} models that TensorFlow's
  converter makes of Keras (`tests/keras_models`) how many have the operator.
- **ONNX, PyTorch**: the nodes that become it; how near outputs are to onnxruntime's, *exact* or at most *one step*
  away; and of {torch} PyTorch models (`tests/torch_models`) how many have the node. {left} become
  nothing: they cost no copy.
- **becomes**: the operators that simplification leaves of it.
- **kernel**: compiled C for any sizes, assembly (with a portable twin) for some or for all; and the one counted.
- **cycles**: for an element of the largest operand, or for a multiply-accumulate, of an operator of the size named:
  counted on the virtual board, {machine} without wait states, outputs and accesses
  checked, by {compiler}, `{flags}`.
  `memaopt bench --operators --json > tests/networks/operators/speeds.json` counts them again.

| operator | types | TFLite, Keras | ONNX, PyTorch | becomes | kernel | cycles |
|---|---|---|---|---|---|---|
"""


class _Found(NamedTuple):
    """An operator's cells but for those of where it comes from."""

    types: tuple[str, ...]
    becomes: str
    kernels: str
    oracle: str


def _found(kind: str) -> _Found:
    from networks_helpers import CASES

    from memaopt.errors import UnsupportedModelError
    from memaopt.kernels.registry import plans
    from memaopt.networks.formats.tflite.unsigned import REFUSED
    from memaopt.networks.operators.floating import Floating, FloatOnly
    from memaopt.networks.operators.registry import FOLDED, KEEPING, KEPT, OPERATORS, PARTED, SEVERAL
    from memaopt.networks.simplify import simplify

    if kind in FLOW:
        becomes = {"WHILE": "its body's operators, once a turn", "IF": "a branch's operators, or both and SELECT_V2"}[
            kind
        ]
        return _Found(("any",), becomes, "", "LiteRT")
    if kind in FOLDED:
        return _Found(("integers that are known",), "nothing: computed when the file is read", "", "LiteRT")
    if kind in KEPT:
        becomes = "a state: an input and an output, in the caller's memory"
        return _Found(("any of a variable",), becomes, "", "LiteRT")
    if kind in KEEPING:
        becomes = "a state, CONV_2D, DEPTHWISE_CONV_2D or CONV_2D, moves; of int16 kernels of its own"
        return _Found(("int8, its state int8 or int16",), becomes, "C, assembly", "TFLite Micro")
    if kind in SEVERAL:
        return _Found(("float32, int8 (behind DEQUANTIZE) to float32",), f"{kind}, BLOCK_OUTPUT", "C", "LiteRT")
    if kind in PARTED:
        return _Found(("int8", "uint8"), "STRIDED_SLICE, one for each output", "as of STRIDED_SLICE", "LiteRT")
    types, becomes, kernels = set[str](), set[str](), set[str]()
    for seed in range(_SEEDS):
        graph = CASES[kind](np.random.default_rng([seed, 5]))
        types.add(operator_cases.types_of(graph))
        simple = simplify.simplify(graph, drop_channels=False).graph
        left = [op for op in simple.operators if not op.alias]
        becomes.add(", ".join(op.kind for op in left) or "nothing: it costs no copy")
        for op in left:
            try:
                lowered = op.lower(simple)
            except UnsupportedModelError:
                continue
            kernels |= {"assembly" if plan.kernels else "C" for plan in plans(lowered.layer)} if lowered else set()
    if "int8" in types and kind not in REFUSED:
        types.add("uint8")
    if issubclass(OPERATORS[kind], Floating):
        types = {"float32 (behind DEQUANTIZE)"} | (set() if issubclass(OPERATORS[kind], FloatOnly) else types)
    if _folds(OPERATORS[kind]):
        types.add("known integers (folded)")
    oracle = "TFLite Micro" if OPERATORS[kind].micro else "LiteRT"
    return _Found(tuple(sorted(types)), _shortest(becomes), ", ".join(sorted(kernels)), oracle)


def _folds(operator: type[Operator]) -> bool:
    """Whether reading computes it where all its inputs are integers that are known."""
    given = operator.known.__func__ is not Operator.known.__func__  # type: ignore[attr-defined]
    fills, of_integers = getattr(operator, "fills", False), getattr(operator, "of_integers", operator)
    return given and not fills and of_integers is not None


def _shortest(found: set[str]) -> str:
    """What is left, without the cases in which something more or less is."""
    return max(found, key=lambda text: ("nothing" not in text, "LOOKUP" not in text, -len(text), text))


def _recorded() -> OperatorStudy:
    return OperatorStudy.model_validate_json(_SPEEDS.read_text(encoding="utf-8"))


def _cycles(speed: OperatorSpeed | None) -> str:
    if speed is None:
        return ""
    unit = "each product" if speed.of == "multiply-accumulate" else "each"
    return f"{speed.each:.2f} {unit} ({speed.types}, {speed.size})"


def _nodes(nodes: Mapping[str, str], seen: Mapping[str, int]) -> str:
    """Nodes in brackets by how far they are."""
    by_far: dict[str, list[str]] = {}
    for node, far in nodes.items():
        by_far.setdefault(far, []).append(f"{node} ({seen[node]})" if seen[node] else node)
    return "; ".join(f"{', '.join(names)}: {far}" for far, names in sorted(by_far.items()))


def _rows(study: OperatorStudy, nodes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    from sources_helpers import keras_models, torch_models

    from memaopt.networks.operators.moving import Moving
    from memaopt.networks.operators.registry import OPERATORS, PARTED, READ, SIXTEEN

    keras, torch = keras_models(), torch_models()
    speeds = {(speed.kind, "int16" in speed.types): speed for speed in study.speeds}
    moves = {kind for kind, op in OPERATORS.items() if issubclass(op, Moving) and DType.INT16 in op.dtypes}
    for kind in sorted({*READ, *FLOW, "LOOKUP"}):
        found = _Found(("int8",), "LOOKUP", "C, assembly", "") if kind == "LOOKUP" else _found(kind)
        speed = speeds.get((kind if kind != "LOOKUP" else "RELU", False))
        oracle = f"{found.oracle} ({keras[kind]})" if keras[kind] else found.oracle
        cells = [
            kind,
            ", ".join(found.types),
            oracle,
            _nodes(nodes.get(kind, {}), torch),
            found.becomes,
            found.kernels if speed is None else f"{found.kernels}: {speed.kernel}",
            _cycles(speed),
        ]
        yield f"| {' | '.join(cells)} |"
        if kind in SIXTEEN or kind in moves or kind in PARTED:
            wide = speeds.get((kind, True))
            name = "" if wide is None else f"C: {wide.kernel}"
            of = "int16" if wide is None else wide.types
            yield f"| {kind} | {of} | LiteRT | | {found.becomes} | {name or found.kernels} | {_cycles(wide)} |"


def document() -> str:
    """The whole text."""
    from sources_helpers import left_out, onnx_nodes

    recorded, nodes = _recorded(), onnx_nodes()
    folders = (_ROOT / "tests" / name / "files" for name in ("keras_models", "torch_models"))
    keras, torch = (sum(path.suffix in (".tflite", ".onnx") for path in folder.iterdir()) for folder in folders)
    values = {
        "keras": str(keras),
        "torch": str(torch),
        "left": ", ".join(left_out(nodes)),
        "machine": mcu(recorded.mcu).title,
        "compiler": recorded.compiler,
        "flags": " ".join(recorded.flags),
    }
    return _HEAD.format(**values) + "\n".join(_rows(recorded, nodes)) + "\n"


def test_the_table_is_that_of_the_code() -> None:
    """Catches an operator, a type, a node of ONNX or a kernel that the document leaves out, or still names."""
    assert _DOCUMENT.read_text(encoding="utf-8") == document()


def test_every_case_has_a_speed() -> None:
    """Catches a new operator, or a case of another size, whose cycles nobody counted."""
    made = [(case.kind, case.types, case.size) for case in operator_cases.cases()]
    assert [(speed.kind, speed.types, speed.size) for speed in _recorded().speeds] == made


@pytest.mark.board
def test_speeds_are_counted_again() -> None:
    """Catches a kernel that has changed since its cycles were written down: a few operators, by the same compiler."""
    recorded = _recorded()
    few = [case for case in operator_cases.cases() if case.kind in ("ADD", "MUL", "RESIZE_BILINEAR", "SOFTMAX")]
    found = study(mcu(recorded.mcu), few)
    if (found.compiler, found.flags) != (recorded.compiler, recorded.flags):
        pytest.skip(f"the figures are of {recorded.compiler}")
    assert set(found.speeds) <= set(recorded.speeds)
    console = Console(file=io.StringIO(), width=200)
    print_operators(console, found, mcu(recorded.mcu))
    assert "weighted sum 32" in console.file.getvalue()  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT / "tests"))
    _DOCUMENT.write_text(document(), encoding="utf-8")
