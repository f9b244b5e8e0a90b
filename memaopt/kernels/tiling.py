"""A schedule as its user has it: blocks and an order, perhaps a kernel. What is left open the cheapest kernel fills."""

from collections.abc import Iterator

from pydantic import field_validator

from memaopt.inputs import Size
from memaopt.kernels.gemm.families import BY_NAME, GemmFamily, RegisterTile
from memaopt.kernels.schedule import BlockLoops, Schedule, Space
from memaopt.problems.gemm import Operand


class Tiling(BlockLoops):
    """Loops over blocks; what is None is left open.

    ``kernel`` names a family, ``stationary`` the operand that it keeps in registers; ``mr``, ``kr``, ``nr`` are its
    register tile.
    """

    kernel: str | None = None
    stationary: Operand | None = None
    mr: Size | None = None
    kr: Size | None = None
    nr: Size | None = None

    @field_validator("kernel")
    @classmethod
    def _check_kernel(cls, kernel: str | None) -> str | None:
        if kernel is not None and kernel not in BY_NAME:
            raise ValueError(f"no kernel family {kernel!r}: there are {', '.join(BY_NAME)}")
        return kernel

    def completions(self, space: Space) -> Iterator[Schedule]:
        """This tiling with every register kernel of the space that it allows."""
        for family, tile in space.kernels:
            if self._allows(family, tile):
                yield space.schedule(self.order, self.hold, self.turning, (self.mc, self.kc, self.nc), family, tile)

    def _allows(self, family: GemmFamily, tile: RegisterTile) -> bool:
        wanted = (self.kernel, self.stationary, self.mr, self.kr, self.nr)
        found = (family.name, family.stationary, *tile)
        return all(want is None or want == have for want, have in zip(wanted, found, strict=True))

    def __str__(self) -> str:
        kernel = self.kernel or (f"any kernel that keeps {self.stationary}" if self.stationary else "any kernel")
        tile = "x".join("?" if size is None else str(size) for size in (self.mr, self.kr, self.nr))
        return f"{'>'.join(self.order)} {self.mc}x{self.kc}x{self.nc} {kernel} {tile}"
