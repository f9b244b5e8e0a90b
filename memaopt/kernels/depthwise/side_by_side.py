"""Columns of outputs that the depthwise kernel from bytes walks at once: what each loads of a row, and registers.

Neighbours share inputs, so two columns of a window of 2x2 load three inputs of a row and not four; and a group of n
loads takes n + 1 cycles, so all of a row are one group where registers allow.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Side(NamedTuple):
    """One of the columns: what it loads of a row, [register, columns of inputs from the first one], the registers of
    its taps, and its accumulator, if it has one of its own."""

    loads: tuple[tuple[str, int], ...]
    taps: tuple[str, ...]
    acc: str = ""


def sides(taps: int, stride: int, inputs: Sequence[str], accumulators: Sequence[str]) -> tuple[Side, ...] | None:
    """A column for each accumulator, with these registers for inputs; None if they are too few. The register of a
    column's first tap is lost, which no later one has."""
    windows = [range(stride * i, stride * i + taps) for i in range(len(accumulators))]
    every = dict.fromkeys(at for window in windows for at in window)
    at_once = len(every) <= len(inputs)
    held, free, made = dict[int, str](), list(inputs), list[Side]()
    for number, (window, acc) in enumerate(zip(windows, accumulators, strict=True)):
        wanted = ([] if number else [*every]) if at_once else [at for at in window if at not in held]
        if len(wanted) > len(free):
            return None
        held |= {at: free.pop(0) for at in wanted}
        made.append(Side(tuple((held[at], at) for at in wanted), tuple(held[at] for at in window), acc))
        later = {at for other in windows[number + 1 :] for at in other}
        free += [held.pop(at) for at in list(held) if at not in later]
    return tuple(made)
