"""The memory plan: which bytes of the arena each activation takes, and the proof that no plan takes fewer.

Offsets are a packing of rectangles in time x address (:mod:`memaopt.memory.packing`), bounded below by the largest
live set of the execution order, in which an input and an output that may overlap count with the bytes that both take
together. A plan verifies itself without trusting how it was made: see :meth:`MemoryPlan.verify`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from memaopt.errors import FalseClaimError, InfeasibleError, InputError
from memaopt.inputs import Strict
from memaopt.memory import liveness
from memaopt.memory import replay as memory_check
from memaopt.memory.liveness import ArenaProblem, InPlace, Leads, Lifetime, elementwise_in_place, no_leads
from memaopt.memory.packing import Proof, pack
from memaopt.memory.rectangles import Rectangle, Sharing
from memaopt.networks.graph import Graph

_TIME_LIMIT = 5.0


class TensorBuffer(Strict):
    """Bytes [offset, offset + size) hold the tensors in turn, from step ``first`` to step ``last`` inclusive."""

    tensors: tuple[int, ...]
    offset: int
    size: int
    first: int
    last: int


class ScratchBuffer(Strict):
    """Bytes that one operator uses while it runs."""

    operator: int
    offset: int
    size: int


class MemoryPlan(Strict):
    """Offsets for an execution order. Sizes and bounds in bytes, multiples of ``alignment``.

    ``operator`` and ``order`` count positions in ``graph.operators``. ``lower_bound`` is the largest live set,
    scratch included; ``peak_operator`` the operator at which it occurs. ``tensor_bytes`` is the largest live set
    without scratch. ``proof`` says why no smaller arena exists for this order: it equals the live set, an exhaustive
    search found none, or the solver proved it; ``order_proven`` that no other order has a smaller live set.
    """

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
        leads: Leads = no_leads,
        external: Collection[int] = (),
        complete: bool = False,
    ) -> None:
        """Raise FalseClaimError for the first claim that does not hold.

        The network is replayed byte by byte: every operator must find its inputs intact. Bounds are recomputed from
        the network, and the packing is searched again. Where that gives up, ``solver`` and ``none`` are taken as they
        are: that no smaller arena does is then all that is not derived here. ``complete``: refuse less than is proven.
        """
        scratch = scratch or {}
        memory_check.replay(self, graph, scratch, in_place, frozenset(external), leads)
        problem = liveness.problem(graph, self.alignment, in_place, scratch, external, leads)
        bare = liveness.problem(graph, self.alignment, in_place, {}, external, leads)
        bound, at = liveness.peak(problem, self.order)
        tensors, _ = liveness.peak(bare, self.order)
        blocks = liveness.blocks(problem, self.order)
        sized = [(s.operator, s.size) for s in self.scratch]
        for name, claimed, actual in (
            ("the lower bound", self.lower_bound, bound),
            ("the peak operator", self.peak_operator, at),
            ("the tensors' live set", self.tensor_bytes, tensors),
            ("the scratch of each operator", sized, _scratch(problem, self.order)),
            ("the buffers' tensors, sizes and times", _facts(self.buffers), [_fact(block) for block in blocks]),
        ):
            if claimed != actual:
                raise FalseClaimError(f"the memory plan says that {name} is {claimed}, but it is {actual}")
        ends = [b.offset + b.size for b in self.buffers] + [s.offset + s.size for s in self.scratch]
        if self.arena_bytes != max(ends, default=0):
            raise FalseClaimError(f"the memory plan says {self.arena_bytes} bytes, but it takes {max(ends, default=0)}")
        order, proven = liveness.best_order(problem)
        best_order = proven and liveness.peak(problem, order)[0] == bound
        if self.order_proven and not best_order:
            raise FalseClaimError("the memory plan says that no order has a smaller live set; one has")
        if complete and not self.order_proven and best_order:
            raise FalseClaimError("the memory plan does not say that no order has a smaller live set, but none has")
        if self.proof == "live set" and self.arena_bytes != bound:
            raise FalseClaimError(f"the memory plan says that {self.arena_bytes} bytes equal the live set of {bound}")
        if self.proof == "live set" or (self.proof != "search" and not complete):
            return
        rectangles, pairs = rectangles_of(problem, self.order)
        _, least, proof = pack(rectangles, pairs, self.alignment, bound, 0)
        decided = proof != "none" or least < self.arena_bytes or self.proof not in ("solver", "none")
        if decided and (self.arena_bytes, self.proof) != (least, proof):
            raise FalseClaimError(
                f"the memory plan says that {self.arena_bytes} bytes are the least ({self.proof}); {least} do ({proof})"
            )


def plan(
    graph: Graph,
    *,
    scratch: Mapping[int, int] | None = None,
    alignment: int = 16,
    in_place: InPlace = elementwise_in_place,
    leads: Leads = no_leads,
    external: Collection[int] = (),
    reorder: bool = True,
    order: Sequence[int] | None = None,
    limit: int | None = None,
    time_limit: float = _TIME_LIMIT,
) -> MemoryPlan:
    """The smallest arena for a network.

    ``scratch``: bytes that an operator (by position) needs while it runs. ``alignment``: of every offset, a power of
    two. ``in_place``: which inputs an operator may overwrite. ``leads``: how an output may overlap the first input, if
    nothing reads that afterwards. ``external``: tensors that live outside the arena.
    ``reorder``: whether operators may run in another order than ``order``, by default the given one. ``limit``: a
    budget in bytes.

    Raises InfeasibleError if the arena exceeds ``limit``; the message names the operator that sets the peak.
    """
    scratch = scratch or {}
    _check_arguments(graph, scratch, alignment, external)
    problem = liveness.problem(graph, alignment, in_place, scratch, external, leads)
    given = tuple(range(len(graph.operators)) if order is None else order)
    order, order_proven = liveness.best_order(problem) if reorder else (given, False)
    bound, at = liveness.peak(problem, order)
    tensor_bytes, _ = liveness.peak(liveness.problem(graph, alignment, in_place, {}, external, leads), order)
    blocks = liveness.blocks(problem, order)
    rectangles, pairs = rectangles_of(problem, order)
    offsets, arena, proof = pack(rectangles, pairs, alignment, bound, time_limit)
    if limit is not None and arena > limit:
        raise InfeasibleError(
            f"{graph.name} needs an arena of {arena:,} bytes, {arena - limit:,} more than the {limit:,} given; "
            f"{graph.place(graph.operators[at])} sets the peak of {bound:,} bytes"
        )
    sized = _scratch(problem, order)
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
        proof=proof,
        order_proven=order_proven,
    )


def _check_arguments(graph: Graph, scratch: Mapping[int, int], alignment: int, external: Collection[int]) -> None:
    if alignment < 1 or alignment & (alignment - 1):
        raise InputError(f"alignment {alignment} is not a power of two")
    for position, size in scratch.items():
        if not 0 <= position < len(graph.operators) or size < 0:
            raise InputError(f"scratch of {size} bytes for operator {position} of {len(graph.operators)}")
    for tensor in external:
        if not 0 <= tensor < len(graph.tensors) or graph.tensors[tensor].is_constant:
            raise InputError(f"tensor {tensor} is no activation, so it does not lie outside the arena")


def rectangles_of(problem: ArenaProblem, order: Sequence[int]) -> tuple[list[Rectangle], list[Sharing]]:
    """What is packed: the blocks, then the scratch of each operator in execution order; and what may overlap."""
    blocks = liveness.blocks(problem, order)
    tensors = [Rectangle(b.first, b.last, b.size) for b in blocks]
    steps = [(step, problem.scratch[position]) for step, position in enumerate(order) if position in problem.scratch]
    pairs = [Sharing(i, j, lead) for i, j, lead in liveness.overlapping(problem, order, blocks)]
    return tensors + [Rectangle(step, step, size) for step, size in steps], pairs


def _scratch(problem: ArenaProblem, order: Sequence[int]) -> list[tuple[int, int]]:
    """The operators that have scratch, in execution order, with its aligned bytes."""
    return [(position, problem.scratch[position]) for position in order if position in problem.scratch]


def _fact(block: Lifetime | TensorBuffer) -> tuple[tuple[int, ...], int, int, int]:
    """All of a block but where it lies."""
    return tuple(block.tensors), block.size, block.first, block.last


def _facts(buffers: Sequence[TensorBuffer]) -> list[tuple[tuple[int, ...], int, int, int]]:
    return [_fact(buffer) for buffer in buffers]
