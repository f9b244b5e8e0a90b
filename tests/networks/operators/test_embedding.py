"""EMBEDDING_LOOKUP and GATHER by indices that are computed: against LiteRT, what is refused, indices outside."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from networks_helpers import embedding_lookup
from tensors_helpers import activation, int8
from tflite_helpers import Node, file_of

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks, reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor


def _graph(**changes: Tensor) -> Graph:
    """A lookup with some of its tensors changed; ``given``: the table is an input."""
    graph = embedding_lookup(np.random.default_rng(2))
    names = [tensor.name for tensor in graph.tensors]
    tensors = [changes.get(name, tensor) for name, tensor in zip(names, graph.tensors, strict=True)]
    inputs = tuple(i for i, tensor in enumerate(tensors[:2]) if not tensor.is_constant)
    return dataclasses.replace(graph, tensors=tuple(tensors), inputs=inputs)


def test_an_index_outside_is_the_nearest_row() -> None:
    """Catches an index that is read modulo the rows, or from their end."""
    graph = _graph()
    (indices, table, _) = graph.tensors
    for index, row in ((-1, 0), (-(1 << 31), 0), (table.shape[0], -1), ((1 << 31) - 1, -1)):
        found = reference.run(graph, [np.full(indices.shape, index, np.int32)])[0]
        np.testing.assert_array_equal(found, np.broadcast_to(table.values[row], found.shape))


_WHOLE = embedding_lookup(np.random.default_rng(2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": Tensor("x", _WHOLE.tensors[0].shape, DType.INT64)}, "indices 'x' is int64; int32 is supported"),
        ({"table": dataclasses.replace(_WHOLE.tensors[1], data=None)}, "'table' is computed; a constant is supported"),
        ({"y": activation("y", _WHOLE.tensors[2].shape, 9.0)}, "table and output have different quantisation"),
    ],
)
def test_refused(changes: dict[str, Tensor], said: str) -> None:
    """Catches a lookup that is accepted and computed as something else."""
    with pytest.raises(UnsupportedModelError, match=said):
        checks.check(_graph(**changes))


def _gather(indices: tuple[int, ...], options: dict[str, int], output: tuple[int, ...]) -> bytes:
    """Of a table [9, 3, 5]."""
    rng = np.random.default_rng(4)
    table = dataclasses.replace(activation("table", (9, 3, 5), 0.1, 3), data=int8(rng, 9, 3, 5))
    tensors = [table, Tensor("x", indices, DType.INT32), activation("y", output, 0.1, 3)]
    return file_of(tensors, [Node("GATHER", [0, 1], [2], "GatherOptions", options, 2)], [1], [2])


@pytest.mark.parametrize("indices", [(), (1,), (4,), (1, 6), (2, 1, 3)])
def test_gather_of_rows_equals_tflite(indices: tuple[int, ...]) -> None:
    """Catches operands that are taken for each other, and indices of other than one axis laid out otherwise."""
    data = _gather(indices, {"axis": 0}, (*indices, 3, 5))
    graph, values = reader.parse(data, "gather"), [np.random.default_rng(5).integers(0, 9, indices).astype(np.int32)]
    np.testing.assert_array_equal(reference.run(graph, values)[0], Oracle(data).run(values)[0])


def _from_the_end(zero: int = 0, added: int = 9, swapped: bool = False, kept: bool = False) -> bytes:
    """What Keras's Embedding becomes: rows of [9, 5] by 6 indices, to which ``added`` is added below ``zero``."""
    rng, of = np.random.default_rng(4), DType.INT32
    table = dataclasses.replace(activation("table", (9, 5), 0.1, 3), data=int8(rng, 9, 5))
    known = [Tensor(name, (), of, data=np.array(value, np.int32)) for name, value in (("zero", zero), ("rows", added))]
    made = [Tensor("below", (1, 6), DType.BOOL), Tensor("sum", (1, 6), of), Tensor("chosen", (1, 6), of)]
    tensors = [Tensor("x", (1, 6), of), table, *known, *made, activation("y", (1, 6, 5), 0.1, 3)]
    nodes = [
        Node("LESS", [0, 2], [4]),
        Node("ADD", [0, 3], [5], "AddOptions"),
        Node("SELECT_V2", [4, 0, 5] if swapped else [4, 5, 0], [6]),
        Node("GATHER", [1, 6], [7], "GatherOptions", {"axis": 0}, 2),
    ]
    return file_of(tensors, nodes, [0], [7, 6] if kept else [7])


def test_keras_counts_from_the_end() -> None:
    """Catches indices below 0 that are taken for 0, and operators on indices that stay behind."""
    data = _from_the_end()
    graph, oracle = reader.parse(data, "words"), Oracle(data)
    assert [op.kind for op in graph.operators] == ["EMBEDDING_LOOKUP"]
    for indices in ([0, 8, -1, -9, -5, 3], [-2, -8, 7, 1, 0, -1]):
        values = [np.array([indices], np.int32)]
        np.testing.assert_array_equal(reference.run(graph, values)[0], oracle.run(values)[0])


@pytest.mark.parametrize("changed", [{"zero": 1}, {"added": 8}, {"swapped": True}, {"kept": True}])
def test_other_indices_are_not_taken_for_those(changed: dict[str, Any]) -> None:
    """Catches arithmetic on indices that is left out though it does something else, or is read by others."""
    with pytest.raises(UnsupportedModelError, match="int32 in LESS is not supported"):
        reader.parse(_from_the_end(**changed), "words")


@pytest.mark.parametrize(
    ("indices", "options", "output"),
    [((4,), {"axis": 1}, (9, 4, 5)), ((4,), {"axis": -1}, (9, 3, 4)), ((9, 2), {"axis": 1, "batchDims": 1}, (9, 2, 5))],
)
def test_gather_along_others_is_refused(
    indices: tuple[int, ...], options: dict[str, int], output: tuple[int, ...]
) -> None:
    """Catches columns that are read as rows."""
    with pytest.raises(UnsupportedModelError, match=r"constant indices, or rows .axis 0, no batch .*, are supported"):
        reader.parse(_gather(indices, options, output), "gather")


def test_a_file_has_no_lookup_by_indices_of_two_axes() -> None:
    """Catches a file that TFLite refuses, read as if it did not."""
    tensors = [Tensor("x", (2, 3), DType.INT32), _WHOLE.tensors[1], _WHOLE.tensors[2]]
    with pytest.raises(UnsupportedModelError, match="one axis is supported, as in TFLite"):
        reader.parse(file_of(tensors, [Node("EMBEDDING_LOOKUP", [0, 1], [2], "", {}, 3)], [0], [2]), "lookup")
