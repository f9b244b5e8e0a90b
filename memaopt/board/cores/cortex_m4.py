"""The Cortex-M4's instruction timing: every rule is a number with its source, and each can be overridden.

Sources: *TRM* is the Arm Cortex-M4 r0p1 Technical Reference Manual (DDI 0439), instruction set summary
and load/store timings; *P* is Thomas Pornin's arm-asm-notes, memory.md; *I* is compendium.i-0.nl,
instruction alignment; *fit* was fitted to cycle counts published for real boards (pqm4, NTT kernels).
``docs/timing.md`` says what was compared with silicon.
"""

import difflib
from collections.abc import Mapping

from pydantic import BaseModel, Field, ValidationError

from memaopt.errors import InputError
from memaopt.models.fetching import RECOVERS, TABLE_SIXTEENTHS


def _rule(cycles: int, text: str) -> int:
    return Field(default=cycles, ge=0, le=64, description=text)


class Timing(BaseModel, frozen=True, extra="forbid"):
    """Core cycles of the timing rules. ``Timing(load=3)`` overrides one; descriptions carry the sources."""

    simple: int = _rule(1, "data processing and multiplies (MUL, SMULL, SMLAD, UMAAL, SXTB16, ...): TRM")
    it: int = _rule(0, "IT, folded into the instruction before: TRM")
    skipped: int = _rule(1, "each instruction skipped inside an IT block: fit")
    load: int = _rule(2, "LDR and VLDR of one word: TRM")
    load_after_load: int = _rule(1, "single load right after a single load not feeding its address: TRM, P")
    store: int = _rule(1, "STR, through the store buffer: TRM, fit")
    vstr: int = _rule(2, "VSTR of one word: TRM")
    load_after_store: int = _rule(1, "added to a load right after a single store, and it is not pipelined: P, fit")
    double: int = _rule(3, "LDRD, STRD, VLDR.64, VSTR.64: P, TRM")
    multiple: int = _rule(1, "LDM, STM, PUSH, POP, VLDM, VSTM besides one cycle for each word: TRM")
    address_interlock: int = _rule(
        1, "address register written by the instruction before (data processing, VMOV, STR write-back): TRM, fit"
    )
    unaligned_halfword: int = _rule(1, "halfword at an odd address: P")
    unaligned_word: int = _rule(1, "word at an address 2 mod 4: P")
    unaligned_word_odd: int = _rule(2, "word at an odd address: P")
    branch: int = _rule(1, "branch, taken or not, besides the refill: TRM")
    table_branch: int = _rule(2, "TBB and TBH besides the refill: TRM")
    refill: int = _rule(2, "refill of a forward conditional, B, BL, BX, BLX, CBZ, POP {pc}, LDR pc: TRM, fit")
    refill_backward: int = _rule(1, "refill of a taken backward conditional branch: TRM, fit")
    refill_unaligned: int = _rule(1, "taken branch to a 32-bit instruction at an address 2 mod 4: I, fit")
    vmov_two: int = _rule(2, "VMOV of two core registers, the first usable at once: TRM, fit")
    float_simple: int = _rule(1, "VADD, VSUB, VMUL, VMOV, VCVT, VCMP: TRM")
    float_accumulate: int = _rule(3, "VMLA, VMLS, VFMA, VFMS and their negations: TRM")
    float_divide: int = _rule(14, "VDIV, VSQRT: TRM")
    float_result: int = _rule(1, "floating-point result read by the next instruction, but as an addend: TRM")
    divide_zero: int = _rule(2, "UDIV, SDIV with an operand of 0: P; TRM gives 2 to 12")
    divide_short: int = _rule(3, "UDIV, SDIV whose dividend has fewer bits than the divisor: P; TRM gives 2 to 12")
    divide: int = _rule(
        4, "UDIV, SDIV otherwise, and one cycle for each 4 bits, begun, that the dividend has more: P; TRM: at most 12"
    )
    fetch_recovers: int = _rule(
        RECOVERS, "from a data access until a shorter queue keeps up as one of 4 words does: fit"
    )
    table_sixteenths: int = _rule(
        TABLE_SIXTEENTHS,
        "sixteenths of a cycle, a load from the flash that instructions come from, if that has no wait states: fit",
    )
    fetch_latency: int = _rule(3, "from the request of a word to the issue of an instruction in it: fit")

    @classmethod
    def override(cls, rules: Mapping[str, int]) -> "Timing":
        """The rules with some of them changed; InputError for a name or a number that cannot be."""
        for name in rules:
            if name not in cls.model_fields:
                near = difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.3)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(cls.model_fields)}"
                raise InputError(f"no timing rule {name!r}: {hint}")
        try:
            return cls(**rules)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"timing rule {first['loc'][0]}: {first['msg']}") from None
