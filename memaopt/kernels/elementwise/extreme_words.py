"""MINIMUM, MAXIMUM, LOGICAL_AND and LOGICAL_OR of four bytes at once: SSUB8 compares, SEL chooses."""

from collections.abc import Callable

from memaopt.kernels.code import Rendered
from memaopt.kernels.elementwise.runs import PairKernel, PairRun, emitted_runs, pairs_plan, runs_of
from memaopt.kernels.emitted import Emitted, binary
from memaopt.kernels.family import dimensions
from memaopt.kernels.plan import Plan
from memaopt.problems.binary import Binary, BinaryKind
from memaopt.problems.step_functions import INT8_MAX, INT8_MIN


class ExtremeWords:
    """Without a clamp, broadcast as :func:`runs_of` has it."""

    name = "extremes by words"
    computes = Binary

    def plans(self, layer: Binary) -> tuple[Plan, ...]:
        runs = runs_of(layer)
        if not layer.kind.is_extreme or runs is None or (layer.minimum, layer.maximum) != (INT8_MIN, INT8_MAX):
            return ()
        return (pairs_plan(self.name, layer, runs, _of(layer), stack=88, data=0, told=""),)

    def emit(self, layer: Binary, plan: Plan, name: str) -> Emitted:
        runs = runs_of(layer)
        assert runs is not None
        title = f"{layer.kind.upper()} of {dimensions(layer.first_shape)} and {dimensions(layer.second_shape)}"
        return emitted_runs(binary(name), plan, title, [], runs, _of(layer))


def _of(layer: Binary) -> Callable[[PairRun], PairKernel]:
    """The kernel of each run, by sixteens where they fill it."""
    greatest = layer.kind is BinaryKind.MAXIMUM

    def kernel(run: PairRun) -> PairKernel:
        eights = 2 if run.eights and run.eights % 2 == 0 else 1
        values = (("greatest", greatest), ("eights", eights), ("turns", run.eights > 0), ("rest", run.rest))
        name = f"{'greater' if greatest else 'lesser'}_bytes_by_{8 * eights}{run.slug}"
        rendered = Rendered(name, "kernels/elementwise/extreme_words.c.j2", values)
        return PairKernel(rendered, 0, 0, eights, by_words=True)

    return kernel


FAMILIES = (ExtremeWords(),)
