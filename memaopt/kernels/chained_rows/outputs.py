"""The output stage of four chained channels at up to three positions: in which order, and in which registers."""

from dataclasses import dataclass
from typing import NamedTuple

from memaopt.kernels.chained_rows.chains import ROWS, Chain
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.thumb import REACH

#: Where these channels' outputs begin, if no register is left for that.
OUT = "[sp, #24]"
#: Words of a chain's parameters before its correction, if starts are fine.
PASSED = ROWS - 1
#: Where the correction of chains is (chains.py), if starts are fine.
_CORRECTION = "r10"
#: Of a chain's instructions that make accumulators, those that a channel's own needs after the next one's.
_MAKING = (slice(6, 6), slice(5, 6), slice(4, 5), slice(0, 4))


class OutputStep(NamedTuple):
    """An output: instructions before it, the registers of its accumulator and parameters, those that store it, and how
    many bytes r12 has moved on after it.
    """

    before: list[str]
    acc: str
    m: str
    c: str
    d: str
    t: str
    after: list[str]
    at: int


@dataclass(frozen=True)
class OutputStage:
    """``n`` positions' sums are in r0 to r2, r3 to r5, r6 to r8; parameters come by lr, r12 points to the outputs,
    which are ``channel_step`` and ``position_step`` bytes apart, bytes or (int16) values less ``taken``. Without
    ``output`` they are the accumulators, in 32 bits.
    """

    n: int
    output: Output | None
    channel_step: int
    position_step: int
    taken: int | None

    @property
    def crowded(self) -> bool:
        """Whether the first channels' parameters take r12 too."""
        return self.n == 3 and self.output is not None and self.output.by_sign

    @property
    def spilt(self) -> int:
        """Loads of the outputs' pointer for four channels, where it is not kept."""
        return self.n + 1 if self.crowded else 0

    @property
    def again(self) -> int:
        """Loads of parameters beyond one of each; less than none where some are passed by."""
        if self.fine:
            return 2 * (self.n - 1) * self._shares - PASSED
        return self.n - 1 if self.crowded else 0

    @property
    def fine(self) -> bool:
        """Whether accumulators start at any number."""
        return self.output is not None and (self.output.bare or self.output.cleared > 0)

    @property
    def words(self) -> int:
        """Of parameters for a chain, behind where its outputs are: before those of the channels, from the last to the
        first, PASSED and the correction, if starts are fine. A multiple of ROWS, as packed chains have it."""
        return ROWS * (self.output.words + self.fine) if self.output else 0

    @property
    def _shares(self) -> bool:
        """Whether the last channel's addend has to share the register of the correction."""
        return self.fine and self.n == 3 and self.output is not None and not self.output.bare

    @property
    def _paired(self) -> bool:
        """Whether the parameters of the first two channels come at once: two of the sums are used up by then."""
        return self.n > 1 and self.output is not None and not self.output.by_sign

    @property
    def parameters(self) -> list[str]:
        """Loads of the last channel's, where they come with the pointer to the outputs; if starts are fine, of the
        chain's correction, and of what else has registers."""
        if self._shares:
            return [f"ldr {_CORRECTION}, [lr, #{4 * PASSED}]", f"ldr r9, [lr, #{4 * PASSED + 4}]"]
        registers = self._registers(ROWS - 1, 0)[:2] if self._paired else ()
        if self.fine:
            more = ("r6", "r7", "r8") if self.output is not None and self.output.bare else ("r6",)
            registers = (_CORRECTION, "r9", *(more if self.n < 3 else ()))
        return [f"ldr {register}, [lr], #4" for register in registers]

    @property
    def passed(self) -> int:
        """Words that are passed by on the way to these, but where the last channel's addend shares the correction's
        register and both are read again from there."""
        return PASSED * (self.fine and not self._shares)

    @property
    def _store(self) -> str:
        if self.output is None:
            return "str"
        return "strb" if self.taken is None else "strh"

    def _registers(self, channel: int, position: int) -> tuple[str, str, str, str]:
        """Multiplier, addend, addend of negative ones, and a free one: r2, once the output made in it is stored."""
        if self.output is None:
            return "", "", "", ""
        if self.fine:
            return self._fine_registers(channel, self.output.bare)
        if self._paired and channel == 1:
            return "r2", "r5", "", ""
        if not self.output.by_sign:
            return "r9", "r10", "", ""
        if not self.crowded:
            return "r6", "r9", "r10", "r7"
        if channel == ROWS - 1:
            return "r9", "r10", "r12", "r12"
        return "r9", "r10", "r11", "r12" if self._loses_pointer(channel, position) else "r2"

    def _fine_registers(self, channel: int, bare: bool) -> tuple[str, str, str, str]:
        """The same where starts are fine; without an addend there is no other register."""
        few = self.n < 3
        if bare:
            return ("r8" if few else "r11", "r7" if few else "r10", "r6" if few else "r9", "r9")[channel], "", "", ""
        if channel == ROWS - 1:
            return ("r9", "r6", "", "r7") if few else ("r9", _CORRECTION, "", _CORRECTION)
        return *(("r2", "r5") if channel == 1 else ("r9", "r10")), "", "r11"

    def _loads(self, channel: int) -> list[str]:
        """Those of parameters, before a channel's first output, where starts are fine."""
        assert self.output is not None
        if self.output.bare:
            return ["ldmia lr!, {r9, r10, r11}"] if self.n == 3 and channel == 2 else []
        return {2: ["ldmia lr!, {r9, r10}"], 1: ["ldmia lr!, {r2, r5, r9, r10}"]}.get(channel, [])

    def _shared(self, accumulators: list[str], position: int) -> list[str]:
        """The last channel's accumulator and its addend, by one register that has the correction at first."""
        again = [f"ldr {_CORRECTION}, [lr, #{4 * PASSED}]"] if position else []
        addend = f"ldr {_CORRECTION}, [lr, #{4 * PASSED + 8}]"
        behind = [f"add lr, lr, #{4 * PASSED + 12}"] if position == self.n - 1 else []
        return [*accumulators[:2], *again, *accumulators[2:], addend, *behind]

    def _loses_pointer(self, channel: int, position: int) -> bool:
        """Whether an output takes r12, for no other register is left yet."""
        return self.crowded and (channel == ROWS - 1 or (channel == ROWS - 2 and position == 0))

    def steps(self) -> list[OutputStep]:
        """The outputs from the last channel to the first; no instruction changes the flags."""
        at, steps = 0, list[OutputStep]()
        for channel in range(ROWS - 1, -1, -1):
            for j in range(self.n):
                m, c, d, t = self._registers(channel, j)
                chain = Chain((f"r{3 * j}", f"r{3 * j + 1}", f"r{3 * j + 2}"), "r11")
                # Loads come behind other instructions, for after a store they wait.
                before = chain.accumulators(_CORRECTION if self.fine else "")[_MAKING[channel]]
                if self.fine:
                    before = self._shared(before, j) if self._shares and channel == ROWS - 1 else before
                    before += [] if j else self._loads(channel)
                elif self._paired and channel < 2:
                    before += ["ldmia lr!, {r2, r5, r9, r10}"] if channel == 1 and j == 0 else []
                elif j == 0 and m and not (self.parameters and channel == ROWS - 1):
                    before.append(f"ldmia lr!, {{{', '.join(r for r in (m, c, d) if r and r != 'r12')}}}")
                if d == "r12":
                    before.append("ldr r12, [lr]" if j < self.n - 1 else "ldr r12, [lr], #4")
                acc = chain.rows[channel]
                after = [add_imm(acc, acc, -self.taken, "")] if self.taken else []
                after += [] if self.output else [f"asr {acc}, {acc}, #8"]
                if self._loses_pointer(channel, j):
                    after.append(f"ldr r12, {OUT}")
                    at = 0
                place = channel * self.channel_step + j * self.position_step
                if not 0 <= place - at <= REACH:
                    after.append(add_imm("r12", "r12", place - at, ""))
                    at = place
                after.append(f"{self._store} {acc}, [r12, #{place - at}]")
                steps.append(OutputStep(before, acc, m, c, d, t, after, at))
        return steps
