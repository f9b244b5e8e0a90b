"""Sizes and addresses in whole steps."""


def align(size: int, alignment: int) -> int:
    """The least multiple of ``alignment`` that is not below ``size``."""
    return -(-size // alignment) * alignment
