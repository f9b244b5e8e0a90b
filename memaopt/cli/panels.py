"""An option as all commands write one."""

from __future__ import annotations

from typing import Any

import typer


def option(panel: str, metavar: str, help: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help; its names where they are not the parameter's own."""
    return typer.Option(*names, metavar=metavar, rich_help_panel=panel, help=help, **more)
