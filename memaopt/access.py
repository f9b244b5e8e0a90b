"""Loads and stores, as promised by kernels and models and as counted by the board."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

_Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Access:
    """Loads and stores of one buffer by the core, in number and in bytes.

    Each register that LDRD, LDM, VLDM and their stores move counts as one access of 4 bytes; an unaligned access
    counts once.
    """

    #: Read from a file, nothing but these fields will do.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    loads: _Count = 0
    load_bytes: _Count = 0
    stores: _Count = 0
    store_bytes: _Count = 0

    @property
    def bytes(self) -> int:
        """Bytes moved, both ways."""
        return self.load_bytes + self.store_bytes

    @property
    def only_loads(self) -> "Access":
        return Access(loads=self.loads, load_bytes=self.load_bytes)

    @property
    def only_stores(self) -> "Access":
        return Access(stores=self.stores, store_bytes=self.store_bytes)

    def __bool__(self) -> bool:
        """Whether anything is accessed."""
        return bool(self.loads or self.stores)

    def __add__(self, other: "Access") -> "Access":
        return Access(
            self.loads + other.loads,
            self.load_bytes + other.load_bytes,
            self.stores + other.stores,
            self.store_bytes + other.store_bytes,
        )

    def less(self, other: "Access") -> "Access":
        """Without accesses that are among them."""
        return Access(
            self.loads - other.loads,
            self.load_bytes - other.load_bytes,
            self.stores - other.stores,
            self.store_bytes - other.store_bytes,
        )

    def times(self, count: int) -> "Access":
        """The accesses of ``count`` repetitions."""
        return Access(self.loads * count, self.load_bytes * count, self.stores * count, self.store_bytes * count)


def loads(count: int, width: int) -> Access:
    """``count`` loads of ``width`` bytes each."""
    return Access(loads=count, load_bytes=count * width)


def stores(count: int, width: int) -> Access:
    """``count`` stores of ``width`` bytes each."""
    return Access(stores=count, store_bytes=count * width)
