"""The I/O bound against the fewest bytes that any order of products moves, by exhaustion."""

from __future__ import annotations

import itertools

import pytest
from models_helpers import machine_with
from pebbles_helpers import Product, least_io

from memaopt.kernels.schedule import STACK_BYTES, space
from memaopt.models import closed_form
from memaopt.models.bounds import lower_bounds
from memaopt.models.io_bound import Products, io_bytes
from memaopt.problems.gemm import gemm


def _matrices(m: int, k: int, n: int) -> list[Product]:
    sizes = itertools.product(range(m), range(k), range(n))
    return [Product(i * k + kk, kk * n + j, i * n + j) for i, kk, j in sizes]


def _windows(outputs: int, taps: int, stride: int, channels: int) -> list[Product]:
    """A convolution of one row, of one channel in and some out."""
    return [
        Product(o * taps + tap, p * stride + tap, o * outputs + p)
        for o, p, tap in itertools.product(range(channels), range(outputs), range(taps))
    ]


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 3, 2), (2, 1, 3), (3, 2, 1)])
@pytest.mark.parametrize(("width", "partial"), [(1, 1), (2, 4)])
def test_no_order_of_a_product_is_below(sizes: tuple[int, int, int], width: int, partial: int) -> None:
    """Catches a bound that is none, in memories from the least that does to one that holds everything."""
    m, _, n = sizes
    products = _matrices(*sizes)
    asked = Products(len(products), m * n, width)
    found = []
    for fast in (2 * width + partial, 3 * width + 2 * partial):
        least = least_io(products, width=width, partial=partial, fast=fast)
        assert least is not None
        assert io_bytes(asked, fast, partial) <= least, fast
        found.append(least)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("outputs", "taps", "stride", "uses"), [(4, 2, 1, 2), (3, 3, 1, 3), (3, 2, 2, 1), (2, 3, 2, 2)]
)
def test_no_order_of_a_convolution_is_below(outputs: int, taps: int, stride: int, uses: int) -> None:
    """Catches a bound that takes an element under a window for one that is used once."""
    products = _windows(outputs, taps, stride, 1)
    for fast in (3, 5):
        least = least_io(products, width=1, partial=1, fast=fast)
        assert least is not None
        assert io_bytes(Products(len(products), outputs, 1, uses), fast, 1) <= least


def test_it_is_near_the_optimum() -> None:
    """Catches a bound so weak that it says nothing: of a product of 2x2x2 in three elements it has three quarters."""
    least = least_io(_matrices(2, 2, 2), width=1, partial=1, fast=3)
    assert least == 17
    assert io_bytes(Products(8, 4, 1), 3, 1) == 13


def test_what_a_paper_says_of_long_sums_is_not_so_of_short_ones() -> None:
    """Catches the statement of arXiv 1908.09606, 2 MNK / sqrt(S) + MN, taken without a condition: where K is small a
    schedule that holds A moves fewer."""
    problem = gemm(256, 2, 256, dtype="f32", placement=dict.fromkeys("abc", "qspi"))
    where = space(problem, machine_with(STACK_BYTES + 1024, external=1 << 22))
    moved = closed_form.solve(where).objective[0]
    words = (where.capacity + 4 * (13 + 32)) // 4
    assert moved < 4 * (2 * problem.macs / words**0.5 + problem.elements("C"))
    assert lower_bounds(where).external_bytes <= moved
