"""What commands show: tables on stdout, progress on stderr, JSON. Text is never markup and controls no terminal."""

import json
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from memaopt.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress

WIDTH = 100
#: Columns that no table needs more of.
_WIDEST = 1000
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
    """stdout, at least as wide as the tables: a narrow terminal folds lines, but no figure is cut. In a pipe it is as
    wide as COLUMNS says.
    """
    width = Console().width if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
    return _Console(width=max(width, WIDTH), markup=False, emoji=False, highlight=False)


def stderr() -> Console:
    """stderr, for what is only worth showing while somebody watches."""
    return _Console(stderr=True, markup=False, emoji=False, highlight=False)


class Fact(NamedTuple):
    """A line of a report: a name, what is to be said, in which style. The next line of one thing has no name."""

    name: str
    text: str
    style: str = ""


def print_facts(console: Console, facts: Iterable[Fact], label: int = 12) -> None:
    """Names in a column of so many characters, and beside them what is to be said, folded."""
    for name, text, style in facts:
        for line in textwrap.wrap(text, WIDTH - label):
            console.print(Text.assemble((f"{name:<{label}}", "cyan"), (line, style)), soft_wrap=True)
            name = ""


def table(columns: Iterable[str], words: int | Collection[int | str] = 1, blanks: int = 2) -> Table:
    """An empty table without a frame, a rule under its heading, ``blanks`` between columns.

    ``words``: how many columns from the left are words, or which, by number or name; the others are figures, which are
    never folded.
    """
    made = Table(
        box=box.SIMPLE_HEAD, padding=(0, blanks - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
    )
    for number, name in enumerate(columns):
        left = number < words if isinstance(words, int) else number in words or name in words
        made.add_column(name, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return made


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is: a narrow terminal folds its lines, but nothing is cut."""
    console.width = max(console.width, console.measure(table, options=console.options.update(width=_WIDEST)).maximum)
    console.print(table)


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """What is being done and for how long, on stderr if somebody watches it; yields what changes the text."""
    console = stderr()
    if not console.is_terminal:
        yield lambda text: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # only where somebody watches

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda text: bar.update(task, description=text)


def progress() -> "Progress":
    """A bar on stderr, with what is being done and how many of how many, if somebody watches it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    console = stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def timed_progress() -> "Progress":
    """As :func:`progress`, for what takes long: with items a second, and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = stderr()
    rate, left = TextColumn("{task.fields[rate]}", markup=False), TimeRemainingColumn(compact=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, rate, left, console=console, transient=True, disable=not console.is_terminal)


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
