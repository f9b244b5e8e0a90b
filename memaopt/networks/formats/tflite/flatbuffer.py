"""A structural verifier for FlatBuffers: every table, vector and offset is inside the file, or InputError.

What reads a file (record.py) trusts it: an offset out of range would raise struct.error at best and read another
object at worst. So the bytes are checked first, against a description of the tables that will be
read (only those: what nobody reads cannot hurt). Each object is checked once, however many references it has,
so the work is linear in the file's size. Layout: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from memaopt.errors import InputError
from memaopt.networks import limits

_U16, _I32, _U32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")


class Slot(Protocol):
    """What a table's slot holds, by its name in the schema; checks itself at a position."""

    @property
    def name(self) -> str: ...

    def check(self, buffer: Buffer, position: int, path: str) -> None: ...


@dataclass(frozen=True)
class Scalar:
    """A number stored in the table: ``format`` as :mod:`struct` has it, ``default`` what it is where a file leaves it
    out.
    """

    name: str
    format: str
    default: int = 0

    @property
    def width(self) -> int:
        """Its bytes."""
        return struct.calcsize(f"<{self.format}")

    def check(self, buffer: Buffer, position: int, path: str) -> None:
        buffer.need(position, self.width, path)


@dataclass(frozen=True)
class Vector:
    """A vector of numbers, at most ``limit`` of them."""

    name: str
    format: str
    limit: int

    @property
    def width(self) -> int:
        """Bytes of each number."""
        return struct.calcsize(f"<{self.format}")

    def check(self, buffer: Buffer, position: int, path: str) -> None:
        start, count = buffer.vector(position, path, self.limit)
        buffer.need(start, count * self.width, path)


@dataclass(frozen=True)
class String(Vector):
    """A string: bytes of UTF-8, with a zero behind them that ``limit`` does not count."""

    format: str = "B"
    limit: int = limits.MAX_NAME_BYTES


@dataclass(frozen=True)
class Tables:
    """A vector of tables, at most ``limit`` of them."""

    name: str
    table: Table
    limit: int

    def check(self, buffer: Buffer, position: int, path: str) -> None:
        start, count = buffer.vector(position, path, self.limit)
        buffer.need(start, count * 4, path)
        for i in range(count):
            self.table.check(buffer, start + 4 * i, f"{path}[{i}]")


@dataclass(frozen=True)
class Child:
    """A table that one refers to."""

    name: str
    table: Table

    def check(self, buffer: Buffer, position: int, path: str) -> None:
        self.table.check(buffer, position, path)


@dataclass(frozen=True)
class Table:
    """A table: its name and the slots that will be read. ``union`` maps the type in one slot to a table in the
    next; a type that is not in it is left alone, since nobody will read it."""

    name: str
    fields: Mapping[int, Slot]
    union: tuple[int, Mapping[int, Table]] | None = None

    @cached_property
    def slots(self) -> Mapping[str, tuple[int, Slot]]:
        """Each slot that has a name, by it."""
        return {field.name: (slot, field) for slot, field in self.fields.items() if field.name}

    @property
    def last_slot(self) -> int:
        """The greatest number of a slot."""
        return max([*self.fields, *([self.union[0] + 1] if self.union else [])], default=0)

    def check(self, buffer: Buffer, position: int, path: str) -> None:
        """Check the table that the offset at ``position`` refers to."""
        table = buffer.follow(position, path)
        if not buffer.first_visit(table, self.name):
            return
        slots = buffer.slots(table, path, self.last_slot)
        for slot, field in self.fields.items():
            if slots.get(slot):
                field.check(buffer, table + slots[slot], f"{path}.{self.name}")
        if self.union is not None:
            slot, tables = self.union
            if slots.get(slot) and slots.get(slot + 1):
                kind = buffer.byte(table + slots[slot], path)
                if kind in tables:
                    tables[kind].check(buffer, table + slots[slot + 1], path)


class Buffer:
    """Bounds-checked reads of the little-endian primitives."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self._visited: set[tuple[int, str]] = set()

    def error(self, path: str, problem: str) -> InputError:
        return InputError(f"{self.name} is not a valid .tflite file: {path} {problem}")

    def need(self, position: int, size: int, path: str) -> None:
        """Bytes [position, position + size) must exist."""
        if position < 0 or position + size > len(self.data):
            raise self.error(path, f"needs bytes {position} to {position + size} of {len(self.data)}")

    def byte(self, position: int, path: str) -> int:
        self.need(position, 1, path)
        return self.data[position]

    def follow(self, position: int, path: str) -> int:
        """Where the unsigned offset at ``position`` leads."""
        self.need(position, 4, path)
        offset: int = _U32.unpack_from(self.data, position)[0]
        if offset == 0:
            raise self.error(path, "has an offset of zero")
        self.need(position + offset, 4, path)
        return position + offset

    def vector(self, position: int, path: str, limit: int) -> tuple[int, int]:
        """The first element and the length of the vector that the offset at ``position`` refers to."""
        start = self.follow(position, path)
        count: int = _U32.unpack_from(self.data, start)[0]
        if count > limit:
            raise self.error(path, f"has {count} elements, more than the {limit} allowed")
        return start + 4, count

    def slots(self, table: int, path: str, last: int) -> dict[int, int]:
        """Slots 0 to ``last`` as far as a table's vtable has them, as byte offsets from the table."""
        distance: int = _I32.unpack_from(self.data, table)[0]
        vtable = table - distance
        self.need(vtable, 4, path)
        (vtable_size,) = _U16.unpack_from(self.data, vtable)
        (object_size,) = _U16.unpack_from(self.data, vtable + 2)
        if vtable_size < 4 or vtable_size % 2:
            raise self.error(path, f"has a vtable of {vtable_size} bytes")
        self.need(vtable, vtable_size, path)
        self.need(table, object_size, path)
        offsets = struct.unpack_from(f"<{min((vtable_size - 4) // 2, last + 1)}H", self.data, vtable + 4)
        for offset in offsets:
            if offset and not 4 <= offset < object_size:
                raise self.error(path, f"has a field at byte {offset} of {object_size}")
        return dict(enumerate(offsets))

    def first_visit(self, position: int, name: str) -> bool:
        """False if this object was checked before."""
        key = (position, name)
        if key in self._visited:
            return False
        self._visited.add(key)
        return True


def verify(data: bytes, root: Table, identifier: bytes, name: str) -> None:
    """Raise InputError, naming ``name`` and what is wrong, unless accessors may read ``root`` from ``data``."""
    buffer = Buffer(data, name)
    if len(data) < 8 or data[4:8] != identifier:
        raise InputError(
            f"{name} is not a .tflite file: it has {len(data)} bytes and no {identifier.decode()!r} at byte 4"
        )
    root.check(buffer, 0, "the root")
