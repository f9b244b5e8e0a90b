"""Where a layer's kernels and constants live: the same text, in sections that a linker script places."""

import dataclasses
import re

from memaopt.kernels.plan import Emitted, Kernel


def in_sections(layer: Emitted, *, code: str = "", data: str = "") -> Emitted:
    """The layer with its kernels in section ``code`` and its constants in section ``data``; empty for the default.

    Kernels of one name in different sections get different names, so files can hold both. On the board a function
    in ``.ramfunc`` runs from RAM and an array in ``.sram.constants`` lies there.
    """
    source, kernels = layer.source, layer.kernels
    if code:
        names = {kernel.name: f"{kernel.name}{_suffix(code)}" for kernel in kernels}
        qualifier = f'KERNEL IN_SECTION("{code}") '
        kernels = tuple(
            Kernel(names[kernel.name], _renamed(kernel.source, names).replace("KERNEL ", qualifier))
            for kernel in kernels
        )
        source = _renamed(source, names)
    if data:
        array = re.compile(r"^(static const (?:_Alignas\(\d+\) )?\w+ \w+\[\d+\]) = \{", re.MULTILINE)
        source = array.sub(rf'\1 IN_SECTION("{data}") = {{', source)
    return dataclasses.replace(layer, source=source, kernels=kernels)


def _suffix(section: str) -> str:
    return "_" + re.sub(r"\W+", "_", section).strip("_")


def _renamed(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\b\w+\b", lambda word: names.get(word[0], word[0]), text)
