"""How who reads a message writes what it asks for: to a command, or to a function of Python.

A message is made where the fault is, on any floor; the command line says here that it is the one that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

_T = TypeVar("_T")
_IN_A_COMMAND: ContextVar[bool] = ContextVar("in_a_command", default=False)


@contextmanager
def in_a_command(*, is_command: bool = True) -> Iterator[None]:
    """Within it messages are for the command line."""
    token = _IN_A_COMMAND.set(is_command)
    try:
        yield
    finally:
        _IN_A_COMMAND.reset(token)


def either(command: str, function: str) -> str:
    """What to write in a command, or in Python."""
    return command if _IN_A_COMMAND.get() else function


def option(name: str, value: str | int | Sequence[str] | None = None) -> str:
    """``--stream rows`` and ``--names a,b``, or the arguments ``stream="rows"`` and ``names=["a", "b"]``; without a
    value its name alone."""
    if value is None:
        return either(f"--{name}", name)
    if isinstance(value, str | int):
        return either(f"--{name} {value}", f"{name}={value}" if isinstance(value, int) else f'{name}="{value}"')
    quoted = ", ".join(f'"{each}"' for each in value)
    return either(f"--{name} {','.join(value)}", f"{name}=[{quoted}]")


def as_here(function: Callable[..., _T]) -> Callable[..., _T]:
    """A function whose messages are for who asks now, also in another process."""
    return partial(_called, _IN_A_COMMAND.get(), function)


def _called(is_command: bool, function: Callable[..., _T], *arguments: Any) -> _T:  # pickled by place
    with in_a_command(is_command=is_command):
        return function(*arguments)
