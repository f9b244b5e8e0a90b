"""What stands in the way of a network: collected where it is found, told all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from memaopt.errors import UnsupportedModelError
from memaopt.spelling import either

_MOST_TOLD = 8
_FLOATS = ("float32 in", "float16 in")


class Refusal(NamedTuple):
    """One thing that is not supported. ``location`` is the operator's place in the file, None for what concerns none;
    ``subject`` the operator or the type, if it is that which is not supported."""

    message: str
    location: int | None = None
    subject: str = ""


@contextmanager
def collected(found: list[Refusal], location: int | None = None) -> Iterator[None]:
    """An UnsupportedModelError within is added to those found, and what is within ends there."""
    try:
        yield
    except UnsupportedModelError as error:
        found.append(Refusal(str(error), location, error.subject))


_STEPS = ", but its steps written out are: a cell in a loop of PyTorch's, unroll=True of Keras's layer"
_WAYS = {
    **dict.fromkeys(("operator GRU", "operator LSTM"), _STEPS),
    "operator LayerNormalization": ", but as the operators that a .tflite file has of it",
}


def way_for(subject: str) -> str:
    """What would do for an operator that is not supported, behind a comma; empty where there is nothing to say."""
    if subject in _WAYS:
        return _WAYS[subject]
    name = subject.removeprefix("operator CUSTOM ")
    yours = either(f"solve --custom {name}=header.h", f'custom=["{name}=header.h"]')
    return "" if name == subject else f", but by C of yours: {yours}"


def told(refusals: Iterable[Refusal]) -> list[str]:
    """A text for each operator or type that is not supported, with how many layers it is in, and for anything else."""
    layers: dict[str, set[int | None]] = {}
    for refusal in refusals:
        text = f"{refusal.subject} is not supported{way_for(refusal.subject)}" if refusal.subject else refusal.message
        layers.setdefault(text, set()).add(refusal.location if refusal.subject else None)
    return [text if None in at else f"{text} ({len(at)} layer{'s' * (len(at) > 1)})" for text, at in layers.items()]


def error_of(name: str, refusals: tuple[Refusal, ...]) -> UnsupportedModelError:
    """Everything that stands in the way in one line: a single thing in full, several counted."""
    way = ""
    if any(refusal.subject.startswith(_FLOATS) for refusal in refusals):
        way = "; `memaopt convert` makes int8 of a float network, with samples of what it is given"
    if len(refusals) == 1:
        return UnsupportedModelError(refusals[0].message + way, refusals[0].subject)
    texts = told(refusals)
    if len(texts) > _MOST_TOLD:
        texts[_MOST_TOLD:] = [f"and {len(texts) - _MOST_TOLD} more, which `memaopt inspect` shows"]
    return UnsupportedModelError(f"{name} is not supported as it is: {'; '.join(texts)}{way}")
