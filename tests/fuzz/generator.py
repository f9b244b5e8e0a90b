"""Random networks, mostly of int8: batches, several ends, tensors read many times, parts of constants alone, extreme
scales and zero points, axes of size 1, every operator of a file."""

from __future__ import annotations

from collections.abc import Callable

from memaopt.errors import InputError
from memaopt.networks import checks
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.operators.floating import FloatOnly
from memaopt.networks.operators.registry import OPERATORS
from memaopt.networks.operators.unary import Unary
from tests.fuzz.growing import (
    Rng,
    pick,
    random_int8,
    random_scale,
    random_size,
    random_zero_point,
)
from tests.fuzz.growing_bools import GrowingBools
from tests.fuzz.growing_elements import GrowingElements
from tests.fuzz.growing_moves import GrowingMoves
from tests.fuzz.growing_pairs import GrowingPairs
from tests.fuzz.growing_sixteen import GrowingSixteen
from tests.fuzz.growing_windows import GrowingWindows

#: One step in so many is of int16.
_RARE = 25


def random_network(rng: Rng, name: str, *, most: int = 9, writable: bool = False) -> Graph:
    """A network of one to ``most`` operators that the checks accept; ``writable``: a .tflite file can hold it."""
    while True:
        graph = _Network(rng, name).grown(int(rng.integers(1, most + 1)))
        try:
            checks.check(graph)
            if writable:
                writer.write(graph)
        except InputError:
            continue
        return graph


class _Network(GrowingWindows, GrowingPairs, GrowingMoves, GrowingElements, GrowingBools, GrowingSixteen):
    """A network that gets one operator after another."""

    def _step(self) -> None:
        before = len(self.tensors)
        if self.rng.integers(_RARE) == 0:
            self.sixteen()
            return
        kind = pick(self.rng, _VISION if self.vision else list(OPERATORS))
        images = [t for t in self.ready if len(self.tensors[t].shape) == 4]
        x = int(pick(self.rng, images[-2:])) if kind in _WINDOWS and images else self._operand()
        if not _STEPS[kind](self, x):
            used = {i for op in self.operators for i in (*op.inputs, *op.outputs)} | set(self.inputs)
            while len(self.tensors) > before and len(self.tensors) - 1 not in used:
                self.tensors.pop()

    def _operand(self) -> int:
        """A tensor to read: mostly the last one, any other, or now and then a constant."""
        rng = self.rng
        if rng.integers(25) == 0:
            shape = tuple(random_size(rng, 6) for _ in range(int(pick(rng, (4, 4, 2, 1)))))
            return self._constant(random_int8(rng, shape), random_scale(rng), random_zero_point(rng))
        return self.ready[-1] if rng.integers(3) else int(pick(rng, self.ready))


def _step_of(kind: str) -> Callable[[_Network, int], bool]:
    """How an operator is put: its own method, or as any unary one."""
    own: Callable[[_Network, int], bool] | None = getattr(_Network, kind.lower(), None)
    if own is not None:
        return own
    if issubclass(OPERATORS[kind], FloatOnly):
        return lambda growing, x: growing.island(OPERATORS[kind], x)
    assert issubclass(OPERATORS[kind], Unary), f"how is {kind} put?"
    return lambda growing, x: growing._unary(OPERATORS[kind], x)


#: Every operator of a file, by its name.
_STEPS = {kind: _step_of(kind) for kind in OPERATORS}

_WINDOWS = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESIZE_NEAREST_NEIGHBOR",
    "RESIZE_BILINEAR",
    "TRANSPOSE_CONV",
    "SPACE_TO_DEPTH",
    "DEPTH_TO_SPACE",
)

_VISION = (
    *("CONV_2D",) * 4, *("DEPTHWISE_CONV_2D",) * 3, "ADD", "ADD", "FULLY_CONNECTED", "MEAN", "PAD", "RELU6", "MUL",
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR", "RESHAPE", "HARD_SWISH",
)  # fmt: skip
