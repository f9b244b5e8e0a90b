"""What every order of a chain's steps does at least: found from its parts' rows, without making the order.

A tensor's rows are needed as far as the last band of each reader goes, from the end of the chain to its start. So many
come, in bands of their part; whoever computes earlier than that computes no fewer.
"""

from __future__ import annotations

from memaopt.kernels.chains.order import ChainRows, ChainStep, Order, StepKind


def least_order(shape: ChainRows, heights: tuple[int, ...]) -> Order:
    """The steps that every order with bands of such heights makes, one kind after the other, and no moves. ``aligned``
    has the parts that may be so in some order."""
    last = len(shape.lines) - 1
    steps, bands = list[ChainStep](), [0] * len(heights)
    needed = [0] * last + [shape.lines[last].rows]
    for tensor in range(last, -1, -1):
        line = shape.lines[tensor]
        inside = min(max(needed[tensor] - line.above, 0), line.height)
        if tensor in shape.buffered:
            steps += [ChainStep(StepKind.PAD, tensor)] * (needed[tensor] - inside)
        if tensor == 0:
            steps += [ChainStep(StepKind.FEED, 0)] * (inside if 0 in shape.buffered else 0)
            break
        part = tensor - 1
        bands[part] = -(-inside // heights[part])
        steps += [ChainStep(StepKind.COMPUTE, part)] * bands[part]
        for read, reader in shape.reads(part):
            reach, above = shape.reach(reader), shape.lines[read].above
            end = above - reach.above + (bands[part] - 1) * heights[part] * reach.stride + reach.rows_in(heights[part])
            needed[read] = max(needed[read], end)
    if shape.sums:
        steps.append(ChainStep(StepKind.FINISH, last - 1))
    aligned = frozenset(part for part in range(last) if _may_be_aligned(shape, heights, part, bands[part]))
    return Order(shape, heights, tuple(steps), {}, (), frozenset(), (), aligned, 0)


def _may_be_aligned(shape: ChainRows, heights: tuple[int, ...], part: int, bands: int) -> bool:
    """Whether the rows that a part reads and writes may all start at multiples of 4 bytes: those of a whole input or
    output do as their rows are, and the first rows of a line buffer lie behind those of padding."""
    ahead = [
        heights[part] * shape.reach(reader).stride * shape.lines[tensor].row_bytes
        for tensor, reader in shape.reads(part)
        if tensor not in shape.buffered
    ]
    output = shape.lines[part + 1]
    if part + 1 not in shape.buffered:
        ahead.append(heights[part] * output.row_bytes)
    elif output.above * output.row_bytes % 4:
        # They are there before any reader has a window, unless padding is all that it reads.
        return any(shape.reach(reader).extent <= output.above for reader in output.readers)
    return bands < 2 or all(size % 4 == 0 for size in ahead)


def rows_during(shape: ChainRows, heights: tuple[int, ...]) -> list[int]:
    """Bytes of rows in line buffers while each part computes, at least: those that it reads and writes."""
    found = []
    for part, rows in enumerate(heights):
        reads: dict[int, int] = {}
        for tensor, reader in shape.reads(part):
            if tensor in shape.buffered:
                reads[tensor] = max(reads.get(tensor, 0), shape.reach(reader).rows_in(rows))
        held = sum(count * shape.lines[tensor].row_bytes for tensor, count in reads.items())
        found.append(held + (rows * shape.lines[part + 1].row_bytes if part + 1 in shape.buffered else 0))
    return found
