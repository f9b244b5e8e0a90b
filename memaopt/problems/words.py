"""The words that problems are described with. ``--help`` lists them, so nothing is imported for them."""

from typing import Literal, get_args

Dtype = Literal["f32", "q15", "s8"]
Buffering = Literal["single", "double"]
#: One of OBJECTIVES, or weights (:mod:`memaopt.problems.objectives`).
Objective = str
#: How a schedule of a Gemm is proven: by three models that agree, or by the closed form alone.
ProofOf = Literal["full", "closed form"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
BUFFERINGS: tuple[Buffering, ...] = get_args(Buffering)
OBJECTIVES: tuple[Objective, ...] = ("bytes", "cycles", "energy")
PROOFS: tuple[ProofOf, ...] = get_args(ProofOf)
