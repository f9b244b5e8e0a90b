"""The kernel of depthwise columns: four channels a turn, from rows of bytes. See column.py for the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from memaopt.access import Access, loads, stores
from memaopt.kernels.chained_rows.chains import Loads
from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.executed import words_of as code_words
from memaopt.kernels.plan import saved
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.templates import render

GROUP = 4  # channels a turn
_SUMS = ("r4", "r5", "r6", "r7")
_FREE = ("r8", "r9", "r10", "r11", "r12")
_SPARE = "r2"
#: Of packed weights one more, so that loads have one less.
_SPREAD = "r12"
SAVED = 9  # r4 to r11 and lr


@dataclass(frozen=True)
class ColumnKernel:
    """The assembly that layers share: ``taps`` rows, ``step`` bytes apart, of four channels a turn.

    ``adds``: the output stage has addends. ``packed``: one byte a weight instead of two. ``unroll``: two taps so many
    times in a turn of a loop, as often as there are; 0 without a loop. ``joined``: the last row lies elsewhere;
    ``moves``: and each row goes where the one before was.
    """

    taps: int
    step: int
    output: Output
    adds: bool
    packed: bool = False
    unroll: int = 0
    joined: bool = False
    moves: bool = False

    #: The weights, once from the first to the last.
    constants = (Constants("lr", "r2"),)

    @property
    def name(self) -> str:
        return short_name("depthwise_column", self.details)

    @property
    def details(self) -> str:
        """What tells kernels apart."""
        weights = ", a byte a weight" if self.packed else ""
        rounding = f"{'' if self.adds else 'bare '}rounding {self.output.slug}"
        loop = f", {2 * self.unroll} of them in a turn" if self.unroll else ""
        last = ", the last elsewhere" * self.joined + ", moved up" * self.moves
        return f"{self.taps} taps {self.step} bytes apart{last}{loop}, {rounding}{weights}"

    @property
    def by_sign(self) -> bool:
        """Whether there is a base, in front of all parameters."""
        return self.adds and self.output.by_sign

    @property
    def pair_words(self) -> int:
        """Words of weights for two taps."""
        return GROUP // 2 if self.packed else GROUP

    @property
    def weights(self) -> int:
        """Words of weights in a turn."""
        return self.taps // 2 * self.pair_words + self.taps % 2 * (self.pair_words // 2)

    @property
    def words(self) -> int:
        """Words of parameters in a turn: initial accumulators, weights (those first if packed), output stage."""
        return GROUP + self.weights + GROUP * self.stage

    @property
    def stage(self) -> int:
        """Words of a channel's output stage."""
        return 2 if self.adds else 1

    @property
    def loops(self) -> int:
        """Turns of the loop over taps, 0 if there is none."""
        return (self.taps - self.joined) // (2 * self.unroll) if self.unroll else 0

    @property
    def looped(self) -> int:
        """Taps that the loop meets."""
        return 2 * self.unroll * self.loops

    @property
    def reach(self) -> int:
        """The farthest row from where the pointer to them is."""
        return self.step * (max(2 * self.unroll, self.taps - self.joined - self.looped) - 1)

    @property
    def kept(self) -> list[str]:
        """Registers of what is kept on the stack: the base, and how far the last row is from the others."""
        return ["r4"] * self.by_sign + ["r5"] * self.joined

    @property
    def slots(self) -> int:
        """Words on the stack besides saved registers."""
        return len(self.kept)

    @property
    def _elsewhere(self) -> str:
        """Where the distance of the last row is."""
        return f"[sp, #{4 * self.by_sign}]"

    @property
    def away(self) -> list[str]:
        """The distance of the last row, in r5, from where r0 is when that is met."""
        lines = ["ldr r5, [sp, #36]", "sub r5, r5, r0"]
        return lines + [line.strip() for line in add_imm("r5", "r5", -self.looped * self.step, "r4").splitlines()]

    @cached_property
    def turn(self) -> list[str]:
        """The multiply-accumulates of a turn of the loop, and the pointer's step."""
        return [*self._products(0, 2 * self.unroll), *_moved(2 * self.unroll * self.step)]

    @cached_property
    def lines(self) -> list[str]:
        """Those of the taps that no loop meets: products of r0's rows and lr's weights, then to the next channels."""
        return [*self._products(self.looped, self.taps), *_moved(GROUP - self.looped * self.step)]

    def _products(self, begin: int, end: int) -> list[str]:
        """The products of some taps, of which r0 is at the first."""
        number = end - begin
        rows = [f"[r0, #{i * self.step}]" for i in range(number)]
        if self.joined and end == self.taps:
            rows[-1] = self._elsewhere
        each = self.pair_words // 2
        weights = [f"[lr, #{i}]" for i in range(number * each)]
        wanted = [
            address
            for at in range(0, number, 2)
            for address in (*rows[at : at + 2], *weights[at * each : (at + 2) * each])
        ]
        held = Loads(wanted, [r for r in _FREE if not self.packed or r != _SPREAD], moving=weights)
        for at in range(0, number - 1, 2):
            of_pair = at, rows[at], rows[at + 1], weights[at * each : (at + 2) * each]
            first = begin + at == 0 and not self.unroll
            self._packed_pair(held, *of_pair, first=first) if self.packed else self._pair(held, *of_pair)
        if number % 2:
            self._alone(held, number - 1, rows[-1], weights[(number - 1) * each :])
        return held.lines

    def _tap(self, held: Loads, row: str, number: int) -> str:
        """The register with the word of a row, ``number`` rows from r0's."""
        found = held.need(row)
        if row == self._elsewhere:
            held.lines.append(f"ldr {found}, [r0, {found}]")
        if self.moves and number:
            held.lines.append(f"str {found}, [r0, #{(number - 1) * self.step}]")
        return found

    def _packed_pair(
        self, held: Loads, number: int, upper: str, lower: str, weights: list[str], *, first: bool
    ) -> None:
        """Two taps of four channels, of which a word has the weights of two; the ``first`` begin the sums."""
        a, b, t, n = self._tap(held, upper, number), self._tap(held, lower, number + 1), _SPARE, _SPREAD
        p, q = (held.need(weight) for weight in weights)
        held.lines += [f"pkhbt {t}, {a}, {b}, lsl #16", f"pkhtb {b}, {b}, {a}, asr #16"]
        for (even, odd), taps, word, spread in ((_SUMS[:2], t, p, a), (_SUMS[2:], b, q, t)):
            x = spread, taps
            held.lines += [f"sxtb16 {x[0]}, {taps}", f"sxtb16 {n}, {word}"]
            held.lines.append(f"smuad {even}, {x[0]}, {n}" if first else f"smlad {even}, {x[0]}, {n}, {even}")
            held.lines += [f"sxtb16 {x[1]}, {taps}, ror #8", f"sxtb16 {word}, {word}, ror #8"]
            held.lines.append(f"smuad {odd}, {x[1]}, {word}" if first else f"smlad {odd}, {x[1]}, {word}, {odd}")
        for address in (upper, lower, *weights):
            held.done(address)

    def _pair(self, held: Loads, number: int, upper: str, lower: str, weights: list[str]) -> None:
        """Two taps of four channels."""
        a, b, t = self._tap(held, upper, number), self._tap(held, lower, number + 1), _SPARE
        held.lines += [f"pkhbt {t}, {a}, {b}, lsl #16", f"pkhtb {b}, {b}, {a}, asr #16", f"sxtb16 {a}, {t}"]
        held.lines.append(f"sxtb16 {t}, {t}, ror #8")
        for channel, (acc, weight) in enumerate(zip(_SUMS, weights, strict=True)):
            if channel == 2:
                held.lines += [f"sxtb16 {t}, {b}", f"sxtb16 {b}, {b}, ror #8"]
            x = (a, t, t, b)[channel]
            held.lines.append(f"smlad {acc}, {x}, {held.need(weight)}, {acc}")
            held.done(weight)
            if channel == 0:
                held.done(upper)
        held.done(lower)

    def _alone(self, held: Loads, at: int, row: str, weights: list[str]) -> None:
        """The last tap, where their number is odd: channels 0 and 2 are in one word, 1 and 3 in the other; packed
        weights of all four in one."""
        a, t = self._tap(held, row, at), _SPARE
        held.lines += [f"sxtb16 {t}, {a}", f"sxtb16 {a}, {a}, ror #8"]
        if self.packed:
            word = held.need(weights[0])
            held.lines += [f"sxtb16 {_SPREAD}, {word}", f"sxtb16 {word}, {word}, ror #8"]
        for number, (x, (first, second)) in enumerate(((t, ("r4", "r6")), (a, ("r5", "r7")))):
            w = (_SPREAD, word)[number] if self.packed else held.need(weights[number])
            held.lines += [f"smlabb {first}, {x}, {w}, {first}", f"smlatt {second}, {x}, {w}, {second}"]
        for address in (row, *weights):
            held.done(address)

    @cached_property
    def rounding(self) -> list[str]:
        """The output stage but for clamps, channel by channel: each line that ends one is empty."""
        words = [f"[lr, #{i}]" for i in range(GROUP * self.stage)]
        base, one, t = "r11", "r12", _SPARE
        if self.by_sign:
            held = Loads(["[sp]", *words], (base, "r8", "r9", "r10"), moving=words)
            held.need("[sp]")
            held.lines.append(f"mov {one}, #1")
        else:
            held = Loads(words, _FREE, moving=words)
        for acc, at in zip(_SUMS, range(0, len(words), self.stage), strict=True):
            m = held.need(words[at])
            if self.by_sign:
                held.lines.append(f"orr {t}, {one}, {acc}, asr #31")
                held.lines.append(f"smlad {t}, {t}, {held.need(words[at + 1])}, {base}")
            if self.adds:
                addend = t if self.by_sign else held.need(words[at + 1])
                if self.output.cleared:
                    held.lines.append(self.output.cleared_addend(addend, addend, acc))
                held.lines.append(f"smmla {acc}, {acc}, {m}, {addend}")
            else:
                held.lines.append(f"smmul {acc}, {acc}, {m}")
            held.lines += [f"ssat {acc}, #8, {acc}, asr #{self.output.shift}", ""]
            for address in words[at : at + self.stage]:
                held.done(address)
        return held.lines

    def call(self, turns: float) -> Call:
        """A call for so many times four channels."""
        return Call(self, (turns, self.loops) if self.loops else (turns,))

    def stack(self, turns: int) -> Access:
        """Of a call: saved registers, and what is read every turn; the last row's address is an argument there."""
        argument = loads(int(self.joined), 4)
        return saved(SAVED) + argument + (stores(1, 4) + loads(turns, 4)).times(self.slots)

    def cycles(self, turns: int) -> float:
        """One call."""
        return cycles_of((self.call(turns),))

    @cached_property
    def code_bytes(self) -> int:
        """Of the kernel; its instructions are 4 bytes long."""
        return 4 * code_words(self.call(1))

    def text(self, attribute: str = "") -> str:
        """The kernel's C text; ``attribute`` says where it lies."""
        return render(
            "kernels/depthwise/depthwise_column.c.j2",
            name=self.name,
            attribute=attribute,
            kernel=self,
            details=self.details,
            group=GROUP,
            sums=_SUMS,
            parameters=GROUP + self.weights,
            q=self.output,
            rounding=[list(lines) for end, lines in groupby(self.rounding, key=bool) if end],
        )


def _moved(bytes_: int) -> list[str]:
    """The pointer to rows moves on."""
    return [line.strip() for line in add_imm("r0", "r0", bytes_, _SPARE).splitlines()]
