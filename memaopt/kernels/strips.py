"""Driving a patch kernel over an image: rows of positions in tiles, and strips that add the padding.

A strip is a copy in scratch memory of the input rows under some rows of outputs, with the padding around them, so
that every patch of it has the same geometry. Without padding the kernel reads the input itself. Where memory is short a
strip has a part of one row's columns.

The rows that a strip shares with the one before are read again; or strips *slide*: such rows are moved up, and each row
of the input is read once. That moves as many bytes, but fewer of them from outside the chip if the input is there.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels import around
from memaopt.kernels.code import Loop
from memaopt.kernels.leads import lead_of
from memaopt.kernels.plan import Format
from memaopt.problems.layers import Conv


class Grid(NamedTuple):
    """Rows of ``width`` positions, computed ``n`` at a time; steps in bytes of the input (or strip)."""

    n: int
    rows: int
    width: int
    row_step: int
    step: int
    outputs: int

    def starts(self, rows: int) -> list[int]:
        """The first position of every tile, in order."""
        starts: list[int] = []
        done, count = 0, rows * self.width
        for tiles in self.runs(rows):
            at = min(done, count - self.n)
            starts.extend(range(at, at + tiles * self.n, self.n))
            done = at + tiles * self.n
        return starts

    def runs(self, rows: int) -> list[int]:
        """The tiles of each call of the kernel over ``rows`` rows, as run_tiles makes them."""
        count, done, calls = rows * self.width, 0, []
        while done < count:
            at = min(done, count - self.n)
            calls.append(max((self.width - at % self.width) // self.n, 1))
            done = at + calls[-1] * self.n
        return calls


class Strip(NamedTuple):
    """``rows`` of outputs at a time; ``reach``: input rows under one of them; everything else in bytes. With ``parts``
    it is one row's part of so many, of ``columns`` outputs over ``span`` columns of the input."""

    rows: int
    stride: int
    reach: int
    pitch: int
    lead: int
    start: int
    row_bytes: int
    bytes: int
    copy: str
    fill: str
    parts: int = 1
    columns: int = 0
    span: int = 0

    @property
    def shared(self) -> int:
        """Rows that are under the strip before as well."""
        return max(self.reach - self.stride, 0)

    @property
    def shared_words(self) -> int:
        """Words of these rows, with their padding."""
        return self.shared * self.pitch // 4


def pads(layer: Conv) -> bool:
    """Whether some window reaches beyond the image."""
    window = layer.window
    sizes = zip(
        layer.shape[:2], layer.output[:2], window.kernel, window.stride, window.dilation, window.padding, strict=True
    )
    return any(
        before > 0 or (outputs - 1) * stride + (kernel - 1) * dilation - before >= size
        for size, outputs, kernel, stride, dilation, before in sizes
    )


def fill_of(layer: Conv, input_format: Format = Format.S8) -> str:
    """A word of padding, as C has it."""
    fill = (layer.input_zero_point & 0xFF) * 0x01010101
    return f"{fill ^ (0x00800080 if input_format is Format.RAW else 0):#010x}"


def strip_of(layer: Conv, rows: int, input_format: Format = Format.S8) -> Strip:
    """The strip under ``rows`` rows of outputs."""
    window, (_, width, channels) = layer.window, layer.shape
    lead = align(window.padding.left * channels, 4)
    span = (layer.output.width - 1) * window.stride.width + window.extent.width
    pitch = align(lead + max(width, span - window.padding.left) * channels, 4)
    row_bytes = width * channels
    return Strip(
        rows=rows,
        stride=window.stride.height,
        reach=window.extent.height,
        pitch=pitch,
        lead=lead,
        start=lead - window.padding.left * channels,
        row_bytes=row_bytes,
        bytes=((rows - 1) * window.stride.height + window.extent.height) * pitch,
        copy="copy_words" if row_bytes % 4 == 0 else "copy_bytes",
        fill=fill_of(layer, input_format),
    )


def part_of(layer: Conv, parts: int, input_format: Format = Format.S8) -> Strip:
    """The strip under one of so many equal parts of a row of outputs."""
    whole, window, channels = strip_of(layer, 1, input_format), layer.window, layer.shape.channels
    columns = layer.output.width // parts
    span = (columns - 1) * window.stride.width + window.extent.width
    pitch = align(span * channels, 4)
    return whole._replace(
        pitch=pitch,
        lead=0,
        start=0,
        bytes=whole.reach * pitch,
        copy="copy_words" if channels % 4 == 0 else "copy_bytes",
        parts=parts,
        columns=columns,
        span=span,
    )


