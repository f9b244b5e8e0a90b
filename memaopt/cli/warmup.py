"""The virtual board's first start on a computer, which is announced."""

from contextlib import suppress
from importlib import import_module

from memaopt.errors import MemaoptError
from memaopt.report import console


def start_board() -> None:
    """Load what runs programs: where its native part is not built yet, that takes a second.

    Nothing happens where a package or a compiler is missing: who needs the board says so.
    """
    with (
        suppress(ImportError, MemaoptError),
        console.spinner("starting the virtual board, which is built the first time"),
    ):
        import_module("memaopt.board.core")
        import_module("memaopt.board.native").on_instruction()
