"""WHILE and IF that are known before a network runs, and what is said of those that are not; files are changed ones of
``tests/keras_models``, whose own outputs ``test_keras_models.py`` compares with LiteRT's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_helpers import Node, file_of, flatbuffers, schema

from memaopt.errors import InputError, UnsupportedModelError
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.flow import File, Flat, FlowStep, Section, flatten
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.posttraining.tree import Tree

_FILES = Path(__file__).parents[1] / "keras_models" / "files"
_LOOP, _BRANCH = _FILES / "loop_of_the_graph.tflite", _FILES / "branch_of_the_graph.tflite"


def _changed(path: Path, change: Callable[[Any], None]) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator(model: Any, name: str) -> Any:
    """The operator of a kind in the first subgraph."""
    code = getattr(schema.BuiltinOperator, name)
    return next(op for op in model.subgraphs[0].operators if model.operatorCodes[op.opcodeIndex].builtinCode == code)


def _constants(model: Any, subgraph: int) -> list[Any]:
    """The buffers of a subgraph's constants of four bytes."""
    found = (model.buffers[tensor.buffer] for tensor in model.subgraphs[subgraph].tensors)
    return [buffer for buffer in found if buffer.data is not None and len(buffer.data) == 4]


def _turns(count: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        (bound,) = _constants(model, _operator(model, "WHILE").builtinOptions.condSubgraphIndex)
        bound.data = np.frombuffer(np.int32(count).tobytes(), np.uint8)

    return change


def _agrees(data: bytes, kinds: dict[str, int]) -> Graph:
    graph, oracle = reader.parse(data), Oracle(data)
    for seed in range(4):
        ends = (graph.tensors[i] for i in graph.inputs)
        values = [np.random.default_rng(seed).integers(-128, 128, end.shape).astype(np.int8) for end in ends]
        np.testing.assert_array_equal(reference.run(graph, values)[0], oracle.run(values)[0])
    assert {kind: [op.kind for op in graph.operators].count(kind) for kind in kinds} == kinds
    return graph


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_loop_is_written_out(turns: int) -> None:
    """Catches a turn too many or too few, weights that are there once a turn, and a loop that is never entered."""
    graph = _agrees(_changed(_LOOP, _turns(turns)), {"TANH": turns, "FULLY_CONNECTED": turns, "WHILE": 0})
    weights = {op.inputs[1] for op in graph.operators if op.kind == "FULLY_CONNECTED"}
    assert len(weights) == min(turns, 1)


def _computed(model: Any) -> None:
    """The loop's counter begins at what an input says."""
    main, loop = model.subgraphs[0], _operator(model, "WHILE")
    counter = main.tensors[loop.inputs[0]]
    counter.buffer = 0
    main.inputs = [*main.inputs, loop.inputs[0]]


def _beyond(model: Any) -> None:
    _operator(model, "WHILE").builtinOptions.bodySubgraphIndex = 9


def _itself(model: Any) -> None:
    """The body runs the loop's own body."""
    loop = _operator(model, "WHILE")
    body = model.subgraphs[loop.builtinOptions.bodySubgraphIndex]
    again = schema.OperatorT()
    again.opcodeIndex, again.builtinOptionsType, again.builtinOptions = (
        loop.opcodeIndex,
        loop.builtinOptionsType,
        loop.builtinOptions,
    )
    again.inputs, again.outputs = list(body.inputs), list(body.outputs)
    body.operators = [again]


def _empty(model: Any) -> None:
    """Turns without end that compute nothing: the condition is a constant."""
    loop = _operator(model, "WHILE").builtinOptions
    asked, body = model.subgraphs[loop.condSubgraphIndex], model.subgraphs[loop.bodySubgraphIndex]
    buffer = schema.BufferT()
    buffer.data = np.array([1], np.uint8)
    model.buffers.append(buffer)
    asked.tensors[asked.outputs[0]].buffer = len(model.buffers) - 1
    asked.operators, body.operators, body.outputs = [], [], list(body.inputs)


@pytest.mark.parametrize(
    ("change", "error", "line"),
    [
        (_empty, UnsupportedModelError, "subgraphs run more than 4,096 times"),
        (_computed, UnsupportedModelError, r"\(WHILE\): whether it goes on is computed; a loop whose number of turns"),
        (_turns(1 << 30), UnsupportedModelError, r"written out, the network has more than 1,024 operators"),
        (_beyond, InputError, "subgraph 9 of 3 is used"),
        (_itself, UnsupportedModelError, "more than 8 subgraphs run each other"),
    ],
)
def test_what_cannot_be_written_out_is_a_line(change: Callable[[Any], None], error: type[Exception], line: str) -> None:
    """Catches a loop that reading never leaves, and a traceback."""
    data = _changed(_LOOP, change)
    with pytest.raises(error, match=line):
        reader.parse(data)
    if error is UnsupportedModelError:  # and is shown all the same
        reading = reader.examine(data)
        assert [each.kind for each in reading.unread] == ["WHILE"]
        assert len(reading.refusals) == 1


def _decided(first: bool) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        branch = _operator(model, "IF")
        condition = model.subgraphs[0].tensors[branch.inputs[0]]
        buffer = schema.BufferT()
        buffer.data = np.array([first], np.uint8)
        model.buffers.append(buffer)
        known = schema.TensorT()
        known.name, known.shape, known.type = b"known", condition.shape, condition.type
        known.buffer = len(model.buffers) - 1
        model.subgraphs[0].tensors.append(known)
        branch.inputs = [len(model.subgraphs[0].tensors) - 1, *branch.inputs[1:]]

    return change


@pytest.mark.parametrize("first", [True, False])
def test_a_known_branch_is_taken(first: bool) -> None:
    """Catches the other branch, and operators of the one that never runs."""
    _agrees(_changed(_BRANCH, _decided(first)), {"SELECT_V2": 0, "TANH": int(not first), "FULLY_CONNECTED": 1})


def test_rows_that_a_loop_writes_are_put_together() -> None:
    """Catches a tensor of all rows that is copied once a turn, as large as it is."""
    tree = Tree((_FILES / "recurrent_both_ways.tflite").read_bytes(), "net")
    kinds = [tree.kind(op) for op in tree.operators]
    assert "SLICE" not in kinds
    assert max(len(op.inputs) for op, kind in zip(tree.operators, kinds, strict=True) if kind == "CONCATENATION") == 5


def _flow_of(section: Section, rows: int = 2) -> Flat:
    """A subgraph whose tensors 0 to 2 are constants of so many elements; the others are computed, and no floats."""
    constants = {0: np.array([0]), 1: np.array([1, 1]), 2: np.array([2, 2, 2])}
    file = File(
        section=lambda _: section,
        integers=lambda _, t: constants.get(t),
        is_constant=lambda _, t: t in constants,
        is_float=lambda *_: False,
        rows=lambda *_: rows,
    )
    return flatten(file, 0, 12)


def test_rows_that_were_written_may_be_an_output() -> None:
    """Catches a network's output that is dropped with rows of which nobody reads the whole."""
    steps = [
        FlowStep(0, 0, "SLICE", (3, 0, 0), (4,)),
        FlowStep(0, 1, "SLICE", (3, 1, 0), (5,)),
        FlowStep(0, 2, "CONCATENATION", (4, 6, 5), (7,)),
    ]
    flat = _flow_of(Section((3, 6), (7,), tuple(steps), {}))
    assert [step.kind for step in flat.steps] == ["SLICE", "SLICE", "CONCATENATION"]


def test_operators_of_no_outputs_and_of_other_shapes_are_left_to_the_reader() -> None:
    """Catches a traceback for operators that the checks refuse afterwards."""
    steps = [
        FlowStep(0, 0, "ADD", (1, 2), (8,)),
        FlowStep(0, 1, "SLICE", (3, 0, 0), ()),
        FlowStep(0, 2, "CONCATENATION", (4, 6, 5), ()),
    ]
    assert _flow_of(Section((3, 6), (8,), tuple(steps), {})).steps == tuple(steps)


def test_integers_that_are_known_are_compared() -> None:
    """Catches a comparison that is taken for one of bytes, where both sides are known."""
    tensors = [
        Tensor("x", (1, 4), DType.INT8, np.array([0.1], np.float32), np.array([0])),
        Tensor("a", (), DType.INT32, data=np.array(2, np.int32)),
        Tensor("b", (), DType.INT32, data=np.array(3, np.int32)),
        Tensor("less", (), DType.BOOL),
        Tensor("y", (1, 4), DType.INT8, np.array([0.1], np.float32), np.array([0])),
    ]
    nodes = [Node("LESS", [1, 2], [3], "LessOptions"), Node("RELU", [0], [4])]
    graph = Model.parsed(file_of(tensors, nodes, [0], [4]), "net.tflite").graph
    assert [op.kind for op in graph.operators] == ["RELU"]
