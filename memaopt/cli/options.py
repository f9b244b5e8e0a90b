"""Options that a command was given and has no use for are refused, or said to have no effect."""

from memaopt.errors import InputError


def refuse(what: str, *options: tuple[str, object, str]) -> None:
    """InputError for the first of ``options`` (name, value, why it has none) that was given without an effect.

    None, False and an empty list are what an option is that was not given.
    """
    for name, value, why in options:
        if value is not None and value is not False and value != []:
            raise InputError(f"{name} has no effect on {what}: {why}")
