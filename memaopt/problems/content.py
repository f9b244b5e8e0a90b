"""Equality and hash by content for frozen data that holds arrays, so that what follows from it can be cached.

A cache keyed by such data knows it again wherever it comes from: a network compiled twice, or a layer that another
version of the network has too.
"""

import dataclasses
import hashlib
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np


class ByContent:
    """For dataclasses with ``frozen=True, eq=False``: equal if of one class with equal fields, arrays by dtype, shape
    and elements. Each object is hashed once, so its arrays must not change.
    """

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that stand for the class and all fields."""
        found = hashlib.blake2b(type(self).__name__.encode(), digest_size=16)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            _feed(found, getattr(self, field.name))
        return found.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


_Value = TypeVar("_Value")


@lru_cache(maxsize=2048)
def interned(value: _Value) -> _Value:
    """The first equal value that came by, which knows already what it has been asked."""
    return value


def _feed(found: Any, value: object) -> None:
    """Add a value, its type and its extent, so that no two sequences of values read alike."""
    match value:
        case np.ndarray():
            found.update(f"array {value.dtype.str} {value.shape};".encode())
            found.update(np.ascontiguousarray(value))
        case ByContent():
            found.update(value.digest)
        case tuple():
            found.update(f"{type(value).__name__} {len(value)};".encode())
            for item in value:
                _feed(found, item)
        case _:
            found.update(f"{type(value).__name__} {value!r};".encode())
