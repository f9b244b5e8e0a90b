"""A sweep's file: which problems, on which machines in which settings, under which objectives and budgets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from memaopt.errors import InputError
from memaopt.files import PROBLEMS_BYTES, parse_toml, read_bytes, read_text
from memaopt.inputs import Input
from memaopt.machines.mcu import Mcu, mcu, parse_size, preset_names
from memaopt.networks.limits import MAX_FILE_BYTES
from memaopt.problems import suites
from memaopt.problems.gemm import Extent, Gemm, gemm
from memaopt.problems.objectives import resolved
from memaopt.problems.words import Buffering, Objective, ProofOf
from memaopt.sweeps.task import Task, canonical, digest_of

#: A sweep has no more questions than this: their answers would be a file of gigabytes.
MOST_TASKS = 2_000_000
_Names = Annotated[tuple[str, ...], Field(max_length=10_000)]
_SomeNames = Annotated[_Names, Field(min_length=1)]
_Sizes = Annotated[tuple[Extent, ...], Field(min_length=1, max_length=10_000)]


def _ascending(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{bounds[0]} to {bounds[1]} is no range: give the least first")
    return bounds


def _without_sizes(fields: dict[str, Any]) -> dict[str, Any]:
    if given := sorted({"m", "k", "n"} & fields.keys()):
        raise ValueError(f"{given[0]} is given beside them")
    return fields


_Range = Annotated[tuple[Extent, Extent], AfterValidator(_ascending)]
_OtherFields = Annotated[dict[str, Any], AfterValidator(_without_sizes)]


class Budget(Input):
    """What may be used, sizes such as ``32KiB``. What is left out is all there is; for a network, what its project
    leaves.
    """

    sram: str | None = None
    flash: str | None = None
    arena: str | None = None


class SizeGrid(Input):
    """Every product of these sizes; other fields are those of a Gemm."""

    m: _Sizes
    k: _Sizes
    n: _Sizes
    fields: _OtherFields = Field(default_factory=dict)


class RandomSizes(Input):
    """So many products with sizes drawn evenly between two bounds; other fields are those of a Gemm."""

    count: Annotated[int, Field(strict=True, ge=1, le=MOST_TASKS)]
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    m: _Range = (1, 512)
    k: _Range = (1, 512)
    n: _Range = (1, 512)
    fields: _OtherFields = Field(default_factory=dict)


class Sweep(Input):
    """The fields of a sweep's file. Every problem meets every machine, setting, objective, buffering and budget.

    ``gemm`` are tables of problems, ``suites`` named sets, ``grid`` and ``random`` many at once; ``models`` are paths
    from the file's folder. ``machines`` are presets, files, or ``all``; ``settings`` names, or ``all`` that each has.
    ``objectives`` default to ``bytes`` for products and ``cycles`` for networks; ``buffering`` and ``proof`` are a
    product's.
    """

    gemm: Annotated[tuple[dict[str, Any], ...], Field(max_length=100_000)] = ()
    suites: _Names = ()
    grid: tuple[SizeGrid, ...] = ()
    random: tuple[RandomSizes, ...] = ()
    models: _Names = ()
    machines: _SomeNames = ("stm32l4r5",)
    settings: _SomeNames = ("stock",)
    objectives: tuple[Annotated[Objective, AfterValidator(resolved)], ...] = ()
    buffering: Annotated[tuple[Buffering, ...], Field(min_length=1)] = ("single",)
    proof: ProofOf = "full"
    budget: Annotated[tuple[Budget, ...], Field(min_length=1, max_length=10_000)] = (Budget(),)

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        if not (self.gemm or self.suites or self.grid or self.random or self.models):
            raise ValueError("no problems: give gemm, suites, grid, random or models")
        return self


class Questions(NamedTuple):
    """All tasks of a sweep, each once, in order, with the machines and models that they name by digest."""

    tasks: list[Task]
    machines: dict[str, str]
    models: dict[str, bytes]


def read(path: str | Path) -> Questions:
    """The questions of the sweep in a TOML file; InputError names the field at fault."""
    where = str(path)
    return questions(Sweep.checked(parse_toml(read_text(path, PROBLEMS_BYTES), where), where), Path(path).parent, where)


def questions(sweep: Sweep, folder: Path, where: str) -> Questions:
    """Every combination; models and machines' files are found from ``folder``."""
    drawn = sum(each.count for each in sweep.random)
    _refuse_beyond(drawn + sum(len(each.m) * len(each.k) * len(each.n) for each in sweep.grid), where)
    found = Questions([], {}, {})
    problems = [
        (f"{each.name} {each.dtype}", canonical(each.model_dump(mode="json", exclude_unset=True)))
        for each in _problems(sweep, where)
    ]
    models = [_model(folder / path, found) for path in sweep.models]
    seen: set[str] = set()
    for machine, budget in product(_machines(sweep, folder), sweep.budget):
        sizes = {name: None if text is None else parse_size(text) for name, text in budget.model_dump().items()}
        for task in (*_gemms(sweep, machine, sizes, problems, found), *_networks(sweep, machine, sizes, models, found)):
            if task.key not in seen:
                seen.add(task.key)
                found.tasks.append(task)
        _refuse_beyond(len(seen), where)
    return found


