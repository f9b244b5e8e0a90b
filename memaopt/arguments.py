"""Functions that check their arguments. pydantic is imported when one is called: defining them costs nothing."""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar, get_type_hints

from memaopt.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """A function of the public interface: arguments that are missing, unknown or of another type are InputErrors."""

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

        signature = inspect.signature(function)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{function.__name__}: {error}") from None
        try:
            return checked()(*args, **kwargs)
        except ValidationError as error:
            raise InputError(f"{function.__name__}: {told(error, arguments=list(signature.parameters))}") from None

    return call
