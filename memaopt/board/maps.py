"""Address maps that the native hook reads: for each page of 4 KiB of the address space, an array of cells."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE = 4096


class PagedMap:
    """A number for each ``cell`` bytes of the 4 GiB address space, 0 where nothing was put.

    Whole pages with one number share an array, so that a map of many MiB stays small and in the host's
    cache. ``pages[address // 4096]`` is the page's place in ``cells``.
    """

    def __init__(self, cell: int, dtype: type[np.unsignedinteger[Any]]) -> None:
        self._cell = cell
        self._width = PAGE // cell
        self._uniform = {0: 0}
        self._shared = {0}
        self._used = 1
        self.pages: NDArray[np.uint32] = np.zeros(1 << 20, np.uint32)
        self.cells: NDArray[Any] = np.zeros((16, self._width), dtype)

    def fill(self, start: int, end: int, value: int) -> None:
        """Put ``value`` at the addresses from ``start`` up to ``end``, exclusive."""
        address = start
        while address < end:
            page = address // PAGE
            stop = min(end, (page + 1) * PAGE)
            if stop - address == PAGE:
                whole = end // PAGE
                self.pages[page:whole] = self._uniform_page(value)
                address = whole * PAGE
            else:
                low, high = address % PAGE, stop - page * PAGE
                self._own(page)[low // self._cell : -(-high // self._cell)] = value
                address = stop

    def set(self, address: int, value: int) -> None:
        """Put ``value`` into the one cell that holds ``address``."""
        self._own(address // PAGE)[address % PAGE // self._cell] = value

    def get(self, address: int) -> int:
        """The number at ``address``."""
        return int(self.cells[self.pages[address // PAGE], address % PAGE // self._cell])

    def _own(self, page: int) -> NDArray[Any]:
        """The cells of a page, made its own if it shared them."""
        held = int(self.pages[page])
        if held in self._shared:
            self.pages[page] = self._new(int(self.cells[held, 0]))
        row: NDArray[Any] = self.cells[self.pages[page]]
        return row

    def _uniform_page(self, value: int) -> int:
        if value not in self._uniform:
            self._uniform[value] = self._new(value)
            self._shared.add(self._uniform[value])
        return self._uniform[value]

    def _new(self, value: int) -> int:
        if self._used == len(self.cells):
            self.cells = np.concatenate([self.cells, np.zeros_like(self.cells)])
        self.cells[self._used] = value
        self._used += 1
        return self._used - 1
