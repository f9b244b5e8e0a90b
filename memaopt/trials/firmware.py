"""A user's own image held to a certificate: what of the library lies where in it, what it takes from reset, and why.

The image is not built here, so what is wrong with it is found in its bytes and in its run. A finding is one line that
names a cause, and what that costs where it is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from memaopt.choice.in_ram import IN_FLASH
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.emit import network as emit
from memaopt.errors import FaultError, InputError
from memaopt.inputs import any_of
from memaopt.models.waits import timing
from memaopt.networks import reference
from memaopt.overview import Overview
from memaopt.printable import counted

if TYPE_CHECKING:
    from memaopt.board import Board
    from memaopt.board.elf import Program

#: Instructions until the library is called, and of its call.
_BUDGET = 2_000_000_000
#: How far cycles may lie from the promise before that is a finding of its own.
_TOLERANCE = 0.03
#: GCC without optimisation: the frame pointer is set, and the first argument is stored beside it.
_FRAME, _STORED = (0xFF00, 0xAF00), (0xF83F, 0x6038)


class SectionHeld(BaseModel, frozen=True):
    """What of the library a section of the image holds."""

    section: str
    memory: str
    symbols: int
    bytes: int


class FirmwareTrial(Overview, frozen=True):
    """An image on the virtual board: ``promised`` and ``counted`` are cycles of the library's call, None where nobody
    validated the timing or it was never called; ``status`` what it returned. ``stack_top`` is the vector table's,
    ``stack_bytes`` what the image took of the stack until the call returned. ``findings`` are empty if all is as the
    certificate assumes.
    """

    name: str
    firmware: str
    places: tuple[SectionHeld, ...]
    stack_top: int | None
    stack_bytes: int
    promised: int | None
    counted: int | None
    status: int | None
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.findings

    def headline(self) -> str:
        found = counted(len(self.findings), "finding")
        return f"{self.name} in {self.firmware}: {'as the certificate assumes' if self.passed else found}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        return (
            *((p.section, f"{counted(p.symbols, 'symbol')}, {p.bytes:,} bytes, in {p.memory}") for p in self.places),
            *((("stack", f"from {self.stack_top:#010x} down, {self.stack_bytes:,} bytes"),) if self.stack_top else ()),
            *((("promised", f"{self.promised:,} cycles"),) if self.promised is not None else ()),
            *((("counted", f"{self.counted:,} cycles from reset"),) if self.counted is not None else ()),
            *(("finding", text) for text in self.findings),
        )


def check(plan: NetworkPlan, firmware: str | Path) -> FirmwareTrial:
    """:func:`check_all` of a library of one network."""
    (found,) = check_all([plan], firmware)
    return found


def check_all(plans: Sequence[NetworkPlan], firmware: str | Path) -> tuple[FirmwareTrial, ...]:
    """Hold an ELF image to the plans of the networks in a library: a trial for each that is in it, since what nobody
    calls is not linked. InputError if the file is no image, or has not the library in it or not its symbols.
    """
    from memaopt.board.elf import read_elf

    image = read_elf(firmware)
    there = [plan for plan in plans if _function(plan) in image.symbols]
    if not there:
        names = any_of([*map(_function, plans)])
        raise InputError(f"{firmware}: has no {names}: the library is not in it, or its symbols were stripped")
    return tuple(_checked(plan, firmware, image) for plan in there)


def _function(plan: NetworkPlan) -> str:
    """What a program calls."""
    return f"{plan.name}_{emit.verb(plan)}"


def _checked(plan: NetworkPlan, firmware: str | Path, image: Program) -> FirmwareTrial:
    from memaopt.board import Board

    invoke = _function(plan)
    found = [*_of_another(plan, image), *_constants(plan, image), *_in_flash(plan, image), *_unoptimised(plan, image)]
    # What the program turns on itself is off before; what a setting has off stays off.
    board = Board(plan.mcu.in_setting("stock") if plan.mcu.setting.turn_on else plan.mcu).load(image)
    counted, status, stack, said = _run(board, invoke)
    found += said
    if counted is not None or status is not None:
        found += [*_turned_off(plan, board), *_refused(plan, status), *_wrong(plan, board)]
    promised = plan.machine_cycles if plan.promises_cycles else None
    if not found and counted is not None and promised is not None and abs(counted / promised - 1) > _TOLERANCE:
        found.append(
            f"{invoke} takes {100 * (counted / promised - 1):+.1f}% of the cycles promised: nothing seen here says why"
        )
    return FirmwareTrial(
        name=plan.name,
        firmware=str(firmware),
        places=tuple(_places(plan, image)),
        stack_top=None if board.vectors is None else board.vectors.stack,
        stack_bytes=stack,
        promised=promised,
        counted=counted,
        status=status,
        findings=tuple(found),
    )


def _functions(plan: NetworkPlan) -> list[str]:
    kernels = {kernel.name for layer in plan.layers for kernel in layer.emitted.kernels}
    return [_function(plan), *(layer.name for layer in plan.layers), *sorted(kernels)]


def _memory(plan: NetworkPlan, address: int) -> str:
    """The memory, or the alias of one, that an address is in."""
    return next((p.name for p in plan.mcu.places if p.base <= address < p.end), "no memory")


def _places(plan: NetworkPlan, image: Program) -> Iterator[SectionHeld]:
    """What of the library lies in which section, in the order of their addresses."""
    sizes = {s.name: s.size for s in (*image.functions, *image.objects)}
    constants = [name for layer in plan.layers for name in layer.emitted.parameters]
    names = [*_functions(plan), *constants, f"{plan.library}_static_arena"]
    for section in sorted(image.sections, key=lambda s: s.address):
        end = section.address + section.size
        here = [n for n in dict.fromkeys(names) if section.address <= image.symbols.get(n, -1) < end]
        if here:
            size = sum(sizes.get(name, 0) for name in here)
            memory = _memory(plan, section.address)
            yield SectionHeld(section=section.name, memory=memory, symbols=len(here), bytes=size)


def _of_another(plan: NetworkPlan, image: Program) -> Iterator[str]:
    """Layers of the certificate that the image does not have, while it has others of the same network."""
    wanted = {layer.name for layer in plan.layers}
    there = {f.name for f in image.functions if f.name.startswith(f"{plan.name}_")}
    missing = wanted - there
    numbered = {name for name in there - wanted if name.removeprefix(f"{plan.name}_")[:1].isdigit()}
    if missing and numbered:
        yield (
            f"another certificate's library: it has {min(numbered)}, which the certificate does not know, and not "
            f"{min(missing)}"
        )


def _constants(plan: NetworkPlan, image: Program) -> Iterator[str]:
    """Constants whose bytes are not those that the certificate's library has."""
    arrays = {array.name: array for layer in plan.layers for array in layer.emitted.arrays}
    wrong = []
    for name, array in arrays.items():
        found = None if name not in image.symbols else _bytes(image, image.symbols[name], len(array.data))
        if found is not None and found != array.data:
            wrong.append((name, np.flatnonzero(np.frombuffer(found, np.uint8) != np.frombuffer(array.data, np.uint8))))
    if len(wrong) == 1:
        (name, where) = wrong[0]
        yield f"a patched constant: {name} differs in {len(where):,} bytes, the first at {int(where[0]):,}"
    elif wrong:
        yield f"another certificate's library: {len(wrong)} of its {len(arrays)} constants are not the certificate's"


