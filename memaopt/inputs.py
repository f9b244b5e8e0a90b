"""What comes from outside the program: models whose every field is known and bounded.

Whatever is wrong with a field is one :class:`~memaopt.errors.InputError` of one line.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from memaopt.errors import InputError

#: Nothing in an address space of 32 bits is larger.
MOST_BYTES = 1 << 32
#: A number of bytes, of elements or of blocks; an address.
Size = Annotated[int, Field(strict=True, ge=1, le=MOST_BYTES)]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST_BYTES)]
Address = Annotated[int, Field(strict=True, ge=0, lt=MOST_BYTES)]
YesNo = Annotated[bool, Field(strict=True)]
#: Text for people, of one source or one heading.
Prose = Annotated[str, Field(max_length=1000)]
#: A name that becomes a section, a region or a part of an identifier.
WORD = r"^[a-z][a-z0-9_]*$"
Word = Annotated[str, Field(pattern=WORD, max_length=32)]


#: What pydantic says in Python's words, as it is called in a file; ``{...}`` are its context.
_IN_FILES = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a table",
    "too_short": "should have at least {min_length}, not {actual_length}",
    "too_long": "should have at most {max_length}, not {actual_length}",
}


def any_of(names: Sequence[str]) -> str:
    """One or more names as a sentence has them: ``a``, ``a or b``, ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def told(error: ValidationError, fields: Iterable[str] = (), arguments: Sequence[str] = ()) -> str:
    """The first thing that is wrong, in one line: the field what is wrong with it, and which ``fields`` there are.

    ``arguments``: the names of those that pydantic counts. The names of a union's members, in parentheses here,
    are left out.
    """
    first = error.errors(include_url=False)[0]
    parts = [part for part in first["loc"] if not str(part).startswith("(")]
    if arguments and isinstance(parts[0], int):
        parts[0] = arguments[parts[0]]
    place, message = ".".join(map(str, parts)), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        there = f": there are {', '.join(fields)}" if fields and len(first["loc"]) == 1 else ""
        return f"{place} is no field{there}"
    if first["type"] in _IN_FILES:
        return f"{place} {_IN_FILES[first['type']].format(**first.get('ctx', {}))}"
    separator = " " if message.startswith("Input ") else ": "
    return " ".join(separator.join(filter(None, (place, message.removeprefix("Input ")))).split())


class Strict(BaseModel):
    """A model in a certificate: no other fields, no other types, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(BaseModel):
    """A model of what users give. Its numbers are strict and bounded, its fields no others than those named."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, *args: Any, **fields: Any) -> None:
        if args:
            raise InputError(f"{type(self).__name__}: give its fields by name")
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(f"{type(self).__name__}: {told(error, type(self).model_fields)}") from None

    # Models within models are made as usual, so that an error has its whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def checked(cls, data: object, where: str) -> Self:
        """The model of data read from ``where``; InputError names the field at fault."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InputError(f"{where}: {told(error, cls.model_fields)}") from None
        except RecursionError:
            raise InputError(f"{where}: nested too deeply") from None
