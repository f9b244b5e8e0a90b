"""The layers of a network on the virtual board, each called by itself: its bytes, its accesses beside the promise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from memaopt.access import Access
from memaopt.board.buffers import PERIPHERAL
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.emit import network as emit
from memaopt.kernels.registry import Format
from memaopt.trials.call import CallTrial, stack_of
from memaopt.trials.places import Bases, differing

if TYPE_CHECKING:
    from memaopt.board import Board, Run

#: Constants of a layer's loops, which a compiler may fold into the code: literals by another name (``grid.0``, or
#: ``layer.grid``).
_LOOPS = {"grid"}
#: Suffixes of the parts of an operand that its layer's output lies on, and of those behind the output.
_AND_OUTPUT, _BEHIND = " under the output", " behind the output"
#: What a range of the arena, or a constant, is to a layer.
_Ranges = dict[str, tuple[int, int]]
_Array = npt.NDArray[Any]


class LayerTrial(CallTrial):
    """One layer on the board, all its calls in one inference. In bytes that an output shares with an input, loads are
    the input's and stores the output's. ``wrong`` counts output bytes over all inputs, the rest is of the first input.
    ``custom``: the operator that C of the user's computes.
    """

    name: str
    predicted_cycles: int | None
    stack_bytes: int
    custom: str = ""

    @property
    def equal(self) -> bool:
        """Counted = promised, access for access; or nobody promised any, since the user's C computes it."""
        return bool(self.custom) or super().equal


def stored(values: _Array, layout: Format) -> bytes:
    """The bytes of an activation as a format has them in memory."""
    raw = np.ascontiguousarray(values).tobytes()
    if layout is Format.RAW:
        channels = values.shape[-1]
        flipped = np.frombuffer(raw, np.uint8).reshape(-1, channels).copy()
        flipped[:, ::2] ^= 0x80
        return flipped.tobytes()
    return raw


class LayerRuns:
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
            predicted_cycles=layer.cycles if self.timed and not layer.plan.without else None,
            custom=layer.plan.without,
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
    promised |= {"channels": promise.channels}
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
    own = {symbols[name]: buffer for name, buffer in layer.emitted.buffers.items() if name in symbols}
    counted: dict[str, Access] = {}
    for name, access in run.buffers.items():
        if not access or name in ("stack", "literals") or _LOOPS & set(name.split(".")):
            continue
        if name == PERIPHERAL and layer.plan.dma:
            continue  # how often its registers are read depends on the time that it takes
        name = own.get(symbols.get(name, -1), name)
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
