"""What comes from outside the program: models whose every field is known and bounded, and functions that check.

Whatever is wrong with an argument, a field or a file is one :class:`~memaopt.errors.InputError` of one line.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ParamSpec, Self, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, validate_call

from memaopt.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

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
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]


def told(error: ValidationError, fields: Iterable[str] = ()) -> str:
    """The first thing that is wrong, in one line: the field what is wrong with it, and which ``fields`` there are."""
    first = error.errors(include_url=False, include_context=False)[0]
    place, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        there = f": there are {', '.join(fields)}" if fields and len(first["loc"]) == 1 else ""
        return f"{place} is no field{there}"
    separator = " " if message.startswith("Input ") else ": "
    return " ".join(separator.join(filter(None, (place, message.removeprefix("Input ")))).split())


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


def public(function: Callable[P, R]) -> Callable[P, R]:
    """A function of the public interface: arguments that are missing, unknown or of another type are InputErrors."""

    @functools.cache
    def checked() -> Callable[P, R]:
        import memaopt

        # The public names, since some are imported late.
        used = [name for name in memaopt.__all__ if name in str(function.__annotations__)]
        names = {**{name: getattr(memaopt, name) for name in used}, **function.__globals__}
        function.__annotations__ = get_type_hints(function, names, include_extras=True)
        config = ConfigDict(arbitrary_types_allowed=True, strict=True)
        return validate_call(config=config)(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{function.__name__}: {error}") from None
        try:
            return checked()(*args, **kwargs)
        except ValidationError as error:
            raise InputError(f"{function.__name__}: {told(error)}") from None

    return call
