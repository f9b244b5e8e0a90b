"""The command line's part for GEMMs: solve them, write them, run them, show what came of it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from memaopt.certificates.gemm import Certificate, certify
from memaopt.choice import elsewhere
from memaopt.cli.warmup import start_board
from memaopt.emit import gemm as gemm_files
from memaopt.emit.folder import PAGE
from memaopt.emit.package import archive
from memaopt.errors import (
    BuildError,
    DisagreementError,
    FaultError,
    InfeasibleError,
    InputError,
    UnfinishedError,
    WrongLibraryError,
)
from memaopt.files import CERTIFICATE_BYTES, parse_json, read_text
from memaopt.machines.mcu import Mcu
from memaopt.problems import suites
from memaopt.problems.gemm import ARGUMENT, OPERANDS, Gemm, Weights, gemm, placed
from memaopt.report import console, gemm_page
from memaopt.report import gemm as report
from memaopt.report.gemm import GemmRow
from memaopt.writer import write_file, write_files

if TYPE_CHECKING:
    from memaopt.trials.gemm import GemmTrial
    from memaopt.trials.library import LibraryCheck

#: What one problem of many may fail with while the others go on.
_OF_ONE_PROBLEM = (InfeasibleError, DisagreementError, UnfinishedError, BuildError, FaultError, WrongLibraryError)
_SIZES = re.compile(r"(\d+)x(\d+)x(\d+)", re.IGNORECASE)


class Asked(NamedTuple):
    """Options whose effect depends on the problem: the machine as it is without ``--size`` and ``--flash``, the
    memories that these resize, and what was given of others (None: nothing)."""

    unsized: Mcu
    sized: frozenset[str]
    buffering: str | None
    ram_for_code: str | None


def solve(
    problems: Sequence[Gemm],
    machine: Mcu,
    objective: str,
    buffering: str,
    *,
    proof: str = "full",
    out: Path | None,
    packages: Sequence[str] = (),
    run: bool,
    compiler: str | None,
    as_json: bool,
    asked: Asked,
    page: Path | None = None,
) -> None:
    """Certify, run, write and show the problems; Exit 1 if one of them fails. What fails is not written.

    ``page``: where the report of one problem goes.
    """
    if page is not None and len(problems) > 1:
        raise InputError(f"--report: there are {len(problems)} problems; a report is of one")
    if run:
        from memaopt.trials import gemm as trial

        trial.require_tools(machine, compiler)
        start_board()
    folders = [None] * len(problems) if out is None else _folders(out, problems)
    rows = [
        _solve_one(
            problem,
            folder,
            machine,
            (objective, buffering, proof),
            run,
            compiler,
            packages,
            alone=len(problems) == 1,
        )
        for problem, folder in zip(_watched(problems), folders, strict=True)
    ]
    if len(rows) == 1 and rows[0].error is not None:
        raise rows[0].error
    if page is not None and rows[0].certificate is not None:
        write_file(page, gemm_page.page(rows[0].certificate, rows[0].trial, rows[0].others).encode())
    if as_json:
        objects = [report.row_json(row) for row in rows]
        console.print_json(objects if len(problems) > 1 else objects[0])
    else:
        report.print_rows(console.stdout(), rows, run)
        for line in (*_written(rows, out), *([] if page is None else [f"report written to {page}"])):
            console.stdout().print(line, soft_wrap=True)
    for line in _without_effect(problems, rows, machine, run, asked):
        sys.stderr.write(f"memaopt: {line}\n")
    if not all(row.passed for row in rows):
        raise typer.Exit(1)


def run_folder(certificate: Certificate, folder: Path, compiler: str | None, as_json: bool) -> None:
    """Build a written project, run it on the virtual board, hold the accesses counted to those promised."""
    from memaopt.trials import gemm as trial

    start_board()
    with console.spinner(f"running {folder} on the virtual board"):
        tried = trial.run(certificate, folder, compiler)
    row = GemmRow(certificate.problem, certificate, tried, None)
    if as_json:
        console.print_json(report.row_json(row))
    else:
        report.print_rows(console.stdout(), [row], True)
    if not row.passed:
        raise typer.Exit(1)


def _solve_one(
    problem: Gemm,
    folder: Path | None,
    machine: Mcu,
    how: tuple[str, str, str],
    run: bool,
    compiler: str | None,
    packages: Sequence[str],
    *,
    alone: bool,
) -> GemmRow:
    """Certify one problem, run it or compare it with the reference, and then write it; an error that concerns this
    problem alone is kept in the row. ``how``: objective, buffering and proof. ``alone``: there is room to say what
    other settings would give.
    """
    certificate: Certificate | None = None
    try:
        if alone and (run or folder is not None):
            gemm_files.refuse_unwritable(problem)  # before a proof that nobody will see
        certificate = certify(problem, machine, *how)
        others = elsewhere.of_gemm(certificate.space) if alone else ()
        row = GemmRow(problem, certificate, _tried(certificate, compiler) if run else None, None, others=others)
        if folder is None or not row.passed:
            return row
        files = {**gemm_files.files(certificate), PAGE: gemm_page.page(certificate, row.trial, others)}
        check = None if run else _checked(certificate, files)
    except _OF_ONE_PROBLEM as error:
        return GemmRow(problem, certificate, None, error)
    made = dict(archive(kind, gemm_files.name_of(certificate), files) for kind in packages)
    write_files(made or files, folder, keep=bool(made))
    return row._replace(check=check)


def _tried(certificate: Certificate, compiler: str | None) -> GemmTrial:
    from memaopt.trials import gemm as trial

    return trial.run(certificate, compiler=compiler)


def _checked(certificate: Certificate, files: dict[str, str]) -> LibraryCheck:
    from memaopt.trials import library as library_check

    return library_check.check_gemm(certificate, files)


def _written(rows: Sequence[GemmRow], out: Path | None) -> Iterator[str]:
    """What was written and how it had been compared before, a line for each; of how many problems, if not of all."""
    passed = [row for row in rows if row.passed]
    if out is None or not passed:
        return
    lines = Counter(line for row in passed if row.check is not None for line in row.check.describe())
    for line, count in lines.items():
        yield line if count == len(rows) else f"{count} of {len(rows)}: {line}"
    yield f"written to {out}" if len(passed) == len(rows) else f"written to {out}: {len(passed)} of {len(rows)}"


def _without_effect(
    problems: Sequence[Gemm], rows: Sequence[GemmRow], machine: Mcu, run: bool, asked: Asked
) -> Iterator[str]:
    """A line for each option that changed nothing for some of the problems, and why."""
    why = Counter(
        reason
        for problem, row in zip(problems, rows, strict=True)
        if row.certificate is not None
        for reason in _idle(problem, row.certificate, machine, run, asked)
    )
    for (option, reason), count in why.items():
        where = f"gemm {problems[0].name}" if len(problems) == 1 else f"{count} of {len(problems)} problems"
        yield f"{option} has no effect on {where}: {reason}"


def _idle(problem: Gemm, certificate: Certificate, machine: Mcu, run: bool, asked: Asked) -> Iterator[tuple[str, str]]:
    """The options without an effect on one problem, by what nothing of it depends on."""
    homes = {certificate.problem.placement.of(x) for x in OPERANDS}
    if asked.buffering == "double" and homes == {machine.sram.name}:
        yield "--buffering", "nothing is copied into SRAM, where A, B and C live"
    if asked.ram_for_code is not None and all(variant.code == "flash" for variant in certificate.variants):
        yield "--ram-for-code", f"under {certificate.objective}, with that much, its code stays in flash"
    for name in sorted(asked.sized - homes - {machine.sram.name} - ({"flash"} if run else set())):
        others = asked.unsized.with_sizes(**{m: machine.memory(m).size for m in asked.sized - {name}})
        with suppress(InfeasibleError):
            if placed(problem, others) == certificate.problem:
                yield f"the size of {name}", "nothing of it lives there, or would with another size"


def _folders(out: Path, problems: Sequence[Gemm]) -> list[Path]:
    """Where each problem is written: ``out`` itself for one, a folder in it, named after the problem, for many."""
    if len(problems) == 1:
        return [out]
    names = [f"gemm_{problem.dtype}_{problem.name}" for problem in problems]
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [out / (f"{name}_{count + 1}" if count else name) for name, count in zip(names, earlier, strict=True)]


def _watched(problems: Sequence[Gemm]) -> Iterator[Gemm]:
    """The problems one by one, with a bar on stderr if somebody watches it."""
    with console.progress() as bar:
        task = bar.add_task("", total=len(problems))
        for problem in problems:
            bar.update(task, description=f"gemm {problem.name} {problem.dtype}")
            yield problem
            bar.advance(task)


def placement(text: str | None) -> dict[str, str]:
    """``a=qspi,b=sram`` or ``all=qspi`` as a mapping."""
    found: dict[str, str] = {}
    for part in filter(None, (text or "").split(",")):
        operand, equals, memory = part.strip().partition("=")
        operand = operand.lower()
        if not equals or not memory or operand not in ("a", "b", "c", "all"):
            raise InputError(f"--place {text}: {part!r} is not an operand and a memory, as in a=qspi or all=qspi")
        found.update(dict.fromkeys("abc", memory) if operand == "all" else {operand: memory})
    return found


def weights(text: str) -> Weights | str:
    """The weights of an s8 problem in a file, or that they are arguments."""
    if text == ARGUMENT:
        return ARGUMENT
    return Weights.checked(parse_json(read_text(text, CERTIFICATE_BYTES), text), text)


def problems_of(what: list[str], suite: str | None, file: Path | None, fields: dict[str, Any]) -> list[Gemm]:
    """The problems that the arguments name, in exactly one way."""
    if sum((bool(what), suite is not None, file is not None)) != 1:
        raise InputError("solve: give one of gemm MxKxN, MODEL, --suite NAME or --file FILE")
    if suite is not None:
        return suites.suite(suite, **fields)
    if file is not None:
        return suites.read_problems(file, **fields)
    match = _SIZES.fullmatch(what[1]) if len(what) == 2 and what[0] == "gemm" else None
    if match is None:
        expected = "gemm and its sizes M, K and N, as in gemm 64x576x64, or a .tflite or .onnx file"
        raise InputError(f"solve {' '.join(what)}: expected {expected}")
    m, k, n = map(int, match.groups())
    return [gemm(m, k, n, **fields)]
