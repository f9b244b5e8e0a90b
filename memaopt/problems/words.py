"""The words that problems are described with. ``--help`` lists them, so nothing is imported for them."""

from typing import Literal, get_args

Buffering = Literal["single", "double"]
#: One of OBJECTIVES, or weights (:mod:`memaopt.problems.objectives`).
Objective = str
#: How a schedule of a Gemm is proven: by three models that agree, or by the closed form alone.
ProofOf = Literal["full", "closed form"]
#: The axis of an input that time runs along: rows are the first axis after the batch, columns those of an image; auto:
#: the one that is not 1.
Axis = Literal["auto", "rows", "columns"]
#: What a window that slides holds before it is full: the input's zero point, or the first frame again and again.
Fill = Literal["zero", "first"]

#: How a network takes its input: all of it at once, or an image row by row.
Taken = Literal["whole", "rows"]

#: The machine that is meant where none is named.
MCU = "stm32l4r5"

BUFFERINGS: tuple[Buffering, ...] = get_args(Buffering)
OBJECTIVES: tuple[Objective, ...] = ("bytes", "cycles", "energy")
PROOFS: tuple[ProofOf, ...] = get_args(ProofOf)
AXES: tuple[Axis, ...] = get_args(Axis)
FILLS: tuple[Fill, ...] = get_args(Fill)
TAKEN: tuple[Taken, ...] = get_args(Taken)
