"""Operators that only move elements: PAD, CONCATENATION, TRANSPOSE, STRIDED_SLICE, RESIZE_NEAREST_NEIGHBOR."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Loop, Node, compiled
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.family import data_bytes
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.staging import prefix
from memaopt.kernels.text.c import Array
from memaopt.problems.layers import Int8Array
from memaopt.problems.movement import Movement, Piece

#: Cycles of a layer's entry and exit, code and cycles of a run before its copy and behind it, cycles of a turn of a
#: loop around others: fitted to counts of 14 layers on the virtual board (GCC 12.2 -O3).
_ENTRY, _RUN, _ROW = 22, (around.Compiled(12, 7), around.Compiled(8, 4)), 8
#: Of the family that moves bytes: for each, for a row of them, for one that is filled, for a piece; fitted likewise.
_BYTE, _BYTE_ROW, _FILLED, _PIECE = 8, 10, 5, 30
#: Bytes of that family's code, and of it for each axis of a piece, at most (`tests/kernels/test_frames.py`).
_CODE, _AXIS_CODE = 68, 30
#: Bytes of a run from which on copying eight words a turn is worth its call.
_LONG = 48


class _Axis(NamedTuple):
    """One loop: its size, and the C text of what its index adds to the input and the output pointer."""

    size: int
    input: str
    output: str


class _Nest(NamedTuple):
    """The loops of one piece, and where they start."""

    source: int
    axes: tuple[_Axis, ...]
    input: int
    output: int


#: What is moved, and the bytes of each of its elements.
_Pieces = list[tuple[Piece, int]]


class _Mover:
    """What both families share: nested loops over boxes; an index that is no multiple of its loop's has a table."""

    name: ClassVar[str]
    computes = Movement

    def pieces(self, layer: Movement) -> _Pieces:
        """The layer's pieces as this family moves them."""
        raise NotImplementedError

    def emit(self, layer: Movement, plan: Plan, name: str) -> Emitted:
        pieces = self.pieces(layer)
        nests, arrays, _ = _loops((piece for piece, _ in pieces), name, prefix(plan, name))
        runs = [run for _, run in pieces]
        parameters = ", ".join(f"const int8_t *in{i}" for i in range(layer.sources))
        signature = f"void {name}({parameters}, int8_t *out, void *scratch)"
        return emitted(
            signature,
            plan,
            layer.what,
            "kernels/movement/movement.c.j2",
            arrays=arrays,
            layer=layer,
            parameters=parameters,
            fills=_fills(layer),
            words=any(run > 1 for run in runs),
            fill_word=f"{layer.fill % 256 * 0x01010101:#010x}",
            pieces=[(nest, run, _by_words(piece, run)) for nest, (piece, run) in zip(nests, pieces, strict=True)],
        )


class ElementMover(_Mover):
    """One byte at a time."""

    name = "move"

    def pieces(self, layer: Movement) -> _Pieces:
        return [(piece.without_ones(), 1) for piece in layer.pieces]

    def plans(self, layer: Movement) -> tuple[Plan, ...]:
        moved = sum(piece.elements for piece in layer.pieces)
        rows = sum(math.prod(piece.shape[:-1]) for piece in layer.pieces)
        _, arrays, table_loads = _loops((piece for piece, _ in self.pieces(layer)))
        inputs = tuple(loads(sum(p.elements for p in layer.pieces if p.source == i), 1) for i in range(layer.sources))
        filled = layer.elements if _fills(layer) else 0
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=_BYTE * moved + _BYTE_ROW * rows + _FILLED * filled + _PIECE * len(layer.pieces),
                promise=Promise(inputs, stores(moved + filled, 1), table_loads),
                data_bytes=data_bytes(arrays),
                code_bytes=_CODE + _AXIS_CODE * sum(len(piece.shape) for piece, _ in self.pieces(layer)),
                code=(Loop((compiled(60, _BYTE),), moved), Loop((compiled(16, _FILLED),), filled)),
            ),
        )


