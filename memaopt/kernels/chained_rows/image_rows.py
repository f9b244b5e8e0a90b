"""Rows of a 3x3 convolution over three channels that are read where the input has them; what is padded is copied.

Most windows lie inside the image: tiles of three positions read it. Those at a row's ends that reach beyond it read
*edges*, copies of the row's first and last words with padding beside them; rows whose windows reach above or below the
image are copied whole. Edges are tiles of the same kernel, of which the last one may compute positions of the one
before once more; or *columns*: positions of three rows, below each other, by a kernel of their own.
"""

from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.chained_rows.channels_kernel import TILE, ChainedChannelsKernel
from memaopt.kernels.chained_rows.shared_words import CHANNELS, TAPS
from memaopt.kernels.code import Loop, Node
from memaopt.kernels.leads import lead_of
from memaopt.problems.layers import Conv

_WORD = 4
#: Of the C around the kernels, as GCC 12.2 makes it at -O3: a row of outputs, a call, a group of three rows, a row of
#: its edges, and each word of an edge.
_ROW, _CALL, _GROUP, _EDGES, _EDGE_WORD = (
    Compiled(24, 4),
    Compiled(28, 9),
    Compiled(40, 14),
    Compiled(48, 16),
    Compiled(8, 4),
)


class ImageRows(NamedTuple):
    """``height`` x ``width`` outputs from ``rows`` rows of ``row_bytes`` bytes, ``above`` and ``before`` which there
    are a row and a column of padding or none. ``tiles`` of three positions lie inside; ``left`` ones before them and
    ``right`` ones at the end are computed apart, in ``columns`` or in tiles, which have three
    of them. The last one may reach beyond the image (``cut``).
    """

    height: int
    width: int
    stride: int
    above: int
    before: int
    rows: int
    row_bytes: int
    columns: bool
    tiles: int
    left: int
    right: int
    cut: bool

    def start(self, position: int) -> int:
        """The byte of a row at which a position's window begins."""
        return CHANNELS * (position * self.stride - self.before)

    @property
    def odd(self) -> bool:
        """Whether an address stands for the position a byte behind it (:class:`SharedWords`)."""
        return self.stride == 2 and self.before == 1

    def at(self, position: int) -> int:
        """The byte of a row that stands for a position."""
        return self.start(position) - self.odd

    @property
    def copied(self) -> bool:
        """Whether the positions at the end read a copy: they may lie inside, and tiles of such read the image."""
        return self.right > 0 and (self.cut or self.columns)

    @property
    def left_words(self) -> int:
        """Of each row, for the positions at its start."""
        under = TAPS + ((self.left if self.columns else TILE) - 1) * self.stride - self.before
        return -(-CHANNELS * under // _WORD) if self.left else 0

    @property
    def right_from(self) -> int:
        """The byte of a row from which on words are copied for the positions at its end."""
        return self.start(self.width - self.right) // _WORD * _WORD

    @property
    def right_words(self) -> int:
        """Words from there on."""
        return (self.row_bytes - self.right_from) // _WORD if self.copied else 0

    @property
    def left_room(self) -> int:
        """Bytes of the copy of a row's start, padding first."""
        return _WORD + _WORD * self.left_words if self.left else 0

    @property
    def right_room(self) -> int:
        """Bytes of the copy of its end, padding last."""
        return _WORD * self.right_words + _WORD if self.copied else 0

    @property
    def pitch(self) -> int:
        """Bytes from a row of the copies to the next one: that of the image where its tiles read them."""
        return max(self.left_room, self.right_room) if self.columns else self.row_bytes

    @property
    def deep(self) -> int:
        """Rows of the input under a tile of an edge."""
        return TAPS + TILE - 1 if self.columns else TAPS

    @property
    def right_at(self) -> int:
        """Where the copy of a row's end begins."""
        return (self.deep * self.pitch if self.left else 0) if self.columns else self.left_room

    @property
    def edge_bytes(self) -> int:
        """Of all copies of starts and ends."""
        if not self.left_room + self.right_room:
            return 0
        if self.columns:
            return self.deep * self.pitch * (bool(self.left) + self.copied)
        return (TAPS - 1) * self.pitch + self.left_room + self.right_room

    @property
    def left_x(self) -> int:
        """What stands for the first position in the copies."""
        return _WORD - CHANNELS * self.before - self.odd

    @property
    def right_x(self) -> int:
        """What stands for the first of the positions at the end."""
        return self.right_at + self.at(self.width - self.right) - self.right_from

    def outside(self, y: int) -> int:
        """Rows under a row of outputs that do not exist."""
        top = y * self.stride - self.above
        return max(-top, 0) + max(top + TAPS - self.rows, 0)

    def padded(self, of: range) -> list[int]:
        """The rows of outputs whose windows reach beyond the image."""
        return [y for y in of if self.outside(y)]

    @property
    def whole_bytes(self) -> int:
        """Of copies of whole rows."""
        return TAPS * self.row_bytes if self.padded(range(self.height)) else 0

    @property
    def scratch_bytes(self) -> int:
        """Of all copies."""
        return self.edge_bytes + self.whole_bytes

    @property
    def groups(self) -> list[int]:
        """The first rows of the columns of three; the last ones may be computed twice."""
        return [min(y, self.height - TILE) for y in range(0, self.height, TILE)]

    def lead(self, outputs: int) -> int:
        """The lead where a position has so many bytes."""
        size = self.rows * self.row_bytes
        reads, ends = list[int](), list[int]()

        def step(read: int, y: int, position: int) -> None:
            reads.append(read)
            ends.append((y * self.width + position) * outputs)

        def edges(y: int, position: int) -> None:
            """A copy of edges from row ``y`` of outputs on, with what is written until the next one is read."""
            if self.left or self.copied:
                step(base(y) + (0 if self.left else self.right_from), y, position)

        def base(y: int) -> int:
            return max(y * self.stride - self.above, 0) * self.row_bytes

        def row(y: int) -> None:
            if self.outside(y):
                step(base(y), y, self.left + TILE * self.tiles)
                return
            for tile in range(self.tiles):
                at = self.left + TILE * tile
                step(base(y) + self.start(at), y, at + TILE)

        for y in range(self.height) if not self.columns else ():
            if self.outside(y):
                step(base(y), y, self.width)
                continue
            edges(y, TILE if self.left else 0)
            row(y)
            inside = self.right and not self.copied
            step(base(y) + self.start(self.width - TILE) if inside else size, y, self.width)
        for number, y in enumerate(self.groups if self.columns else ()):
            edges(y, 0)
            for each in range(TILE * number, min(TILE * number + TILE, self.height)):
                row(each)
            step(size, y + TILE - 1, self.width)
        return lead_of(reads, ends, size)


def image_rows(layer: Conv, columns: bool) -> ImageRows | None:
    """How a layer's rows are computed; None where it has another form."""
    window, shape, output = layer.window, layer.shape, layer.output
    stride, (above, before) = window.stride.width, window.padding
    plain = window.kernel == (TAPS, TAPS) and window.dilation == (1, 1) and layer.groups == 1
    if not plain or shape.channels != CHANNELS or window.stride.height != stride or stride > (1 if columns else 2):
        return None
    beyond = (output.width - 1) * stride + TAPS - before - shape.width
    below = (output.height - 1) * stride + TAPS - above - shape.height
    if max(above, before, beyond, below) > 1 or shape.width % _WORD or shape.height < TAPS or output.width < 3 * TILE:
        return None
    left = before if columns else TILE * before
    tiles = (output.width - (beyond > 0) - left) // TILE
    right = output.width - left - TILE * tiles
    if right and not columns:
        right = TILE
    made = ImageRows(
        output.height,
        output.width,
        stride,
        above,
        before,
        shape.height,
        shape.width * CHANNELS,
        columns,
        tiles,
        left,
        right,
        beyond > 0,
    )
    if columns and (output.height < TILE or not made.left + made.right):
        return None
    return made if columns or made.left_room + made.right_room <= made.row_bytes else None


class RowsWork(NamedTuple):
    """What computing rows of outputs takes: accesses of the input, of scratch memory, of outputs, parameters and the
    stack; what is executed first, and then in each of so many turns; and cycles of the kernels in them."""

    input: Access
    scratch: Access
    output: Access
    parameters: Access
    stack: Access
    first: tuple[Node, ...]
    turn: tuple[Node, ...]
    turns: int
    kernels: float


def rows_work(
    rows: ImageRows, kernel: ChainedChannelsKernel, across: ChainedChannelsKernel | None, parts: list[range]
) -> RowsWork:
    """Of rows of outputs computed in these ``parts``; with columns they are all, in one."""
    every = [y for part in parts for y in part]
    padded = [y for part in parts for y in rows.padded(part)]
    outside, count = sum(map(rows.outside, padded)), len(every)
    direct = rows.right > 0 and not rows.copied
    each_call, each_tiles = 1 + direct, rows.tiles + direct
    inside = count - len(padded)
    source, *rest = kernel.accesses(each_tiles * inside, each_call * inside)
    again, *more = kernel.accesses(each_tiles * len(padded), each_call * len(padded))
    total = [a + b for a, b in zip(rest, more, strict=True)]
    words, row_words = rows.left_words + rows.right_words, rows.row_bytes // _WORD
    whole = TAPS * len(padded) - outside
    read = source + loads(whole * row_words, 4)
    scratch = again + stores(TAPS * len(padded) * row_words, 4)
    kernels = count * (each_tiles * kernel.tile_cycles + each_call * kernel.call_cycles)
    in_words = row_words * whole / max(TAPS * len(padded), 1)
    copy: tuple[Node, ...] = (around.piece(around.ROW), around.copy_words(in_words))
    row: tuple[Node, ...] = (around.piece(_ROW), Loop((Loop(copy, TAPS),), len(padded) / count))
    tiles: tuple[Node, ...] = (around.piece(_CALL), kernel.call(rows.tiles))
    tiles += (around.piece(_CALL), kernel.call(1)) if direct else ()
    copied = Compiled(words * _EDGE_WORD.size, words * _EDGE_WORD.cycles)
    if across is None:
        edges = (rows.left > 0) + rows.copied
        if edges:
            edged, *more = kernel.accesses(edges * count, edges * count)
            total = [a + b for a, b in zip(total, more, strict=True)]
            moved = loads(TAPS * words, 4)
            read += moved.times(inside)
            scratch += edged + moved.times(len(padded)) + stores(TAPS * words * count, 4)
            kernels += edges * count * (kernel.tile_cycles + kernel.call_cycles)
            row += tuple(around.piece(copied) for _ in range(TAPS))
            tiles += (around.piece(_CALL), kernel.call(1)) * edges
        turn, turns = (*row, *tiles), count
    else:
        groups = turns = len(rows.groups)
        at = [y - rows.above + i for y in rows.groups for i in range(rows.deep)]
        found = sum(0 <= each < rows.rows for each in at)
        sides = [side for side in (rows.left, rows.right) if side]
        edged, *more = across.accesses(sum(sides) * groups, len(sides) * groups)
        total = [a + b for a, b in zip(total, more, strict=True)]
        read += loads(found * words, 4)
        scratch += edged + stores(len(at) * words, 4)
        kernels += groups * (sum(sides) * across.tile_cycles + len(sides) * across.call_cycles)
        turn = (around.piece(_GROUP), Loop((around.piece(_EDGES), around.piece(copied)), rows.deep))
        turn += (Loop((*row, *tiles), count / groups),)
        for side in sides:
            turn += (around.piece(_CALL), across.call(side))
    first: tuple[Node, ...] = ()
    if rows.edge_bytes:
        scratch += stores(rows.edge_bytes // _WORD, 4)
        first = (around.piece(around.CALL), around.fill_words(rows.edge_bytes // _WORD))
    output, parameters, stack = total
    return RowsWork(read, scratch, output, parameters, stack, first, turn, turns, kernels)
