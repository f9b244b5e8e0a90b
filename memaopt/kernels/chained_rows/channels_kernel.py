"""The kernel of chained rows over the positions of an image: four output channels by up to three positions.

See chains.py for the arithmetic. Straight code addresses the tile by SP, and so does the loop over three positions,
where SP climbs from below the tile to where it belongs: nothing alive is ever below it. A loop over one or two
positions has a register to spare.

Straight code over three positions can hold words of the patches in registers of the FPU, while a tile's channels pass.
A load takes a cycle, and one more for each group of loads, of which four words leave room for three in two inputs: 18
cycles for nine SMLAD. A VMOV takes one and nothing else, so one position's words less to load make 17 of them, two 16.
Were all three held it would be no less, but then there is no tile, and the code is shorter. A patch of which all words
are held goes there as it is copied; where not all of two are, both come from the tile.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, partial

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.fixedpoint import Int64Array
from memaopt.kernels.chained_rows.chains import ROWS, SUMS
from memaopt.kernels.chained_rows.outputs import OUT, PASSED, OutputStage, OutputStep
from memaopt.kernels.chained_rows.patches import HalfwordRuns, Widening, runs_of, widening
from memaopt.kernels.chained_rows.shared_words import SharedWords
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import tile_and_call
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.packing import ChainPacking
from memaopt.kernels.patches import Patch
from memaopt.kernels.plan import saved
from memaopt.kernels.raw_pairs.kernel import PlaneRows
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm, load_imm, numberless
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

SLOTS = 32  # bytes of the stack before the tile
TILE = 3  # positions, where there are so many
FPU = 32  # registers of an FPU, of which a function saves those from s16 on
_SCRATCH = 16


class PatchForm(IntEnum):
    """How a patch's words come: by straight code from the stack, by a loop, by straight code from the FPU besides."""

    STRAIGHT = 0
    LOOPED = 1
    HELD = 2


