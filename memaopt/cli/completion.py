"""Completion in a shell: ``eval "$(memaopt --completion bash)"``."""

from __future__ import annotations

import os
from collections.abc import Callable

from memaopt.errors import InputError

SHELLS = ("bash", "zsh", "fish")
_PROGRAM, _VARIABLE = "memaopt", "_MEMAOPT_COMPLETE"


def script(shell: str) -> str:
    """What a shell evaluates; InputError for one that is not known."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise InputError(f"--completion {shell}: there are {', '.join(SHELLS)}")
    return get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell)


def answer() -> None:
    """Get ready to answer the shell, where it asks: it does so by a variable of the environment."""
    if _VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()


def presets(incomplete: str) -> list[str]:
    """The presets of machines whose names begin so."""
    from memaopt.machines.mcu import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


def words(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    """What of these begins as it was begun."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]
