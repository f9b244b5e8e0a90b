"""A network's library in a whole image: a project of the chip, run from reset and measured by the core's counter."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from memaopt.board.build import Build
from memaopt.board.projects import Layout, build_project
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.errors import FaultError
from memaopt.interrupts import scratch_folder
from memaopt.kernels.text.templates import render
from memaopt.trials import readout

#: What a project's own code takes of the stack beside the library.
_STACK = 512


class ImageRun(BaseModel):
    """One inference in an image: what ``invoke`` returned, negated, the wrong bytes of its outputs, and its cycles by
    DWT's counter, its own reading included. ``stack_bytes`` are the whole image's.
    """

    model_config = ConfigDict(frozen=True)

    layout: Layout
    status: int
    wrong: int
    cycles: int | None
    stack_bytes: int

    @property
    def right(self) -> bool:
        """It ran, and every byte of its outputs is right."""
        return self.status == 0 and self.wrong == 0


def run(
    plan: NetworkPlan,
    folder: str | Path,
    layout: Layout,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
) -> ImageRun:
    """Build the library in ``folder`` with its test vector as a project of that layout, and run it from reset.

    The chip starts as in its setting ``stock``; what the plan's own setting turns on, the image turns on. Raises
    BuildError, FaultError.
    """
    from memaopt.board import Board

    with scratch_folder() as scratch:
        built = build(plan, Path(folder), layout, scratch / "image.elf", compiler=compiler, optimise=optimise)
        # What the program turns on itself is off before; what a setting has off stays off.
        found = plan.mcu.in_setting("stock") if plan.mcu.setting.turn_on else plan.mcu
        ran = Board(found).load(built).reset()
    said = readout.read(ran.output, plan.name, 0)
    if ran.ended != "exit" or said is None:
        what = f"the image ended without a result ({ran.ended}, exit code {ran.exit_code})"
        raise FaultError(what, ran.ended_at, "main")
    cycles = said.cycles if plan.mcu.core.is_timed else None
    return ImageRun(layout=layout, status=said.status, wrong=said.wrong, cycles=cycles, stack_bytes=ran.stack_bytes)


def build(
    plan: NetworkPlan,
    folder: Path,
    layout: Layout,
    output: Path,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
) -> Build:
    """Build the library in ``folder`` with its test vector as a project of that layout; BuildError if it does not."""
    main = render(
        "board/projects/network.c.j2",
        name=plan.name,
        turn_on=[library.turn_on(bits) for bits in plan.mcu.setting.turn_on],
        has_init=plan.has_init,
    )
    with scratch_folder() as scratch:
        (scratch / "main.c").write_text(main, encoding="utf-8")
        return build_project(
            layout,
            plan.mcu,
            [scratch / "main.c", folder / library.source(plan.name)],
            output,
            stack_bytes=plan.stack_bytes + _STACK,
            behind_data=library.read_linker_part(folder, plan.name),
            include=library.include_folders(folder),
            compiler=compiler,
            optimise=optimise,
        )
