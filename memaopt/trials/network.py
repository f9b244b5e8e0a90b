"""A compiled network tried on the virtual board: every layer's bytes compared, its accesses held to the promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from memaopt.access import Access
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.outside import demand_images
from memaopt.errors import BuildError, InputError
from memaopt.interrupts import scratch_folder
from memaopt.kernels.registry import Format
from memaopt.networks import reference
from memaopt.overview import Overview
from memaopt.trials import image as network_image
from memaopt.trials import pushes, rows
from memaopt.trials.call import CallTrial, spent, stack_of, verdict
from memaopt.trials.image import ImageRun
from memaopt.trials.places import RUBBISH, Bases, bases_of, caller_source, differing
from memaopt.writer import write_files

if TYPE_CHECKING:
    from memaopt.board import Board, Run
    from memaopt.board.projects import Layout

_FROZEN = ConfigDict(frozen=True)
#: Constants of a layer's loops, which a compiler may fold into the code: literals by another name (``grid.0``, or
#: ``layer.grid``).
_LOOPS = {"grid"}
#: Suffixes of the parts of an operand that its layer's output lies on, and of those behind the output.
_AND_OUTPUT, _BEHIND = " under the output", " behind the output"
#: What a range of the arena, or a constant, is to a layer.
_Ranges = dict[str, tuple[int, int]]
_Array = npt.NDArray[Any]
#: Pushes of which every layer is looked at by itself; of all others the outputs alone.
_MOST_LAYERED = 3


class LayerTrial(CallTrial):
    """One layer on the board, all its calls in one inference. In bytes that an output shares with an input, loads are
    the input's and stores the output's. ``wrong`` counts output bytes over all inputs, the rest is of the first input.
    """

    name: str
    predicted_cycles: int | None
    stack_bytes: int


class NetworkTrial(Overview):
    """A network on the board: its layers, ``invoke`` from call to return, and a whole image from reset. Energy is
    modelled.

    ``wrong`` counts the bytes of the network's outputs that differ from the reference's, over all ``inputs``.
    ``flash_bytes`` are those of the linked library, with what it needs of the compiler's. ``image`` is one inference of
    the library in a project of the chip, if it was asked for; where that project cannot be linked, ``no_image`` says
    why, and the trial has not passed. ``pushed``: the network keeps a state, and was run from a reset on; of the first
    few pushes every layer was looked at by itself besides.
    """

    model_config = _FROZEN

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

    def facts(self) -> tuple[tuple[str, str], ...]:
        unequal = [layer.name for layer in self.layers if not layer.equal]
        tried = f"{self.inputs} {'pushes' if self.pushed else 'inputs' if self.inputs > 1 else 'input'}"
        return (
            (
                "outputs",
                f"every byte is right, on {tried}"
                if self.wrong == 0
                else f"{self.wrong:,} bytes are wrong, on {tried}",
            ),
            ("accesses", f"not as promised in {', '.join(unequal)}" if unequal else "as promised"),
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
        if inputs < 1:
            raise InputError(f"{inputs} inputs: give 1 or more")
        inputs = sample_inputs(plan, inputs)
    from memaopt.board import Board, build

    with scratch_folder() as scratch:
        source = scratch if folder is None else Path(folder)
        if folder is None:
            write_files(emit.files(plan), source)
        else:
            demand_images(plan, source)
        elf = scratch / f"{plan.name}.elf"
        built = build(
            [source / library.source(plan.name), *caller_source(plan, scratch)],
            elf,
            plan.mcu,
            compiler=compiler,
            optimise=optimise,
            include=library.include_folders(source),
            script=library.read_linker_part(source, plan.name),
        )
        flash_bytes = _flash_bytes(plan, elf)
        image, no_image = None, ""
        if layout is not None:
            try:
                image = network_image.run(plan, source, layout, compiler=compiler, optimise=optimise)
            except BuildError as error:
                no_image = str(error)
        board = Board(plan.mcu).load(built)
    if plan.has_init and board.call(f"{plan.name}_init").r0 != 0:
        raise BuildError(f"{plan.name}_init: code or constants are not where the library's linker script puts them")
    bases = bases_of(plan, board)
    states = [_LayerState(plan, layer, bases) for layer in plan.layers]
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
        flash_bytes=flash_bytes,
        compiler=built.version,
        flags=built.flags,
        seconds=sum(r.seconds for r in runs) + sum(state.seconds for state in states),
        image=image,
        no_image=no_image,
        pushed=bool(plan.graph.states),
    )


def sample_inputs(plan: NetworkPlan, count: int, seed: int = 0) -> list[list[_Array]]:
    """``count`` inputs: random ones, save the second and the third, which are extreme."""
    made = [emit.random_inputs(plan, seed + number) for number in range(count)]
    for number, extreme in ((1, -128), (2, 127)):
        if number < count:
            made[number] = [np.full_like(x, extreme + 128 * (x.dtype == np.uint8)) for x in made[number]]
    return made


def stored(values: _Array, layout: Format) -> bytes:
    """The bytes of an activation as a format has them in memory."""
    raw = np.ascontiguousarray(values).tobytes()
    if layout is Format.RAW:
        channels = values.shape[-1]
        flipped = np.frombuffer(raw, np.uint8).reshape(-1, channels).copy()
        flipped[:, ::2] ^= 0x80
        return flipped.tobytes()
    return raw


class _LayerState:
    """What the runs of one layer have shown so far."""

    def __init__(self, plan: NetworkPlan, layer: LayerPlan, bases: Bases) -> None:
        self.wrong = 0
        self.seconds = 0.0
        self.timed = plan.mcu.core.is_timed
        self.bases = bases
        self.ranges, self.promised = _operands(plan, layer, bases)
        self.first: dict[str, Access] | None = None
        self.around = Access()
        self.cycles: int | None = None
        self.ideal_cycles: int | None = None
        self.stack_bytes = 0

    def run(self, plan: NetworkPlan, layer: LayerPlan, board: Board, expected: _Array) -> None:
        counted: dict[str, Access] = {}
        runs, around = [], Access()
        for n in range(layer.batch):
            run = board.call(layer.name, *_arguments(plan, layer, board, self.bases, n), buffers=self.ranges)
            _add(counted, _counted(layer, run, self.ranges, board.symbols))
            stack, rest = stack_of(run, {kernel.name for kernel in layer.emitted.kernels})
            _add(counted, {"stack": stack})
            around += rest
            runs.append(run)
            self.stack_bytes = max(self.stack_bytes, run.stack_bytes)
            self.seconds += run.seconds
        counted = {name: access for name, access in counted.items() if access}
        if self.first is None:
            self.first = counted
            self.around = around
            self.cycles = _sum(run.cycles for run in runs)
            self.ideal_cycles = _sum(run.ideal_cycles for run in runs)
        elif counted != self.first and self.first == self.promised:
            self.first = counted  # the first run that breaks the promise is shown
        wanted = np.frombuffer(stored(expected, layer.plan.output_format), np.uint8)
        self.wrong += differing(board, self.bases.of(plan, layer.op.output), wanted)

    def result(self, layer: LayerPlan) -> LayerTrial:
        return LayerTrial(
            name=layer.name,
            wrong=self.wrong,
            promised=self.promised,
            counted=self.first or {},
            around=self.around,
            predicted_cycles=layer.cycles if self.timed else None,
            cycles=self.cycles,
            ideal_cycles=self.ideal_cycles,
            stack_bytes=self.stack_bytes,
        )


def _sum(cycles: Iterable[int | None]) -> int | None:
    """Their sum, None if one is not known."""
    found = list(cycles)
    return None if None in found else sum(filter(None, found))


def _add(total: dict[str, Access], more: Mapping[str, Access]) -> None:
    for name, access in more.items():
        total[name] = total.get(name, Access()) + access


def _operands(plan: NetworkPlan, layer: LayerPlan, bases: Bases) -> tuple[_Ranges, dict[str, Access]]:
    """The layer's operands in memory as disjoint ranges, and what is promised of each and of its constants."""
    promise = layer.promise
    pieces: dict[tuple[int, int], str] = {}
    promised: dict[str, Access] = {}
    many = len(promise.inputs) > 1
    for number, (tensor, access) in enumerate(zip(layer.lowered.inputs, promise.inputs, strict=True)):
        t = plan.graph.tensors[tensor]
        if t.is_constant:
            _add(promised, {emit.constant_operands(plan)[tensor]: access})
            continue
        # An operand that is read as two inputs is one.
        name = pieces.setdefault((bases.of(plan, tensor), t.nbytes), f"input{number if many else ''}")
        _add(promised, {name: access})
    scratch = plan.memory.scratch_offset(layer.position)
    if scratch is not None:
        pieces[bases.arena + scratch, layer.plan.scratch_bytes] = "scratch"
        promised["scratch"] = promise.scratch
    start = bases.of(plan, layer.op.output)
    end = start + plan.graph.tensors[layer.op.output].nbytes
    promised |= {"output": promise.output, "parameters": promise.parameters, "stack": promise.stack}
    ranges: _Ranges = {"output": (start, end - start)}
    for (first, size), name in pieces.items():
        last = first + size
        for piece, low, high in (
            (name, first, min(last, start)),
            (f"{name}{_AND_OUTPUT}", max(first, start), min(last, end)),
            (f"{name}{_BEHIND}", max(first, end), last),
        ):
            if low < high:
                ranges[piece] = (low, high - low)
    return ranges, {name: access for name, access in promised.items() if access}


