"""Plans of C alone: the reference's own arithmetic, without assembly."""

from collections.abc import Sequence

from memaopt.kernels.code import Node
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array

ARITHMETIC = "the reference's own arithmetic"


def plain(
    code: tuple[Node, ...],
    promise: Promise,
    code_bytes: int,
    requantization: str = ARITHMETIC,
    alignment: int = 1,
    arrays: Sequence[Array] = (),
) -> Plan:
    """The plan of what executes ``code``, takes ``code_bytes`` of flash at most and has these constants."""
    return Plan(
        family="generic",
        tile="",
        cycles=round(cycles_of(code)),
        promise=promise,
        data_bytes=data_bytes(arrays),
        code_bytes=code_bytes,
        code=code,
        requantization=requantization,
        alignment=alignment,
        words=not arrays,
    )
