"""A FULLY_CONNECTED layer that ends a chain of layers: rows of the image that it reads are added to sums as they come.

Scratch memory holds the number of the next band and a sum of 32 bits for each output. The first band clears the sums,
the last one rounds them (:mod:`memaopt.kernels.chained_rows.sum_rounding`). Weights lie band by band. Where a band is
whole words they are chained rows (:mod:`memaopt.kernels.chained_rows.chains`), in parts whose accumulators 256 times
fit 32 bits (parts of 256 inputs always do); else, or where weights of -128 do not chain, bytes in plain C.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import INT32_MAX, Int64Array
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows import chains
from memaopt.kernels.chained_rows.chained_rows import MOST_INPUTS, tile_words, weights_of
from memaopt.kernels.chained_rows.chains import ROWS, SCALE
from memaopt.kernels.chained_rows.kernel import ChainedRowsKernel
from memaopt.kernels.chained_rows.sum_rounding import sum_rounding
from memaopt.kernels.code import Loop, Node, compiled
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.dense_band import DenseBand
from memaopt.problems.step_functions import accumulator_range

_WORD = 4
_LEAST_PART = 16  # inputs
_UNROLL = 8  # most words of inputs in a turn of the loop
#: Around the kernels; of plain C a product, and an output around its products. By counts on the board.
_CALL, _TAP, _ROW = Compiled(84, 48), Compiled(20, 12), Compiled(40, 10)
_FRAME = around.Frame(260, 72)


class Ends(NamedTuple):
    """What the first and the last of all bands do besides."""

    scratch: Access
    parameters: Access
    output: Access
    code: tuple[Node, ...]


class _Parts(NamedTuple):
    """A band's inputs: ``number`` parts of ``size``, ``unroll`` words of which are a turn of the kernel's loop."""

    number: int
    size: int
    unroll: int


@dataclass(frozen=True)
class DenseRows:
    """Any number of outputs and of bands."""

    computes: ClassVar[type] = DenseBand
    name: ClassVar[str] = "dense rows"

    def plans(self, layer: DenseBand) -> tuple[Plan, ...]:
        parts = _parts_of(layer) if _chain(layer) else None
        return pareto([self._plain(layer), *([self._chained(layer, parts)] if parts else [])])

    def _chained(self, layer: DenseBand, parts: _Parts) -> Plan:
        kernel = _kernel(layer, parts)
        tiles = _rows(layer, kernel) // kernel.rows
        words = parts.number * tiles * kernel.words(parts.size)
        sums = loads(tiles * kernel.rows, 4) + stores(tiles * kernel.rows, 4)
        part = around.piece(around.CALL), kernel.call(tiles, parts.size)
        promise = Promise(
            (loads(layer.inputs // _WORD, _WORD),),
            Access(),
            loads(words, 4),
            sums.times(parts.number),
            kernel.stack(tiles, parts.size).times(parts.number),
        )
        code = (around.piece(_CALL), *(part * parts.number))
        return self._plan(layer, code, promise, kernel, tiles * kernel.rows, parts)

    def _plain(self, layer: DenseBand) -> Plan:
        taps, outputs = layer.macs, layer.outputs
        tap = compiled(*_TAP, 1, 0.25)
        code = (around.piece(_CALL), Loop((around.piece(_ROW), Loop((tap,), layer.inputs)), outputs))
        sums = loads(outputs, 4) + stores(outputs, 4)
        promise = Promise((loads(taps, 1),), Access(), loads(taps, 1), sums)
        return self._plan(layer, code, promise, None, outputs)

    def _plan(
        self,
        layer: DenseBand,
        code: tuple[Node, ...],
        promise: Promise,
        kernel: ChainedRowsKernel | None,
        sums: int,
        parts: _Parts | None = None,
    ) -> Plan:
        """``promise``: of a band, but for its number."""
        rounding, size = sum_rounding(layer.dense), parts.size if parts else 0
        return Plan(
            family=self.name,
            tile=f"{kernel.rows}x{size}" if kernel else "",
            cycles=round(cycles_of(code)),
            promise=promise._replace(scratch=promise.scratch + loads(1, 4) + stores(1, 4)),
            data_bytes=data_bytes(_arrays(layer, kernel, size, "")),
            code_bytes=(kernel.code_bytes if kernel else _TAP.size + _ROW.size) + _FRAME.code,
            scratch_bytes=_WORD * (1 + sums),
            stack_bytes=2 * size + _FRAME.stack,
            kernels=(kernel.name,) if kernel else (),
            shared_bytes=kernel.code_bytes if kernel else 0,
            code=code,
            alignment=_WORD if kernel else 1,
            words=kernel is not None and rounding.whole,
            requantization=rounding.describe(),
            options=(("size", parts.size), ("unroll", parts.unroll)) if parts else (),
        )

    def emit(self, layer: DenseBand, plan: Plan, name: str) -> Emitted:
        rounding, kernel = sum_rounding(layer.dense), _kernel_of(layer, plan)
        size = dict(plan.options).get("size", layer.inputs)
        tiles = _rows(layer, kernel) // kernel.rows if kernel else 0
        return emitted(
            unary(name),
            plan,
            f"FULLY_CONNECTED {layer.bands * layer.inputs} -> {layer.outputs}, {layer.inputs} inputs a call",
            "kernels/dense_rows/dense_rows.c.j2",
            arrays=_arrays(layer, kernel, size, name),
            kernels=(kernel,) if kernel else (),
            notes=(
                f"Scratch memory is kept from call to call; of {layer.bands} calls the last one gives the outputs.",
            ),
            layer=layer.dense,
            bands=layer.bands,
            inputs=layer.inputs,
            outputs=layer.outputs,
            kernel=kernel.name if kernel else "",
            size=size,
            step=tiles * kernel.words(size) if kernel else 0,
            parts=layer.inputs // size,
            sums=_sums(plan),
            q=rounding.output(layer.dense),
            shift=rounding.shift,
        )


def ends(layer: DenseBand, plan: Plan) -> Ends:
    """Of one of the plans of a layer, with the number that its caller clears."""
    rounding, sums, outputs = sum_rounding(layer.dense), _sums(plan), layer.outputs
    output = Loop((compiled(*rounding.code, rounding.words),), outputs)
    return Ends(
        stores(1 + sums, 4) + loads(outputs, 4),
        loads(rounding.words * outputs, 4),
        stores(outputs, 1),
        (around.piece(around.CALL), around.fill_words(sums), output),
    )


def _sums(plan: Plan) -> int:
    return plan.scratch_bytes // _WORD - 1


def _rows(layer: DenseBand, kernel: ChainedRowsKernel) -> int:
    """Rows in whole tiles: none may add to a sum twice."""
    return align(layer.outputs, kernel.rows)


def _kernel(layer: DenseBand, parts: _Parts) -> ChainedRowsKernel:
    return ChainedRowsKernel(2 if layer.outputs > ROWS else 1, parts.unroll, packed=False, output=None)


def _kernel_of(layer: DenseBand, plan: Plan) -> ChainedRowsKernel | None:
    if not plan.kernels:
        return None
    size = plan.option("size")
    return _kernel(layer, _Parts(layer.inputs // size, size, plan.option("unroll")))


@lru_cache(maxsize=64)
def _weights(layer: DenseBand) -> Int64Array:
    """[M, K]; none in rows whose output no input changes."""
    return weights_of(layer.dense, sum_rounding(layer.dense).constant, layer.bands * layer.inputs)


def _chain(layer: DenseBand) -> bool:
    """Whether chains of the weights fit, in tiles of four rows or of eight."""
    w = _weights(layer)
    padded = np.concatenate([w, np.zeros((-len(w) % ROWS, w.shape[1]), np.int64)])
    return chains.fits(padded.reshape(-1, ROWS, w.shape[1]), packed=False)


def _parts_of(layer: DenseBand) -> _Parts | None:
    """The fewest parts of whole words whose accumulators fit; None if there are none."""
    for number in range(-(-layer.inputs // MOST_INPUTS), layer.inputs // _LEAST_PART + 1):
        size = layer.inputs // number
        if layer.inputs % (_WORD * number) == 0 and _fit(layer, size):
            return _Parts(number, size, max(n for n in range(1, _UNROLL + 1) if size // _WORD % n == 0))
    return None


@lru_cache(maxsize=256)
def _fit(layer: DenseBand, size: int) -> bool:
    """Whether 256 times the accumulators of parts of so many inputs fit 32 bits."""
    w, none = _weights(layer), np.zeros(layer.outputs, np.int64)
    spans = (
        accumulator_range(w[:, at : at + size].T, none, layer.dense.input_zero_point)
        for at in range(0, w.shape[1], size)
    )
    return max(int(np.abs(end).max()) for span in spans for end in span.ends) * SCALE <= INT32_MAX


def _arrays(layer: DenseBand, kernel: ChainedRowsKernel | None, size: int, name: str) -> list[Array]:
    rounding, w = sum_rounding(layer.dense), _weights(layer)
    if kernel is None:
        bands = w.reshape(len(w), layer.bands, layer.inputs).transpose(1, 0, 2)
        weights = Array("int8_t", f"{name}_weights", bands, "weights, band by band")
        return [weights, *rounding.arrays(layer.dense, name)]
    w = np.concatenate([w, np.zeros((_rows(layer, kernel) - len(w), w.shape[1]), np.int64)])
    first = np.arange(len(w) - kernel.rows, -1, -kernel.rows)
    streams = []
    for at in range(0, w.shape[1], size):
        part = w[:, at : at + size]
        tiles = tile_words(kernel, part, -layer.dense.input_zero_point * part.sum(axis=1), first)
        streams.append(np.concatenate([tiles, _WORD * first[:, None]], axis=1).ravel())
    comment = f"part by part, {kernel.rows} rows at a time: starts, chained weights, where the first row's sum is"
    return [Array("int32_t", f"{name}_weights", np.concatenate(streams), comment), *rounding.arrays(layer.dense, name)]


FAMILIES = (DenseRows(),)
