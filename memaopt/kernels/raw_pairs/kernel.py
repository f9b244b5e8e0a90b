"""The raw-pair kernel: its sizes, cost and text. See raw_pairs.py for how it works."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.patches import Copy, Patch, flips, patch_copy
from memaopt.kernels.plan import Format, saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

ROWS = 2  # output channels of a tile
SLOTS = 24  # bytes of the stack before the tile


class PlaneRows(NamedTuple):
    """Outputs as int16 values x - zero point, as depthwise kernels read them: channels are ``step`` bytes apart, a
    tile's positions ``position``, and the next tile begins ``advance`` bytes after it.
    """

    step: int
    position: int
    advance: int
    zero_point: int


class Store(NamedTuple):
    """How an output's address is reached: the instructions that move the pointer there, if any, and the offset."""

    move: str
    offset: int


class _Cycles(NamedTuple):
    """Of the kernel's parts, instruction by instruction (docs/timing.md). Where a figure is of one position, it is
    named so.
    """

    call: int = 10 + 7 + 1 + 8 + 1 + 12  # nine registers pushed and popped, six words copied, SP moved twice
    tile: int = 4 - 1 + 18  # where its patches go; six words loaded, moved on, kept; the last branch is not taken
    tile_position: int = 1  # its input moves on
    only_copy: int = 2  # of the only position: its address
    copy: int = 6  # of each of several: its address, and the loop
    word: int = 5  # of a patch: four words of weights, and the first of loads in a row takes two
    word_position: int = 6  # a load, UXTB16, four products
    straight: int = 2  # two biases
    turn: int = 5  # the weights move on, compared, and back
    looped: int = 3 + 2  # two biases, where the patch ends, the weights move on
    looped_position: int = 2  # the biases of each but the first
    pair: int = 4  # the weights move on, is it channel 0, and back
    parameters: int = 8  # five words and where the outputs go
    parameters_by_sign: int = 4  # three words of the second channel


_CYCLES = _Cycles()


