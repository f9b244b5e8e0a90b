"""Several compiled networks as one C library: one header, one source with one arena, a test vector for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from memaopt.choice.bundle import BundlePlan
from memaopt.emit import firmware, folder, initialisation, network, ram
from memaopt.errors import InputError
from memaopt.kernels.registry import source_file
from memaopt.kernels.text.templates import render
from memaopt.printable import in_comment
from memaopt.spelling import option


def files(bundle: BundlePlan) -> dict[str, str]:
    """The library's files, path to text. Raises InputError if two networks' names make one name of two things."""
    name, values = bundle.name, {plan.name: network.template_values(plan) for plan in bundle.plans}
    about = {
        **initialisation.values_of(bundle),
        "b": bundle,
        "sentence": in_comment(sentence(bundle)),
        "machine": in_comment(bundle.mcu.title),
    }
    emitted = [ram.sectioned(bundle, layer) for layer in bundle.layers]
    head = f'{_text("head.c", about)}#include "{name}.h"\n\n#include <string.h>\n{initialisation.sections(about)}'
    layers = source_file(emitted, head, static=True).rstrip() + "\n\n"
    headers = {plan.name: network.header_text(values[plan.name]) for plan in bundle.plans}
    sources = {
        plan.name: f"{network.head_comment(plan)}\n{network.source_text(plan, values[plan.name], '').lstrip()}"
        for plan in bundle.plans
    }
    tests = {
        plan.name: network.vector_files(plan, values[plan.name]) | firmware.measuring_files(plan, values[plan.name])
        for plan in bundle.plans
    }
    _demand_own_name(bundle)
    _demand_own_names({name: "".join((headers[name], sources[name], *tests[name].values())) for name in tests})
    once = initialisation.definition(about) + initialisation.outer_arena(about) + _text("arena.c", about)
    behind_data = initialisation.linker_part(about)
    own = {
        folder.header(name): _text(
            "library.h", about, headers=headers.values(), init=initialisation.declaration(about)
        ),
        folder.source(name): layers + once + "\n".join(sources.values()),
        folder.checker(name): _text("test.h", about),
        **({folder.linker_part(name): behind_data} if behind_data else {}),
    }
    for texts in tests.values():
        own |= texts
    outside = initialisation.memories_outside(about)
    own |= firmware.files(bundle.plans, behind_data, has_init=bundle.has_init, outside=outside)
    return folder.files(_library(bundle), own)


def sentence(bundle: BundlePlan) -> str:
    """What it is, in a few words."""
    *names, last = [plan.name for plan in bundle.plans]
    return f"The int8 networks {', '.join(names)} and {last}, which run one at a time in one arena"


def _text(template: str, about: Mapping[str, Any], **more: Any) -> str:
    return render(f"emit/templates/bundle/{template}.j2", **about, **more)


def _library(bundle: BundlePlan) -> folder.Library:
    """What the folder says of it."""
    return folder.Library(
        name=bundle.name,
        function="",
        sentence=sentence(bundle),
        mcu=bundle.mcu,
        buffers=(),
        fails=True,
        stack_bytes=bundle.stack_bytes,
        promised=None,
        turn_on=bundle.mcu.setting.turn_on,
        copies=bundle.ram_bytes > 0,
        outside="" if bundle.outside is None or not bundle.image.places else bundle.outside.name,
        networks=tuple(network.library_of(plan) for plan in bundle.plans),
    )


def _demand_own_name(bundle: BundlePlan) -> None:
    """InputError where the library's header would be one of a network's own."""
    for plan in bundle.plans:
        if bundle.name in {f"{plan.name}_{part}" for part in ("test", "measure", "test_vector")}:
            told = f"the library would be called {bundle.name}, as a header of {plan.name} is"
            raise InputError(f"{told}: give other {option('names')}")


def _demand_own_names(texts: Mapping[str, str]) -> None:
    """InputError where two networks' texts have one name for two things, as kws and kws_test have KWS_TEST_H."""
    known: dict[str, str] = {}
    for name, text in texts.items():
        words = {*re.findall(rf"\b(?:{name}|{name.upper()})_\w+", text)}
        for word in sorted(words & known.keys()):
            both = f"{known[word]} and {name} would both have {word} in one library"
            raise InputError(f"{both}: give other {option('names')}")
        known |= dict.fromkeys(words, name)
