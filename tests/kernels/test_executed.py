"""The tree of a kernel's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from memaopt.kernels.code import Call, Constants
from memaopt.kernels.executed import words_of


@dataclass(frozen=True)
class _Named:
    """Kernels of one name whose texts differ."""

    lines: int
    name: ClassVar[str] = "same"
    constants: ClassVar[tuple[Constants, ...]] = ()

    def text(self, attribute: str = "") -> str:
        nops = "\n".join('        "nop\\n"' for _ in range(self.lines))
        return f"{attribute}void same(void)\n{{\n    __asm__ volatile(\n{nops}\n    );\n}}\n"


def test_kernels_of_one_name_are_told_apart() -> None:
    """Catches a kernel that is priced by the text of another one: of some thousand names, of six digits, two agree."""
    short, long = (words_of(Call(_Named(lines))) for lines in (2, 6))
    assert long == short + 4
    assert words_of(Call(_Named(2))) == short
