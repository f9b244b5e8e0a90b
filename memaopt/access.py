"""Loads and stores, as promised by the models and as counted by the board."""

from pydantic import BaseModel, ConfigDict, Field


class Access(BaseModel):
    """Loads and stores of one buffer by the core, in number and in bytes.

    Each register that LDRD, LDM, VLDM and their stores move counts as one access of 4 bytes; an unaligned access
    counts once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loads: int = Field(default=0, ge=0)
    load_bytes: int = Field(default=0, ge=0)
    stores: int = Field(default=0, ge=0)
    store_bytes: int = Field(default=0, ge=0)

    @property
    def bytes(self) -> int:
        """Bytes moved, both ways."""
        return self.load_bytes + self.store_bytes

    def __add__(self, other: "Access") -> "Access":
        return Access(
            loads=self.loads + other.loads,
            load_bytes=self.load_bytes + other.load_bytes,
            stores=self.stores + other.stores,
            store_bytes=self.store_bytes + other.store_bytes,
        )
