"""The library of one or more networks in a whole image: a project of the chip, run from reset, its cycles counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from memaopt.board.build import WARNINGS, Build
from memaopt.board.projects import Layout, build_project
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.errors import FaultError
from memaopt.interrupts import scratch_folder
from memaopt.kernels.text.templates import render
from memaopt.trials import readout

#: What a project's own code takes of the stack beside the library.
_STACK = 512
#: Likewise where C of the user's runs, of whose stack nothing is known.
_CUSTOM_STACK = 4096


class ImageRun(BaseModel, frozen=True):
    """One inference in an image: what ``invoke`` returned, negated, the wrong bytes of its outputs, and its cycles by
    DWT's counter, its own reading included. ``stack_bytes`` are the whole image's.
    """

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
    plans: Sequence[NetworkPlan],
    folder: str | Path,
    layout: Layout,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
) -> list[ImageRun]:
    """Build the library in ``folder``, which has these networks, with their test vectors as a project of that layout,
    and run it from reset: one inference of each, one after the other.

    The chip starts as in its setting ``stock``; what the plans' own setting turns on, the image turns on. Raises
    BuildError, FaultError.
    """
    from memaopt.board import Board

    mcu = plans[0].mcu
    with scratch_folder() as scratch:
        built = build(plans, Path(folder), layout, scratch / "image.elf", compiler=compiler, optimise=optimise)
        # What the program turns on itself is off before; what a setting has off stays off.
        found = mcu.in_setting("stock") if mcu.setting.turn_on else mcu
        ran = Board(found).load(built).reset()
    runs = []
    for plan in plans:
        said = readout.read(ran.output, plan.name, 0)
        if ran.ended != "exit" or said is None:
            what = f"the image ended without a result ({ran.ended}, exit code {ran.exit_code})"
            raise FaultError(what, ran.ended_at, "main")
        cycles = said.cycles if plan.mcu.core.is_timed else None
        stack = ran.stack_bytes
        runs.append(ImageRun(layout=layout, status=said.status, wrong=said.wrong, cycles=cycles, stack_bytes=stack))
    return runs


def build(
    plans: Sequence[NetworkPlan],
    folder: Path,
    layout: Layout,
    output: Path,
    *,
    compiler: str | None = None,
    optimise: str = "-O3",
) -> Build:
    """Build the library in ``folder``, which has these networks, with their test vectors as a project of that layout;
    BuildError if it does not.
    """
    name, mcu = plans[0].library, plans[0].mcu
    customs = [code for plan in plans for code in plan.customs]
    with scratch_folder() as scratch:
        (scratch / "main.c").write_text(main_file(plans), encoding="utf-8")
        return build_project(
            layout,
            mcu,
            [scratch / "main.c", *library.sources(folder, name, customs)],
            output,
            stack_bytes=max(plan.stack_bytes for plan in plans) + (_CUSTOM_STACK if customs else _STACK),
            warnings=() if customs else WARNINGS,
            behind_data=library.read_linker_part(folder, name),
            include=library.include_folders(folder),
            compiler=compiler,
            optimise=optimise,
        )


def main_file(plans: Sequence[NetworkPlan]) -> str:
    """The program: what the setting turns on, and one inference of each network on its test vector, measured."""
    return render(
        "board/projects/network.c.j2",
        names=[plan.name for plan in plans],
        turn_on=[library.turn_on(bits) for bits in plans[0].mcu.setting.turn_on],
        initialised=[plans[0].library] if plans[0].has_init else [],
    )