def _bytes(image: Program, address: int, size: int) -> bytes | None:
    """What the file holds for an address; None where it holds nothing."""
    for segment in image.segments:
        start = address - segment.address
        if start >= 0 and start + size <= len(segment.data):
            return bytes(segment.data[start : start + size])
    return None


def _in_flash(plan: NetworkPlan, image: Program) -> Iterator[str]:
    """Code and constants that the certificate has in RAM and the image in flash, and what they wait there."""
    code = [layer for layer in plan.layers if layer.where.code and _is_in_flash(plan, image, _code_of(layer))]
    data = [layer for layer in plan.layers if layer.where.data and _is_in_flash(plan, image, layer.emitted.parameters)]
    slower = {id(layer): layer for layer in (*code, *data)}.values()
    if slower:
        machine = timing(plan.mcu, plan.outside)
        costs = sum(layer.at(IN_FLASH, machine) - layer.machine_cycles for layer in slower)
        what = " and ".join(
            f"{text} of {len(layers)} layers" for text, layers in (("code", code), ("constants", data)) if layers
        )
        price = f": about {costs:,} cycles more" if plan.mcu.core.is_timed else ""
        yield f"built without its linker fragment extras/{plan.library}.ld: {what} in flash instead of RAM{price}"


def _code_of(layer: LayerPlan) -> tuple[str, ...]:
    return tuple(kernel.name for kernel in layer.emitted.kernels) or (layer.name,)


