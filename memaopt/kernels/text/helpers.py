"""The macros and small functions that emitted files share: headers of C in include/, of which a file gets what it uses.

An emitted file stands alone, so helpers are not included but copied into it: those that its text names, and what they
name in turn, in the order of the headers.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from memaopt.kernels.text.templates import source

#: A header's names come after those that it uses.
HEADERS = ("compiler", "access", "fixed_point", "fixed_point_16", "simd", "patches", "copy", "dma", "detection")

_HEADER = re.compile(r"/\*.*?\*/\n#ifndef (\w+)\n#define \1\n(?P<body>.*)\n#endif\n", re.DOTALL)
_NAMES = re.compile(
    r"^(?:#define (\w+)|(?:KERNEL |ONE_TEXT )?static (?:inline )?\w+ (\w+)\(|struct (\w+) \{)", re.MULTILINE
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORDS = re.compile(r"\b[A-Za-z]\w*")

_PUSH = """\
#if defined(__GNUC__)
#pragma GCC diagnostic push
/* Some of the small functions below are for the plain C alone, and assembly names its arguments by register. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
/* A kernel is one text of assembly, longer than every C99 compiler need take; these compilers take it. */
#pragma GCC diagnostic ignored "-Woverlength-strings"
#endif
"""
_POP = """\
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
"""


class Helper(NamedTuple):
    """A function, type or group of macros with the comment above it, and the names that it defines."""

    names: frozenset[str]
    text: str


def with_helpers(text: str) -> str:
    """A C text behind the checks of the compiler and the helpers that it uses; warnings are as before after it."""
    body = "\n".join([*(helper.text for helper in used([text])), text])
    quiet = "MEMAOPT_ASM" in body or "load_word" in body
    return "\n".join(["#include <stdint.h>\n", checks(), *([_PUSH, body, _POP] if quiet else [body])])


def used(texts: Iterable[str]) -> list[Helper]:
    """The helpers that texts name, comments apart, and those that these name, in the order of the headers."""
    pending, found = list(texts), set[Helper]()
    while pending:
        words = set(_WORDS.findall(_COMMENT.sub("", pending.pop())))
        new = {helper for helper in _helpers() if helper.names & words} - found
        found |= new
        pending.extend(helper.text for helper in new)
    return [helper for helper in _helpers() if helper in found]


@cache
def checks() -> str:
    """What the emitted C asks of a compiler beyond C11, checked in the text itself."""
    return "\n".join(_pieces(_body("checks"))) + "\n"


@cache
def _helpers() -> tuple[Helper, ...]:
    made = []
    for header in HEADERS:
        for piece in _pieces(_body(header)):
            names = frozenset(name for groups in _NAMES.findall(piece) for name in groups if name)
            if not names:
                raise ValueError(f"{header}.h: this defines nothing: {piece}")
            made.append(Helper(names, piece + "\n"))
    return tuple(made)


def _body(header: str) -> str:
    matched = _HEADER.fullmatch(source(f"kernels/text/include/{header}.h"))
    if matched is None:
        raise ValueError(f"{header}.h: a comment and a guard are expected around its text")
    return matched["body"]


def _pieces(text: str) -> Iterator[str]:
    """What blank lines part outside of braces and conditions; includes are left out."""
    piece: list[str] = []
    depth = 0
    for line in [*text.splitlines(), ""]:
        if line or depth:
            piece.append(line)
            depth += line.count("{") - line.count("}") + line.startswith("#if") - line.startswith("#endif")
        elif piece:
            if not all(part.startswith("#include") for part in piece):
                yield "\n".join(piece)
            piece = []
