"""What a library has in RAM and outside the chip: the sections of its text, NAME_init(), the linker script's part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaopt.choice.bundle import BundlePlan
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.stages import ALIGNMENT
from memaopt.emit import outside, ram
from memaopt.kernels.text.templates import render


def values_of(plan: NetworkPlan | BundlePlan) -> dict[str, Any]:
    """What the templates see of a library of one network or of several."""
    return {
        "p": plan,
        "name": plan.library,
        "upper": plan.library.upper(),
        "alignment": ALIGNMENT,
        "layout": plan.layout,
        "has_init": plan.has_init,
        "copies": ram.copies(plan),
        "external": outside.external(plan),
        "outer": outside.outer_arena(plan),
        "dma": plan.mcu.dma if any(layer.plan.dma for layer in plan.layers) else None,
    }


def sections(values: Mapping[str, Any]) -> str:
    """Where code and constants lie, and how these come in, before all of them."""
    parts = {"network_sections.h": "copies", "network_external.h": "external", "network_dma.h": "dma"}
    return "".join(f"\n{_text(name, values)}" for name, what in parts.items() if values[what] is not None)


def definition(values: Mapping[str, Any]) -> str:
    """NAME_init(), behind all that it copies or checks."""
    return _text("network_init.c", values) if values["has_init"] else ""


def declaration(values: Mapping[str, Any]) -> str:
    """What callers see of it."""
    return _text("network_init.h", values) if values["has_init"] else ""


def outer_arena(values: Mapping[str, Any]) -> str:
    """The arena of the tensors outside the chip."""
    return "" if values["outer"] is None else _text("network_outer.c", values)


def linker_part(values: Mapping[str, Any]) -> str:
    """What a linker script has of the library, behind the section ``.data``; empty for nothing."""
    parts = {"network_ld": "copies", "network_external_ld": "external", "network_outer_ld": "outer"}
    there = (name for name, what in parts.items() if values[what] is not None)
    return "".join(_text(name, values).rstrip() + "\n" for name in there)


def memories_outside(values: Mapping[str, Any]) -> list[str]:
    """The memories beyond the chip that it uses."""
    return list(dict.fromkeys(values[what].memory for what in ("external", "outer") if values[what] is not None))


def _text(template: str, values: Mapping[str, Any]) -> str:
    return render(f"emit/templates/{template}.j2", **values)
