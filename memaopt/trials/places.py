"""Where a library's activations lie on the virtual board: in its arena, and in the state of its caller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import NetworkPlan

if TYPE_CHECKING:
    from memaopt.board import Board

_Array = npt.NDArray[Any]
RUBBISH = b"\xa5"  # what memory holds that nothing has written


class Bases(NamedTuple):
    """The addresses of the arena, of the state, of an image that comes by rows, and of the arena outside the chip; 0
    for what there is none of, or nothing in."""

    arena: int
    state: int
    image: int
    outer: int

    def of(self, plan: NetworkPlan, tensor: int) -> int:
        """The address of an activation."""
        if tensor in plan.graph.nowhere:
            return self.image
        inside = self.state if tensor in plan.graph.outside else self.arena
        return (self.outer if plan.is_away(tensor) else inside) + plan.place(tensor)


def bases_of(plan: NetworkPlan, board: Board) -> Bases:
    there, name = board.symbols, plan.name
    symbols = f"{plan.library}_static_arena", kept_symbol(plan), f"{name}_image", f"{plan.library}_outer_arena"
    return Bases(*(there.get(symbol, 0) for symbol in symbols))


def caller_source(plan: NetworkPlan, folder: Path) -> list[Path]:
    """A C file with what is the caller's, if anything is: the state, or an image and a place for one of its rows."""
    kept, most = kept_symbol(plan), max(plan.graph.tensors[t].nbytes for t in plan.graph.given)
    if plan.graph.states:
        text = f"{plan.name}_state {kept};\nint32_t {kept}_first[{-(-most // 4)}];"
    elif plan.graph.by_rows:
        text = f"int32_t {plan.name}_image[{-(-most // 4)}];\nint32_t {plan.name}_row[{-(-most // 4)}];"
    else:
        return []
    file = folder / f"{plan.name}_caller.c"
    file.write_text(f'#include "{plan.library}.h"\n\n{text}\n', encoding="utf-8")
    return [file]


def kept_symbol(plan: NetworkPlan) -> str:
    return f"{plan.name}_kept"


def differing(board: Board, address: int, wanted: _Array) -> int:
    """Bytes of memory that are not those of an array."""
    data = np.frombuffer(np.ascontiguousarray(wanted).tobytes(), np.uint8)
    return int(np.count_nonzero(data != np.frombuffer(board.read(address, len(data)), np.uint8)))
