"""Tables of a FlatBuffer, read and written by the names of their fields, from their description (flatbuffer.py)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from memaopt.networks.formats.tflite.flatbuffer import Child, Scalar, String, Table, Tables, Vector

if TYPE_CHECKING:
    import flatbuffers

_U16, _I32, _U32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")
_Slot = TypeVar("_Slot", Scalar, Vector, Tables, Child)
#: The builder's method for a number, by its format.
_PREPEND = {
    "b": "Int8",
    "B": "Uint8",
    "?": "Bool",
    "i": "Int32",
    "I": "Uint32",
    "q": "Int64",
    "Q": "Uint64",
    "f": "Float32",
}


class Record:
    """A table of a file that was verified. What the file leaves out is a number's default, or empty, or None."""

    def __init__(self, data: bytes, position: int, table: Table) -> None:
        self._data, self._position, self._table = data, position, table
        vtable = position - _I32.unpack_from(data, position)[0]
        count = (_U16.unpack_from(data, vtable)[0] - 4) // 2
        self._slots: tuple[int, ...] = struct.unpack_from(f"<{count}H", data, vtable + 4)

    @classmethod
    def root(cls, data: bytes, table: Table) -> Record:
        """The table that a file begins with."""
        return cls(data, _U32.unpack_from(data)[0], table)

    @property
    def title(self) -> str:
        """What the schema calls the table."""
        return self._table.name

    def number(self, name: str) -> Any:
        """A number: an int, a float or a bool, as its field is."""
        field, place = self._find(name, Scalar)
        return field.default if place is None else struct.unpack_from(f"<{field.format}", self._data, place)[0]

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A vector of numbers, which cannot be written to."""
        field, place = self._find(name, Vector)
        dtype = np.dtype(f"<{field.format}")
        if place is None:
            return np.zeros(0, dtype)
        start, count = self._vector(place)
        return np.frombuffer(self._data, dtype, count, start)

    def text(self, name: str) -> bytes:
        """The bytes of a string."""
        return self.numbers(name).tobytes()

    def records(self, name: str) -> list[Record]:
        """A vector of tables."""
        field, place = self._find(name, Tables)
        if place is None:
            return []
        start, count = self._vector(place)
        return [Record(self._data, self._follow(at), field.table) for at in range(start, start + 4 * count, 4)]

    def record(self, name: str) -> Record | None:
        """A table that this one refers to."""
        field, place = self._find(name, Child)
        return None if place is None else Record(self._data, self._follow(place), field.table)

    def union(self) -> tuple[int, Record | None]:
        """The type of the table's union, and what is there; None if that type is not described, or nothing is."""
        assert self._table.union is not None
        slot, tables = self._table.union
        kind, place = self._place(slot), self._place(slot + 1)
        number = 0 if kind is None else self._data[kind]
        if place is None or number not in tables:
            return number, None
        return number, Record(self._data, self._follow(place), tables[number])

    def _find(self, name: str, kind: type[_Slot]) -> tuple[_Slot, int | None]:
        slot, field = self._table.slots[name]
        assert isinstance(field, kind)
        return field, self._place(slot)

    def _place(self, slot: int) -> int | None:
        offset = self._slots[slot] if slot < len(self._slots) else 0
        return self._position + offset if offset else None

    def _follow(self, place: int) -> int:
        return place + int(_U32.unpack_from(self._data, place)[0])

    def _vector(self, place: int) -> tuple[int, int]:
        """The first element of a vector, and how many it has."""
        start = self._follow(place)
        return start + 4, int(_U32.unpack_from(self._data, start)[0])


def pack(builder: flatbuffers.Builder, table: Table, values: Mapping[str, Any]) -> int:
    """Write a table: numbers, arrays and strings as they are, tables as mappings, a union as its type and a mapping.

    What it refers to is written first, field by field. Returns its place, as the builder counts it.
    """
    places: dict[int, Any] = {}
    kind, tables = table.union or (-1, {})
    for slot in range(table.last_slot + 1):
        field = table.fields.get(slot)
        if slot == kind + 1 and "union" in values:
            places[kind], inner = values["union"]
            places[slot] = pack(builder, tables[places[kind]], inner)
        elif field is not None and not isinstance(field, Scalar) and values.get(field.name) is not None:
            places[slot] = _packed(builder, field, values[field.name])
    builder.StartObject(table.last_slot + 1)
    for slot in range(table.last_slot + 1):
        scalar = table.fields.get(slot)
        if isinstance(scalar, Scalar) and (slot in places or scalar.name in values):
            number = places.get(slot, values.get(scalar.name))
            getattr(builder, f"Prepend{_PREPEND[scalar.format]}Slot")(slot, number, scalar.default)
        elif slot in places:
            builder.PrependUOffsetTRelativeSlot(slot, places[slot], 0)
    return int(builder.EndObject())


def _packed(builder: flatbuffers.Builder, field: Any, value: Any) -> int:
    if isinstance(field, String):
        return int(builder.CreateString(value))
    if isinstance(field, Vector):
        return int(builder.CreateNumpyVector(np.array(value, f"<{field.format}")))
    if isinstance(field, Child):
        return pack(builder, field.table, value)
    inner = [pack(builder, field.table, each) for each in value]
    builder.StartVector(4, len(inner), 4)
    for place in reversed(inner):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())
