"""The depthwise kernel for windows of one row over planes: some outputs beside each other at once.

They share words: of each word of weights, and of each shifted by one element, the outputs that begin a word and those
that begin in the middle of one take a word of the row each, which is loaded once for all of them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels.chained_rows.chains import Loads
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.depthwise.kernels import Geometry
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render
from memaopt.kernels.text.thumb import REACH

#: Outputs at once.
MOST = 8
_STAGE = 5  # registers of the output stage
_TILE, _OUTPUT = 11, 4  # cycles of a block and of an output besides products, for choosing how many go at once


class Block(NamedTuple):
    """``n`` outputs, ``times`` times over: their instructions, and the words of planes and weights that they load."""

    n: int
    times: int
    lines: tuple[str, ...]
    x_words: int
    weights: int

    @property
    def cycles(self) -> int:
        """Of one, roughly."""
        loaded = [line.startswith("ldr") for line in self.lines]
        groups = sum(is_load and not before for is_load, before in zip(loaded, [False, *loaded], strict=False))
        return len(self.lines) + groups + _TILE + _OUTPUT * self.n


def words_of(taps: int, odd: bool) -> int:
    """Words of weights of outputs that begin a word, or in the middle of one."""
    return (taps + odd + 1) // 2


def pool_of(n: int) -> list[str]:
    """Registers of words beside ``n`` accumulators, the plane's and the parameters' addresses."""
    return [*(f"r{i}" for i in range(n, 10)), "r11", "r12"]


@lru_cache(maxsize=256)
def block_of(n: int, times: int, taps: int, step: int, odd: bool, at: int) -> Block | None:
    """Outputs whose first taps are ``step`` elements apart, the first one in the middle of a word if ``odd``; weights
    begin ``at`` bytes from the parameters. None if registers are too few."""
    firsts = [int(odd) + step * i for i in range(n)]
    # A word is held from the last output that takes it to the first one.
    live = firsts[-1] // 2 - firsts[0] // 2 + 1 + len({first % 2 for first in firsts})
    if len(pool_of(n)) < max(_STAGE, live):
        return None
    offset = {half: at + 4 * half * words_of(taps, odd=False) for half in (0, 1)}
    # Outputs whose sums begin with the initial accumulator of the first one's register come before it.
    uses = [
        (i, f"[lr, #{offset[first % 2] + 4 * k}]", f"[r10, #{4 * (first // 2 + k)}]")
        for k in range(words_of(taps, odd=True))
        for i, first in reversed(list(enumerate(firsts)))
        if k < words_of(taps, bool(first % 2))
    ]
    last = {address: number for number, (_, *addresses) in enumerate(uses) for address in addresses}
    held, begun = Loads(list(dict.fromkeys(a for _, *pair in uses for a in pair)), pool_of(n)), set[int]()
    for number, (i, weight, x) in enumerate(uses):
        by, word = held.need(weight), held.need(x)
        held.lines.append(f"smlad r{i}, {word}, {by}, {f'r{i}' if i in begun else 'r0'}")
        begun.add(i)
        for address in (weight, x):
            if last[address] == number:
                held.done(address)
    read = [sum(address.startswith(start) for address in last) for start in ("[r10", "[lr")]
    # A word of the row between the parameters' address and what it addresses, so that all is one group of loads.
    word = next(line for line in held.lines if "[r10" in line)
    held.lines.remove(word)
    return Block(n, times, ("ldr lr, [sp, #8]", word, "ldr r0, [lr]", *held.lines), read[0], read[1])


def blocks_of(outputs: int, most: int, taps: int, step: int, odd: bool, at: int) -> tuple[Block, ...] | None:
    """A row of so many outputs, in the fewest cycles: blocks of at most so many, and one of what is left. None if
    registers are too few."""
    ways = list[tuple[Block, ...]]()
    for n in range(1, min(MOST, most, outputs) + 1):
        count, rest = divmod(outputs, n)
        if n % 2 and step % 2 and count > 1:
            continue  # the next block would begin in the other half of a word
        made = [block_of(n, count, taps, step, odd, at)]
        made += [block_of(rest, 1, taps, step, odd, at)] if rest else []
        found = tuple(block for block in made if block is not None)
        ways += [found] if len(found) == len(made) else []
    return min(ways, key=lambda way: sum(block.times * block.cycles for block in way), default=None)


@dataclass(frozen=True)
class StretchKernel:
    """Windows of ``taps`` in a row over planes, ``outputs`` of them ``out_step`` bytes apart in each of ``rows`` rows,
    whose first outputs are ``out_pitch`` bytes apart and whose inputs ``pitch``; first taps are ``step`` columns apart.
    """

    geometry: Geometry
    taps: int
    step: int
    outputs: int
    rows: int
    pitch: int
    out_step: int
    out_pitch: int
    output: Output

    @property
    def name(self) -> str:
        return short_name("depthwise_stretches", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        return (
            f"{self.taps} taps, stride {self.step}, {self.outputs} outputs {self.out_step} bytes apart from "
            f"{self.start}{' and a half' if self.odd else ''} on, {self.rows} rows {self.pitch} and "
            f"{self.out_pitch} bytes apart, rounding {self.output.slug}"
        )

    @property
    def odd(self) -> bool:
        """Whether the first window begins in the middle of a word."""
        return self.geometry.sets[0].odd

    @property
    def start(self) -> int:
        """Bytes from a plane's row to its first window's word."""
        return self.geometry.sets[0].x

    @property
    def _before(self) -> int:
        """Parameters before the weights."""
        return 1 + self.output.words

    @cached_property
    def found(self) -> tuple[Block, ...] | None:
        """How a row goes."""
        most = 1 + REACH // self.out_step
        return blocks_of(self.outputs, most, self.taps, self.step, self.odd, 4 * self._before)

    @property
    def blocks(self) -> tuple[Block, ...]:
        assert self.found is not None
        return self.found

    @property
    def words(self) -> int:
        """Parameters of a channel: initial accumulator, output stage, weights, and weights shifted by one."""
        return self._before + words_of(self.taps, odd=False) + words_of(self.taps, odd=True)

    #: The parameters of a channel, from the start for each block.
    constants = (Constants("lr", "[sp, #8]"),)

    def cycles(self, channels: int) -> float:
        """One call."""
        one, two = cycles_of((self.call(1),)), cycles_of((self.call(2),))
        return one + (channels - 1) * (two - one)

    def call(self, channels: float) -> Call:
        """A call for so many channels."""
        trips = [float(self.rows)] if self.rows > 1 else []
        trips += [float(block.times) for block in self.blocks if block.times > 1]
        return Call(self, (channels, *trips), (float(self.words), *(0.0,) * len(trips)))

    @cached_property
    def code_bytes(self) -> int:
        return 4 * code_words(self.call(1))

    def accesses(self, channels: int) -> tuple[Access, Access, Access]:
        """Planes, output and parameters of one call."""
        rows = self.rows * channels
        read = sum(block.times * block.x_words for block in self.blocks)
        parameters = sum(block.times * (self._before + block.weights) for block in self.blocks)
        return loads(read * rows, 4), stores(self.outputs * rows, 1), loads(parameters * rows, 4)

    def stack(self, channels: int) -> Access:
        """Of one call: its arguments lie there, what is left to do and where outputs go."""
        looped, several = [block.times for block in self.blocks if block.times > 1], int(self.rows > 1)
        count = sum(block.times for block in self.blocks)
        row = loads(2 * count + sum(looped) + several, 4)
        row += stores(count + len(looped) + (several and self.blocks[-1].times > 1), 4)
        channel = loads(7, 4) + stores(5 + several, 4) + row.times(self.rows)
        return saved(9) + loads(1, 4) + stores(5, 4) + channel.times(channels)

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/depthwise/depthwise_stretches.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"Depthwise, {self.taps} taps in a row, {self.blocks[0].n} outputs of it at once.",
            comment=[
                "Parameters of a channel: initial accumulator, output stage, weights (times 256) in pairs, and those",
                "shifted by one for windows that begin in the middle of a word.",
                f"Its number stands for: {self.details}.",
            ],
            blocks=[(block, pool_of(block.n)) for block in self.blocks],
            start=self.start,
            odd=int(self.odd),
            step=self.step,
            even_words=words_of(self.taps, odd=False),
            odd_words=words_of(self.taps, odd=True),
            before=self._before,
            words=self.words,
            outputs=self.outputs,
            rows=self.rows,
            pitch=self.pitch,
            out_step=self.out_step,
            out_pitch=self.out_pitch,
            moved=sum(block.times * block.n for block in self.blocks),
            q=self.output,
        )
