"""The kernel of chained rows at one position: its sizes and text. See chains.py for the arithmetic."""

from dataclasses import dataclass
from functools import cached_property

from memaopt.access import Access, loads, stores
from memaopt.kernels.chained_rows.chains import ROWS, SUMS, Chain, Loads, words_of
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.templates import render

#: Bytes of the stack before the inputs.
SLOTS = 16
_CHAINS = (Chain(("r0", "r1", "r2"), "r6"), Chain(("r3", "r4", "r5"), "r7"))
_FREE = ("r9", "r10", "r11", "r12")
#: Where inputs are as they become halfwords: words at even places of the list, which STM stores in this order.
_HALFWORDS = ("r2", "r5", "r6", "r7", "r9", "r10", "r11", "r12")
#: 0xff00ff00, of packed weights.
_MASK = "r7"


@dataclass(frozen=True)
class ChainedRowsKernel:
    """``chains`` of four rows at a time, ``unroll`` words of four inputs in a turn of the loop; the inputs' number is
    an argument. ``packed``: one byte a weight instead of one and a half. Without ``output`` the accumulators, at scale
    1, are added to sums of 32 bits. ``shared``: all rows have the same output parameters. ``straight``: a turn is all
    inputs, so that there is no loop over them; SP addresses them, which leaves a register more for loads.
    """

    chains: int
    unroll: int
    packed: bool
    output: Output | None
    shared: bool = False
    straight: bool = False

    @property
    def rows(self) -> int:
        """Of a tile."""
        return ROWS * self.chains

    @property
    def name(self) -> str:
        forms = "_packed" * self.packed + "_shared" * self.shared + "_straight" * self.straight
        return f"chained_rows_{self.rows}x{4 * self.unroll}{forms}_{self.output.slug if self.output else 'sums'}"

    def cycles(self, tiles: int, k: int) -> float:
        """Of a call, at zero wait states: those of its text."""
        return cycles_of((self.call(tiles, k),))

    @cached_property
    def code_bytes(self) -> int:
        return 4 * code_words(self.call(1, 4 * self.unroll))

    @property
    def words_a_pair(self) -> int:
        """Of weights for two inputs, all rows of a tile."""
        return self.chains * words_of(self.packed)

    def words(self, k: int) -> int:
        """Of parameters for a tile: starts, weights, the first row's number, output parameters."""
        parameters = (1 if self.shared else self.rows) * self.output.words if self.output else 0
        return SUMS * self.chains + self.words_a_pair * k // 2 + 1 + parameters

    @property
    def _counts(self) -> bool:
        """Whether the number of a tile's first row stays in a register until the tile ends."""
        return self.shared and self.output is not None and not self.output.by_sign

    def stack(self, tiles: int, k: int) -> Access:
        """Of a call for so many tiles: the inputs as halfwords lie there, and where the kernel is."""
        pairs, looped = k // 2, not self.straight
        of_tile = 1 + (not self._counts) + looped + self.packed + pairs
        return saved(9) + stores(pairs + 2 + looped + self.packed, 4) + loads(1 + tiles * of_tile, 4)

    @property
    def _words_converted(self) -> int:
        """Words of inputs that become halfwords in a turn."""
        return next(words for words in (4, 2, 1) if self.unroll % words == 0)

    #: The weights, once through.
    constants = (Constants("lr", "r2"),)

    def call(self, tiles: int, k: int) -> Call:
        """A call for so many tiles of ``k`` inputs."""
        turns = () if self.straight else (k / (4 * self.unroll),)
        return Call(self, (k / (4 * self._words_converted), tiles, *turns))

    @property
    def _turn(self) -> list[str]:
        """The instructions of a turn: loads in groups, products."""
        chains = _CHAINS[: self.chains]
        free = [*_FREE, *(chain.last for chain in chains), *(r for c in _CHAINS[self.chains :] for r in c.rows)]
        if self.packed:
            free.remove(_MASK)
        if self.straight:
            free.append("r8")
        pairs, of_chain = range(2 * self.unroll), words_of(self.packed)
        x = [f"[{'sp' if self.straight else 'r8'}, #{SLOTS + 4 * pair}]" for pair in pairs]
        weights = [[f"[lr, #{4 * (pair * self.words_a_pair + i)}]" for i in range(self.words_a_pair)] for pair in pairs]
        wanted = [a for pair in pairs for a in (x[pair], *weights[pair])]
        held = Loads(wanted, free, moving=[a for pair in pairs for a in weights[pair]])
        for pair in pairs:
            for number, chain in enumerate(chains):
                words = weights[pair][number * of_chain : (number + 1) * of_chain]
                chain.multiply(held, words, x[pair], _MASK if self.packed else "")
            held.done(x[pair])
        return held.lines

    @property
    def _conversion(self) -> list[str]:
        """The instructions that make halfwords of some words of inputs."""
        registers = _HALFWORDS[: 2 * self._words_converted]
        words = registers[::2]
        # No LDM: inputs of a part may lie anywhere.
        lines = [*(f"ldr {word}, [r0], #4" for word in words), f"subs r3, r3, #{4 * len(words)}"]
        for even, odd in zip(words, registers[1::2], strict=True):
            lines += [f"sxtb16 {odd}, {even}, ror #8", f"sxtb16 {even}, {even}"]
        if self.packed:
            lines += [f"smlad r1, {register}, r8, r1" for register in registers]
        return [*lines, f"stmia r4!, {{{', '.join(registers)}}}"]

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        chains = _CHAINS[: self.chains]
        turn = f"{4 * self.unroll} inputs{'' if self.straight else ' in a turn of the loop'}"
        return render(
            "kernels/chained_rows/chained_rows.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{self.rows} rows of a matrix times a vector, {turn}.",
            chains=self.chains,
            sums=SUMS * self.chains,
            thirds=[chain.sums[2] for chain in chains],
            rows=[row for chain in chains for row in chain.rows],
            conversion=self._conversion,
            turn=self._turn,
            accumulators=[line for chain in chains for line in chain.accumulators()],
            packed=self.packed,
            mask=_MASK,
            unroll=self.unroll,
            x_bytes=8 * self.unroll,
            slots=SLOTS,
            q=self.output,
            shared=self.shared,
            counts=self._counts,
            straight=self.straight,
            low=self.output.low if self.output else 0,
            high=self.output.high if self.output else 0,
        )
