"""Counts of memory accesses."""

from pydantic import BaseModel, ConfigDict


class Access(BaseModel):
    """Loads and stores by the core, in number and in bytes. Each register that LDRD, LDM, VLDM and their
    stores move counts as one access of 4 bytes; an unaligned access counts once.
    """

    model_config = ConfigDict(frozen=True)

    loads: int = 0
    load_bytes: int = 0
    stores: int = 0
    store_bytes: int = 0

    def __add__(self, other: "Access") -> "Access":
        return Access(
            loads=self.loads + other.loads,
            load_bytes=self.load_bytes + other.load_bytes,
            stores=self.stores + other.stores,
            store_bytes=self.store_bytes + other.store_bytes,
        )
