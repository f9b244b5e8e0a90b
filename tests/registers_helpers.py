"""Register maps: what the comment above a function in assembly names, and what its instructions use."""

import re

_SAVED = re.compile(r"^\s*\"\s*v?(push|pop)\b.*$", re.MULTILINE)


def unnamed(comment: str, assembly: str) -> set[str]:
    """Registers that instructions use and the map above them does not name, but where they are saved and restored;
    none if it speaks of the others.
    """
    told = comment.partition("Registers:")[2]
    return set() if "others" in told else _registers(_SAVED.sub("", assembly)) - _registers(told)


def _registers(text: str) -> set[str]:
    """Those named, one by one, in ranges, and from one on."""
    named = re.findall(r"(?<![.\w])([rs])(\d+)(?:(?:-| to )[rs](\d+)|( on)\b)?", text)
    return {
        f"{kind}{number}"
        for kind, first, last, on in named
        for number in range(int(first), 32 if on else int(last or first) + 1)
    }
