"""A network whose input comes by rows, fed on the virtual board: each row lies alone in memory while it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import NetworkPlan
from memaopt.networks import reference
from memaopt.trials.places import RUBBISH, bases_of, differing

if TYPE_CHECKING:
    from memaopt.board import Board


def wrong_bytes(plan: NetworkPlan, board: Board, values: Sequence[npt.NDArray[Any]]) -> int:
    """The wrong bytes of outputs, and calls that did not return what they should, of an image fed row by row."""
    if not plan.graph.by_rows:
        return 0
    bases, row = bases_of(plan, board), board.symbols[f"{plan.name}_row"]
    (image,) = values
    board.write(bases.arena, RUBBISH * plan.arena_bytes)
    board.write(bases.image, RUBBISH * image.nbytes)
    ends, rows, wrong = [0] * len(plan.graph.wanted), np.ascontiguousarray(image)[0], 0
    for number, data in enumerate(rows):
        board.write(row, data.tobytes())
        run = board.call(f"{plan.name}_feed", number, row, *ends)
        wrong += run.r0 != (number + 1 == len(rows))
        board.write(row, RUBBISH * data.nbytes)
    for tensor, output in zip(plan.graph.outputs, reference.run(plan.source, list(values)), strict=True):
        wrong += differing(board, bases.of(plan, tensor), output)
    return wrong
