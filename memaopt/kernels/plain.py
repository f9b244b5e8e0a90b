"""Plans of C alone: the reference's own arithmetic, without assembly and without constants."""

from memaopt.kernels.code import Node
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plan import Plan, Promise

ARITHMETIC = "the reference's own arithmetic"


def plain(
    code: tuple[Node, ...], promise: Promise, code_bytes: int, requantization: str = ARITHMETIC, alignment: int = 1
) -> Plan:
    """The plan of what executes ``code`` and takes ``code_bytes`` of flash at most."""
    return Plan(
        family="generic",
        tile="",
        cycles=round(cycles_of(code)),
        promise=promise,
        data_bytes=0,
        code_bytes=code_bytes,
        code=code,
        requantization=requantization,
        alignment=alignment,
    )
