"""The memory plan: which bytes of the arena each activation takes, and the proof that no plan takes fewer.

Offsets are a packing of rectangles in time x address, found by OR-Tools CP-SAT (no-overlap in two dimensions) and
bounded below by the largest live set of the execution order. A plan verifies itself without trusting how it was
made: see :meth:`MemoryPlan.verify`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from memaopt.errors import FalseClaimError, InfeasibleError, InputError
from memaopt.networks import liveness, memory_check
from memaopt.networks.graph import Graph
from memaopt.networks.liveness import Block, InPlace, elementwise_in_place

Proof = Literal["live set", "solver", "none"]


class TensorBuffer(BaseModel):
    """Bytes [offset, offset + size) hold the tensors in turn, from step ``first`` to step ``last`` inclusive."""

    model_config = ConfigDict(frozen=True)

    tensors: tuple[int, ...]
    offset: int
    size: int
    first: int
    last: int


class ScratchBuffer(BaseModel):
    """Bytes that one operator uses while it runs."""

    model_config = ConfigDict(frozen=True)

    operator: int
    offset: int
    size: int


class MemoryPlan(BaseModel):
    """Offsets for an execution order. Sizes and bounds in bytes, multiples of ``alignment``.

    ``operator`` and ``order`` count positions in ``graph.operators``. ``lower_bound`` is the largest live set,
    scratch included; ``peak_operator`` the operator at which it occurs. ``tensor_bytes`` is the largest live set
    without scratch. ``proof`` says why no smaller arena exists for this order: it equals the live set, or the solver
    proved it; ``order_proven`` that no other order has a smaller live set.
    """

    model_config = ConfigDict(frozen=True)

    order: tuple[int, ...]
    alignment: int
    buffers: tuple[TensorBuffer, ...]
    scratch: tuple[ScratchBuffer, ...]
    arena_bytes: int
    tensor_bytes: int
    lower_bound: int
    peak_operator: int
    proof: Proof
    order_proven: bool

    def offset(self, tensor: int) -> int:
        """The byte offset of a tensor in the arena; InputError if it has none."""
        for buffer in self.buffers:
            if tensor in buffer.tensors:
                return buffer.offset
        raise InputError(f"tensor {tensor} is not in the arena")

    def scratch_offset(self, operator: int) -> int | None:
        """The byte offset of an operator's scratch, None if it has none."""
        return next((s.offset for s in self.scratch if s.operator == operator), None)

    def verify(
        self,
        graph: Graph,
        *,
        scratch: Mapping[int, int] | None = None,
        in_place: InPlace = elementwise_in_place,
        external: Collection[int] = (),
    ) -> None:
        """Raise FalseClaimError for the first claim that does not hold.

        The network is replayed byte by byte: every operator must find its inputs intact. Bounds are recomputed from
        the network; a proof by the solver is made again.
        """
        scratch = scratch or {}
        memory_check.replay(self, graph, scratch, in_place, frozenset(external))
        problem = liveness.problem(graph, self.alignment, in_place, scratch, external)
        bare = liveness.problem(graph, self.alignment, in_place, {}, external)
        bound, at = liveness.peak(problem, self.order)
        tensors, _ = liveness.peak(bare, self.order)
        for name, claimed, actual in (
            ("the lower bound", self.lower_bound, bound),
            ("the peak operator", self.peak_operator, at),
            ("the tensors' live set", self.tensor_bytes, tensors),
        ):
            if claimed != actual:
                raise FalseClaimError(f"the memory plan says that {name} is {claimed}, but it is {actual}")
        if self.proof == "live set" and self.arena_bytes != bound:
            raise FalseClaimError(f"the memory plan says that {self.arena_bytes} bytes equal the live set of {bound}")
        if self.order_proven:
            order, proven = liveness.best_order(problem)
            if not proven or liveness.peak(problem, order)[0] != bound:
                raise FalseClaimError("the memory plan says that no order has a smaller live set; one has")
        if self.proof == "solver":
            rectangles = _rectangles(liveness.blocks(problem, self.order), problem.scratch, self.order)
            _, best, proven = _pack(rectangles, self.alignment, bound, _TIME_LIMIT)
            if not proven or best != self.arena_bytes:
                raise FalseClaimError(f"the memory plan says that {self.arena_bytes} bytes are the least; {best} do")


class _Rectangle(BaseModel):
    """Alive in steps [first, last], ``size`` bytes."""

    model_config = ConfigDict(frozen=True)

    first: int
    last: int
    size: int

    def meets(self, other: _Rectangle) -> bool:
        return self.first <= other.last and other.first <= self.last


_TIME_LIMIT = 5.0