class RunMover(_Mover):
    """Runs of bytes that are contiguous on both sides, by words."""

    name = "move runs"

    def pieces(self, layer: Movement) -> _Pieces:
        return [_split(piece) for piece in layer.pieces]

    def plans(self, layer: Movement) -> tuple[Plan, ...]:
        pieces = self.pieces(layer)
        if min((run for _, run in pieces), default=0) < 4:
            return ()
        _, arrays, table_loads = _loops((piece for piece, _ in pieces))
        inputs, written, cycles = [Access()] * layer.sources, Access(), float(_ENTRY)
        code: list[Node] = [*around.entry()]
        if _fills(layer):
            written += stores(layer.elements // 4, 4) + stores(layer.elements % 4, 1)
            cycles += _FILL.cycles(layer.elements // 4) + 2 * (layer.elements % 4)
            code.append(around.fill_words(layer.elements // 4))
        for piece, run in pieces:
            times, (words, rest) = piece.elements, divmod(run, 4)
            inputs[piece.source] += (loads(words, 4) + loads(rest, 1)).times(times)
            written += (stores(words, 4) + stores(rest, 1)).times(times)
            whole = _by_words(piece, run)
            cycles += times * (
                (_WORDS.cycles(words) if whole else _BYTES.cycles(run)) + sum(part.cycles for part in _RUN)
            ) + _ROW * sum(math.prod(piece.shape[:depth]) for depth in range(1, len(piece.shape)))
            copy = around.copy_words(words) if whole else around.copy_bytes(run)
            cycles += words * sum(
                around.unaligned_words(_places(tables) + offset)
                for tables, offset in (
                    (piece.input_tables, piece.input_offset),
                    (piece.output_tables, piece.output_offset),
                )
            )
            before, behind = map(around.piece, _RUN)
            code.append(Loop((before, copy, behind), times))
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles),
                promise=Promise(tuple(inputs), written, table_loads),
                data_bytes=data_bytes(arrays),
                code_bytes=80 * len(layer.pieces) + 72,
                code=tuple(code),
                alignment=4,
            ),
        )


class _Words(NamedTuple):
    """Cycles of copy_words: its instructions, one by one."""

    call: int = 24  # seven registers pushed and popped, and the branches around both loops
    eight: int = 21
    one: int = 7

    def cycles(self, words: int) -> int:
        """Of a copy of so many words."""
        return self.call + self.eight * (words // 8) + self.one * (words % 8)


_WORDS = _Words()


def _by_words(piece: Piece, run: int) -> bool:
    """Whether copy_words moves a run: it is long, and starts and ends at multiples of 4 on both sides."""
    starts = (
        _places(tables) + offset
        for tables, offset in ((piece.input_tables, piece.input_offset), (piece.output_tables, piece.output_offset))
    )
    return run >= _LONG and run % 4 == 0 and not any((places % 4).any() for places in starts)


class _Fours(NamedTuple):
    """Cycles of a helper of four items a turn, but for what unaligned words cost: its instructions, one by one."""

    call: int
    turn: int
    one: int  # of those left over
    none: int = 3  # where none are: the branch

    def cycles(self, items: int) -> int:
        """Of so many."""
        turns, rest = divmod(items, 4)
        return self.turn * turns + self.call + (self.one * rest or self.none)


#: Of copy_bytes, and of fill_words, whose items are words.
_BYTES, _FILL = _Fours(call=5, turn=6, one=6), _Fours(call=16, turn=8, one=4)


def _split(piece: Piece) -> tuple[Piece, int]:
    """The piece with the innermost axes that are contiguous in both tensors as one element, and the bytes of that."""
    whole = piece.without_ones()
    outer, run = len(whole.shape), 1
    while outer and _step(whole.input_tables[outer - 1]) == _step(whole.output_tables[outer - 1]) == run:
        outer -= 1
        run *= whole.shape[outer]
    inputs, outputs = whole.input_tables[:outer], whole.output_tables[:outer]
    return dataclasses.replace(whole, shape=whole.shape[:outer], input_tables=inputs, output_tables=outputs), run


def _fills(layer: Movement) -> bool:
    """Whether some output element comes from no piece."""
    return sum(piece.elements for piece in layer.pieces) < layer.elements


def _loops(pieces: Iterable[Piece], name: str = "", place: str = "") -> tuple[list[_Nest], list[Array], Access]:
    """The loop nests of the pieces, the tables of offsets that they read, and those reads."""
    nests: list[_Nest] = []
    arrays: list[Array] = []
    reads = Access()
    for number, piece in enumerate(pieces):
        axes = []
        for d, size in enumerate(piece.shape, start=1):
            texts = []
            for kind, table in (("from", piece.input_tables[d - 1]), ("to", piece.output_tables[d - 1])):
                step = _step(table)
                if step is not None:
                    texts.append(_product(d, step))
                    continue
                array = Array("int32_t", f"{name}_{kind}_{number}_{d}", table, f"offsets by index {d}")
                arrays.append(array)
                reads += loads(math.prod(piece.shape[:d]), 4)
                texts.append(f"load_s32(&{place}{array.name.removeprefix(name)}[i{d}])")
            axes.append(_Axis(size, *texts))
        axes = axes or [_Axis(1, "0", "0")]
        nests.append(_Nest(piece.source, tuple(axes), piece.input_offset, piece.output_offset))
    return nests, arrays, reads


def _product(d: int, step: int) -> str:
    if step in (0, 1):
        return f"i{d}" if step else "0"
    return f"i{d} * {step}" if step > 0 else f"i{d} * ({step})"


def _step(table: Int64Array) -> int | None:
    """The constant step of offsets that start at 0, or None."""
    step = int(table[1]) if len(table) > 1 else 0
    return step if np.array_equal(table, np.arange(len(table)) * step) else None


FAMILIES = (ElementMover(), RunMover())


def moved(layer: Movement, plan: Plan, inputs: Sequence[Int8Array]) -> Int8Array:
    """The elements that a plan's text moves, by the same pieces, tables and offsets; flat."""
    (family,) = (family for family in FAMILIES if family.name == plan.family)
    out = np.full(layer.elements, layer.fill, np.int8)
    for piece, size in family.pieces(layer):
        run = np.arange(size)
        source = piece.input_offset + _places(piece.input_tables)[:, None] + run
        out[piece.output_offset + _places(piece.output_tables)[:, None] + run] = inputs[piece.source].ravel()[source]
    return out


def _places(tables: Sequence[Int64Array]) -> Int64Array:
    """The sums of one entry of each table, the last one's index fastest."""
    places = np.zeros(1, np.int64)
    for table in tables:
        places = (places[:, None] + table).ravel()
    return places
