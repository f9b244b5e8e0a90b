"""Functions that check their arguments. pydantic is imported when one is called: defining them costs nothing."""

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from types import NoneType
from typing import TYPE_CHECKING, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from memaopt.errors import InputError

if TYPE_CHECKING:
    from pydantic import ValidationError

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """A function of the public interface: arguments that are missing, unknown or of another type are InputErrors."""

    @cache
    def signature() -> inspect.Signature:
        return inspect.signature(function)

    @cache
    def checked() -> Callable[P, R]:
        from pydantic import ConfigDict, validate_call

        import memaopt

        # The public names that its module does not have, since some are imported late.
        own, text = function.__globals__, str(function.__annotations__)
        names = {
            **{name: getattr(memaopt, name) for name in memaopt.__all__ if name in text and name not in own},
            **own,
        }
        function.__annotations__ = get_type_hints(function, names, include_extras=True)
        config = ConfigDict(arbitrary_types_allowed=True, strict=True)
        return validate_call(config=config)(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from pydantic import ValidationError

        from memaopt.inputs import told

        try:
            signature().bind(*args, **kwargs)
        except TypeError as error:
            hint = _meant(signature(), kwargs)
            raise InputError(f"{function.__name__}: {error}{hint}") from None
        try:
            return checked()(*args, **kwargs)
        except ValidationError as error:
            names = list(signature().parameters)
            what = _one_of(function, error, names) or _maker(error, names) or told(error, arguments=names)
            raise InputError(f"{function.__name__}: {what}") from None

    return call


def _meant(signature: inspect.Signature, given: Mapping[str, object]) -> str:
    """Which argument the first unknown one stands for: that of its type's name (``mcu``: the Mcu), or one like it."""
    there = signature.parameters
    unknown = next((name for name in given if name not in there), None)
    if unknown is None:
        return ""
    # Annotations are text here, as in "Mcu | None".
    types = {name: re.findall(r"\w+", str(each.annotation)) for name, each in there.items()}
    for name, words in types.items():
        for word in words:
            if word.lower() == unknown.lower():
                return f": did you mean {name}, which takes the {word}?"
    near = difflib.get_close_matches(unknown, there, n=1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(there)}"


def _at_fault(error: "ValidationError", names: list[str]) -> str:
    """The name of the first argument at fault, of which pydantic may know the number."""
    at = error.errors(include_url=False, include_context=False)[0]["loc"][0]
    return names[at] if isinstance(at, int) else str(at)


def _one_of(function: Callable[..., object], error: "ValidationError", names: list[str]) -> str:
    """What the first argument at fault should be, if it may be of several types; else nothing."""
    at, name = error.errors(include_url=False, include_context=False)[0]["loc"], _at_fault(error, names)
    types = [each for each in get_args(function.__annotations__.get(name)) if each is not NoneType]
    if len(at) == 1 or len(types) < 2 or not all(isinstance(get_origin(each) or each, type) for each in types):
        return ""
    *others, last = (each.__name__ for each in types)
    return f"{name} should be a {', a '.join(others)} or a {last}"


def _maker(error: "ValidationError", names: list[str]) -> str:
    """Whose instance an argument should be, and which function makes one: of a chip's name ``mcu``."""
    import memaopt

    first = error.errors(include_url=False)[0]
    if first["type"] != "model_type":
        return ""
    wanted = first["ctx"]["class_name"]
    maker = wanted.lower() if wanted.lower() in memaopt.__all__ else wanted
    given = repr(first["input"]) if isinstance(first["input"], str) else "..."
    return f"{_at_fault(error, names)} should be an instance of {wanted}, as memaopt.{maker}({given}) makes"
