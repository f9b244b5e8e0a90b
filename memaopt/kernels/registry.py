"""int8 layers as C: what a layer computes, the kernel families that can compute it, and the text of the chosen one.

>>> plan = min(plans(layer), key=lambda plan: plan.cycles)      # doctest: +SKIP
>>> emitted = emit(layer, plan, "conv_1")                       # doctest: +SKIP
>>> text = source_file([emitted])                               # doctest: +SKIP
"""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import lru_cache

from memaopt import extensions, kernels
from memaopt.errors import InputError
from memaopt.kernels.chains.chains import ChainKernels
from memaopt.kernels.emitted import Emitted, Kernel
from memaopt.kernels.family import ByDma, Family, InParts, Slides
from memaopt.kernels.foreign import emitted_by, plans_of
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.sections import in_sections
from memaopt.kernels.staging import fetched, packed, staged
from memaopt.kernels.text.helpers import with_helpers
from memaopt.problems.layers import Layer


def load(folders: Iterable[str]) -> tuple[Family, ...]:
    """Every family in the ``FAMILIES`` of a module in a folder of some folders of this package, the generic ones first:
    a new one is a new folder, and no list changes. Those of ``gemm`` make nests, and are not of a layer."""
    names = [
        f"{kernels.__name__}.{folder.name}.{module.name}"
        for path in folders
        for folder in pkgutil.iter_modules([path])
        if folder.ispkg and folder.name != "gemm"
        for module in pkgutil.iter_modules([f"{path}/{folder.name}"])
    ]
    found = [family for name in names for family in getattr(importlib.import_module(name), "FAMILIES", ())]
    return tuple(sorted(found, key=lambda family: family.name != "generic"))


FAMILIES = load(kernels.__path__)

__all__ = [
    "FAMILIES", "Emitted", "Family", "Format", "Kernel", "Layer", "Plan", "Promise",
    "by_dma", "emit", "fetched", "in_parts", "in_sections", "packed", "plans", "slid", "source_file", "staged",
]  # fmt: skip


@lru_cache(maxsize=256)
def plans(layer: Layer) -> tuple[Plan, ...]:
    """Every way to compute ``layer``; there is always at least one, and the generic kernel's comes first.

    But for two operators as one (ConvDepthwise): there may be none, for each can be computed by itself. Layers of equal
    content, as versions of a network have them, are planned once.
    """
    foreign, found = extensions.KERNELS.all(), list[Plan]()
    for family in families():
        if isinstance(layer, family.computes):
            found += plans_of(family, layer) if family.name in foreign else family.plans(layer)
    return tuple(found)


def in_parts(layer: Layer, plan: Plan) -> tuple[Plan, ...]:
    """A plan of :func:`plans` with constants staged part by part (:class:`InParts`); none of most families."""
    for family in (*FAMILIES, CHAINS):
        if family.name == plan.family and isinstance(layer, family.computes):
            return tuple(family.in_parts(layer, plan)) if isinstance(family, InParts) else ()
    return ()


def by_dma(layer: Layer, plan: Plan) -> tuple[Plan, ...]:
    """A plan of :func:`plans` whose constants a DMA copies block by block (:class:`ByDma`); none of most families."""
    for family in FAMILIES:
        if family.name == plan.family and isinstance(layer, family.computes):
            return tuple(family.by_dma(layer, plan)) if isinstance(family, ByDma) else ()
    return ()


def slid(layer: Layer, plan: Plan) -> Plan | None:
    """A plan of :func:`plans` that reads each row of its input once, where the family can (:class:`Slides`)."""
    for family in FAMILIES:
        if family.name == plan.family and isinstance(layer, family.computes):
            return family.slid(layer, plan) if isinstance(family, Slides) else None
    return None


def families() -> tuple[Family, ...]:
    """All families: memaopt's own, then those that were registered."""
    added = extensions.KERNELS.all().values()
    for family in added:
        demand_other(family)
    return (*FAMILIES, CHAINS, *added)


def demand_other(family: object) -> None:
    """InputError for what is no family, or has the name of one that comes with memaopt."""
    if not isinstance(family, Family):
        missing = [part for part in ("name", "computes", "plans", "emit") if not hasattr(family, part)]
        raise InputError(f"register: a {type(family).__name__} is no kernel: it has no {' and no '.join(missing)}")
    if not isinstance(family.computes, type):
        raise InputError(f"register: kernel {family.name}: computes is {family.computes!r}, and no class of layers")
    if family.name in {each.name for each in (*FAMILIES, CHAINS)}:
        raise InputError(f"register: kernel {family.name} comes with memaopt: give it another name")


def emit(layer: Layer, plan: Plan, name: str) -> Emitted:
    """The C text of ``layer`` as function ``name``, computed as ``plan``, one of :func:`plans` or staged, says."""
    for family in families():
        if family.name == plan.family and isinstance(layer, family.computes):
            foreign = family.name in extensions.KERNELS.all()
            return emitted_by(family, layer, plan, name) if foreign else family.emit(layer, plan, name)
    raise ValueError(f"no kernel family {plan.family!r} computes {type(layer).__name__}")


CHAINS = ChainKernels(plans, emit)


def source_file(layers: Iterable[Emitted], head: str = "", *, static: bool = False) -> str:
    """One C file with these layers: includes, helpers, each kernel once, then the layers in order.

    Layers are called from other files, by prototypes of their own, or from behind them in this one if ``static``.
    """
    emitted = tuple(layers)
    sources: dict[str, str] = {}
    for kernel in (kernel for layer in emitted for kernel in layer.kernels):
        if sources.setdefault(kernel.name, kernel.source) != kernel.source:
            raise ValueError(f"two kernels are called {kernel.name}")
    prototypes = "" if static else "".join(f"{layer.signature};\n" for layer in emitted) + "\n"
    functions = [layer.text("LAYER static" if static else "") for layer in emitted]
    return "\n".join(
        part for part in (head, with_helpers(prototypes + "\n".join([*sources.values(), *functions]))) if part
    )
