"""The words that problems are described with. ``--help`` lists them, so nothing is imported for them."""

from typing import Literal, get_args

Dtype = Literal["f32", "q15", "s8"]
Buffering = Literal["single", "double"]
Objective = Literal["bytes", "cycles", "energy"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
BUFFERINGS: tuple[Buffering, ...] = get_args(Buffering)
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
