"""The fewest bytes that any order of products moves: a search over all of them, for instances of a few elements."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class Product(NamedTuple):
    """One multiplication: which element of A, which of B, added to which sum of C."""

    a: int
    b: int
    c: int


def least_io(products: Sequence[Product], *, width: int, partial: int, fast: int) -> int | None:
    """Bytes loaded and stored at least: elements of A and B of ``width`` bytes, sums of ``partial`` while they are not
    done and of ``width`` when they are, in a memory of ``fast`` bytes that is empty at first. None if nothing fits.

    Dijkstra over which products are done and which elements are in the fast memory. What is there can be dropped at no
    cost, a sum that is not done only by a store; a sum begins at no cost and is stored when it is done. A product whose
    elements are there is done at once, which never costs more, and what no product needs any more is neither loaded nor
    kept.
    """
    inputs = [*dict.fromkeys(("a", p.a) for p in products), *dict.fromkeys(("b", p.b) for p in products)]
    sums = [*dict.fromkeys(("c", p.c) for p in products)]
    bit = {name: 1 << i for i, name in enumerate([*inputs, *sums])}
    of = [bit["a", p.a] | bit["b", p.b] | bit["c", p.c] for p in products]
    users = {b: sum(1 << i for i, need in enumerate(of) if need & b) for b in bit.values()}
    parts = {bit[s]: users[bit[s]] for s in sums}
    size = {b: partial if b in parts else width for b in bit.values()}
    every = (1 << len(products)) - 1

    best = {(0, 0): 0}
    queue = [(0, 0, 0)]
    while queue:
        cost, done, held = heapq.heappop(queue)
        if best[done, held] < cost:
            continue
        if done == every:
            return cost
        ready = next((i for i, need in enumerate(of) if not done >> i & 1 and held & need == need), None)
        steps = []
        if ready is not None:
            after = done | 1 << ready
            wanted = sum(b for b in size if users[b] & ~after)
            finished = sum(1 for b in parts if parts[b] & ~done and not parts[b] & ~after)
            steps = [(cost + width * finished, after, held & wanted)]
        else:
            room = fast - sum(n for b, n in size.items() if held & b)
            for b, n in size.items():
                begun = b in parts and done & parts[b]
                if held & b:
                    steps.append((cost + (partial if begun else 0), done, held & ~b))
                elif n <= room and users[b] & ~done:
                    steps.append((cost + (0 if b in parts and not begun else n), done, held | b))
        for next_cost, *state in steps:
            key = (state[0], state[1])
            if next_cost < best.get(key, 1 << 60):
                best[key] = next_cost
                heapq.heappush(queue, (next_cost, *key))
    return None
