"""A compiled network tried on the virtual board: every layer's bytes compared, its accesses held to the promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.outside import demand_images
from memaopt.errors import BuildError, InputError
from memaopt.interrupts import scratch_folder
from memaopt.networks import reference
from memaopt.overview import Overview
from memaopt.trials import image as network_image
from memaopt.trials import pushes, rows
from memaopt.trials.call import spent, verdict
from memaopt.trials.image import ImageRun
from memaopt.trials.layer import LayerRuns, LayerTrial
from memaopt.trials.places import RUBBISH, bases_of, caller_source, differing
from memaopt.writer import write_scratch

if TYPE_CHECKING:
    from memaopt.board import Board, Run
    from memaopt.board.elf import Program
    from memaopt.board.projects import Layout

_Array = npt.NDArray[Any]
#: Pushes of which every layer is looked at by itself; of all others the outputs alone.
_MOST_LAYERED = 3


class NetworkTrial(Overview, frozen=True):
    """A network on the board: its layers, ``invoke`` from call to return, and a whole image from reset. Energy is
    modelled.

    ``wrong`` counts the bytes of the network's outputs that differ from the reference's, over all ``inputs``.
    ``flash_bytes`` are those of the linked library, with what it needs of the compiler's. ``image`` is one inference of
    the library in a project of the chip, if it was asked for; where that project cannot be linked, ``no_image`` says
    why, and the trial has not passed. ``pushed``: the network keeps a state, and was run from a reset on; of the first
    few pushes every layer was looked at by itself besides.
    """

    layers: tuple[LayerTrial, ...]
    inputs: int
    wrong: int
    cycles: int | None
    ideal_cycles: int | None
    instructions: int
    stack_bytes: int
    energy_uj: float | None
    flash_bytes: int
    compiler: str
    flags: tuple[str, ...]
    seconds: float
    image: ImageRun | None = None
    no_image: str = ""
    pushed: bool = False

    @property
    def passed(self) -> bool:
        """Every layer's bytes and accesses are right, and so are the network's outputs, in the image too."""
        image = not self.no_image and (self.image is None or self.image.right)
        return self.wrong == 0 and image and all(layer.passed for layer in self.layers)

    def headline(self) -> str:
        return f"{verdict(self.passed, self.cycles)}, {len(self.layers)} layers"

    @property
    def unpromised(self) -> str:
        """What follows a sentence about accesses: those that nobody promised."""
        names = dict.fromkeys(layer.custom for layer in self.layers if layer.custom)
        return f", but for {' and '.join(names)}, of which none is" if names else ""

    @property
    def tried_on(self) -> str:
        """What it ran on, such as ``1 push``."""
        kind = ("push", "pushes") if self.pushed else ("input", "inputs")
        return f"{self.inputs:,} {kind[self.inputs > 1]}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        unequal = [layer.name for layer in self.layers if not layer.equal]
        tried = self.tried_on
        return (
            (
                "outputs",
                f"every byte is right, on {tried}"
                if self.wrong == 0
                else f"{self.wrong:,} bytes are wrong, on {tried}",
            ),
            ("accesses", f"not as promised in {', '.join(unequal)}" if unequal else f"as promised{self.unpromised}"),
            *((("project", f"cannot be linked: {self.no_image}"),) if self.no_image else ()),
            *spent(self.cycles, self.ideal_cycles, self.energy_uj),
            ("stack", f"{self.stack_bytes:,} bytes"),
            ("flash", f"{self.flash_bytes:,} bytes, linked"),
            ("built with", " ".join((self.compiler, *self.flags))),
        )


def run(
    plan: NetworkPlan,
    inputs: int | Sequence[Sequence[_Array]] = 1,
    *,
    folder: str | Path | None = None,
    compiler: str | None = None,
    optimise: str = "-O3",
    layout: Layout | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkTrial:
    """Build the library and run it on the board of ``plan.mcu``.

    ``inputs``: how many random ones (the second is all -128, the third all 127), or the inputs themselves. With
    ``folder`` the library there is built as it is, else it is emitted into a temporary one. With ``layout`` its test
    vector also runs from reset, in a project of that layout. ``progress`` is told (done, of how many) after each
    input. Raises MissingToolError, BuildError or FaultError; InputError where the folder has other bytes for the memory
    outside the chip than its library.
    """
    if isinstance(inputs, int):
        inputs = sample_inputs(plan, inputs)
    with scratch_folder() as scratch:
        source = scratch if folder is None else Path(folder)
        if folder is None:
            write_scratch(emit.files(plan), source)
        else:
            demand_images(plan, source)
        linked = link([plan], source, scratch, compiler=compiler, optimise=optimise)
        images = imaged([plan], source, layout, compiler=compiler, optimise=optimise)
    return tried(plan, linked, inputs, images[0], progress)


class Linked(NamedTuple):
    """A library as it was built for the board: the program, its bytes in flash, the compiler and what it was told."""

    program: Program
    flash_bytes: int
    compiler: str
    flags: tuple[str, ...]


def link(
    plans: Sequence[NetworkPlan], source: Path, scratch: Path, *, compiler: str | None = None, optimise: str = "-O3"
) -> Linked:
    """Build the library in a folder, which has these networks, with what is their callers'."""
    from memaopt.board import build
    from memaopt.board.build import WARNINGS
    from memaopt.board.elf import read_elf

    customs = [code for plan in plans for code in plan.customs]
    name, elf = plans[0].library, scratch / f"{plans[0].library}.elf"
    built = build(
        [*library.sources(source, name, customs), *(file for plan in plans for file in caller_source(plan, scratch))],
        elf,
        plans[0].mcu,
        compiler=compiler,
        optimise=optimise,
        include=library.include_folders(source),
        script=library.read_linker_part(source, name),
        warnings=() if customs else WARNINGS,
    )
    program = read_elf(elf)
    return Linked(program, _flash_bytes(plans[0], program), built.version, built.flags)


