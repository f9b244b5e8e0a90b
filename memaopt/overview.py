"""What a result says of itself in a terminal, in a notebook and as data: one list of facts, shown three ways."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel


class Overview(BaseModel):
    """A result with a headline and facts, each a name and its text. ``repr`` is one line."""

    def headline(self) -> str:
        """What it is, in a line."""
        raise NotImplementedError

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it says, the most important first."""
        raise NotImplementedError

    def summary(self) -> str:
        """The headline and the facts, a line each."""
        return summarised(self.headline(), self.facts())

    def to_dict(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return self.model_dump(mode="json")

    def __eq__(self, other: object) -> bool:
        """Whether both say the same; how they came to be is no part of it."""
        return type(self) is type(other) and isinstance(other, BaseModel) and self.model_dump() == other.model_dump()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline()}>"

    def page(self) -> str:
        """A report of it as a page of HTML, empty where there is none."""
        return ""

    def _repr_html_(self) -> str:
        """A table, as notebooks show it, and the report below."""
        cell = "<tr><th style='text-align:left'>{}</th><td style='text-align:left'>{}</td></tr>"
        rows = "".join(cell.format(html.escape(name), html.escape(text)) for name, text in self.facts())
        head = f"<caption style='text-align:left'>{html.escape(self.headline())}</caption>"
        return f"<table>{head}{rows}</table>{framed(self.page())}"


def summarised(headline: str, facts: Sequence[tuple[str, str]]) -> str:
    """A headline, and below it each fact's name and text on a line."""
    width = max((len(name) for name, _ in facts), default=0)
    return "\n".join([headline, *(f"  {name:{width}}  {text}" for name, text in facts)])


def framed(page: str) -> str:
    """A page within another, where its styles stay its own; nothing for an empty one."""
    style = "width:100%;height:40rem;border:0"
    return f'<iframe title="report" srcdoc="{html.escape(page)}" style="{style}"></iframe>' if page else ""
