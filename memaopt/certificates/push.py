"""What is claimed of a push: which rows of a window are computed once, kept, computed again, and what that takes."""

from __future__ import annotations

from memaopt.choice.network_plan import NetworkPlan
from memaopt.inputs import Strict
from memaopt.networks.streaming.rows import phases_of
from memaopt.printable import counted


class RowsClaim(Strict):
    """The rows of one tensor of the window. A push computes ``once`` rows that no push computes again, and ``again``
    those that depend on padding; it finds ``kept`` rows in the state. ``stride`` are frames from one row to the next.
    Where the hop is no multiple of that, rows are kept once for each of the phases that pushes go through;
    ``kept_bytes`` of the state are those of all phases.
    """

    tensor: str
    rows: int
    stride: int
    once: int
    again: int
    kept: int
    kept_bytes: int


class PushClaim(Strict):
    """A push of ``hop`` frames through a window of ``frames``.

    ``moved_bytes`` is all that the layers read and write. ``least_bytes`` is what every push has to: the new frames,
    each weight, and the outputs.
    """

    hop: int
    frames: int
    macs: int
    window_macs: int
    moved_bytes: int
    least_bytes: int
    rows: tuple[RowsClaim, ...]

    def describe(self) -> list[str]:
        """A line each: work, bytes, rows."""
        frames = "frame" if self.hop == 1 else "frames"
        share = f"{self.window_macs / self.macs:.2f} times fewer" if self.macs else "none"
        again = sum(rows.again > 0 for rows in self.rows)
        kept = sum(rows.kept for rows in self.rows)
        padded = f"rows of {counted(again, 'tensor')} depend" if again else "no row that is read depends"
        repeated = f"{padded} on padding" + (", and are computed again" if again else "")
        phases = max((phases_of(rows.stride, self.hop) for rows in self.rows if rows.kept), default=1)
        turns = f" in up to {phases} phases, which pushes go through" if phases > 1 else ""
        return [
            f"{self.hop} {frames} of {self.frames}: {self.macs:,} multiply-accumulates, {share} than the window's",
            f"moves {self.moved_bytes:,} bytes; new frames, weights and outputs alone are {self.least_bytes:,}",
            f"{kept:,} {'row is' if kept == 1 else 'rows are'} kept{turns}; {repeated}",
        ]


def claim(plan: NetworkPlan) -> PushClaim | None:
    """What is claimed of a plan's push; None if its window does not slide."""
    push = plan.push
    if push is None:
        return None
    rows, whole = [], push.whole
    for tensor, found in sorted(push.work.rows.items()):
        of = whole.tensors[tensor]
        rows.append(
            RowsClaim(
                tensor=of.name,
                rows=found.line.count,
                stride=found.line.stride,
                once=found.fresh.rows,
                again=sum(span.rows for span in found.again),
                kept=found.kept.rows,
                kept_bytes=found.phases * found.kept.rows * (of.nbytes // found.line.count),
            )
        )
    graph = plan.graph
    ends = (*graph.given, *graph.wanted)
    return PushClaim(
        hop=push.hop,
        frames=push.window.frames,
        macs=plan.macs,
        window_macs=push.window_macs,
        moved_bytes=sum(layer.traffic.bytes for layer in plan.layers),
        least_bytes=sum(graph.tensors[t].nbytes for t in (*ends, *graph.constants)),
        rows=tuple(rows),
    )
