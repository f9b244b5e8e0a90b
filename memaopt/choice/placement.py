"""Which memory the buffers of a network live in: its constants in flash, its tensors in SRAM, or outside the chip.

A placement is a premise, as budgets are. ``auto`` leaves it to the choice, layer by layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from memaopt.errors import InputError
from memaopt.inputs import WORD, Input, Word, any_of
from memaopt.machines.dma import Dma
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory
from memaopt.memory.liveness import roots_of
from memaopt.networks.graph import Graph
from memaopt.spelling import option

FLASH, SRAM, AUTO = "flash", "sram", "auto"
#: What can be placed.
_KINDS = ("weights", "parameters", "activations", "input", "output")
#: The network's inputs and its outputs.
_ENDS = ("input", "output")


class NetworkPlacement(Input):
    """The memory of each kind of buffer. ``weights``: all constants of layers (weights, biases, tables; not a constant
    that a layer reads as an input, which stays in flash): ``flash``, an external memory, or ``auto``: flash or the
    first external memory that the machine's file has, whichever suits each layer. ``parameters``, what channels take
    besides weights (bias, factors of the rounding), is ``auto``: where the weights are outside and are copied into SRAM
    it may stay in flash, whichever suits; or it goes with the weights, by the name of their memory. ``activations``:
    ``sram``, or an external memory, or ``auto``, the first one that can be written: tensors between layers may lie
    there, whole, where that suits; scratch does not. ``input``, ``output``: the network's inputs and outputs, all in
    ``sram`` or all in an external memory, the same as the activations'; ``auto`` is in SRAM, and where nothing fits so
    and activations may be outside, with them (:meth:`opened`).
    """

    weights: Word = FLASH
    parameters: Word = AUTO
    activations: Word = SRAM
    input: Word = AUTO
    output: Word = AUTO

    @classmethod
    def asked(cls, text: str | None) -> NetworkPlacement:
        """What ``weights=qspi`` asks for; all on the chip for None. InputError for what is no placement."""
        found: dict[str, str] = {}
        for part in [] if text is None else text.split(","):
            kind, _, memory = (word.strip() for word in part.partition("="))
            if kind not in _KINDS or not re.match(WORD, memory) or kind in found:
                there = ", ".join(_KINDS)
                asked = option("place", text)
                raise InputError(f"{asked}: give MEMORY once for each of {there}, as in weights=qspi")
            found[kind] = memory
        return cls.checked(found, option("place", text or ""))

    def describe(self) -> str:
        """As it is asked for; empty if all is on the chip."""
        return ",".join(f"{kind}={getattr(self, kind)}" for kind in _KINDS if getattr(self, kind) != _USUAL[kind])

    @property
    def as_option(self) -> str:
        """What asks for it."""
        return option("place", self.describe())

    @property
    def of_tensors(self) -> bool:
        """Whether tensors may lie outside: between layers, or the ends."""
        ends = (getattr(self, end) for end in _ENDS)
        return self.activations != SRAM or any(name not in (SRAM, AUTO) for name in ends)

    def demand_whole(self, *, stream: bool = False, by_rows: bool = False) -> None:
        """InputError where tensors may lie outside of a network that is run on a stream, or others than its outputs of
        one whose input comes by rows, which is a chain and lies nowhere."""
        if self.of_tensors and stream:
            raise InputError("a network on a sliding window has all its activations in SRAM")
        if by_rows and (self.activations != SRAM or self.input not in (SRAM, AUTO)):
            raise InputError(
                "a network whose input comes by rows has its activations in SRAM, but for its outputs "
                f"({option('place', f'output={self.activations if self.input in (SRAM, AUTO) else self.input}')})"
            )

    def opened(self, mcu: Mcu) -> Iterator[NetworkPlacement]:
        """What is tried in turn where nothing fits with the ends in SRAM: those of them outside that are left open."""
        tensors = sites(self, mcu).tensors
        if self.activations == SRAM or tensors is None:
            return
        for ends in (_ENDS[:1], _ENDS[1:], _ENDS):
            if all(getattr(self, end) == AUTO for end in ends):
                yield self.model_copy(update=dict.fromkeys(ends, tensors.name))


_USUAL = NetworkPlacement().model_dump()


class Sites(NamedTuple):
    """A placement on a machine: the memory outside the chip, if constants may be there, and whether a layer's are
    (True), one or both; the memory that tensors may be in; whether what channels take may stay on the chip while
    weights are outside; whether tensors between layers may be outside, and whether the network's inputs are, and its
    outputs; the DMA that may bring constants in."""

    outside: Memory | None
    choices: tuple[bool, ...]
    tensors: Memory | None = None
    apart: bool = True
    between: bool = False
    ends: tuple[bool, bool] = (False, False)
    dma: Dma | None = None

    @property
    def weighed(self) -> Memory | None:
        """The memory outside whose bytes an objective may weigh: the only one."""
        return None if self.tensors is not None else self.outside

    def ends_away(self, graph: Graph) -> frozenset[int]:
        """The inputs and outputs of a network (alias roots) that are outside; what is both, where either is."""
        roots = roots_of(graph)
        away = [tensors for tensors, is_away in zip((graph.inputs, graph.outputs), self.ends, strict=True) if is_away]
        return frozenset(roots[t] for tensors in away for t in tensors if t in roots)


#: Everything on the chip: as a placement, and what that means on any machine.
ON_CHIP, NOWHERE = NetworkPlacement(), Sites(None, (False,))


def sites(placement: NetworkPlacement, mcu: Mcu) -> Sites:
    """What a placement means on a machine; InputError where that has no such memory, or a DMA that does nothing."""
    found = _sites(placement, mcu)
    if mcu.dma is not None and (found.outside is None or found.outside.name not in mcu.dma.reads):
        there = any_of([option("place", f"weights={name}") for name in mcu.dma.reads])
        raise InputError(f"DMA of {mcu.name}: it brings constants in from outside the chip: place them there ({there})")
    return found._replace(dma=mcu.dma)


def _sites(placement: NetworkPlacement, mcu: Mcu) -> Sites:
    apart = placement.parameters == AUTO
    if not apart and placement.parameters != placement.weights:
        asked = option("place", f"parameters={placement.parameters}")
        raise InputError(
            f"{asked}: they are in flash where that suits (auto, the default), or with the weights "
            f"(parameters={placement.weights})"
        )
    on_chip = _with_tensors(NOWHERE, placement, mcu)
    if placement.weights == FLASH:
        return on_chip
    external = [memory for memory in mcu.memories if memory.kind == "external"]
    if placement.weights == AUTO:
        if not external:
            asked = option("place", "weights=auto")
            raise InputError(f"{asked}: {mcu.name} has no external memory; a machine's file may describe one")
        return on_chip._replace(outside=external[0], choices=(False, True), apart=apart)
    found = mcu.memory(placement.weights)
    if found not in external:
        asked = option("place", f"weights={found.name}")
        raise InputError(f"{asked}: that is no external memory of {mcu.name}; flash is the default")
    return on_chip._replace(outside=found, choices=(True,), apart=apart)


def _with_tensors(found: Sites, placement: NetworkPlacement, mcu: Mcu) -> Sites:
    """With the memory that tensors may be in beside the SRAM, and which of them."""
    between = placement.activations != SRAM
    ends = {end: name for end in _ENDS if (name := getattr(placement, end)) not in (SRAM, AUTO)}
    asked = ({"activations": placement.activations} if between else {}) | ends
    memories = {kind: _writable(kind, name, mcu) for kind, name in asked.items()}
    if not memories:
        return found
    (first, memory), *others = memories.items()
    for kind, other in others:
        if other != memory:
            both = option("place", f"{first}={asked[first]},{kind}={asked[kind]}")
            raise InputError(f"{both}: these are two memories, and tensors outside lie in one")
    return found._replace(tensors=memory, between=between, ends=(_ENDS[0] in ends, _ENDS[1] in ends))


def _writable(kind: str, name: str, mcu: Mcu) -> Memory:
    """The external memory of a name that can be written."""
    asked = option("place", f"{kind}={name}")
    if name == AUTO:
        found = next((memory for memory in mcu.memories if memory.kind == "external" and memory.writable), None)
        if found is None:
            raise InputError(f"{asked}: {mcu.name} has no external memory that can be written")
        return found
    found = mcu.memory(name)
    if found.kind != "external" or not found.writable:
        raise InputError(f"{asked}: that is no external memory of {mcu.name} that can be written")
    return found