def strip_in(layer: Conv, rows: int, parts: int, input_format: Format = Format.S8) -> Strip:
    """The strip of so many rows, or of one of the parts of one."""
    return part_of(layer, parts, input_format) if parts > 1 else strip_of(layer, rows, input_format)


def pitch_and_start(layer: Conv, rows: int, parts: int = 1) -> tuple[int, int]:
    """Bytes from a row of the input to the next one, and where the first window begins: in strips of so many rows of
    outputs or of parts of one, or (0) in the image itself."""
    if not rows:
        return layer.shape.width * layer.shape.channels, 0
    strip = strip_in(layer, rows, parts)
    return strip.pitch, strip.start


def grid_of(layer: Conv, n: int, pitch: int, in_strips: bool) -> Grid:
    """The positions of a layer whose input rows (or the strip's) are ``pitch`` bytes apart."""
    window, channels = layer.window, layer.shape.channels
    step = window.stride.width * channels
    row_step = window.stride.height * pitch
    rows, width = layer.output.height, layer.output.width
    if row_step == width * step and not in_strips:
        # One row follows on the other: they are one long row. A strip has only some of them.
        return Grid(n, 1, rows * width, 0, step, layer.output.channels)
    return Grid(n, rows, width, row_step, step, layer.output.channels)


class _Cycles(NamedTuple):
    """Of the C around the copies, fitted to counts of layers on the virtual board (GCC 12.2 -O3)."""

    filled_row: int = 25
    output_row: int = 12
    strip: int = 40
    alone: int = 6  # of a row's words behind whole turns of copy_words, each, and what the last one has less
    last: int = 2


_TURN = 8  # words of copy_words
_CYCLES = _Cycles()


class StripWork(NamedTuple):
    """What filling a layer's strips costs, and the rows of outputs of each."""

    heights: list[int]
    input: Access
    scratch: Access
    cycles: int


class StripRows(NamedTuple):
    """The rows of outputs of each strip, and the rows that all of them take from the image, or fill below it."""

    heights: list[int]
    copied: int
    filled: int


def strip_rows(layer: Conv, strip: Strip, parts: Iterable[range] | None = None, *, slides: bool = False) -> StripRows:
    """The rows of every strip of a layer, whose rows of outputs are computed in ``parts``; of one that ``slides`` rows
    are moved."""
    rows_of = [range(layer.output.height)] if parts is None else parts
    strips = [part[at : at + strip.rows] for part in rows_of for at in range(0, len(part), strip.rows)]
    copied = filled = 0
    for number, rows in enumerate(strips):
        first = rows.start * strip.stride - layer.window.padding.top
        at = range(first, first + (len(rows) - 1) * strip.stride + strip.reach)
        at = at[strip.shared if slides and number else 0 :]
        copied += sum(0 <= row < layer.shape.height for row in at)
        filled += sum(row >= layer.shape.height for row in at)
    return StripRows([len(rows) for rows in strips], copied, filled)


def strip_work(layer: Conv, strip: Strip, parts: Iterable[range] | None = None, *, slides: bool = False) -> StripWork:
    """Accesses and cycles of filling every strip of a layer (:func:`strip_rows`)."""
    if strip.parts > 1:
        return _part_work(layer, strip)
    heights, copied, filled = strip_rows(layer, strip, parts, slides=slides)
    words, rest = divmod(strip.row_bytes, 4)
    row_in, row_out = loads(words, 4) + loads(rest, 1), stores(words, 4) + stores(rest, 1)
    fill_words = strip.bytes // 4 + filled * strip.pitch // 4
    by = around.ROW_OF_WORDS if strip.copy == "copy_words" else around.ROW_OF_BYTES
    row = by.cycles(words, rest)
    if by is around.ROW_OF_WORDS and (alone := words % _TURN):
        row += _CYCLES.alone * alone - _CYCLES.last - by.word * alone
    cycles = copied * row + around.FILLED_WORD * fill_words + _CYCLES.filled_row * filled
    cycles += _CYCLES.output_row * sum(heights) + _CYCLES.strip * len(heights)
    moved = strip.shared_words * (len(heights) - 1) if slides else 0
    cycles += around.ROW_OF_WORDS.cycles(strip.shared_words) * (len(heights) - 1) if slides else 0
    scratch = row_out.times(copied) + stores(fill_words, 4) + loads(moved, 4) + stores(moved, 4)
    return StripWork(heights, row_in.times(copied), scratch, round(cycles))


