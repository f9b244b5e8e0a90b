"""Resource variables of a file become states of a network: what it keeps is what TFLite's interpreter keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memaopt.errors import MemaoptError
from memaopt.networks import reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Concatenation, Slice, StridedSlice
from memaopt.networks.zoo.builder import Builder
from tests.tflite_helpers import changed, schema

pytest.importorskip("ai_edge_litert")

from memaopt.networks.formats.tflite.oracle import Oracle

_CALL_ONCE, _VAR_HANDLE, _READ, _ASSIGN = 129, 142, 143, 144
_HELD = np.arange(-4, 4, dtype=np.int8)


def _ring() -> Graph:
    """A frame and two that were kept: a layer on all three, and the newer two of them."""
    b = Builder("ring", (1, 1, 1, 4), seed=3)
    kept = len(b.tensors)
    b.tensors.append(b._like(0, "kept", (1, 2, 1, 4)))
    b.values[kept] = [np.zeros((1, 2, 1, 4), np.int8)] * len(b.values[0])
    both = b._append(Concatenation, (kept, 0), b._like(0, "both", (1, 3, 1, 4)), {"axis": 1})
    newer = (Slice(0, 1, 1), Slice(1, 1, 2), Slice(0, 1, 1), Slice(0, 1, 4))
    after = b._append(StridedSlice, (both,), b._like(0, "after", (1, 2, 1, 4)), {"slices": newer})
    out = b.fully_connected(b.flatten(both), 3)
    return Graph("ring", tuple(b.tensors), tuple(b.operators), (0, kept), (out, after))


def _operator(model: Any, code: int, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
    """An operator, with its code in the model's table."""
    found = schema.OperatorCodeT()
    found.builtinCode, found.deprecatedBuiltinCode, found.version = code, min(code, 127), 1
    model.operatorCodes.append(found)
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes) - 1, inputs, outputs
    if options is not None:
        made.builtinOptions = options
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return made


def _handle(model: Any, tensor: int) -> Any:
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = "", "ring"
    return _operator(model, _VAR_HANDLE, [], [tensor], options)


def _resource(model: Any, graph: Any) -> int:
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer, tensor.name = [], schema.TensorType.RESOURCE, 0, "handle"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _kept(model: Any, held: np.ndarray[Any, Any] = _HELD) -> None:
    """The second input and output become what a variable holds before and after; a subgraph says what at first."""
    main = model.subgraphs[0]
    (x, kept), (out, after) = main.inputs, main.outputs
    main.inputs, main.outputs = [x], [out]
    handle = _resource(model, main)
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    before = [_operator(model, _CALL_ONCE, [], [], once), _handle(model, handle)]
    before.append(_operator(model, _READ, [handle], [int(kept)], schema.ReadVariableOptionsT()))
    assign = _operator(model, _ASSIGN, [handle, int(after)], [], schema.AssignVariableOptionsT())
    main.operators = [*before, *main.operators, assign]
    first = schema.SubGraphT()
    first.tensors, first.inputs, first.outputs, first.name = [], [], [], "once"
    resource = _resource(model, first)
    buffer = schema.BufferT()
    buffer.data = held.astype(np.int8).view(np.uint8)
    model.buffers.append(buffer)
    value = schema.TensorT()
    value.shape, value.type, value.buffer = [1, 2, 1, len(held) // 2], schema.TensorType.INT8, len(model.buffers) - 1
    value.name, value.quantization = "held", main.tensors[int(kept)].quantization
    first.tensors.append(value)
    first.operators = [_handle(model, resource)]
    first.operators.append(_operator(model, _ASSIGN, [resource, 1], [], schema.AssignVariableOptionsT()))
    model.subgraphs.append(first)


def test_a_variable_is_a_state_that_holds_what_tflite_holds() -> None:
    """Catches a state that is read after it was written, or begins with something else."""
    data = changed(_ring(), _kept)
    graph, oracle = reader.parse(data, "ring"), Oracle(data)
    (state,) = graph.states
    np.testing.assert_array_equal(state.initial[:, 1:].ravel(), _HELD)  # behind what the first run shifts out
    assert (len(graph.given), len(graph.wanted), len(graph.inputs)) == (1, 1, 2)
    rng, kept, seen = np.random.default_rng(1), [state.initial], set[bytes]()
    for _ in range(30):
        x = rng.integers(-128, 128, (1, 1, 1, 4)).astype(np.int8)
        out, *kept = reference.run(graph, [x, *kept])
        np.testing.assert_array_equal(out, oracle.run([x])[0])
        seen.add(out.tobytes())
    assert len(seen) > 20


def _never_assigned(model: Any) -> None:
    _kept(model)
    model.subgraphs[0].operators.pop()


def _uninitialised(model: Any) -> None:
    _kept(model)
    model.subgraphs[0].operators.pop(0)


def _of_another_shape(model: Any) -> None:
    _kept(model, np.zeros(16, np.int8))


def _computed_at_first(model: Any) -> None:
    _kept(model)
    model.subgraphs[1].tensors[1].buffer = 0


def _without_handle(model: Any) -> None:
    _kept(model)
    model.subgraphs[0].operators.pop(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_uninitialised, "holds nothing at first"),
        (_of_another_shape, "holds int8.1, 2, 1, 8. at first, and is read as int8.1,2,1,4."),
        (_computed_at_first, "which is computed; a constant is supported"),
        (_without_handle, "not one that VAR_HANDLE names"),
    ],
)
def test_what_is_no_state_is_one_line(change: Callable[[Any], None], said: str) -> None:
    """Catches a traceback, or a state of bytes that nobody wrote."""
    with pytest.raises(MemaoptError, match=said):
        reader.parse(changed(_ring(), change), "ring")


def test_a_variable_that_stays_as_it_is_is_a_constant() -> None:
    """Catches a state that nothing writes."""
    graph = reader.parse(changed(_ring(), _never_assigned), "ring")
    assert not graph.states
    assert len(graph.inputs) == 1
