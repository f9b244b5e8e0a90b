"""The C of custom operators as a user gives it: ``NAME=header.h`` or ``NAME=header.h,source.c``, read and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from memaopt.errors import InputError
from memaopt.files import read_text
from memaopt.printable import in_comment
from memaopt.problems.custom import DESCRIPTION, CodeFile, CustomCode
from memaopt.spelling import option

SOURCES = "src"
"""The folder of a library in which C lies, the user's beside its own."""
_MOST_BYTES = 1 << 20
_FORM = "give NAME=header.h or NAME=header.h,source.c"


def read_customs(asked: Sequence[str]) -> tuple[CustomCode, ...]:
    """The C of each operator asked for. InputError for what is not of the form, a file that cannot be read, a name that
    makes no C function, or one name of two files' or operators'."""
    found = [_read(text) for text in asked]
    names = [code.name for code in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{option('custom', [name])}: it is given twice")
    demand_apart(found)
    return tuple(found)


def demand_apart(codes: Sequence[CustomCode], others: Sequence[str] = (DESCRIPTION,)) -> None:
    """InputError if two files, or a file and one of ``others``, have one name and another text."""
    texts: dict[str, str | None] = dict.fromkeys((name.lower() for name in others), None)
    for code in codes:
        for file in code.files:
            if texts.setdefault(file.name.lower(), file.text) != file.text:
                given = option("custom", [code.name])
                raise InputError(f"{given}: another file is called {file.name} in the library: rename it")


def code_of(name: str, files: Sequence[CodeFile]) -> CustomCode:
    """The C of an operator; InputError for a name that makes no C function, or of files that are none of C."""
    function = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", function, re.ASCII):
        raise InputError(f"{option('custom')} {name!r}: no C function is called like that")
    if in_comment(name) != name:
        raise InputError(f"{option('custom')} {name!r}: no comment in C can hold that name")
    for file, ending in zip(files, (".h", ".c"), strict=False):
        if not re.fullmatch(rf"[A-Za-z0-9_][\w.-]*\{ending}", file.name, re.ASCII):
            raise InputError(f"{option('custom', [name])}: {file.name!r} is no name of a {ending} file; {_FORM}")
    return CustomCode(name, function, tuple(files))


def _read(text: str) -> CustomCode:
    name, equals, paths = text.partition("=")
    given = [Path(path) for path in paths.split(",")]
    if not name or not equals or not paths or len(given) > 2 or not all(path.name for path in given):
        raise InputError(f"{option('custom', [text])}: {_FORM}")
    return code_of(name, [read_code(path) for path in given])


def read_code(path: Path) -> CodeFile:
    """A file of C; InputError if it cannot be read."""
    return CodeFile(path.name, read_text(path, _MOST_BYTES))
