"""EMBEDDING_LOOKUP: what is refused, and indices that TFLite would not run with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks_helpers import embedding_lookup
from tensors_helpers import activation

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks, reference
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
        ({"x": Tensor("x", (2, 3), DType.INT32)}, "one axis, and two or more, are supported"),
        ({"table": dataclasses.replace(_WHOLE.tensors[1], data=None)}, "'table' is computed; a constant is supported"),
        ({"y": activation("y", _WHOLE.tensors[2].shape, 9.0)}, "table and output have different quantisation"),
    ],
)
def test_refused(changes: dict[str, Tensor], said: str) -> None:
    """Catches a lookup that is accepted and computed as something else."""
    with pytest.raises(UnsupportedModelError, match=said):
        checks.check(_graph(**changes))
