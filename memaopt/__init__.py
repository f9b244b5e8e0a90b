"""memaopt: certified, memory-optimal schedules for microcontrollers.

>>> from memaopt import Gemm, certify, mcu
>>> certify(Gemm(m=16, k=27, n=64, dtype="q15"), mcu("stm32l4r5")).agreed
True

What is named here is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from memaopt.emit import emit

if TYPE_CHECKING:
    from memaopt.certificates.gemm import Certificate, certify, verify
    from memaopt.choice.compile import NetworkPlan, compile_network
    from memaopt.errors import (
        BuildError,
        DisagreementError,
        FalseClaimError,
        FaultError,
        InfeasibleError,
        InputError,
        MemaoptError,
        MissingToolError,
        UnfinishedError,
        UnsupportedModelError,
    )
    from memaopt.kernels.schedule import Schedule
    from memaopt.machines.mcu import Mcu, mcu
    from memaopt.problems.gemm import Gemm, Placement

__all__ = [
    "BuildError",
    "Certificate",
    "DisagreementError",
    "FalseClaimError",
    "FaultError",
    "Gemm",
    "InfeasibleError",
    "InputError",
    "Mcu",
    "MemaoptError",
    "MissingToolError",
    "NetworkPlan",
    "Placement",
    "Schedule",
    "UnfinishedError",
    "UnsupportedModelError",
    "certify",
    "compile_network",
    "emit",
    "mcu",
    "verify",
]

_ERRORS = [name for name in __all__ if name.endswith("Error")]
_HOMES = {
    **dict.fromkeys(_ERRORS, "memaopt.errors"),
    **dict.fromkeys(["Certificate", "certify", "verify"], "memaopt.certificates.gemm"),
    **dict.fromkeys(["Mcu", "mcu"], "memaopt.machines.mcu"),
    **dict.fromkeys(["NetworkPlan", "compile_network"], "memaopt.choice.compile"),
    **dict.fromkeys(["Gemm", "Placement"], "memaopt.problems.gemm"),
    "Schedule": "memaopt.kernels.schedule",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memaopt' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
