"""``memaopt verify``: every claim of a certificate, from its premises alone."""

from pathlib import Path
from typing import Annotated

import typer

from memaopt.cli.options import JsonOption, refuse
from memaopt.cli.sweep import SchedulerOption, WorkersOption, verify_all
from memaopt.errors import InputError


def verify_command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Certificates.", show_default=False)
    ] = None,
    all_of: Annotated[
        Path | None, typer.Option("--all", metavar="DIR", help="Every certificate of a sweep's results.")
    ] = None,
    scheduler: SchedulerOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every claim of a certificate, without the solver. Exit 1 names the first claim that is false.

    What a certificate takes as given is printed: it holds of that machine, those budgets, that objective.

    \b
    Examples:
      memaopt verify build/certificate.json
      memaopt verify --all results/
    """
    if all_of is not None:
        refuse("--all", ("FILE", files, "it verifies what is in DIR"))
        verify_all(all_of, scheduler, workers, as_json)
        return
    refuse("FILE", ("--scheduler", scheduler, "see --all"), ("--workers", workers, "see --all"))
    if not files:
        raise InputError("verify: give certificates, or --all DIR")
    from memaopt.api import verify
    from memaopt.certificates import given
    from memaopt.report import console
    from memaopt.writer import complete

    told = []
    for path in files:
        complete(path.parent)
        with console.spinner(f"verifying {path.name}"):
            found = verify(given.read(path, staging=True))
        told.append({"file": str(path), "holds": True, **found.to_dict()})
        if not as_json:
            console.stdout().print(f"{path}: {found.verdict}, given", soft_wrap=True)
            for premise in found.premises:
                console.stdout().print(f"  {premise}", soft_wrap=True)
    if as_json:
        console.print_json(told)
