"""Where a layer's kernels and constants live: the same text, in sections that a linker script places."""

import dataclasses
import re
from collections.abc import Mapping

from memaopt.kernels.code import Assembly, Constants
from memaopt.kernels.emitted import Emitted, Kernel


@dataclasses.dataclass(frozen=True)
class _Renamed:
    """A kernel under another name, so that a file can hold it twice."""

    name: str
    kernel: Assembly

    @property
    def constants(self) -> tuple[Constants, ...]:
        return self.kernel.constants

    def text(self, attribute: str = "") -> str:
        return _renamed(self.kernel.text(attribute), {self.kernel.name: self.name})


def in_sections(layer: Emitted, *, code: str = "", data: str = "") -> Emitted:
    """The layer with its kernels in section ``code`` and its constants in section ``data``; empty for the default.

    Kernels of one name in different sections get different names, so files can hold both. On the board a function
    in ``.ramfunc`` runs from RAM and an array in ``.sram.constants`` lies there.
    """
    if code:
        suffix, attribute = "_" + re.sub(r"\W+", "_", code).strip("_"), f'IN_SECTION("{code}")'
        names = {kernel.name: kernel.name + suffix for kernel in layer.kernels}
        kernels = tuple(Kernel(_Renamed(names[k.name], k.assembly), attribute) for k in layer.kernels)
        inner = tuple(in_sections(each, code=code) for each in layer.inner)
        layer = dataclasses.replace(layer, kernels=kernels, body=_renamed(layer.body, names), inner=inner)
    if data:
        layer = with_constants_in(layer, f'IN_SECTION("{data}")')
    return layer


def with_constants_in(layer: Emitted, attribute: str) -> Emitted:
    """The layer with this attribute on its constants, but those that stay; ``{}`` in it is the symbol."""
    arrays = tuple(
        array if array.stays else array._replace(attribute=attribute.format(array.name)) for array in layer.arrays
    )
    inner = tuple(with_constants_in(each, attribute) for each in layer.inner)
    return dataclasses.replace(layer, arrays=arrays, inner=inner)


def sharing(layer: Emitted, others: Mapping[str, str]) -> Emitted:
    """The layer whose constants of these names are other layers', by the names that they have there."""
    if not others:
        return layer
    arrays = tuple(array._replace(of=others.get(array.name, "")) for array in layer.arrays)
    return dataclasses.replace(layer, arrays=arrays, inner=tuple(sharing(each, others) for each in layer.inner))


def _renamed(text: str, names: dict[str, str]) -> str:
    """A text in which the preprocessor puts names in the place of others."""
    defines = "".join(f"#define {old} {new}\n" for old, new in names.items())
    return defines + text + "".join(f"#undef {old}\n" for old in names)
