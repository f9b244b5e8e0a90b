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
#: 0xff00ff00, of packed weights.
_MASK = "r7"


@dataclass(frozen=True)
class ChainedRowsKernel:
    """``chains`` of four rows at a time, ``unroll`` words of four inputs in a turn of the loop; the inputs' number is
    an argument. ``packed``: one byte a weight instead of one and a half. Without ``output`` the accumulators, at scale
    1, are added to sums of 32 bits. ``shared``: all rows have the same output parameters.
    """

    chains: int
    unroll: int
    packed: bool
    output: Output | None
    shared: bool = False

    @property
    def rows(self) -> int:
        """Of a tile."""
        return ROWS * self.chains

    @property
    def name(self) -> str:
        forms = "_packed" * self.packed + "_shared" * self.shared
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

    def stack(self, tiles: int, k: int) -> Access:
        """Of a call for so many tiles: the inputs as halfwords lie there, and where the kernel is."""
        pairs, slots = k // 2, SLOTS // 4
        return saved(9) + stores(pairs + slots, 4) + loads(1 + tiles * (3 + self.packed + pairs), 4)

    #: The weights, once through.
    constants = (Constants("lr", "r2"),)

    def call(self, tiles: int, k: int) -> Call:
        """A call for so many tiles of ``k`` inputs."""
        return Call(self, (k / 4, tiles, k / (4 * self.unroll)))

    @property
    def _turn(self) -> list[str]:
        """The instructions of a turn: loads in groups, products."""
        chains = _CHAINS[: self.chains]
        free = [*_FREE, *(chain.last for chain in chains), *(r for c in _CHAINS[self.chains :] for r in c.rows)]
        if self.packed:
            free.remove(_MASK)
        pairs, of_chain = range(2 * self.unroll), words_of(self.packed)
        x = [f"[r8, #{SLOTS + 4 * pair}]" for pair in pairs]
        weights = [[f"[lr, #{4 * (pair * self.words_a_pair + i)}]" for i in range(self.words_a_pair)] for pair in pairs]
        held = Loads([a for pair in pairs for a in (x[pair], *weights[pair])], free)
        for pair in pairs:
            for number, chain in enumerate(chains):
                words = weights[pair][number * of_chain : (number + 1) * of_chain]
                chain.multiply(held, words, x[pair], _MASK if self.packed else "")
            held.done(x[pair])
        return held.lines

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        chains = _CHAINS[: self.chains]
        return render(
            "kernels/chained_rows/chained_rows.c.j2",
            name=self.name,
            attribute=attribute,
            title=f"{self.rows} rows of a matrix times a vector, {4 * self.unroll} inputs in a turn of the loop.",
            chains=self.chains,
            sums=SUMS * self.chains,
            thirds=[chain.sums[2] for chain in chains],
            rows=[row for chain in chains for row in chain.rows],
            turn=self._turn,
            accumulators=[line for chain in chains for line in chain.accumulators()],
            packed=self.packed,
            mask=_MASK,
            unroll=self.unroll,
            x_bytes=8 * self.unroll,
            w_bytes=8 * self.unroll * self.words_a_pair,
            slots=SLOTS,
            q=self.output,
            shared=self.shared,
            low=self.output.low if self.output else 0,
            high=self.output.high if self.output else 0,
        )
