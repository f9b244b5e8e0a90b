"""What commands show: tables on stdout, progress on stderr, JSON. Text is never markup and controls no terminal."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.segment import Segment
from rich.text import Text

from memaopt.printable import printable

WIDTH = 100
_T = TypeVar("_T")


class _Console(Console):
    """A console that shows only what :func:`printable` lets through."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


def stdout() -> Console:
    """stdout, at least as wide as the tables: a narrow terminal folds lines, but no figure is cut."""
    width = Console().width if sys.stdout.isatty() else WIDTH
    return _Console(width=max(width, WIDTH), markup=False, emoji=False, highlight=False)


def stderr() -> Console:
    """stderr, for what is only worth showing while somebody watches."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


def spinner(what: str) -> AbstractContextManager[Any]:
    """A spinner on stderr if somebody watches it."""
    console = stderr()
    return console.status(Text(what)) if console.is_terminal else nullcontext()


def progress() -> Progress:
    """A bar on stderr, with what is being done and how many of how many, if somebody watches it."""
    console = stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def watched(items: Iterable[_T], what: str) -> Iterator[_T]:
    """The items one by one, with a bar."""
    listed = list(items)
    with progress() as bar:
        task = bar.add_task(what, total=len(listed))
        for item in listed:
            yield item
            bar.advance(task)


def print_json(data: Any) -> None:
    """Nothing but JSON on stdout, in ASCII."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")
