"""Named sets of problems, and sets read from TOML."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memaopt import extensions
from memaopt.arguments import public
from memaopt.errors import InputError
from memaopt.files import PROBLEMS_BYTES, parse_toml, read_text

if TYPE_CHECKING:
    from memaopt.problems.gemm import Gemm

#: The 20 layers of the MEMA paper (arXiv 2304.05544), as M, K, N.
TINYML: tuple[tuple[int, int, int], ...] = (
    (16, 27, 1024), (16, 144, 1024), (32, 144, 256), (32, 288, 256), (32, 16, 256), (64, 288, 64), (64, 576, 64),
    (64, 32, 64), (64, 40, 122), (64, 64, 125), (8, 27, 2304), (16, 8, 2304), (32, 16, 576), (32, 32, 576),
    (64, 32, 144), (64, 64, 144), (128, 64, 36), (128, 128, 36), (256, 128, 9), (256, 256, 9),
)  # fmt: skip

SUITES = {"tinyml": TINYML}
_OPTIONS = {"placement": "place"}
_MOST_PROBLEMS = 1000
_TABLE = re.compile(r"\s*\[\[\s*gemm\s*\]\]")


@public
def suite(name: str, **fields: Any) -> "list[Gemm]":
    """The problems of the suite called ``name``, each with the same dtype and placement given in ``fields``."""
    from memaopt.problems.gemm import gemm

    known = {**SUITES, **extensions.SUITES.all()}
    if name not in known:
        raise InputError(f"no suite {name!r}: there is {', '.join(known)}")
    return [gemm(m, k, n, **fields) for m, k, n in known[name]]


@public
def read_problems(path: str | Path, **defaults: Any) -> "list[Gemm]":
    """The problems in a TOML file: one ``[[gemm]]`` table each, with m, k, n and any other field of Gemm.

    ``defaults`` fill in what a table leaves out. InputError names the file and the line or table at fault.
    """
    from memaopt.problems.gemm import gemm

    text = read_text(path, PROBLEMS_BYTES)
    data = parse_toml(text, str(path))
    tables = data.get("gemm")
    if not isinstance(tables, list) or not tables or set(data) != {"gemm"}:
        extra = ", ".join(sorted(set(data) - {"gemm"}))
        raise InputError(f"{path}: expected [[gemm]] tables{f', found {extra}' if extra else ', found none'}")
    if len(tables) > _MOST_PROBLEMS:
        raise InputError(f"{path}: {len(tables):,} [[gemm]] tables: a file may have {_MOST_PROBLEMS:,}")
    for name in defaults:
        if all(isinstance(table, dict) and name in table for table in tables):
            option = _OPTIONS.get(name, name)
            raise InputError(f"--{option} has no effect on {path}: every [[gemm]] there has its own {name}")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if _TABLE.match(line)]
    problems = []
    for number, table in enumerate(tables):
        where = f"{path}:{lines[number]}: [[gemm]]" if len(lines) == len(tables) else f"{path}: gemm {number + 1}"
        if not isinstance(table, dict) or {"m", "k", "n"} - set(table):
            raise InputError(f"{where}: m, k and n are needed, as in m = 64, k = 576, n = 64")
        try:
            problems.append(gemm(**{**defaults, **table}))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return problems
