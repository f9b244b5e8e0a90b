"""memaopt: certified, memory-optimal schedules for microcontrollers.

>>> from memaopt import Gemm, certify, mcu
>>> certify(Gemm(m=16, k=27, n=64, dtype="q15"), mcu("stm32l4r5")).agreed
True
"""

from memaopt.certificates import Certificate, certify, verify
from memaopt.emit import emit
from memaopt.errors import (
    BuildError,
    DisagreementError,
    FalseClaimError,
    FaultError,
    InfeasibleError,
    InputError,
    MemaoptError,
    MissingToolError,
    UnsupportedModelError,
)
from memaopt.mcus import Mcu, mcu
from memaopt.networks.compile import NetworkPlan, compile_network
from memaopt.problems import Gemm, Placement
from memaopt.schedules import Schedule

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
    "UnsupportedModelError",
    "certify",
    "compile_network",
    "emit",
    "mcu",
    "verify",
]
