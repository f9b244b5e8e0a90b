"""How many bytes must cross to a fast memory that is too small: bounds on layers that are products of matrices.

After Smith, Lowery, Langou, van de Geijn, "A Tight I/O Lower Bound for Matrix Multiplication" (arXiv 1702.02017), for
operands of their own width, windows (as in Demmel and Dinh, arXiv 1802.06905), and a memory that is empty at first.

Let it hold F bytes, an element of A or B w bytes, a partial sum v bytes. Take first C += AB, where each partial sum
is read before it is added to. What a stretch of the computation touches was there when it began or is read in it, so
w|A| + w|B| + v|C| <= T for the distinct elements it touches, with T the bytes there and those read. By Loomis and
Whitney it does at most sqrt(|A| u|B| |C|) products, where u is how often at most the window of one output lies over an
element of B at different taps (1 without windows); by the inequality of the means that is at most

    most(T) = sqrt(u / (w^2 v)) (T / 3)^(3/2).

Cut the computation after 3F bytes read, then after each further 2F. The first stretch finds an empty memory, each other
one at most F bytes, so all have T = 3F but the last, which reads r < 2F and has T = F + r. The least
3F + 2F q + r for which (q + 1) most(3F) + most(F + r) is no less than the number of products bounds the reads; if that
is no more than most(3F), it is the least T with most(T) no less. C starts at zero here, which saves at most v bytes for
each sum, and each result is written.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import isqrt


@dataclass(frozen=True)
class Products:
    """``count`` products summed into ``results`` sums; ``width`` bytes an element, ``uses`` is u."""

    count: int
    results: int
    width: int
    uses: int = 1


def io_bytes(products: Products, fast: int, partial: int) -> int:
    """The bytes that are read and written at least with ``fast`` bytes of memory, empty at first, in which a partial
    sum takes ``partial``; it exists once. Integer arithmetic, rounded down, at least 0.
    """
    reads = _reads(products, fast, partial)
    return max(0, reads - (partial - products.width) * products.results)


def _reads(products: Products, fast: int, partial: int) -> int:
    """The bytes that are read where each sum is read before it is added to."""

    def most(touched: int) -> int:
        return isqrt(products.uses * touched**3 // (27 * products.width**2 * partial))

    whole, count = most(3 * fast), products.count
    if count <= whole:
        return bisect_left(range(3 * fast + 1), count, key=most)
    stretches = -(-(count - whole) // whole) - 1
    last = count - whole * (1 + stretches)
    touched = bisect_left(range(3 * fast + 1), last, key=most)
    return 3 * fast + 2 * fast * stretches + max(0, touched - fast)
