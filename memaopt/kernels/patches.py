"""Patches: the input bytes under a window, and how a kernel copies them into its tile on the stack.

A patch is ``rows`` x ``taps`` runs of ``run`` contiguous bytes: the rows are ``pitch`` bytes apart, the taps of a
row ``step`` bytes. An undilated window has one tap a row, kernel width x channels bytes; a 1x1 window is one run.
Bytes are stored one after the other, and even ones leave the tile with their top bit flipped: as value + 128.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from statistics import fmean
from typing import NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.alignment import align
from memaopt.kernels.around import UNALIGNED
from memaopt.kernels.plan import Format
from memaopt.kernels.text.assembly import add_imm
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Conv

#: Registers that a copy may use for data, and the most words that go with one multiple load.
_DATA = [f"r{i}" for i in range(1, 11)]
_EVEN, _ODD = 0x00800080, 0x80008000


class Patch(NamedTuple):
    """The geometry of one output position's input, in bytes; the first position's begins ``start`` bytes behind a
    multiple of 4."""

    rows: int
    taps: int
    run: int
    pitch: int
    step: int
    start: int = 0

    @property
    def bytes(self) -> int:
        return self.rows * self.taps * self.run

    @property
    def padded_bytes(self) -> int:
        """Rounded up to whole words: the bytes that a tile has for it."""
        return align(self.bytes, 4)

    @property
    def slug(self) -> str:
        """For the names of kernels."""
        size = "x".join(str(n) for n in (self.rows, self.taps, self.run) if n != 1) or "1"
        moves = [f"_p{self.pitch}"] if self.rows > 1 else []
        return size + "".join(moves + ([f"_t{self.step}"] if self.taps > 1 else []))

    def runs(self) -> list[tuple[int, int, int]]:
        """(source offset, tile offset, bytes) of each run; neighbours that are contiguous are joined."""
        joined: list[tuple[int, int, int]] = []
        for index in range(self.rows * self.taps):
            row, tap = divmod(index, self.taps)
            source, target = row * self.pitch + tap * self.step, index * self.run
            if joined and joined[-1][0] + joined[-1][2] == source:
                joined[-1] = (joined[-1][0], joined[-1][1], joined[-1][2] + self.run)
            else:
                joined.append((source, target, self.run))
        return joined


def patch_of(layer: Conv, pitch: int, start: int = 0) -> Patch:
    """The patch of a layer's window, of one group's channels, in an image (or strip) whose rows are ``pitch`` bytes
    apart and whose first window begins ``start`` bytes behind where it does."""
    window, channels, depth = layer.window, layer.shape.channels, layer.weights.shape[-1]
    whole_row = window.kernel.width == 1 or (window.dilation.width == 1 and layer.groups == 1)
    return Patch(
        rows=window.kernel.height,
        taps=1 if whole_row else window.kernel.width,
        run=depth * (window.kernel.width if whole_row else 1),
        pitch=window.dilation.height * pitch if window.kernel.height > 1 else 0,
        step=0 if whole_row else window.dilation.width * channels,
        start=start % 4,
    )


@lru_cache(maxsize=256)
def joined(layer: Conv, least: int) -> Conv:
    """The layer with the fewest groups joined to one that have so many channels: their weights for each other's inputs
    are zeros."""
    m, depth = len(layer.weights) // layer.groups, layer.weights.shape[-1]
    number = next((n for n in range(1, layer.groups + 1) if layer.groups % n == 0 and n * m >= least), 1)
    if number == 1:
        return layer
    weights = np.zeros((*layer.weights.shape[:-1], number * depth), np.int8)
    for place in range(number):
        channels = np.arange(len(weights)) // m % number == place
        weights[channels, ..., place * depth : (place + 1) * depth] = layer.weights[channels]
    return replace(layer, weights=weights, groups=layer.groups // number)


class Copy(NamedTuple):
    """The copy of one patch into the tile: from r12 to lr, which it leaves at the end of the (padded) patch."""

    assembly: str
    cycles: float
    instructions: int
    source: Access
    tile: Access


@lru_cache(maxsize=1024)
def patch_copy(patch: Patch, aligned: bool, flip: bool, apart: int) -> Copy:
    """The copy of a patch. ``aligned``: every run starts at a multiple of 4 and is whole words, so that multiple
    loads do it; else single loads, which may be unaligned, of positions ``apart`` bytes from each other. ``flip``:
    even bytes change their top bit.
    """
    return _by_words(patch, flip) if aligned else _by_pieces(patch, flip, math.gcd(4, apart, patch.pitch))


def _by_words(patch: Patch, flip: bool) -> Copy:
    lines: list[str] = []
    cycles = 0
    for source, _, size in patch.runs():
        lines.append(add_imm("r0", "r12", source, "r1"))
        # The load right behind waits for its address.
        cycles += len(lines[-1].splitlines()) + 1
        words = size // 4
        chunks = -(-words // len(_DATA))
        for i in range(chunks):
            count = words * (i + 1) // chunks - words * i // chunks
            registers = _DATA[:count]
            # A multiple load of one register is unpredictable in its 32-bit form.
            span = f"{{{registers[0]}-{registers[-1]}}}"
            lines.append(f"ldmia r0!, {span}" if count > 1 else f"ldr {registers[0]}, [r0], #4")
            lines.extend(f"eor {r}, {r}, #{_EVEN:#010x}" for r in registers if flip)
            lines.append(f"stmia lr!, {span}" if count > 1 else f"str {registers[0]}, [lr], #4")
            cycles += (2 * (1 + count) if count > 1 else 3) + (count if flip else 0)
    words = patch.bytes // 4
    text = "\n".join(line for line in lines if line)
    return Copy(text, cycles, len(text.splitlines()), loads(words, 4), stores(words, 4))


def _pieces(start: int, size: int) -> list[tuple[int, int]]:
    """(offset, width): words, then a halfword and a byte for what is left."""
    whole = size // 4 * 4
    pieces = [(start + at, 4) for at in range(0, whole, 4)]
    if size % 4 >= 2:
        pieces.append((start + whole, 2))
    if size % 2:
        pieces.append((start + size - 1, 1))
    return pieces


def _groups(pieces: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """As many pieces at a time as there are registers, all of them within an offset's reach of the first."""
    group: list[tuple[int, int, int]] = []
    for piece in pieces:
        if len(group) == len(_DATA) or (group and piece[0] - group[0][0] > REACH):
            yield group
            group = []
        group.append(piece)
    yield group


