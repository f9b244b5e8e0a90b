"""Words that a kernel moves to and from the stack, counted in the instructions of its template.

They do not depend on what is left over at the edges, nor on the strides, so that they have a price in closed form; the
promise is read from the text that is emitted (:mod:`memaopt.kernels.stack`), and a test holds the two together.
"""

from typing import Any, NamedTuple

#: Integers, or arrays of them.
_Words = Any

#: r2 to r11 and lr, saved and restored; s16 to s31 likewise.
_SAVED, _SAVED_FPU = 2 * 11, 2 * 16
#: The two pointers to C, loaded with one LDRD, and another argument.
_POINTERS, _ARGUMENT = 2, 1
#: A kept word that is used and moved on; one that is only kept or only used.
_MOVED_ON, _TOUCHED = 2, 1


class Passes(NamedTuple):
    """Words over all passes: of a single one; or of each of several, with what the first and the last of them add."""

    single: _Words = 0
    each: _Words = 0
    ends: _Words = 0

    def over(self, passes: _Words) -> _Words:
        """The words of so many passes."""
        return self.single + (passes > 1) * (self.each * passes + self.ends - self.single)


class StackWords(NamedTuple):
    """Words of each call, of each tile (row or column) that a call goes over, and in the last pass of each row of a
    tile after the first. ``looped``: a loop over the reduction keeps where it ends there, and looks in each round.
    """

    call: Passes
    turn: Passes = Passes()
    row: _Words = 0
    looped: bool = False


def _alike(words: int, last: int = 0) -> Passes:
    """As many words in each pass, and ``last`` more in the last."""
    return Passes(words + last, words, last)


def f32_c(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """r1 to r11 and lr hold what outlives a tile as far as ``mr`` pointers leave them; the rest is on the stack."""
    spare = 11 - mr
    out, count, sums = spare < 2, spare < 3, spare < 4
    saved = 2 * 12 + (_SAVED_FPU if wide(mr, kr, nr) else 0) + (0 if count else _ARGUMENT)
    moved = _MOVED_ON * (out + count)
    return StackWords(
        _alike(saved),
        # Results go to C in the last pass alone; partial sums are read in all but the first, written in all but that.
        Passes(moved + out, moved + (_MOVED_ON + 2 * _TOUCHED) * sums, out - 2 * sums),
    )


def wide(mr: int, kr: int, nr: int) -> bool:
    """f32-c: whether sums, a row of B, KR of A and two products need more than s0 to s15."""
    return mr * nr + kr * nr + kr + 2 > 16


def f32_stationary(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """r4 to r8, lr and s16 to s31, and an argument."""
    return StackWords(_alike(2 * 6 + _SAVED_FPU + _ARGUMENT))


def q15_c(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """Without an FPU tiles left, A, B, and the pointers to C are kept; each tile uses all, and the sums' but first."""
    saved = _SAVED + _ARGUMENT + _POINTERS
    if fpu:
        return StackWords(_alike(saved))
    moved = 3 * _MOVED_ON + 2 * _TOUCHED
    turn = Passes(moved, moved + _TOUCHED, _MOVED_ON - _TOUCHED)
    return StackWords(_alike(saved + 5 * _TOUCHED), turn, looped=True)


def q15_stationary(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """Without an FPU what is left and the pointer to the sums are kept; the sums are not read in the first pass."""
    saved = _SAVED + _ARGUMENT + _POINTERS
    if fpu:
        return StackWords(_alike(saved))
    return StackWords(_alike(saved + 2 * _TOUCHED), Passes(_MOVED_ON, 2 * _MOVED_ON, -_MOVED_ON))


def s8_c(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """The channels' address is an argument that the first pass and the last read in each tile."""
    saved = _SAVED + _ARGUMENT + _POINTERS
    if fpu:
        return StackWords(_alike(saved), Passes(2 * _ARGUMENT, 0, 2 * _ARGUMENT))
    moved = 2 * _MOVED_ON + 2 * _TOUCHED
    # The first pass reads the argument where others read the sums' pointer, and the last one moves the results' on.
    result = _MOVED_ON + _TOUCHED + _ARGUMENT + _TOUCHED
    each = moved + _MOVED_ON + 2 * _TOUCHED
    turn = Passes(moved + _ARGUMENT + result, each, result - _TOUCHED)
    return StackWords(_alike(saved + 5 * _TOUCHED), turn, row=_MOVED_ON, looped=True)


def s8_stationary(mr: int, kr: int, nr: int, fpu: bool) -> StackWords:
    """Two arguments; the last pass needs s16 to s31, in which the stationary operand waits for the rounding."""
    return StackWords(_alike(_SAVED + 2 * _ARGUMENT + _POINTERS, _SAVED_FPU))
