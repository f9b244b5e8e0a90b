"""The layout of RAM: which side of the code each thing lies on, so that all of it can be linked at once.

A chip may run code fast from one window of its SRAM alone, often under a second address: data that lie there and the
code must not meet. The layout puts the code into that window, the arena and the copied constants on either side of it,
the stack at the end. Where no layout exists the choice of kernels cannot be linked, and is excluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memaopt.alignment import align
from memaopt.choice import choice
from memaopt.choice.choice import Placed
from memaopt.choice.in_ram import ALIGNMENT, constants_room
from memaopt.machines.mcu import Mcu


@dataclass(frozen=True)
class Layout:
    """Where the linker puts what is in RAM; addresses and bytes.

    ``code_at`` is where code is linked to run from, ``shadow_at`` where data would meet the same bytes (the same
    address, but for an alias); None: the code lies among the data, wherever these end. ``code_room`` is kept for the
    code. ``behind`` is what lies behind the window, from ``behind_at`` up to ``behind_end``: constants by number, and
    the arena.
    """

    code_room: int = 0
    code_at: int | None = None
    shadow_at: int | None = None
    behind_at: int = 0
    behind_end: int = 0
    behind: frozenset[int] = frozenset()
    arena_behind: bool = False


def of(mcu: Mcu, arena: int, stack: int, taken: Sequence[Placed]) -> Layout | None:
    """The layout of a choice; None if there is none."""
    code = choice.ram_code_bytes(taken)
    sizes = [constants_room(c.plan) for c in taken if c.where.data]
    return place(mcu, arena, stack, code, sizes, mcu.setting.project_ram if code or sizes else 0)


def place(
    mcu: Mcu, arena: int, stack: int, code: int = 0, constants: Sequence[int] = (), other: int = 0
) -> Layout | None:
    """Place what is in RAM, None if that cannot be done; sizes in bytes.

    ``other`` data lie at the start of the SRAM, the stack at its end. Exact: with all sizes multiples of
    :data:`ALIGNMENT`, if any layout exists one is found.
    """
    end = mcu.sram.size - stack
    sizes = [align(size, ALIGNMENT) for size in (*constants, arena)]
    total, room, other = sum(sizes), align(code, ALIGNMENT), align(other, ALIGNMENT)
    if not room or mcu.code_ram == mcu.sram.name:
        return Layout(room) if other + total + room <= end else None
    end = _down(end)
    place = next(p for p in mcu.places if p.name == mcu.code_ram)
    alias = next((a for a in mcu.aliases if a.name == mcu.code_ram and a.memory == mcu.sram.name), None)
    if alias is None:
        fits = other + total <= end and room <= place.size
        return Layout(room, code_at=place.base, shadow_at=place.base) if fits else None
    first, last = align(alias.offset, ALIGNMENT), _down(min(alias.offset + alias.size, end))
    if first == 0:
        # The window begins where the data do: the linker puts the code behind the constants.
        fits = other + total + room <= end and other + sum(sizes[:-1]) + room <= last
        return Layout(room) if fits else None
    before = _before(sizes, end - first - room, last - room - other)
    if before is None or room > last - first or other + total + room > end:
        return None
    behind = frozenset(range(len(sizes))) - before
    at = _down(min(last - room, end - room - sum(sizes[i] for i in behind)))
    return Layout(
        code_room=room,
        code_at=alias.base + at - alias.offset,
        shadow_at=mcu.sram.base + at,
        behind_at=mcu.sram.base + at + room,
        behind_end=mcu.sram.base + end,
        behind=behind - {len(constants)},
        arena_behind=len(constants) in behind,
    )


def _before(sizes: Sequence[int], behind: int, before: int) -> frozenset[int] | None:
    """What to put before the window: as much as fits there, where the rest fits behind it.

    Sums of subsets as bits, one for each multiple of the alignment.
    """
    reached = [1]
    for size in sizes:
        reached.append(reached[-1] | reached[-1] << size // ALIGNMENT)
    most = before // ALIGNMENT
    if most < 0:
        return None
    left = (reached[-1] & ((1 << (most + 1)) - 1)).bit_length() - 1
    if sum(sizes) - left * ALIGNMENT > behind:
        return None
    chosen = set()
    for i in reversed(range(len(sizes))):
        # Without it if that will do, but the arena, the last, is better before: there it needs no section of its own.
        without = reached[i] >> left & 1
        taken = left >= sizes[i] // ALIGNMENT and reached[i] >> (left - sizes[i] // ALIGNMENT) & 1
        if taken and (not without or i == len(sizes) - 1):
            chosen.add(i)
            left -= sizes[i] // ALIGNMENT
    return frozenset(chosen)


def _down(size: int) -> int:
    return size // ALIGNMENT * ALIGNMENT
