"""Functions that check their arguments. pydantic is imported when one is called: defining them costs nothing."""

import inspect
from collections.abc import Callable
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

        # The public names, since some are imported late.
        used = [name for name in memaopt.__all__ if name in str(function.__annotations__)]
        names = {**{name: getattr(memaopt, name) for name in used}, **function.__globals__}
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
            raise InputError(f"{function.__name__}: {error}") from None
        try:
            return checked()(*args, **kwargs)
        except ValidationError as error:
            names = list(signature().parameters)
            what = _one_of(function, error, names) or told(error, arguments=names)
            raise InputError(f"{function.__name__}: {what}") from None

    return call


def _one_of(function: Callable[..., object], error: "ValidationError", names: list[str]) -> str:
    """What the first argument at fault should be, if it may be of several types; else nothing."""
    at = error.errors(include_url=False, include_context=False)[0]["loc"]
    name = names[at[0]] if isinstance(at[0], int) else str(at[0])
    types = [each for each in get_args(function.__annotations__.get(name)) if each is not NoneType]
    if len(at) == 1 or len(types) < 2 or not all(isinstance(get_origin(each) or each, type) for each in types):
        return ""
    *others, last = (each.__name__ for each in types)
    return f"{name} should be a {', a '.join(others)} or a {last}"