class _Taken(NamedTuple):
    """Rows of the input inside the image, from one on, and its columns from one on to before another."""

    top: int
    rows: int
    start: int
    end: int


def _taken(layer: Conv, strip: Strip) -> list[_Taken]:
    """What each part of each row of outputs copies of the input."""
    (height, width, _), window = layer.shape, layer.window
    found = []
    for y in range(layer.output.height):
        top = y * window.stride.height - window.padding.top
        low, high = max(top, 0), min(top + strip.reach, height)
        for x in range(0, layer.output.width, strip.columns):
            first = x * window.stride.width - window.padding.left
            found.append(_Taken(low, max(high - low, 0), max(first, 0), min(first + strip.span, width)))
    return found


def _part_work(layer: Conv, strip: Strip) -> StripWork:
    """Of strips that are parts of rows: each is filled with padding before its rows are copied."""
    source, target, cycles, taken = Access(), Access(), 0.0, _taken(layer, strip)
    by = around.ROW_OF_WORDS if strip.copy == "copy_words" else around.ROW_OF_BYTES
    for part in taken:
        words, rest = divmod((part.end - part.start) * layer.shape.channels, 4)
        source += (loads(words, 4) + loads(rest, 1)).times(part.rows)
        target += (stores(words, 4) + stores(rest, 1)).times(part.rows)
        slow = around.UNALIGNED[(part.top * strip.row_bytes + part.start * layer.shape.channels) % 4]
        cycles += part.rows * (by.cycles(words, rest) + slow * words)
    filled = len(taken) * strip.bytes // 4
    cycles += around.FILLED_WORD * filled + (_CYCLES.output_row + _CYCLES.strip) * len(taken)
    return StripWork([1] * len(taken), source, target + stores(filled, 4), round(cycles))


def filling(layer: Conv, strip: Strip, count: float) -> Loop:
    """The code that fills one of ``count`` strips."""
    if strip.parts > 1:
        size = strip.span * layer.shape.channels
        copied = around.copy_words(size // 4) if strip.copy == "copy_words" else around.copy_bytes(size)
        return Loop((around.piece(around.ROW), copied), strip.reach)
    rows = (layer.output.height / count - 1) * strip.stride + strip.reach
    copy = around.copy_words(strip.row_bytes // 4) if strip.copy == "copy_words" else around.copy_bytes(strip.row_bytes)
    return Loop((around.piece(around.ROW), copy), rows)


@lru_cache(maxsize=256)
def tiles_lead(layer: Conv, grid: Grid) -> int:
    """The lead of tiles that read the input itself: each gathers its patches before it writes."""
    starts = grid.starts(grid.rows)
    reads = [p // grid.width * grid.row_step + p % grid.width * grid.step for p in starts]
    return lead_of(reads, [(p + grid.n) * grid.outputs for p in starts], layer.shape.elements)


def strip_lead(layer: Conv, strip: Strip) -> int:
    """The lead where each strip is copied before its outputs are written."""
    if strip.parts > 1:
        size, channels = layer.shape.elements, layer.shape.channels
        taken = _taken(layer, strip)
        reads = [part.top * strip.row_bytes + part.start * channels if part.rows else size for part in taken]
        outputs = strip.columns * layer.output.channels
        return lead_of(reads, [(i + 1) * outputs for i in range(len(taken))], size)
    rows = range(0, layer.output.height, strip.rows)
    tops = [y * strip.stride - layer.window.padding.top for y in rows]
    ends = [min(y + strip.rows, layer.output.height) * layer.output.width * layer.output.channels for y in rows]
    return copied_rows_lead(layer, tops, ends)


def copied_rows_lead(layer: Conv, tops: list[int], ends: list[int]) -> int:
    """The lead of steps that copy the image's rows from ``tops`` on (negative: padding) and write below ``ends``."""
    row_bytes = layer.shape.width * layer.shape.channels
    return lead_of([max(top, 0) * row_bytes for top in tops], ends, layer.shape.elements)
