"""Several networks in one library on the virtual board: each tried as one of its own is, in the one arena."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from memaopt.choice.bundle import BundlePlan
from memaopt.emit import bundle
from memaopt.emit.outside import demand_images
from memaopt.interrupts import scratch_folder
from memaopt.overview import Overview
from memaopt.trials.network import NetworkTrial, default_count, imaged, link, sample_inputs, tried
from memaopt.writer import write_scratch

if TYPE_CHECKING:
    from memaopt.board.projects import Layout


class BundleTrial(Overview, frozen=True):
    """The trial of each network, in their order."""

    names: tuple[str, ...]
    networks: tuple[NetworkTrial, ...]

    @property
    def passed(self) -> bool:
        """Whether all did."""
        return all(each.passed for each in self.networks)

    def headline(self) -> str:
        return f"{'passed' if self.passed else 'failed'}, {len(self.networks)} networks"

    def facts(self) -> tuple[tuple[str, str], ...]:
        each = zip(self.names, self.networks, strict=True)
        return (*((name, trial.headline()) for name, trial in each), *self.networks[-1].facts()[-2:])


def run(
    plan: BundlePlan,
    inputs: int | None = None,
    *,
    folder: str | Path | None = None,
    compiler: str | None = None,
    layout: Layout | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BundleTrial:
    """Build the library once and run each of its networks on the board, on so many random inputs, by default one, or
    pushes beyond a full window; else as :func:`memaopt.trials.network.run`. With ``layout`` one image runs all of them
    from reset.
    """
    counts = [default_count(each) if inputs is None else inputs for each in plan.plans]
    samples = [sample_inputs(each, count) for each, count in zip(plan.plans, counts, strict=True)]
    with scratch_folder() as scratch:
        source = scratch if folder is None else Path(folder)
        if folder is None:
            write_scratch(bundle.files(plan), source)
        else:
            demand_images(plan, source)
        linked = link(plan.plans, source, scratch, compiler=compiler)
        images = imaged(plan.plans, source, layout, compiler=compiler)
    trials, done = [], 0
    for each, inputs_of, image in zip(plan.plans, samples, images, strict=True):
        before = done

        def advance(now: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + now, sum(counts))

        trials.append(tried(each, linked, inputs_of, image, advance))
        done += len(inputs_of)
    return BundleTrial(names=tuple(each.name for each in plan.plans), networks=tuple(trials))
