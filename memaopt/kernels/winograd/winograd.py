"""3x3 convolution by Winograd's F(4x4,3x3), in exact integers.

Four times four outputs from 6x6 inputs take 36 products instead of 144 (Winograd 1980; Lavin and Gray,
arXiv 1509.09308). With the matrices scaled to integers,

    U = G w G^T (offline, |U| <= 144 * 128),   V = B^T x B,   Y = A^T (U . V) A = 576 * accumulator,

U and V fit 16 bits, so two input channels meet in an SMLAD. All sums are modulo 2^32, and intermediates may wrap:
Y is exact whenever 576 |acc| < 2^31, which is checked offline. The division by 576 is the requantisation's.
U takes eight times the flash of the weights.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt import fixedpoint
from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around
from memaopt.kernels.code import Call, Constants, Loop, Node
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.plan import Format, Plan, Promise, saved
from memaopt.kernels.rounding import requantize
from memaopt.kernels.rounding.output import Output, channel_parameters
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.strips import copied_rows_lead
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Conv, Layer

SCALE = 576
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 3]], np.int64)
#: Added to all of V's lower halves, which are -12,750 to 17,340: sums are at least 0, and at most 2^15 - 1.
_OFFSET = 0x3800
_ORDER = (0, 2, 1, 3)  # of each four channels: halves of the first word, then of the second


class _InputCycles(NamedTuple):
    """Of the straight input kernel, instruction by instruction (docs/timing.md)."""

    call: int = 27  # nine registers pushed and popped, SP moved twice, three words kept
    tile: int = 12  # the fours are counted, the next tile's input is found
    four: int = 12  # input, V and the fours left move on
    transform: int = 6 + 12 + 6  # six values widened, twelve sums, six stores
    row: int = 2 + 8 + 2 * transform  # where the input is, six words addressed by that, two kinds of channels
    offset: int = 2 * 4  # in the last two rows it is added to two values of each kind
    row_after_store: int = 1  # a load right after a store waits
    find: int = 3  # where V is
    column: int = 7 + 12 + 6  # six words, twelve sums, six stores
    next_column: int = 1


class _ProductCycles(NamedTuple):
    """Of the product kernel, instruction by instruction (docs/timing.md)."""

    call: int = 30  # nine registers pushed and popped, SP moved twice, V, U and the places set up
    step: int = 16  # two words of inputs and four of weights in two groups of loads, eight products
    four: int = 2 + 8 + 1  # where the products go, eight stores, a load after a store waits
    turn: int = 1 + 1 + 5  # U and M move on, compared, branched back
    only_turn: int = 1  # U moves on
    place: int = 6  # M and V move on, the places are counted
    turning_place: int = 14  # and the end of M is set before


class _OutputCycles(NamedTuple):
    """Of the straight output kernel, instruction by instruction (docs/timing.md)."""

    call: int = 32  # nine registers pushed and popped, SP moved twice, five words kept
    tile: int = 4 + 14  # the channels are counted; the next tile's words are loaded, moved on and kept
    channel: int = 3 + 18  # its words are loaded; five of them move on
    column: int = 7 + 10 + 4  # six words, ten sums, four stores
    columns: int = 6 * column + 5 + 2  # M moves on between them, the bias is loaded and added
    output: int = 2  # where it goes, and the output stage's words beside their number
    rows: int = (
        4 * (7 + 10) + 2 * 2 + 4 + 3
    )  # six words, ten sums; in two rows corrections, four taken off; to the next
    byte: int = 1  # stored, beside its output stage


class _LayerCycles(NamedTuple):
    """Of the C around them, fitted to counts of layers on the virtual board (GCC 12.2 -O3)."""

    layer: int = 60  # entry and exit
    strip: int = 40
    pair: int = 20  # of tiles: a call of the input kernel
    chunk: int = 14  # calls of the other two


_INPUT, _PRODUCT, _OUTPUT, _LAYER = _InputCycles(), _ProductCycles(), _OutputCycles(), _LayerCycles()


@dataclass(frozen=True)
class InputKernel:
    """V of two tiles of ``depth`` channels, from rows ``pitch`` bytes apart. ``looped``: rows and columns are loops,
    which fit an instruction cache of 1 KiB.
    """

    depth: int
    pitch: int
    looped: bool

    @property
    def name(self) -> str:
        return f"winograd_input_c{self.depth}_p{self.pitch}{'_looped' if self.looped else ''}"

    @property
    def cycles(self) -> int:
        """One call."""
        if self.looped:
            return round(cycles_of((self.call(),)))
        rows = 6 * (_INPUT.row + _INPUT.row_after_store) + _INPUT.offset + len(self._far)
        columns = _INPUT.find + 12 * _INPUT.column + 5 * _INPUT.next_column
        return _INPUT.call + 2 * (_INPUT.tile + self.depth // 4 * (rows + columns + _INPUT.four))

    @property
    def _far(self) -> list[int]:
        """The rows of a tile that its pointer does not reach."""
        return [i for i in range(6) if i * self.pitch + 5 * self.depth > REACH]

    @property
    def code_bytes(self) -> int:
        return 720 if self.looped else 4 * (6 * (7 + 2 * 24) + 8 + 12 * 24 + 5 + 24)

    @property
    def accesses(self) -> tuple[Access, Access]:
        """The strip, and V, of one call."""
        groups = 2 * self.depth // 4
        return loads(36 * groups, 4), stores(72 * groups, 4)

    @property
    def stack(self) -> Access:
        """Of one call: for four channels of a tile 72 words between the passes, and where the kernel is."""
        rows = (1 + 18, 2 + 12) if self.looped else (6, 0)  # loads, stores of pointers
        four = loads(72 + 3 + rows[0], 4) + stores(72 + 3 + rows[1], 4)
        tile = loads(1, 4) + stores(3, 4) + four.times(self.depth // 4)
        return saved(9) + stores(3, 4) + tile.times(2)

    constants: ClassVar[tuple[Constants, ...]] = ()

    def call(self) -> Call:
        """A call: two tiles, groups of four channels; rows without and with the offset, columns."""
        return Call(self, (2, self.depth / 4, 4, 2, 6) if self.looped else (2, self.depth / 4))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/winograd/winograd.c.j2",
            part="input",
            name=self.name,
            attribute=attribute,
            depth=self.depth,
            pitch=self.pitch,
            far=self._far,
            looped=self.looped,
        )


@dataclass(frozen=True)
class ProductKernel:
    """M of ``chunk`` output channels and two tiles, ``turn`` in a turn of the loop, from ``depth`` channels of V."""

    depth: int
    chunk: int
    turn: int

    @property
    def name(self) -> str:
        return f"winograd_product_c{self.depth}_to_{self.chunk}_by_{self.turn}"

    @property
    def cycles(self) -> int:
        """One call."""
        p, several = _PRODUCT, self.chunk > self.turn
        turn = self.turn // 4 * (p.step * (self.depth // 2) + p.four) + (p.turn if several else p.only_turn)
        place = self.chunk // self.turn * turn + (p.turning_place if several else p.place)
        return p.call + 36 * place

    @property
    def code_bytes(self) -> int:
        return 4 * (self.turn // 4 * (14 * self.depth // 2 + 9) + 27)

    @property
    def accesses(self) -> tuple[Access, Access, Access]:
        """V, U and M of one call."""
        steps = 36 * (self.chunk // 4) * (self.depth // 2)
        return loads(2 * steps, 4), loads(4 * steps, 4), stores(36 * 2 * self.chunk, 4)

    @property
    def stack(self) -> Access:
        """Of one call: where the products go, and what is left to do."""
        turns, several = self.chunk // self.turn, self.chunk > self.turn
        place = loads(turns * (self.turn // 4 + 1) + 2 * several, 4) + stores(2 + several * (1 + turns), 4)
        return saved(9) + stores(2, 4) + place.times(36)

    #: U, once through.
    constants = (Constants("lr", "r1"),)

    def call(self) -> Call:
        """A call: the places, and turns of the loop where there are several."""
        several = (self.chunk / self.turn,) if self.chunk > self.turn else ()
        return Call(self, (36, *several))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/winograd/winograd.c.j2",
            part="product",
            name=self.name,
            attribute=attribute,
            depth=self.depth,
            chunk=self.chunk,
            turn=self.turn,
        )


@dataclass(frozen=True)
class OutputKernel:
    """``chunk`` of ``outputs`` channels of 4x8 positions, from M; rows of outputs are ``out_pitch`` bytes apart."""

    chunk: int
    outputs: int
    out_pitch: int
    output: Output
    looped: bool

    @property
    def name(self) -> str:
        looped = "_looped" if self.looped else ""
        return f"winograd_output_{self.chunk}_of_{self.outputs}_p{self.out_pitch}_{self.output.slug}{looped}"

    @property
    def words(self) -> int:
        """Parameters of a channel: bias, output stage, four corrections."""
        return 1 + self.output.words + 4

    @property
    def cycles(self) -> int:
        """One call."""
        if self.looped:
            return round(cycles_of((self.call(),)))
        o = _OUTPUT
        channel = o.channel + o.columns + o.output + self.output.words + o.rows + 16 * (self.output.cycles + o.byte)
        return o.call + 2 * (o.tile + self.chunk * channel)

    @property
    def code_bytes(self) -> int:
        if self.looped:
            return 4 * (3 * 20 + 14 + 2 * 22 + 8 * (self.output.cycles + 1) + 30)
        return 4 * (6 * 20 + 10 + 4 * 16 + 8 + 16 * (self.output.cycles + 1) + 30)

    @property
    def accesses(self) -> tuple[Access, Access, Access]:
        """M, output and parameters of one call."""
        return loads(72 * self.chunk, 4), stores(32 * self.chunk, 1), loads(2 * self.chunk * self.words, 4)

    @property
    def stack(self) -> Access:
        """Of one call: for a channel 24 words between the passes, and where the kernel is."""
        saves = 2 if self.looped else 0
        channel = loads(24 + 8 + saves, 4) + stores(24 + 5 + saves, 4)
        tile = loads(1, 4) + stores(5, 4) + channel.times(self.chunk)
        return saved(9) + stores(5, 4) + tile.times(2)

    #: The parameters of a channel follow on those of the one before it.
    constants = (Constants("r12", "[sp, #8]", rewinds=False),)

    def call(self) -> Call:
        """A call: two tiles, channels; columns, rows without and with corrections."""
        return Call(self, (2, self.chunk, 4, 2, 2) if self.looped else (2, self.chunk))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/winograd/winograd.c.j2",
            part="output",
            name=self.name,
            attribute=attribute,
            chunk=self.chunk,
            outputs=self.outputs,
            out_pitch=self.out_pitch,
            q=self.output,
            looped=self.looped,
        )


def transformed_weights(layer: Conv, chunk: int) -> Int64Array:
    """U in the order in which the product kernel reads it: words of two channels."""
    w = layer.weights.astype(np.int64)
    u = np.einsum("ir,orsc,js->ojic", _G, w, _G)  # place 6 j + i
    outputs, _, _, depth = u.shape
    halves = u.reshape(outputs, 36, depth // 4, 4)[..., _ORDER].reshape(outputs, 36, depth // 2, 2)
    words = fixedpoint.wrap_int32((halves[..., 0] & 0xFFFF) | (halves[..., 1] << 16))
    grouped = words.reshape(outputs // chunk, chunk // 4, 4, 36, depth // 2)
    return grouped.transpose(0, 3, 1, 4, 2)


def channel_words(layer: Conv, proven: Proven) -> Int64Array:
    """Bias (with the input's zero point folded in), output stage and corrections of each channel."""
    w = layer.weights.astype(np.int64)
    # The kernel sees x + 128.
    bias = layer.bias - (layer.input_zero_point + 128) * w.sum(axis=(1, 2, 3))
    offset = np.zeros((6, 6), np.int64)
    offset[4:, 4:] = _OFFSET
    lower = w[..., [c for c in range(w.shape[3]) if c % 4 < 2]].sum(axis=3)
    places = [(i, j) for i in (2, 3) for j in (2, 3)]
    corrections = [(offset[i : i + 3, j : j + 3] * lower).sum(axis=(1, 2)) for i, j in places]
    start = (SCALE * bias + proven.start)[:, None]
    columns = [start, channel_parameters(proven), SCALE * np.stack(corrections, axis=1)]
    return fixedpoint.wrap_int32(np.concatenate(columns, axis=1))


def _reaches(turn: int, depth: int) -> bool:
    """Whether offsets from where U is reach its last word of a turn."""
    return 4 * (turn * depth // 2 - 1) <= REACH


class Winograd:
    """CONV_2D 3x3 without stride, dilation and groups, channels in fours, at least 4x8 outputs."""

    name = "winograd"
    computes = Conv

    def plans(self, layer: Layer) -> tuple[Plan, ...]:
        assert isinstance(layer, Conv)
        window, (height, width, outputs) = layer.window, layer.output
        plain = window.kernel == (3, 3) and window.stride == (1, 1) and window.dilation == (1, 1) and layer.groups == 1
        fits = height >= 4 and width >= 8 and layer.shape.channels % 4 == 0 and outputs % 4 == 0
        # V moves on by a column of places, the outputs' fourth lies three positions on.
        within = 24 * layer.shape.channels <= REACH and 3 * outputs <= REACH
        if not (plain and fits and within and max(window.padding) <= 1) or _proven(layer) is None:
            return ()
        chunks = {c for c in (4, 8, 16, 32) if outputs % c == 0}
        return pareto(
            self._plan(layer, chunk, turn, input_format, looped)
            for looped in (False, True)
            for chunk in chunks
            for turn in {4, max(turn for turn in (4, 8, 16) if turn <= chunk and _reaches(turn, layer.shape.channels))}
            for input_format in (Format.S8, Format.RAW)
        )

    def _kernels(
        self, layer: Conv, chunk: int, turn: int, looped: bool
    ) -> tuple[InputKernel, ProductKernel, OutputKernel]:
        proven = _proven(layer)
        assert proven is not None
        depth, outputs, width = layer.shape.channels, layer.output.channels, layer.output.width
        return (
            InputKernel(depth, (width + 2) * depth, looped),
            ProductKernel(depth, chunk, turn),
            OutputKernel(chunk, outputs, width * outputs, Output.of(proven, layer.requantization), looped),
        )

    def _plan(self, layer: Conv, chunk: int, turn: int, input_format: Format, looped: bool) -> Plan:
        proven = _proven(layer)
        assert proven is not None
        first, product, last = self._kernels(layer, chunk, turn, looped)
        depth, (height, width, outputs) = layer.shape.channels, layer.output
        strips, pairs, chunks = -(-height // 4), -(-width // 8), outputs // chunk
        tiles = strips * pairs
        tops = [min(y, height - 4) - layer.window.padding.top for y in range(0, height, 4)]
        ends = [(top + layer.window.padding.top + 4) * width * outputs for top in tops]
        copied = sum(0 <= row < layer.shape.height for top in tops for row in range(top, top + 6))
        zeroed = sum(row >= layer.shape.height for top in tops for row in range(top, top + 6))
        words, strip_bytes = layer.shape.width * depth // 4, 6 * first.pitch
        filled = stores(strip_bytes // 4 + zeroed * first.pitch // 4, 4)
        scratch = filled + stores(copied * words, 4)
        scratch += (first.accesses[0] + first.accesses[1]).times(tiles)
        scratch += (product.accesses[0] + product.accesses[2] + last.accesses[0]).times(tiles * chunks)
        c = _LAYER
        cycles = c.layer + around.FILLED_WORD * filled.stores + c.strip * strips
        cycles += copied * around.ROW_FLIPPED.cycles(words)
        cycles += tiles * (first.cycles + c.pair + chunks * (product.cycles + last.cycles + c.chunk))
        code = first.code_bytes + product.code_bytes + last.code_bytes
        return Plan(
            family=self.name,
            tile=f"F(4x4,3x3), {chunk} channels by {turn}{', looped' if looped else ''}",
            cycles=round(cycles),
            promise=Promise(
                (loads(copied * words, 4),),
                last.accesses[1].times(tiles * chunks),
                (product.accesses[1] + last.accesses[2]).times(tiles * chunks),
                scratch,
                first.stack.times(tiles) + (product.stack + last.stack).times(tiles * chunks),
            ),
            data_bytes=words_bytes(18 * depth * outputs) + words_bytes(outputs * last.words),
            code_bytes=code + 240,
            scratch_bytes=strip_bytes + 144 * depth + 288 * chunk,
            stack_bytes=352 + 80,
            kernels=(first.name, product.name, last.name),
            shared_bytes=code,
            code=self._code(layer, chunk, first, product, last),
            input_format=input_format,
            lead=copied_rows_lead(layer, tops, ends),
            alignment=4,
            requantization=proven.describe(),
            options=(("chunk", chunk), ("loop", int(looped)), ("turn", turn)),
        )

    def _code(
        self, layer: Conv, chunk: int, first: InputKernel, product: ProductKernel, last: OutputKernel
    ) -> tuple[Node, ...]:
        """What one call executes: strips, pairs of tiles in them, chunks of output channels for each."""
        depth, (height, width, outputs) = layer.shape.channels, layer.output
        call = around.piece(around.CALL)
        chunks = Loop((call, product.call(), call, last.call()), outputs // chunk, 18 * depth * chunk)
        words = layer.shape.width * depth // 4
        return (
            *around.entry(),
            around.fill_words(6 * first.pitch // 4),
            Loop(
                (
                    Loop((around.piece(around.ROW), around.copy_flipped(words)), 6),
                    Loop((call, first.call(), chunks, Loop((), 1, -18 * depth * outputs)), -(-width // 8)),
                ),
                -(-height // 4),
            ),
        )

    def emit(self, layer: Layer, plan: Plan, name: str) -> Emitted:
        assert isinstance(layer, Conv)
        proven = _proven(layer)
        assert proven is not None
        chunk = plan.option("chunk")
        kernels = self._kernels(layer, chunk, plan.option("turn"), bool(plan.option("loop")))
        arrays = [
            Array("int32_t", f"{name}_weights", transformed_weights(layer, chunk), "G w G^T, as the products read it"),
            Array("int32_t", f"{name}_channels", channel_words(layer, proven), "bias, output stage, corrections"),
        ]
        assert data_bytes(arrays) == plan.data_bytes
        depth, zero = layer.shape.channels, (layer.input_zero_point + 128) * 0x01010101
        title = f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"
        return emitted(
            unary(name),
            plan,
            title,
            "kernels/winograd/winograd_layer.c.j2",
            arrays=arrays,
            kernels=kernels,
            layer=layer,
            names=dict(zip(("input", "product", "output"), (k.name for k in kernels), strict=True)),
            pitch=kernels[0].pitch,
            lead=layer.window.padding.left * depth,
            row_bytes=layer.shape.width * depth,
            strip_bytes=6 * kernels[0].pitch,
            fill=f"{zero:#010x}",
            flip="0x80808080" if plan.input_format is Format.S8 else "0x80008000",
            chunk=chunk,
            chunks=layer.output.channels // chunk,
            channel_words=kernels[2].words,
        )


@lru_cache(maxsize=256)
def _proven(layer: Conv) -> Proven | None:
    return requantize.prove_multiply_add(layer.requantization, layer.range, SCALE)


FAMILIES = (Winograd(),)
