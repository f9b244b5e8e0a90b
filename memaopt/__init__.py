"""memaopt: certified, memory-optimal schedules for microcontrollers.

>>> from memaopt import Gemm, certify, mcu
>>> certify(Gemm(m=16, k=27, n=64, dtype="q15"), mcu("stm32l4r5")).agreed
True

``certify``, ``emit``, ``verify`` and ``run`` take a product, a layer, a network or a file alike (``Asked``), the last
three a certificate too (``Given``). What is named here is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

import memaopt.emit as _emit  # noqa: F401  # now: imported later, it would take the place of the function
from memaopt.api import certify, emit, evaluate, html_report, read, run, verify

if TYPE_CHECKING:
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.envelope import Verified
    from memaopt.certificates.evaluation import Evaluation
    from memaopt.certificates.gemm import Certificate
    from memaopt.certificates.given import Asked, Given
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.certificates.network_evaluation import NetworkEvaluation
    from memaopt.certificates.staging import StagingCertificate
    from memaopt.choice.compile import compile_network
    from memaopt.choice.given import GivenPlan
    from memaopt.choice.network_plan import NetworkPlan
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
    from memaopt.kernels.mapping import Mapping
    from memaopt.kernels.schedule import LayerSchedule, Schedule
    from memaopt.kernels.tiling import Tiling
    from memaopt.machines.mcu import Mcu, mcu
    from memaopt.networks.graph import Graph
    from memaopt.networks.layers import Conv2D, DepthwiseConv2D, FullyConnected
    from memaopt.problems.gemm import Gemm, Placement
    from memaopt.trials.bundle import BundleTrial
    from memaopt.trials.gemm import GemmTrial
    from memaopt.trials.network import NetworkTrial

__all__ = [
    "Asked",
    "BuildError",
    "BundleCertificate",
    "BundleTrial",
    "Certificate",
    "Conv2D",
    "DepthwiseConv2D",
    "DisagreementError",
    "Evaluation",
    "FalseClaimError",
    "FaultError",
    "FullyConnected",
    "Gemm",
    "GemmTrial",
    "Given",
    "GivenPlan",
    "Graph",
    "InfeasibleError",
    "InputError",
    "LayerSchedule",
    "Mapping",
    "Mcu",
    "MemaoptError",
    "MissingToolError",
    "NetworkCertificate",
    "NetworkEvaluation",
    "NetworkPlan",
    "NetworkTrial",
    "Placement",
    "Schedule",
    "StagingCertificate",
    "Tiling",
    "UnfinishedError",
    "UnsupportedModelError",
    "Verified",
    "certify",
    "compile_network",
    "emit",
    "evaluate",
    "html_report",
    "mcu",
    "read",
    "run",
    "verify",
]

_ERRORS = [name for name in __all__ if name.endswith("Error")]
_HOMES = {
    **dict.fromkeys(_ERRORS, "memaopt.errors"),
    **dict.fromkeys(["Asked", "Given"], "memaopt.certificates.given"),
    "BundleCertificate": "memaopt.certificates.bundle",
    "BundleTrial": "memaopt.trials.bundle",
    "Certificate": "memaopt.certificates.gemm",
    "Conv2D": "memaopt.networks.layers",
    "DepthwiseConv2D": "memaopt.networks.layers",
    "FullyConnected": "memaopt.networks.layers",
    "Graph": "memaopt.networks.graph",
    "NetworkCertificate": "memaopt.certificates.network",
    "GivenPlan": "memaopt.choice.given",
    "NetworkEvaluation": "memaopt.certificates.network_evaluation",
    "StagingCertificate": "memaopt.certificates.staging",
    "NetworkTrial": "memaopt.trials.network",
    "GemmTrial": "memaopt.trials.gemm",
    "Verified": "memaopt.certificates.envelope",
    **dict.fromkeys(["Mcu", "mcu"], "memaopt.machines.mcu"),
    **dict.fromkeys(["NetworkPlan", "compile_network"], "memaopt.choice.compile"),
    **dict.fromkeys(["Gemm", "Placement"], "memaopt.problems.gemm"),
    **dict.fromkeys(["LayerSchedule", "Schedule"], "memaopt.kernels.schedule"),
    "Evaluation": "memaopt.certificates.evaluation",
    "Mapping": "memaopt.kernels.mapping",
    "Tiling": "memaopt.kernels.tiling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'memaopt' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
