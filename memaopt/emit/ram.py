"""What a network's library copies into RAM: the sections that its text names, and what its linker script places."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from memaopt.choice.bundle import BundlePlan
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.kernels.registry import Emitted, Kernel
from memaopt.kernels.sections import with_constants_in


@dataclass(frozen=True)
class Function:
    """A function that runs from RAM; ``assembly`` ones are there only on cores that can run them."""

    name: str
    assembly: bool


@dataclass(frozen=True)
class Copies:
    """What is copied, as the templates see it: addresses and bytes of where code and constants must end.

    ``sections`` are of ``code``, ``constants`` and ``behind`` (constants behind the code's window) those that there
    are. ``code_base`` is the address of the code's window where that is another one for data at ``sram_base``.
    """

    sections: tuple[str, ...]
    functions: tuple[Function, ...]
    symbols: tuple[str, ...]
    place: str
    code_start: int
    code_bytes: int
    data_start: int
    data_bytes: int
    code_base: int | None


def copies(plan: NetworkPlan | BundlePlan) -> Copies | None:
    """What the library copies into RAM, None if nothing."""
    if not any(layer.where.code or layer.where.data for layer in plan.layers):
        return None
    mcu, behind = plan.mcu, _behind(plan)
    constants = [layer for layer in plan.layers if layer.where.data]
    functions = _functions(plan)
    there = {
        "constants": any(name not in behind for name in plan.copied),
        "code": bool(functions),
        "behind": bool(behind),
    }
    place = next(p for p in mcu.places if p.name == mcu.code_ram)
    aliased = any(a.name == mcu.code_ram and a.memory == mcu.sram.name for a in mcu.aliases)
    return Copies(
        sections=tuple(name for name, used in there.items() if used),
        functions=functions,
        symbols=tuple(dict.fromkeys(symbol for layer in constants for symbol in layer.emitted.parameters)),
        place=place.name,
        code_start=place.base,
        code_bytes=place.size,
        data_start=mcu.sram.base,
        data_bytes=mcu.sram.size,
        code_base=place.base if aliased else None,
    )


def sectioned(plan: NetworkPlan | BundlePlan, layer: LayerPlan) -> Emitted:
    """A layer's text with its code and constants in the sections where they belong."""
    emitted, upper = layer.emitted, plan.library.upper()
    code = f"{upper}_CODE_IN_RAM"
    if layer.where.outside:
        emitted = with_constants_in(emitted, f"{upper}_EXTERNAL({{}})")
    if layer.where.data:
        emitted = with_constants_in(
            emitted, f"{upper}_{'BEHIND' if layer.name in _behind(plan) else 'DATA'}_IN_RAM({{}})"
        )
    if layer.where.code and not emitted.kernels:
        emitted = dataclasses.replace(emitted, attribute=code)
    in_ram = {kernel.name for other in plan.layers if other.where.code for kernel in other.emitted.kernels}
    kernels = tuple(Kernel(k.assembly, code) if k.name in in_ram else k for k in emitted.kernels)
    return dataclasses.replace(emitted, kernels=kernels)


def _functions(plan: NetworkPlan | BundlePlan) -> tuple[Function, ...]:
    """The kernels that run from RAM, each once, and the layers that have none."""
    layers = [layer for layer in plan.layers if layer.where.code]
    kernels = dict.fromkeys(kernel.name for layer in layers for kernel in layer.emitted.kernels)
    whole = [layer.name for layer in layers if not layer.emitted.kernels]
    return (*(Function(name, True) for name in kernels), *(Function(name, False) for name in whole))


def _behind(plan: NetworkPlan | BundlePlan) -> frozenset[str]:
    """The layers whose constants lie behind the window that code runs from."""
    assert plan.layout is not None
    return frozenset(plan.copied[i] for i in plan.layout.behind)
