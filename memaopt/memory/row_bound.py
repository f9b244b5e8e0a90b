"""The least memory of any schedule that computes a network's tensors by whole rows, each row once.

A state is how many rows p_t of each tensor t are done. It is possible if each tensor has the rows that what is done of
its readers needed, and it takes, for each tensor, the bytes of its done rows that some reader still needs. A schedule
that computes row r of tensor t passes a possible state with p_t = r in which the inputs of that row are there; the row
lies beside them. So no schedule takes less than

    max over (t, r) of min over such states of the bytes of the state with that row

whatever its order, bands and partition into chains. The minimum is a sum of terms that each know a tensor and its
readers, minimised by eliminating one variable after the other.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.memory import row_network
from memaopt.memory.row_network import RowNetwork, RowRead, RowTensor
from memaopt.networks.graph import Graph

_IMPOSSIBLE = 1 << 40
_MOST_CELLS = 1 << 24
_MOST_SUMS = 3  # operators that may sum row by row or not: each both ways

_Cells = npt.NDArray[np.int64]


class RowBound(NamedTuple):
    """No schedule of whole rows takes fewer ``bytes``: they are there when ``row`` of a tensor is computed, by the
    operator at ``position``. Scratch memory of kernels comes on top."""

    bytes: int
    position: int
    row: int


def told(least: int, arena: int) -> str:
    """The bound in words, beside an arena that may be smaller."""
    below = "; layers that write over a row's inputs while they compute it pass below that" if arena < least else ""
    return f"no schedule that computes whole rows, each once, has an arena below {least:,} bytes{below}"


class _Term(NamedTuple):
    """Bytes for each combination of rows done of the tensors ``of``."""

    of: tuple[int, ...]
    cells: _Cells


def bound(graph: Graph, away: frozenset[int] = frozenset()) -> RowBound | None:
    """The bound for a network whose inputs lie in memory whole at the start, but for one that comes by rows, and for
    the tensors (alias roots) that lie ``away``; None if it is too wide to compute, or computes nothing.

    Where rows may be summed one at a time or held until all are there, the lesser of both counts.
    """
    summed = row_network.sums(graph)[-_MOST_SUMS:]
    if len(row_network.sums(graph)) > _MOST_SUMS:
        return None
    found = [
        bound_of(row_network.of(graph, frozenset(chosen)), away)
        for count in range(len(summed) + 1)
        for chosen in itertools.combinations(summed, count)
    ]
    known = [one for one in found if one is not None]
    return min(known) if known and len(known) == len(found) else None


def bound_of(network: RowNetwork, away: frozenset[int] = frozenset()) -> RowBound | None:
    """The bound for these rows; those of tensors ``away`` take no bytes."""
    there = {t: x._replace(row_bytes=0) if t in away else x for t, x in network.tensors.items()}
    network = replace(network, tensors=there)
    best: RowBound | None = None
    still = {t: _term(network, t) for t in network.tensors}
    for op in network.operators:
        touched = {op.output, *(read.tensor for read in op.reads)}
        terms = [_term(network, t, op.output) if t in touched else still[t] for t in network.tensors]
        left = _eliminated(network, terms, op.output)
        if left is None:
            return None
        # The last entry is the state in which no row is left to compute.
        reached = np.where(left[:-1] < _IMPOSSIBLE, left[:-1], -1)
        row = int(reached.argmax())
        if best is None or reached[row] > best.bytes:
            best = RowBound(int(reached[row]), op.position, row)
    return best


def _term(network: RowNetwork, tensor: int, computing: int | None = None) -> _Term:
    """What a tensor takes, by its own rows and its readers'; ``computing``: a tensor whose next row is being made."""
    x = network.tensors[tensor]
    reads = [(op.output, read) for op in network.operators for read in op.reads if read.tensor == tensor]
    readers = list(dict.fromkeys(output for output, _ in reads))
    done = np.arange(x.rows + 1).reshape([-1] + [1] * len(readers))
    impossible = np.zeros(done.shape, bool)
    low = np.full(done.shape, x.rows if readers else 0)
    for axis, output in enumerate(readers, 1):
        need, released = _joined([read for reader, read in reads if reader == output])
        if output == computing:
            need = np.append(need[1:], need[-1])
        shape = [-1 if i == axis else 1 for i in range(len(readers) + 1)]
        impossible = impossible | (done < need.reshape(shape))
        low = np.minimum(low, released.reshape(shape))
    if tensor in network.inputs:
        impossible = impossible | (done != x.rows)
    if tensor in network.outputs:
        low = np.zeros_like(low)
    held = _bytes(x, np.minimum(done + 1, x.rows) if tensor == computing else done, low)
    return _Term((tensor, *readers), np.where(impossible, _IMPOSSIBLE, held))


def _joined(reads: list[RowRead]) -> tuple[_Cells, _Cells]:
    """``need`` and ``low`` of a reader that reads a tensor once or more."""
    need = np.maximum.reduce([read.need for read in reads])
    return need, np.minimum.reduce([read.low for read in reads])


def _bytes(x: RowTensor, done: _Cells, low: _Cells) -> _Cells:
    if not x.sums:
        return np.asarray(np.maximum(done - low, 0) * x.row_bytes, np.int64)
    held = np.where(done < x.rows, x.sums, x.row_bytes)
    return np.where((done == 0) | (low >= x.rows), 0, held)


def _eliminated(network: RowNetwork, terms: list[_Term], kept: int) -> _Cells | None:
    """The least sum of the terms for each number of rows of ``kept``; None where that takes too many cells."""
    sizes = {t: x.rows + 1 for t, x in network.tensors.items()}
    left = {t for term in terms for t in term.of} - {kept}
    while left:
        scopes = {v: {t for term in terms if v in term.of for t in term.of} for v in left}
        cells = {v: int(np.prod([sizes[t] for t in scope], dtype=object)) for v, scope in scopes.items()}
        first = min(left, key=lambda v: (cells[v], v))
        if cells[first] > _MOST_CELLS:
            return None
        scope = (*sorted(scopes[first] - {first}), first)
        total = sum(_spread(term, scope, sizes) for term in terms if first in term.of)
        least = np.minimum(np.asarray(total).min(axis=-1), _IMPOSSIBLE)
        terms = [term for term in terms if first not in term.of] + [_Term(scope[:-1], least)]
        left.discard(first)
    total = np.zeros(sizes[kept], np.int64)
    for term in terms:
        total += _spread(term, (kept,), sizes)
    return total


def _spread(term: _Term, scope: tuple[int, ...], sizes: dict[int, int]) -> _Cells:
    """A term's cells along the axes of a scope."""
    order = sorted(range(len(term.of)), key=lambda i: scope.index(term.of[i]))
    return term.cells.transpose(order).reshape([sizes[t] if t in term.of else 1 for t in scope])
