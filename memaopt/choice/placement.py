"""Which memory the buffers of a network live in: its constants in flash, or outside the chip.

A placement is a premise, as budgets are. ``auto`` leaves it to the choice, layer by layer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from memaopt.errors import InputError
from memaopt.inputs import WORD, Input, Word
from memaopt.machines.mcu import Mcu
from memaopt.machines.memory import Memory

FLASH, SRAM, AUTO = "flash", "sram", "auto"
#: What can be placed.
_KINDS = ("weights", "parameters", "activations")


class NetworkPlacement(Input):
    """The memory of each kind of buffer. ``weights``: all constants of layers (weights, biases, tables; not a constant
    that a layer reads as an input, which stays in flash): ``flash``, an external memory, or ``auto``: flash or the
    first external memory that the machine's file has, whichever suits each layer. ``parameters``, what channels take
    besides weights (bias, factors of the rounding), is ``auto``: where the weights are outside and are copied into SRAM
    it may stay in flash, whichever suits; or it goes with the weights, by the name of their memory. ``activations``:
    ``sram``, or an external memory, or ``auto``, the first one that can be written: tensors may lie there, whole, where
    that suits; inputs and outputs of the network do not, nor scratch.
    """

    weights: Word = FLASH
    parameters: Word = AUTO
    activations: Word = SRAM

    @classmethod
    def asked(cls, text: str | None) -> NetworkPlacement:
        """What ``weights=qspi`` asks for; all on the chip for None. InputError for what is no placement."""
        found: dict[str, str] = {}
        for part in [] if text is None else text.split(","):
            kind, _, memory = (word.strip() for word in part.partition("="))
            if kind not in _KINDS or not re.match(WORD, memory) or kind in found:
                there = ", ".join(_KINDS)
                raise InputError(f"--place {text}: give MEMORY once for each of {there}, as in weights=qspi")
            found[kind] = memory
        return cls.checked(found, f"--place {text}")

    def describe(self) -> str:
        """As it is asked for; empty if all is on the chip."""
        usual = {"weights": FLASH, "parameters": AUTO, "activations": SRAM}
        return ",".join(f"{kind}={getattr(self, kind)}" for kind in _KINDS if getattr(self, kind) != usual[kind])


class Sites(NamedTuple):
    """A placement on a machine: the memory outside the chip, if constants may be there, and whether a layer's are
    (True), one or both; the memory that tensors may be in; whether what channels take may stay on the chip while
    weights are outside."""

    outside: Memory | None
    choices: tuple[bool, ...]
    tensors: Memory | None = None
    apart: bool = True

    @property
    def weighed(self) -> Memory | None:
        """The memory outside whose bytes an objective may weigh: the only one."""
        return None if self.tensors is not None else self.outside


#: Everything on the chip: as a placement, and what that means on any machine.
ON_CHIP, NOWHERE = NetworkPlacement(), Sites(None, (False,))


def sites(placement: NetworkPlacement, mcu: Mcu) -> Sites:
    """What a placement means on a machine; InputError where that has no such memory."""
    tensors, apart = _tensors(placement.activations, mcu), placement.parameters == AUTO
    if not apart and placement.parameters != placement.weights:
        raise InputError(
            f"parameters={placement.parameters}: they are in flash where that suits (auto, the default), or with the "
            f"weights (parameters={placement.weights})"
        )
    if placement.weights == FLASH:
        return NOWHERE._replace(tensors=tensors)
    external = [memory for memory in mcu.memories if memory.kind == "external"]
    if placement.weights == AUTO:
        if not external:
            raise InputError(f"weights=auto: {mcu.name} has no external memory; a machine's file may describe one")
        return Sites(external[0], (False, True), tensors, apart)
    found = mcu.memory(placement.weights)
    if found not in external:
        raise InputError(f"weights={found.name}: that is no external memory of {mcu.name}; flash is the default")
    return Sites(found, (True,), tensors, apart)


def _tensors(name: str, mcu: Mcu) -> Memory | None:
    """The memory that tensors may be in beside the SRAM."""
    if name == SRAM:
        return None
    if name == AUTO:
        found = next((memory for memory in mcu.memories if memory.kind == "external" and memory.writable), None)
        if found is None:
            raise InputError(f"activations=auto: {mcu.name} has no external memory that can be written")
        return found
    found = mcu.memory(name)
    if found.kind != "external" or not found.writable:
        raise InputError(f"activations={name}: that is no external memory of {mcu.name} that can be written")
    return found
