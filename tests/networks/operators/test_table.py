"""docs/operators.md: every operator of a file, by the code itself. Run as a program, this writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memaopt.networks.graph import DType
from memaopt.networks.operators import Operator

_ROOT = Path(__file__).parents[3]
_DOCUMENT = _ROOT / "docs" / "operators.md"
_SEEDS = 8
_HEAD = """\
# Operators

What a `.tflite` file may hold, as the code has it (`python tests/networks/operators/test_table.py` writes this file).
Outputs equal those of the interpreter in the last column, bit for bit. [networks.md](networks.md) has the arithmetic.

- **types**: of inputs and outputs. Weights are int8, or int4 in the file; floats behind DEQUANTIZE are those that an
  int8 decides. uint8 throughout (one scale a tensor, any zero point) is read where int8 is, but not in {refused}.
  Activations of int16 with weights of int8 (16x8) are read in {sixteen}, in C.
- **becomes**: the operators that simplification leaves of it.
- **kernels**: compiled C for any sizes, assembly (with a portable twin) for some or for all.

| operator | types | becomes | kernels | equal to |
|---|---|---|---|---|
"""


def _rows() -> Iterator[str]:
    from networks_helpers import CASES

    from memaopt.errors import UnsupportedModelError
    from memaopt.kernels.registry import plans
    from memaopt.networks.operators.floating import Floating, FloatOnly
    from memaopt.networks.operators.registry import FOLDED, KEEPING, KEPT, OPERATORS, PARTED, READ, SEVERAL
    from memaopt.networks.simplify import simplify

    for kind in sorted(READ):
        if kind in FOLDED:
            yield f"| {kind} | integers that are known | nothing: computed when the file is read | | LiteRT |"
            continue
        if kind in KEPT:
            yield f"| {kind} | any of a variable | a state: an input and an output, in the caller's memory | | LiteRT |"
            continue
        if kind in KEEPING:
            becomes = "a state, CONV_2D, DEPTHWISE_CONV_2D or CONV_2D, moves; of int16 kernels of its own"
            yield f"| {kind} | int8, its state int8 or int16 | {becomes} | C, assembly | TFLite Micro |"
            continue
        if kind in SEVERAL:
            yield f"| {kind} | float32, int8 (behind DEQUANTIZE) to float32 | {kind}, BLOCK_OUTPUT | C | LiteRT |"
            continue
        if kind in PARTED:
            yield f"| {kind} | int8 | STRIDED_SLICE, one for each output | | LiteRT |"
            continue
        types, becomes, kernels = set[str](), set[str](), set[str]()
        for seed in range(_SEEDS):
            graph = CASES[kind](np.random.default_rng([seed, 5]))
            ends = (
                " and ".join(dict.fromkeys(graph.tensors[t].dtype for t in tensors))
                for tensors in (graph.inputs, graph.outputs)
            )
            types.add(" to ".join(dict.fromkeys(ends)))
            simple = simplify.simplify(graph, drop_channels=False).graph
            left = [op for op in simple.operators if not op.alias]
            becomes.add(", ".join(op.kind for op in left) or "nothing: it costs no copy")
            for op in left:
                try:
                    lowered = op.lower(simple)
                except UnsupportedModelError:
                    continue
                kernels |= {"assembly" if plan.kernels else "C" for plan in plans(lowered.layer)} if lowered else set()
        if issubclass(OPERATORS[kind], Floating):
            types = {"float32 (behind DEQUANTIZE)"} | (set() if issubclass(OPERATORS[kind], FloatOnly) else types)
        if _folds(OPERATORS[kind]):
            types.add("known integers (folded)")
        cells = (kind, *(", ".join(sorted(cell)) for cell in (types, _shortest(becomes), kernels)))
        yield f"| {' | '.join(cells)} | {'TFLite Micro' if OPERATORS[kind].micro else 'LiteRT'} |"


def _folds(operator: type[Operator]) -> bool:
    """Whether reading computes it where all its inputs are integers that are known."""
    given = operator.known.__func__ is not Operator.known.__func__  # type: ignore[attr-defined]
    fills, of_integers = getattr(operator, "fills", False), getattr(operator, "of_integers", operator)
    return given and not fills and of_integers is not None


def _shortest(found: set[str]) -> set[str]:
    """What is left, without the cases in which something more or less is."""
    return {max(found, key=lambda text: ("nothing" not in text, "LOOKUP" not in text, -len(text)))}


def document() -> str:
    """The whole text."""
    from memaopt.networks.formats.tflite.unsigned import REFUSED
    from memaopt.networks.operators.moving import Moving
    from memaopt.networks.operators.registry import OPERATORS, PARTED, SIXTEEN

    moves = {kind for kind, op in OPERATORS.items() if issubclass(op, Moving) and DType.INT16 in op.dtypes}
    sixteen = ", ".join(sorted({*SIXTEEN, *PARTED, *moves}))
    head = _HEAD.replace("{refused}", ", ".join(sorted(REFUSED))).replace("{sixteen}", sixteen)
    return head + "\n".join(_rows()) + "\n"


def test_the_table_is_that_of_the_code() -> None:
    """Catches an operator, a type or a kernel that the document leaves out, or still names."""
    assert _DOCUMENT.read_text(encoding="utf-8") == document()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT / "tests"))
    _DOCUMENT.write_text(document(), encoding="utf-8")
