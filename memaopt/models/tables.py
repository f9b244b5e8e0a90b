"""Loads of constants here and there in a table: what of it a cache of the flash holds, and what the others wait."""

import math

from memaopt.kernels.code import TableLoads
from memaopt.models.fetching import FlashTiming


def table_wait(table: TableLoads, m: FlashTiming) -> float:
    """The cycles that a table's loads wait, of which some find their read in the cache of data, if there is one."""
    capacity = 4 * m.data_lines * m.line
    if table.marked and not capacity:
        return 0.0
    among, read = table.among or table.loads, 4 * m.read
    # What lies behind a row's first word comes with it, as far as the read goes, which it lies anywhere in.
    row = max(table.row, 4)
    together = ((row - math.gcd(row, read)) / read + 1) * 4 / row if m.read and capacity else 1
    kept = _kept(min(capacity / table.size, 1), max(4 * m.line / max(row, read), 1) if m.read else 1)
    # Loads anywhere in the table: the reads of it that some load needs.
    reads = math.ceil(table.size / read) if m.read and capacity else 0
    cold = reads * (1 - (1 - 1 / reads) ** (among * together)) if reads else 0.0
    return m.first * max((1 - kept) * among * together, cold) * table.loads / among


def _kept(share: float, reads: float) -> float:
    """The share of loads anywhere in a table that find their read in a cache which holds a share of its lines.

    A line that comes in has one of its ``reads`` alone. That a load finds the line, its k-th in a row, and one of the k
    reads before it: the sum over k of (1 - h) h^k (1 - (1 - 1 / r)^k).
    """
    other = 1 - 1 / reads
    return share * (1 - other) / (1 - share * other)