@dataclass(frozen=True)
class RawPairsKernel:
    """The assembly that layers share: 2 channels x n positions over a patch, m output channels.

    ``unroll`` words of a patch in a turn of the inner loop, or 0 for straight code, which is faster by up to a
    tenth but does not fit an instruction cache of 1 KiB. Outputs are NHWC bytes, or ``planes``.
    """

    n: int
    m: int
    unroll: int
    patch: Patch
    advance: int
    aligned: bool
    output: Output
    input_format: Format
    output_format: Format
    planes: PlaneRows | None = None

    @property
    def name(self) -> str:
        return short_name(f"raw_pairs_2x{self.n}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        return f"{ROWS}x{self.n}{f' by {self.unroll}' if self.unroll else ''}"

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        said = [f"patch {self.patch.slug}", f"{self.advance} bytes of input from tile to tile", f"{self.m} channels"]
        said += [f"rounding {self.output.slug}", f"{self.input_format} in", f"{self.output_format} out"]
        if self.planes is not None:
            said.append("planes " + " ".join(map(str, self.planes)))
        said += [] if self.aligned else ["unaligned"]
        return ", ".join([*said, f"{self.unroll} words a turn" if self.unroll else "no loop over words"])

    @property
    def position_step(self) -> int:
        """Bytes from an output position to the next one."""
        return self.planes.position if self.planes is not None else self.m

    @property
    def channel_step(self) -> int:
        """Bytes from an output channel to the next one; one alone is computed twice, and stored where it was."""
        return self.planes.step if self.planes is not None else min(self.m - 1, 1)

    @cached_property
    def _stores(self) -> list[list[Store]]:
        """Of each channel and position: the pointer moves on wherever an offset would not reach."""
        base, stores = 0, list[list[Store]]()
        for i in range(ROWS):
            stores.append([])
            for j in range(self.n):
                place = i * self.channel_step + j * self.position_step
                move = 0 if 0 <= place - base <= REACH else place - base
                base += move
                stores[i].append(Store(add_imm("r11", "r11", move, "r12"), place - base))
        return stores

    @cached_property
    def _moves(self) -> int:
        """Instructions that move the outputs' pointer on."""
        return sum(len(store.move.splitlines()) for row in self._stores for store in row)

    @property
    def _moved(self) -> int:
        """What is subtracted from the unsigned outputs before they are stored."""
        return 128 + self.planes.zero_point if self.planes is not None else 0

    @property
    def _store(self) -> int:
        """Instructions that store an output."""
        return 2 if self._moved else 1

    @property
    def _output(self) -> int:
        """Instructions that make and store a tile's outputs of two channels, a cycle each."""
        return self.n * sum(self.output.cycles_of(unsigned=unsigned) + self._store for unsigned in self._unsigned)

    @property
    def _unsigned(self) -> tuple[bool, bool]:
        """Of each of two channels, whether its outputs are made as value + 128."""
        return self.output_format is Format.RAW or self.planes is not None, self.planes is not None

    @property
    def blocks(self) -> int:
        """Steps of four bytes."""
        return self.patch.padded_bytes // 4

    @cached_property
    def copy(self) -> Copy:
        return patch_copy(self.patch, self.aligned, flips(self.input_format), self.advance // self.n)

    @property
    def frame(self) -> int:
        """Stack bytes besides the nine registers pushed; the sum is a multiple of 8."""
        return SLOTS + (self.n * self.patch.padded_bytes + 3) // 8 * 8 + 4

    @property
    def stack_bytes(self) -> int:
        return 36 + self.frame

    @cached_property
    def _chunks(self) -> tuple[list[dict[str, int]], int]:
        """Runs of blocks within an offset's reach of lr, and where the channel parameters then are."""
        if self.unroll:
            return [], 0
        chunks: list[dict[str, int]] = []
        done, w_at, advance = 1, 24, 0
        while True:
            blocks = min(self.blocks - done, (REACH - w_at - 64) // 16)
            chunks.append({"blocks": blocks, "x_at": 4 * done, "w_at": w_at, "advance": advance})
            done += blocks
            if done == self.blocks:
                return chunks, w_at + 16 * blocks
            advance, w_at = w_at + 16 * blocks, 0

    @property
    def words(self) -> int:
        """Of parameters for a pair of channels: biases, weights, output parameters and the channel's number."""
        return 2 + self.patch.padded_bytes + 2 * self.output.words + 1

    @property
    def channel_tiles(self) -> int:
        return -(-self.m // ROWS)

    @cached_property
    def pair_cycles(self) -> int:
        """Two channels of one tile."""
        n, c = self.n, _CYCLES
        word = c.word_position * n + c.word
        if self.unroll:
            # The weights' last word is loaded apart; the last branch back is not taken.
            turn = (word + 1) * self.unroll + c.turn
            block = c.looped + c.looped_position * (n - 1) + turn * self.blocks // self.unroll - 1
        else:
            block = word * self.blocks + c.straight + len(self._chunks[0]) - 1
        # A store behind a move waits for its address.
        waits = sum(bool(store.move) for row in self._stores for store in row)
        parameters = c.parameters + (c.parameters_by_sign if self.output.by_sign else 0) + self._moves + waits
        return block + parameters + self._output + c.pair

    @cached_property
    def tile_cycles(self) -> int:
        """n positions, all channels."""
        n, c = self.n, _CYCLES
        gather = n * (self.copy.cycles + c.copy) - 1 if n > 1 else self.copy.cycles + c.only_copy
        return round(gather) + self.channel_tiles * self.pair_cycles + c.tile + c.tile_position * n

    @property
    def call_cycles(self) -> int:
        """Entry and exit."""
        return _CYCLES.call

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return self.loop_bytes + 4 * (self.copy.instructions + 24 + self.n)

    @cached_property
    def loop_bytes(self) -> int:
        """Of the loop over channels."""
        n = self.n
        block = (n + 4 + 5 * n) * (self.unroll or self.blocks)
        block += 8 + 2 * n if self.unroll else 1 + len(self._chunks[0])
        output = 8 + (3 if self.output.by_sign else 0) + self._moves
        output += self._output
        return 4 * (block + output)

    def accesses(self, tiles: int, calls: int) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles in so many calls."""
        pairs, n = self.channel_tiles, self.n
        source = self.copy.source.times(n)
        output = stores(2 * n * pairs, 1 if self.planes is None else 2)
        parameters = loads(self.words * pairs, 4)
        stack = self.copy.tile.times(n) + loads(n + 1 + pairs * (n * self.blocks + 1) + 6, 4) + stores(6, 4)
        # What a call works on lies on the stack, and is copied there.
        entry = saved(9) + loads(6, 4) + stores(6, 4)
        stack = stack.times(tiles) + entry.times(calls)
        return source.times(tiles), output.times(tiles), parameters.times(tiles), stack

    #: The weights, from the start for each tile.
    constants = (Constants("lr", "[sp, #16]"),)

    def call(self, tiles: float) -> Call:
        """A call for so many tiles."""
        copies = (float(self.n),) if self.n > 1 else ()
        turns = (self.blocks / self.unroll,) if self.unroll else ()
        return Call(self, (tiles, *copies, self.channel_tiles, *turns))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        o = self.output
        chunks, after = self._chunks
        return render(
            "kernels/raw_pairs/raw_pairs.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{ROWS} channels x {self.n} positions over {self.patch.bytes} bytes a position, {self.m} channels.",
            comment=self._comment(),
            n=self.n,
            m=self.m,
            unroll=self.unroll,
            blocks=self.blocks,
            patch=self.patch,
            advance=self.advance,
            flip=flips(self.input_format),
            copy=self.copy.assembly,
            chunks=chunks,
            after=after,
            frame=self.frame,
            tile=SLOTS,
            q=o,
            low=o.low,
            high=o.high,
            unsigned=self._unsigned,
            planes=self.planes,
            moved=self._moved,
            stores=self._stores,
            position_step=self.position_step,
            out_advance=self.n * self.m if self.planes is None else self.planes.advance,
            channel_step=self.channel_step,
        )

    def _comment(self) -> list[str]:
        return [
            "The patches are copied to the stack, even bytes as u = x + 128; weights stream past once a tile. A word",
            "is the halfwords R = 256 x1 + u0, UXTB16 gives E = u0, weights are A = w1 and B = 256 w0 - w1, and",
            "SMLAD(R, A) + SMLAD(E, B) = 256 (w0 u0 + w1 x1).",
            f"Its number stands for: {self.details}.",
        ]
