"""A channel of a chip's DMA controller that copies words from memory to memory while the core computes.

Figures are core cycles: documented where there is a document, else assumed; nobody has measured them for this package.
"""

from typing import Annotated

from pydantic import Field

from memaopt.inputs import Input, Prose
from memaopt.machines.memory import MemoryName, Peripheral, SomeBits, WaitStates

MODELLED = "Cycles are with DMA where that is cheaper, as modelled: nobody has measured it."
"""What stands below figures of several libraries for machines with one."""


class Dma(Input):
    """One channel, off after reset. From ``channel`` on lie four registers: control, words left, source, target.

    Written to control, ``start`` begins a transfer of words from ascending addresses to ascending ones; ``running`` is
    the bit of it that reads as 0 if the channel is off. The bits ``done`` of the register ``status`` say that all has
    arrived; they are cleared by writing them to ``clear``. A transfer has ``most_words`` at most. ``clock`` is the
    register whose bits ``clocked`` turn the controller on.

    A transfer takes ``start_cycles``, and for each word ``word_cycles`` and what an access waits at the memory that it
    reads. ``reads``: the memories that it is priced for. What it and the core wait for each other's buses is in no
    figure. No data cache lies between the core and the target.
    """

    name: str = Field(min_length=1, max_length=60)
    channel: Peripheral
    start: SomeBits
    running: SomeBits
    status: Peripheral
    clear: Peripheral
    done: SomeBits
    clock: Peripheral
    clocked: SomeBits
    most_words: int = Field(strict=True, ge=1, le=1 << 24)
    start_cycles: WaitStates = 0
    word_cycles: Annotated[int, Field(strict=True, ge=1, le=1000)]
    reads: tuple[MemoryName, ...] = Field(min_length=1, max_length=16)
    source: Prose = ""
