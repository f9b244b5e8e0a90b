"""Constants outside the chip as one image: where each array lies in it, its bytes, its checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from memaopt.alignment import align
from memaopt.kernels.text.c import Array

#: What arrays begin at multiples of: kernels read words.
_ALIGNMENT = 4


class Laid(NamedTuple):
    """An array, and the byte of the image that it begins at."""

    offset: int
    array: Array


class ConstantsImage:
    """Arrays one after the other, each at the alignment it asks for; what lies between them is zeros."""

    def __init__(self, arrays: Iterable[Array]) -> None:
        places, end = [], 0
        for array in arrays:
            alignment = max(array.alignment, array.nbytes // array.length, _ALIGNMENT)
            start = align(end, alignment)
            places.append(Laid(start, array))
            end = start + array.nbytes
        self.places = tuple(places)
        #: All of it, a multiple of what arrays begin at.
        self.nbytes = align(end, _ALIGNMENT)

    @cached_property
    def data(self) -> bytes:
        """Its bytes."""
        made = bytearray(self.nbytes)
        for offset, array in self.places:
            made[offset : offset + len(array.data)] = array.data
        return bytes(made)

    @property
    def checksum(self) -> int:
        """CRC-32 of its bytes, as zlib, PNG and Ethernet have it."""
        return zlib.crc32(self.data)
