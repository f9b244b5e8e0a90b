"""What tables of a file hold, as the reader uses it: indices, names in one line, an operator's options."""

from __future__ import annotations

from typing import Any

from memaopt.errors import UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.formats.tflite.enumerations import ENUMERATIONS
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.operators.form import Field, Options
from memaopt.networks.operators.source import Values
from memaopt.printable import printable


def indices(record: Record, field: str) -> tuple[int, ...]:
    """A vector of int32, empty if absent."""
    return tuple(record.numbers(field).tolist())


def line(raw: bytes) -> str:
    """A name as one printable line of limited length."""
    text = raw[: 4 * limits.MAX_NAME].decode("utf-8", "replace")
    return printable(" ".join(text.split()))[: limits.MAX_NAME]


def options_of(accessor: Record, place: str, options: Options) -> Values | None:
    """The values of an operator's options table, or None if the file has none."""
    kind, table = accessor.union()
    if kind == 0 or (table is None and kind == options.number):
        return None
    if table is None or kind != options.number:
        found = f"of type {kind}" if table is None else table.title
        raise UnsupportedModelError(f"{place}: its options are {found}, not {options.name}")
    return {field.name: _value(table, field) for field in options.fields if field.name}


def _value(table: Record, field: Field) -> Any:
    if field.text:
        return line(table.text(field.name))
    if field.vector:
        return tuple(int(each) for each in table.numbers(field.name))
    value = table.number(field.name)
    names = ENUMERATIONS.get(field.enumeration, ())
    return names[value] if 0 <= value < len(names) else value