def imaged(
    plans: Sequence[NetworkPlan],
    source: Path,
    layout: Layout | None,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
) -> list[ImageRun | str | None]:
    """For each network, its run in one image from reset, or why that cannot be linked; None if no layout is given."""
    if layout is None:
        return [None] * len(plans)
    try:
        return [*network_image.run(plans, source, layout, compiler=compiler, optimise=optimise)]
    except BuildError as error:
        return [str(error)] * len(plans)


def tried(
    plan: NetworkPlan,
    linked: Linked,
    inputs: Sequence[Sequence[_Array]],
    image: ImageRun | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkTrial:
    """Run a network of a library on the board of its plan, on these inputs."""
    from memaopt.board import Board

    board = Board(plan.mcu).load(linked.program)
    if plan.has_init and board.call(f"{plan.library}_init").r0 != 0:
        raise BuildError(f"{plan.library}_init: code or constants are not where the library's linker script puts them")
    bases = bases_of(plan, board)
    states = [LayerRuns(plan, layer, bases) for layer in plan.layers]
    runs: list[Run] = []
    wrong = 0
    for number, values in enumerate(pushes.with_states(plan, inputs)):
        if number >= _MOST_LAYERED and plan.graph.states:
            break
        _load(plan, board, values)
        outputs = dict(_named(plan, values))
        for state, layer in zip(states, plan.layers, strict=True):
            state.run(plan, layer, board, outputs[layer.op.output])
        wrong_now, invoked = _invoke(plan, board, values)
        wrong += wrong_now + rows.wrong_bytes(plan, board, values)
        runs.append(invoked)
        if progress is not None:
            progress(number + 1, len(inputs))
    if plan.graph.states:
        wrong += pushes.wrong_bytes(plan, board, inputs, progress)
    return NetworkTrial(
        layers=tuple(state.result(layer) for state, layer in zip(states, plan.layers, strict=True)),
        inputs=len(inputs),
        wrong=wrong,
        cycles=runs[0].cycles,
        ideal_cycles=runs[0].ideal_cycles,
        instructions=runs[0].instructions,
        stack_bytes=max(r.stack_bytes for r in runs),
        energy_uj=None if runs[0].energy is None else runs[0].energy.total_uj,
        flash_bytes=linked.flash_bytes,
        compiler=linked.compiler,
        flags=linked.flags,
        seconds=sum(r.seconds for r in runs) + sum(state.seconds for state in states),
        image=image if isinstance(image, ImageRun) else None,
        no_image=image if isinstance(image, str) else "",
        pushed=bool(plan.graph.states),
    )


def default_count(plan: NetworkPlan) -> int:
    """How many inputs a network is tried on: one, or pushes beyond a full window."""
    return 1 if plan.push is None else plan.push.warming + 3


def sample_inputs(plan: NetworkPlan, count: int, seed: int = 0) -> list[list[_Array]]:
    """``count`` inputs: random ones, save the second and the third, which are extreme. InputError for less than one."""
    if count < 1:
        raise InputError(f"{count} inputs: give 1 or more")
    made = [emit.random_inputs(plan, seed + number) for number in range(count)]
    for number, extreme in ((1, -128), (2, 127)):
        if number < count:
            made[number] = [np.full_like(x, extreme + 128 * (x.dtype == np.uint8)) for x in made[number]]
    return made


def _named(plan: NetworkPlan, values: Sequence[_Array]) -> list[tuple[int, _Array]]:
    return [(op.output, output) for op, output in reference.layers(plan.graph, values)]


def _load(plan: NetworkPlan, board: Board, values: Sequence[_Array]) -> None:
    bases = bases_of(plan, board)
    # Nothing may depend on what the arena held before.
    board.write(bases.arena, RUBBISH * plan.arena_bytes)
    if plan.outer_bytes:
        board.write(bases.outer, RUBBISH * plan.outer_bytes)
    for tensor, value in zip(plan.graph.inputs, values, strict=True):
        board.write(bases.of(plan, tensor), np.ascontiguousarray(value).tobytes())


def _invoke(plan: NetworkPlan, board: Board, values: Sequence[_Array]) -> tuple[int, Run]:
    """The whole network from the inputs in its arena; the outputs are read there, so nothing is copied."""
    _load(plan, board, values)
    bases = bases_of(plan, board)
    state = [bases.state] if plan.graph.states else []
    if plan.push is not None and plan.push.fill == "first":
        board.write(bases.state + plan.states.bytes, (1).to_bytes(4, "little"))
    if plan.states.apart:
        board.write(bases.state + plan.turn_at, (0).to_bytes(4, "little"))
    given = [bases.image if t in plan.graph.nowhere else 0 for t in plan.graph.given]
    run = board.call(f"{plan.name}_{emit.verb(plan)}", *state, *given, *[0] * len(plan.graph.wanted))
    wrong = int(run.r0 != 0)
    for tensor, output in zip(plan.graph.outputs, reference.run(plan.source, list(values)), strict=True):
        wrong += differing(board, bases.of(plan, tensor), output)
    return wrong, run


def _flash_bytes(plan: NetworkPlan, program: Program) -> int:
    flash = plan.mcu.memory("flash")
    # What start-up code copies into RAM has its image in flash; what is all zeros has none.
    return sum(
        s.size if flash.base <= s.address < flash.end else len(s.data)
        for s in program.segments
        if not any(m.kind == "external" and m.base <= s.address < m.end for m in plan.mcu.memories)
    )