def most_positions(pairs: int, loops: bool) -> int:
    """Positions of so many words whose tile offsets reach: of three, a loop reaches them from below."""
    most = min((REACH + 1 - SLOTS) // (4 * pairs), 4)
    return most - (most > 2) if loops else min(most, 3)


def padded(pairs: int, unroll: int) -> int:
    """So many words as whole turns of ``unroll``; as they are for straight code."""
    return align(pairs, unroll) if unroll else pairs


@dataclass(frozen=True)
class ChainedChannelsKernel:
    """The assembly that layers share: 4 channels x n positions over a patch, m output channels.

    ``unroll`` words of halfwords in a turn of the inner loop, or 0 for straight code. Outputs are NHWC bytes of images
    of ``depth`` channels, or ``planes``; without ``output`` they are the accumulators, in 32 bits. ``holds``: straight
    code for three positions that holds words of them in the FPU. ``fpu``: as of a plan. ``shared``: these are words
    that the positions share, of pixels from the first one's on; positions may then lie below each other, their outputs
    so many bytes apart (``below``), and tiles beside each other.

    Constants say which channels are the last, so the same text computes any number of them: ``channels`` in what
    follows are those of a block, m unless told.
    """

    n: int
    m: int
    unroll: int
    patch: Patch
    advance: int
    aligned: bool
    output: Output | None
    depth: int
    planes: PlaneRows | None = None
    holds: bool = False
    fpu: bool | None = None
    shared: SharedWords | None = None
    below: int = 0

    @property
    def name(self) -> str:
        return short_name(f"chained_channels_4x{self.n}", self.details)

    @property
    def tile(self) -> str:
        """For people."""
        form = f" by {self.unroll}" if self.unroll else " shared" if self.shared else " held" if self.holds else ""
        return f"{ROWS}x{self.n}{form}"

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        said = [f"patch {self.patch.slug}", f"{self.advance} bytes of input from tile to tile", f"{self.m} channels"]
        said.append(f"rounding {self.output.slug}" if self.output else "no rounding")
        said += ["no addend"] if self.output and self.output.bare else []
        if self.planes is not None:
            said.append("planes " + " ".join(map(str, self.planes)))
        elif self.depth != self.m:
            said.append(f"of {self.depth}")
        said += [] if self.aligned else ["unaligned"]
        said += [self.shared.describe] if self.shared else []
        said += [f"outputs {self.below} bytes apart"] if self.below else []
        said.append(f"{self.unroll} words a turn" if self.unroll else "no loop over words")
        return ", ".join([*said, *([f"{self.held} words in the FPU"] if self.holds else [])])

    @cached_property
    def runs(self) -> HalfwordRuns:
        return runs_of(self.patch)

    @cached_property
    def pairs(self) -> int:
        """Words of a position in the tile: whole turns of the loop, so that the last of them may meet weights of 0."""
        return padded(self.runs.pairs, self.unroll)

    @property
    def held(self) -> int:
        """Words in the FPU: all of the three positions, or as many as fit of two of them."""
        if not self.holds:
            return 0
        if self.shared is not None:
            return self.shared.used
        return 3 * self.pairs if 3 * self.pairs <= FPU else min(2 * self.pairs, FPU)

    @property
    def order(self) -> Int64Array:
        """Which of the patch's bytes each halfword of a position's words is; -1 is none."""
        return self.runs.order() if self.shared is None else self.shared.order

    @property
    def _places(self) -> tuple[tuple[int, ...], ...] | None:
        """Of words that are all in the FPU, for each position, their registers."""
        if self.shared is not None:
            return self.shared.places
        whole = self.held and self.held == 3 * self.pairs
        return tuple(tuple(range(j * self.pairs, (j + 1) * self.pairs)) for j in range(3)) if whole else None

    @property
    def _direct(self) -> int:
        """Positions, the last ones, whose patches go to the FPU straight away and take no room in the tile: those of
        which all words are held."""
        return self.n - self._tiled

    @property
    def _tiled(self) -> int:
        """Positions, the first ones, whose patches lie in the tile on the stack."""
        if self._places is not None:
            return 0
        return self.n if self.held % self.pairs else self.n - self.held // self.pairs

    @property
    def _first_held(self) -> int:
        """The first position of which words are held."""
        return self._tiled if self._direct else 1

    @property
    def _saved(self) -> int:
        """Registers of the FPU that are saved, an even number."""
        return max(self.held - _SCRATCH + 1, 0) // 2 * 2

    @property
    def position_step(self) -> int:
        """Bytes from an output position to the next one."""
        return self.planes.position if self.planes is not None else self.below or self.depth * self._bytes

    @property
    def channel_step(self) -> int:
        """Bytes from an output channel to the next one."""
        return self.planes.step if self.planes is not None else self._bytes

    @property
    def _bytes(self) -> int:
        """Of an output."""
        return 4 if self.output is None else 1 if self.planes is None else 2

    @cached_property
    def copy(self) -> Widening:
        return self._copy(None, "[r11], #4")

    def _copy(self, held: int | None, back: str) -> Widening:
        apart = self.advance // self.n
        # The first channels of groups lie anywhere.
        apart = apart if self.depth == self.m else math.gcd(apart, self.patch.run)
        return widening(self.patch, self.aligned, apart, held, self.advance, back)

    @property
    def _copies(self) -> list[str]:
        """The copies of positions one by one, if some go to the FPU straight away."""
        if self.shared is not None:
            return [self.shared.copy("[sp, #0]").assembly]
        first = self._first_held
        held = [None if j < first else (j - first) * self.pairs for j in range(self.n)]
        return [self._copy(at, f"[sp, #{4 * j}]").assembly for j, at in enumerate(held)] if self._direct else []

    @property
    def climbs(self) -> bool:
        """Whether SP climbs in the loop."""
        return self.unroll > 0 and self.n == TILE

    @property
    def _home_bits(self) -> int:
        """Bits that are 0 where SP belongs and not all 0 below it, if it climbs."""
        return (4 * self.pairs - 1).bit_length()

    @property
    def frame(self) -> int:
        """Stack bytes besides the registers pushed; the sum is a multiple of 8."""
        return SLOTS + (4 * self._tiled * self.pairs + 7) // 8 * 8 + 4

    @property
    def stack_bytes(self) -> int:
        return 36 + 4 * self._saved + self.frame + (4 * self.pairs + (1 << self._home_bits) if self.climbs else 0)

    @property
    def channel_tiles(self) -> int:
        return self.tiles_of(None)

    def tiles_of(self, channels: int | None) -> int:
        """Tiles of channels."""
        return -(-(channels or self.m) // ROWS)

    @cached_property
    def _stage(self) -> OutputStage:
        taken = None if self.planes is None else 128 + self.planes.zero_point
        return OutputStage(self.n, self.output, self.channel_step, self.position_step, taken)

    @property
    def fine(self) -> bool:
        """Whether accumulators start at any number, else at multiples of 256."""
        return self._stage.fine

    @cached_property
    def _steps(self) -> list[OutputStep]:
        return self._stage.steps()

    @property
    def _out_advance(self) -> int:
        """Bytes from a tile's outputs to the next one's."""
        if self.planes is not None:
            return self.planes.advance
        return self.depth if self.below else self.n * self.position_step

    @property
    def words(self) -> int:
        """Of parameters for a tile's channels: starts, weights, minus the bytes to the first channel's output, output
        parameters.
        """
        return SUMS + SUMS * self.pairs + 1 + self._stage.words

    def packing(self, records: int) -> ChainPacking:
        """How the parameters of so many tiles of channels may be packed."""
        return ChainPacking(records, self.pairs, self._stage.words // ROWS)

    @cached_property
    def tile_cycles(self) -> float:
        """n positions, all channels: what the text takes, and its unaligned loads."""
        return self.tile_cycles_of(None)

    def tile_cycles_of(self, channels: int | None) -> float:
        """The same of a block of channels."""
        return tile_and_call(partial(self.call, channels=channels))[0] + self._gathered[1]

    @property
    def _gathered(self) -> tuple[Access, float]:
        """Loads of the input for a tile, and the cycles that unaligned ones take more."""
        if self.shared is not None:
            return self.shared.copy("[sp, #0]")[1:]
        return self.copy.source.times(self.n), self.n * self.copy.waits

    @cached_property
    def call_cycles(self) -> float:
        """Entry and exit."""
        return tile_and_call(self.call)[1]

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * code_words(self.call(1))

    def accesses(self, tiles: int, calls: int, channels: int | None = None) -> tuple[Access, Access, Access, Access]:
        """Source, output, parameters and stack of ``tiles`` tiles in so many calls."""
        groups, n = self.tiles_of(channels), self.n
        source = self._gathered[0]
        output = stores(ROWS * n * groups, self._bytes)
        stage = self._stage
        parameters = loads((self.words + stage.again) * groups, 4)
        words = 0 if self._places is not None else n * self.pairs - self.held
        pointers = n if self.shared is None else 1
        # Pointers come one by one and go back; that to the weights comes alone, and the end of the outputs.
        stack = loads(pointers + 2 + groups * (words + 1 + stage.spilt), 4)
        stack += stores(pointers + 1 + groups * stage.crowded, 4)
        stack += self.copy.tile.times(self._tiled) + loads(0 if self._direct else self.held, 4)
        # What a call works on lies on the stack, and is copied there.
        entry = saved(9 + self._saved) + loads(6 + self.climbs, 4) + stores(6 + self.climbs, 4)
        return (
            source.times(tiles),
            output.times(tiles),
            parameters.times(tiles),
            stack.times(tiles) + entry.times(calls),
        )

    @property
    def form(self) -> Hashable:
        """What decides which instructions there are: how many channels, and where outputs lie, does by immediates, and
        it does not matter whether bytes or halfwords are stored."""
        lines = [line for step in self._steps for line in (*step.before, "", *step.after)]
        moves = load_imm("r7", self._out_advance), add_imm("r3", "r12", self._out_advance - self._steps[-1].at, "r6")
        written = numberless("\n".join([self.copy.assembly, *self._copies, "", *lines, *moves])).replace("strh", "strb")
        output = None if self.output is None else replace(self.output, shift=0)
        clamped = output is not None and (output.minimum, output.maximum) != (None, None)
        unsigned = clamped and self.planes is not None
        return self.n, self.pairs, self.runs.pairs, self.unroll, self.held, output, unsigned, written

    #: The weights, from the start for each tile.
    constants = (Constants("lr", "[sp, #16]"),)

    def call(self, tiles: float, channels: int | None = None) -> Call:
        """A call for so many tiles."""
        copies = (float(self.n),) if self.n > 1 and not self._direct else ()
        turns = (self.pairs / self.unroll,) if self.unroll else ()
        return Call(self, (tiles, *copies, self.tiles_of(channels), *turns))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/chained_rows/chained_channels.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{ROWS} channels x {self.n} positions over {self.patch.bytes} bytes a position, {self.m} channels.",
            comment=f"Its number stands for: {self.details}.",
            n=self.n,
            m=self.m,
            pairs=self.pairs,
            runs=self.runs,
            unroll=self.unroll,
            climbs=self.climbs,
            home_bits=self._home_bits,
            advance=self.advance,
            copy=self.copy.assembly,
            padding=4 * (self.pairs - self.runs.pairs),
            copies=self._copies,
            held=self.held,
            places=self._places,
            shared=self.shared,
            offsets=[] if self.shared is None else self.shared.offsets,
            first_held=self._first_held,
            saved=self._saved,
            frame=self.frame,
            tile=SLOTS,
            q=self.output,
            low=self.output.low if self.output else 0,
            high=self.output.high if self.output else 0,
            parameters=self._stage.parameters,
            passed=PASSED if self.fine else 0,
            step=4 + 4 * self._stage.passed,
            steps=self._steps,
            left=self._out_advance - self._steps[-1].at,
            spill=OUT if self._stage.crowded else "",
            planes=self.planes,
            taken=self._stage.taken or 0,
            position_step=self.position_step,
            channel_step=self.channel_step,
            out_advance=self._out_advance,
        )