def plan(
    graph: Graph,
    *,
    scratch: Mapping[int, int] | None = None,
    alignment: int = 16,
    in_place: InPlace = elementwise_in_place,
    external: Collection[int] = (),
    reorder: bool = True,
    limit: int | None = None,
    time_limit: float = _TIME_LIMIT,
) -> MemoryPlan:
    """The smallest arena for a network.

    ``scratch``: bytes that an operator (by position) needs while it runs. ``alignment``: of every offset, a power of
    two. ``in_place``: which inputs an operator may overwrite. ``external``: inputs or outputs of the network that
    live outside the arena. ``reorder``: whether operators may run in another order. ``limit``: a budget in bytes.

    Raises InfeasibleError if the arena exceeds ``limit``; the message names the operator that sets the peak.
    """
    scratch = scratch or {}
    _check_arguments(graph, scratch, alignment, external)
    problem = liveness.problem(graph, alignment, in_place, scratch, external)
    given = tuple(range(len(graph.operators)))
    order, order_proven = liveness.best_order(problem) if reorder else (given, False)
    bound, at = liveness.peak(problem, order)
    tensor_bytes, _ = liveness.peak(liveness.problem(graph, alignment, in_place, {}, external), order)
    blocks = liveness.blocks(problem, order)
    rectangles = _rectangles(blocks, problem.scratch, order)
    offsets, arena, proven = _pack(rectangles, alignment, bound, time_limit)
    if limit is not None and arena > limit:
        raise InfeasibleError(
            f"{graph.name} needs an arena of {arena:,} bytes, {arena - limit:,} more than the {limit:,} given; "
            f"{graph.place(graph.operators[at])} sets the peak of {bound:,} bytes"
        )
    sized = sorted(problem.scratch.items(), key=lambda item: order.index(item[0]))
    return MemoryPlan(
        order=order,
        alignment=alignment,
        buffers=tuple(
            TensorBuffer(tensors=tuple(b.tensors), offset=o, size=b.size, first=b.first, last=b.last)
            for b, o in zip(blocks, offsets, strict=False)
        ),
        scratch=tuple(
            ScratchBuffer(operator=position, offset=o, size=size)
            for (position, size), o in zip(sized, offsets[len(blocks) :], strict=True)
        ),
        arena_bytes=arena,
        tensor_bytes=tensor_bytes,
        lower_bound=bound,
        peak_operator=at,
        proof="live set" if arena == bound else "solver" if proven else "none",
        order_proven=order_proven,
    )


def _check_arguments(graph: Graph, scratch: Mapping[int, int], alignment: int, external: Collection[int]) -> None:
    if alignment < 1 or alignment & (alignment - 1):
        raise InputError(f"alignment {alignment} is not a power of two")
    for position, size in scratch.items():
        if not 0 <= position < len(graph.operators) or size < 0:
            raise InputError(f"scratch of {size} bytes for operator {position} of {len(graph.operators)}")
    for tensor in external:
        if tensor not in graph.inputs and tensor not in graph.outputs:
            raise InputError(f"tensor {tensor} is neither an input nor an output, so it cannot lie outside the arena")


def _rectangles(blocks: Sequence[Block], scratch: Mapping[int, int], order: Sequence[int]) -> list[_Rectangle]:
    """The blocks, then the scratch of each operator in execution order."""
    tensors = [_Rectangle(first=b.first, last=b.last, size=b.size) for b in blocks]
    steps = [(step, scratch[position]) for step, position in enumerate(order) if position in scratch]
    return tensors + [_Rectangle(first=step, last=step, size=size) for step, size in steps]


def _pack(
    rectangles: Sequence[_Rectangle], alignment: int, bound: int, time_limit: float
) -> tuple[list[int], int, bool]:
    """Offsets, the arena they need, and whether it is proven minimal.

    First-fit gives offsets that do not depend on the solver's version; the solver's are used only where smaller.
    """
    offsets, arena = _first_fit(rectangles)
    if not rectangles:
        return offsets, arena, True
    solved, proven = _solve(rectangles, alignment, bound, arena, time_limit)
    if solved is not None:
        needed = max(o + r.size for o, r in zip(solved, rectangles, strict=True))
        if needed < arena:
            return solved, needed, proven
    return offsets, arena, proven or arena == bound


def _first_fit(rectangles: Sequence[_Rectangle]) -> tuple[list[int], int]:
    """The lowest free address for each, greatest first; ties by time."""
    offsets = [0] * len(rectangles)
    placed: list[int] = []
    for i in sorted(range(len(rectangles)), key=lambda i: (-rectangles[i].size, rectangles[i].first, i)):
        offset = 0
        busy = sorted((offsets[j], rectangles[j].size) for j in placed if rectangles[i].meets(rectangles[j]))
        for start, size in busy:
            if offset + rectangles[i].size <= start:
                break
            offset = max(offset, start + size)
        offsets[i] = offset
        placed.append(i)
    return offsets, max((o + r.size for o, r in zip(offsets, rectangles, strict=True)), default=0)


def _solve(
    rectangles: Sequence[_Rectangle], alignment: int, bound: int, arena: int, time_limit: float
) -> tuple[list[int] | None, bool]:
    """Offsets that minimise the arena, and whether the solver proved it. Variables count units of the alignment."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    height = arena // alignment
    top = model.new_int_var(bound // alignment, height, "top")
    starts, time, address = [], [], []
    for i, r in enumerate(rectangles):
        size = r.size // alignment
        start = model.new_int_var(0, height - size, f"start{i}")
        starts.append(start)
        time.append(model.new_fixed_size_interval_var(r.first, r.last - r.first + 1, f"time{i}"))
        address.append(model.new_fixed_size_interval_var(start, size, f"address{i}"))
        model.add(start + size <= top)
    model.add_no_overlap_2d(time, address)
    model.minimize(top)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit
    solver.parameters.max_deterministic_time = time_limit  # about a second each, and the same everywhere
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, False
    return [alignment * solver.value(start) for start in starts], status == cp_model.OPTIMAL