_LOAD = {4: "ldr", 2: "ldrh", 1: "ldrb"}
_STORE = {4: "str", 2: "strh", 1: "strb"}


def unaligned(offset: int, apart: int) -> float:
    """Cycles that a load of a word costs more than an aligned one, on average over positions ``apart`` bytes (1, 2, 4)
    from each other."""
    return fmean(UNALIGNED[(offset + base) % 4] for base in range(0, 4, apart))


def _by_pieces(patch: Patch, flip: bool, apart: int) -> Copy:
    pieces = [
        (source + offset, target + offset, width)
        for source, target, size in patch.runs()
        for offset, width in _pieces(0, size)
    ]
    lines, start = list[str](), patch.start
    cycles = 0.0
    base, base_offset = "r12", 0
    source_access, tile_access = Access(), Access()
    for group in _groups(pieces):
        if group[-1][0] - base_offset > REACH:
            base_offset, base = group[0][0], "r0"
            lines.append(add_imm("r0", "r12", base_offset, "r1"))
            cycles += len(lines[-1].splitlines()) + 1
        for register, (source, _, width) in zip(_DATA, group, strict=False):
            lines.append(f"{_LOAD[width]} {register}, [{base}, #{source - base_offset}]")
            source_access += loads(1, width)
        # The first load is not pipelined, and waits for a store before it.
        cycles += len(group) + (2 if source_access.loads > len(group) else 1)
        cycles += sum(unaligned(start + source, apart) for source, _, width in group if width == 4)
        for register, (_, target, width) in zip(_DATA, group, strict=False):
            if flip:
                mask = _EVEN if target % 2 == 0 else _ODD
                # A byte, or the bytes of a halfword, take their share of the mask.
                lines.append(f"eor {register}, {register}, #{mask if width == 4 else mask & (1 << 8 * width) - 1:#x}")
            lines.append(f"{_STORE[width]} {register}, [lr, #{target}]")
            tile_access += stores(1, width)
            cycles += 2 if flip else 1
            cycles += 0 if width == 1 or target % width == 0 else 2 if target % 2 else 1
    lines.append(add_imm("lr", "lr", patch.padded_bytes, "r1"))
    cycles += 1
    text = "\n".join(line for line in lines if line)
    return Copy(text, cycles, len(text.splitlines()), source_access, tile_access)


def flips(input_format: Format) -> bool:
    """Whether the copy has to turn the input's bytes into the tile's form."""
    return input_format is Format.S8