def _counted(layer: LayerPlan, run: Run, ranges: _Ranges, symbols: Mapping[str, int]) -> dict[str, Access]:
    """The board's counts under the promise's names; whatever else of the data was touched under its own.

    Where an output lies on an input, loads are the input's and stores the output's: no layer reads its output, and
    only scratch, which nothing lies on, is both written and read.
    """
    # A compiler may merge equal constants of two layers; the board then knows both by one of their names.
    own = {symbols[name] for name in layer.emitted.parameters if name in symbols}
    counted: dict[str, Access] = {}
    for name, access in run.buffers.items():
        if not access or name in ("stack", "literals") or _LOOPS & set(name.split(".")):
            continue
        if symbols.get(name) in own:
            name = "parameters"
        if name in ranges and name.endswith(_AND_OUTPUT):
            _add(counted, {"output": access.only_stores})
            access = access.only_loads
        if name in ranges:
            name = name.removesuffix(_AND_OUTPUT).removesuffix(_BEHIND)
        _add(counted, {name: access})
    return counted


def _arguments(plan: NetworkPlan, layer: LayerPlan, board: Board, bases: Bases, n: int) -> list[int]:
    arguments = []
    constants = emit.constant_operands(plan)
    for tensor in (*layer.lowered.inputs, layer.op.output):
        start = board.symbols[constants[tensor]] if tensor in constants else bases.of(plan, tensor)
        arguments.append(start + n * (plan.graph.tensors[tensor].nbytes // layer.batch))
    scratch = plan.memory.scratch_offset(layer.position)
    arguments.append(0 if scratch is None else bases.arena + scratch)
    return arguments


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
    given = [bases.image if t in plan.graph.nowhere else 0 for t in plan.graph.given]
    run = board.call(f"{plan.name}_{emit.verb(plan)}", *state, *given, *[0] * len(plan.graph.wanted))
    wrong = int(run.r0 != 0)
    for tensor, output in zip(plan.graph.outputs, reference.run(plan.source, list(values)), strict=True):
        wrong += differing(board, bases.of(plan, tensor), output)
    return wrong, run


def _flash_bytes(plan: NetworkPlan, elf: Path) -> int:
    from memaopt.board.elf import read_elf

    flash = plan.mcu.memory("flash")
    # What start-up code copies into RAM has its image in flash; what is all zeros has none.
    return sum(
        s.size if flash.base <= s.address < flash.end else len(s.data)
        for s in read_elf(elf).segments
        if not any(m.kind == "external" and m.base <= s.address < m.end for m in plan.mcu.memories)
    )
