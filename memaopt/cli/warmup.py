"""The virtual board's first start on a computer, which is announced."""

from contextlib import suppress
from importlib import import_module

from memaopt.report import console


def start_board() -> None:
    """Load what runs programs: where numba's cache does not have it yet, it is compiled, which takes some ten seconds.

    Nothing happens where the packages are missing: who needs the board says so.
    """
    with suppress(ImportError), console.spinner("starting the virtual board, which is compiled the first time"):
        import_module("memaopt.board.core")
