"""Text of others (titles, names of symbols, words of a command line) as it may be shown, and put into comments."""

import re


def printable(text: str) -> str:
    """``text`` with ``?`` for each character that has no sign of its own; line ends and tabs stay.

    A terminal obeys control characters; those of direction and width make a line look like another one.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def in_comment(text: str) -> str:
    """``text`` as one line of a comment in C, a linker script, a Makefile or CMake, which nothing in it can end."""
    line = printable(" ".join(text.split()))
    # A backslash first: it would join two lines, and the slash in its place can end a comment. "??/" is one too.
    line = re.sub(r"\?(?=\?)", "? ", line.replace("\\", "/"))
    return line.replace("*/", "* /").replace("/*", "/ *")


def counted(number: int, noun: str) -> str:
    """A number of things whose plural is regular: ``1 layer``, ``2,000 layers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