def _refuse_beyond(number: int, where: str) -> None:
    """InputError if a sweep has so many questions."""
    if number > MOST_TASKS:
        raise InputError(f"{where}: more than {MOST_TASKS:,} questions: split the sweep")


def _machines(sweep: Sweep, folder: Path) -> Iterator[Mcu]:
    names = [each for name in sweep.machines for each in (preset_names() if name == "all" else [name])]
    for name in names:
        chip = mcu(folder / name if name.endswith(".toml") else name)
        for setting in sweep.settings:
            yield from map(chip.in_setting, [s.name for s in chip.settings] if setting == "all" else [setting])


def _problems(sweep: Sweep, where: str) -> Iterator[Gemm]:
    for name in sweep.suites:
        yield from suites.suite(name)
    try:
        for number, table in enumerate(sweep.gemm, 1):
            if {"m", "k", "n"} - set(table):
                raise InputError(f"gemm {number}: m, k and n are needed, as in m = 64, k = 576, n = 64")
            yield gemm(**table)
        for grid in sweep.grid:
            yield from (gemm(m, k, n, **grid.fields) for m, k, n in product(grid.m, grid.k, grid.n))
        for drawn in sweep.random:
            numbers = random.Random(drawn.seed)
            ranges = (drawn.m, drawn.k, drawn.n)
            for _ in range(drawn.count):
                m, k, n = (numbers.randint(*bounds) for bounds in ranges)
                yield gemm(m, k, n, **drawn.fields)
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None


def _model(path: Path, found: Questions) -> tuple[str, str]:
    """The name and digest of a model's file."""
    data = read_bytes(path, MAX_FILE_BYTES)
    sha = digest_of(data)
    found.models[sha] = data
    return path.name, sha


def _known(machine: Mcu, found: Questions) -> str:
    """The digest of a machine, which is one of those found from now on."""
    text = canonical(machine.model_dump(mode="json"))
    sha = digest_of(text.encode())
    found.machines[sha] = text
    return sha


def _gemms(
    sweep: Sweep, machine: Mcu, sizes: dict[str, int | None], problems: list[tuple[str, str]], found: Questions
) -> Iterator[Task]:
    if not problems:
        return
    given = {name: size for name, size in sizes.items() if size is not None and name != "arena"}
    resized = machine.with_sizes(**given) if given else machine
    sha = _known(resized, found)
    for objective, buffering, (name, problem) in product(sweep.objectives or ("bytes",), sweep.buffering, problems):
        yield Task(
            "gemm",
            name,
            problem,
            sha,
            machine.name,
            machine.setting.name,
            objective,
            buffering,
            sweep.proof,
            given.get("sram"),
            given.get("flash"),
        )


def _networks(
    sweep: Sweep, machine: Mcu, sizes: dict[str, int | None], models: list[tuple[str, str]], found: Questions
) -> Iterator[Task]:
    if not models:
        return
    sha = _known(machine, found)
    for objective, (name, model) in product(sweep.objectives or ("cycles",), models):
        yield Task(
            "network",
            name,
            model,
            sha,
            machine.name,
            machine.setting.name,
            objective,
            None,
            None,
            sizes["sram"],
            sizes["flash"],
            sizes["arena"],
        )
