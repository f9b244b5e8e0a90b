"""What a model of the list is: how it is built, and how the converter is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

#: Types at the ends and inside: what the converter is told.
Style = Literal["int8", "uint8 ends", "float ends", "int16", "float", "float16", "dynamic"]


@dataclass(frozen=True)
class Entry:
    """``build`` makes the Keras model; ``batch`` is 1, or None: the file leaves it to a chain of SHAPE and PACK."""

    name: str
    build: Callable[[], Any]
    style: Style = "int8"
    batch: int | None = None


MODELS: dict[str, Entry] = {}


def model(style: Style = "int8", *, batch: int | None = None) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Put a function that builds a model on the list, by its name."""

    def put(build: Callable[[], Any]) -> Callable[[], Any]:
        name = build.__name__
        assert name not in MODELS, name
        MODELS[name] = Entry(name, build, style, batch)
        return build

    return put
