"""The tree of a kernel's text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import layers_helpers as h
import numpy as np

from memaopt.kernels.assembly_code import parse
from memaopt.kernels.code import Assembly, Call, Constants, Loop, Node, Small, Staged, form_of
from memaopt.kernels.executed import words_of
from memaopt.kernels.registry import Layer, plans


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


def test_kernels_of_one_form_have_one_tree() -> None:
    """Catches a form that leaves out what decides instructions: a kernel would be priced by the text of another one."""
    rng = np.random.default_rng(0)
    layers: list[Layer] = []
    for image, clamp in (((5, 6, 8), (-128, 127)), ((5, 6, 10), (-128, 127)), ((5, 300, 8), (-100, 90))):
        layers += [h.depthwise(rng, image, clamp=clamp), h.conv(rng, image, 16, clamp=clamp)]
        layers.append(h.conv_depthwise(rng, image, 16, clamp=clamp))
    layers.append(h.conv(rng, (5, 6, 12), 16))
    calls = [call for layer in layers for plan in plans(layer) for call in _calls(plan.code)]
    routines = {call.routine for call in calls if not isinstance(call.routine, Small)}
    kernels = [routine for routine in routines if form_of(routine) is not None]
    alike: dict[object, list[Assembly]] = {}
    for kernel in kernels:
        alike.setdefault((type(kernel), form_of(kernel)), []).append(kernel)
    assert {type(each[0]) for each in alike.values() if len(each) > 1} == {type(kernel) for kernel in kernels}
    for each in alike.values():
        assert len({parse(kernel.text(), kernel.constants) for kernel in each}) == 1, each


def _calls(nodes: tuple[Node, ...]) -> Iterator[Call]:
    for node in nodes:
        if isinstance(node, Call):
            yield node
        elif isinstance(node, (Loop, Staged)):
            yield from _calls(node.body)