def _is_in_flash(plan: NetworkPlan, image: Program, names: tuple[str, ...]) -> bool:
    return any(_memory(plan, image.symbols[name]) == "flash" for name in names if name in image.symbols)


def _unoptimised(plan: NetworkPlan, image: Program) -> Iterator[str]:
    """A compiler without optimisation sets a frame pointer and stores every argument beside it."""
    name = f"{_function(plan)}_observed"
    code = None if name not in image.symbols else _bytes(image, image.symbols[name], 32)
    halves = [] if code is None else np.frombuffer(code, "<u2").tolist()
    framed = next((i for i, half in enumerate(halves) if half & _FRAME[0] == _FRAME[1]), None)
    if framed is not None and any(half & _STORED[0] == _STORED[1] for half in halves[framed:]):
        yield f"src/{plan.library}.c was built with -O0: {name} keeps its variables on the stack; build it with -O3"


def _run(board: Board, invoke: str) -> tuple[int | None, int | None, int, list[str]]:
    """Cycles and status of the first call from reset, the stack that was used, and why there was no call."""
    try:
        called = board.reset(until=invoke, max_instructions=_BUDGET)
        if called.ended != "until":
            why = f"the image ends ({called.ended}) before it calls {invoke}"
            return None, None, called.stack_bytes, [why]
        back = board.register("LR") & ~1
        returned = board.reset(until=back, max_instructions=_BUDGET)
    except FaultError as error:
        return None, None, 0, [f"the image does not get to the end of {invoke}: {error}"]
    cycles = None if returned.cycles is None or called.cycles is None else returned.cycles - called.cycles
    status = returned.r0 - (1 << 32) if returned.r0 >> 31 else returned.r0
    return cycles, status, returned.stack_bytes, []


def _turned_off(plan: NetworkPlan, board: Board) -> Iterator[str]:
    """Bits that the certificate's setting needs, and that the image has not set when it calls the library."""
    for bits in plan.mcu.setting.turn_on:
        if int.from_bytes(board.read(bits.address, 4), "little") & bits.bits != bits.bits:
            more = plan.cycles_in(plan.mcu.in_setting("stock")) - plan.machine_cycles
            price = f": about {more:,} cycles more" if plan.mcu.core.is_timed else ""
            yield f"{bits.name} is off, which the setting {plan.mcu.setting.name} has on{price}"


def _refused(plan: NetworkPlan, status: int | None) -> Iterator[str]:
    reasons = {
        -1: "its arena, or its state, is 0 or not aligned",
        -2: f"{plan.library}_init() has not returned 0 before",
        -4: "an input or output lies in the arena, at another place than its own",
        -6: "another row is the next",
        -5: "the first frames lie in the arena: they are passed, since they fill the window",
    }
    if status:
        yield f"{_function(plan)} returns {status}: {reasons.get(status, 'which it never does')}"


def _wrong(plan: NetworkPlan, board: Board) -> Iterator[str]:
    """Outputs of a random input that are not the reference's, computed by the image as it stands after its call."""
    arena = board.symbols.get(f"{plan.library}_static_arena")
    if arena is None or plan.graph.states or plan.graph.by_rows:
        return  # nobody knows where an image has its state, or its input
    values = emit.random_inputs(plan)
    for tensor, value in zip(plan.graph.inputs, values, strict=True):
        board.write(arena + plan.place(tensor), np.ascontiguousarray(value).tobytes())
    try:
        ends = len(plan.graph.inputs) + len(plan.graph.outputs)
        board.call(f"{plan.name}_invoke", *[0] * ends)
    except (FaultError, InputError) as error:
        yield f"{plan.name}_invoke does not run on another input: {error}"
        return
    wrong = 0
    for tensor, wanted in zip(plan.graph.outputs, reference.run(plan.source, values), strict=True):
        found = np.frombuffer(board.read(arena + plan.place(tensor), wanted.nbytes), np.uint8)
        wrong += int(np.count_nonzero(found != np.frombuffer(np.ascontiguousarray(wanted).tobytes(), np.uint8)))
    if wrong:
        yield f"{wrong:,} bytes of its outputs are not the reference's"
