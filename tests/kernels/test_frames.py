"""What plans say of the code and the stack around their kernels, against what the compiler makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from layers_helpers import conv, conv_depthwise, depthwise, fully_connected
from stack_helpers import compiled, pushed

from memaopt.kernels.registry import emit, plans, source_file
from memaopt.problems.geometry import Image, Pair
from memaopt.problems.layers import ArgExtreme, Extreme, L2Norm, Layer, MatMul, Mean, PoolKind, Softmax
from memaopt.problems.resize import Resize
from memaopt.problems.step_functions import Requantization, Rescale


def _layers() -> Iterator[Layer]:
    """Those whose C was the largest of some hundred random ones, and others of other forms."""
    rng = np.random.default_rng(4)
    yield conv(rng, (9, 9, 8), 12, (5, 5), stride=(2, 2))
    yield conv(rng, (8, 5, 2), 8, (3, 3), padding="valid")
    yield conv(rng, (3, 7, 12), 14, groups=2)
    yield conv(rng, (4, 4, 512), 8, (3, 3))
    yield conv(rng, (8, 8, 16), 8, (3, 3))
    yield depthwise(rng, (35, 29, 7), (7, 7))
    yield depthwise(rng, (20, 16, 18))
    yield conv_depthwise(rng, (13, 8, 8), 8, (3, 3))
    yield from (fully_connected(rng, k, m) for k, m in ((37, 9), (500, 16), (4000, 6)))
    yield L2Norm(7, 33, 5)
    yield Resize(Image(5, 7, 1), Image(9, 3, 1), Pair(569, 2389), True)
    yield Resize(Image(4, 4, 3), Image(8, 8, 3), Pair(512, 512), False)
    yield MatMul((1, 3, 2, 4, 5), (3, 1, 5, 6), (False, False), 3, -4, 5, Rescale(1518500250, -9))
    yield Softmax(2, 10, 1374389535, 23, -248)
    q = Requantization(-3, multipliers=np.array([1717986918]), shifts=np.array([-4]))
    for shape, axes in (((7,), (0,)), ((4, 4, 8), (0, 1)), ((2, 3, 4, 5, 2), (0, 2, 4))):
        yield Mean(shape, axes, 5, q)
        yield Extreme(PoolKind.MIN, shape, axes)
    yield from (ArgExtreme(PoolKind.MAX, (4, 7, 3), size) for size in (4, 8))


@pytest.mark.slow
def test_code_and_stack_are_no_more_than_claimed(tmp_path: Path) -> None:
    """Catches a layer whose C takes more flash than a budget was told, or with its kernel more of the stack."""
    emitted = {f"l{i}_{j}": (plan, emit(layer, plan, f"l{i}_{j}"))
               for i, layer in enumerate(_layers()) for j, plan in enumerate(plans(layer))}  # fmt: skip
    (tmp_path / "made.c").write_text(source_file([e for _, e in emitted.values()]))
    sizes, frames = compiled(tmp_path, "made.c")
    over = []
    for name, (plan, e) in emitted.items():
        code, shared = sizes[name], sum(sizes[kernel.name] for kernel in e.kernels)
        if code > plan.code_bytes - plan.shared_bytes or shared > plan.shared_bytes:
            over.append((name, plan.family, plan.tile, "code", code, shared, plan.code_bytes, plan.shared_bytes))
        driver = frames["run_tiles"] if "run_tiles(" in e.body else 0
        stack = frames[name] + driver + max((pushed(kernel.source) for kernel in e.kernels), default=0)
        if e.kernels and stack > plan.stack_bytes:
            over.append((name, plan.family, plan.tile, "stack", stack, plan.stack_bytes))
    assert not over, "\n".join(map(str, over))
