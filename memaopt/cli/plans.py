"""The networks of a library, from its certificate, and what is said of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memaopt.errors import InputError

if TYPE_CHECKING:
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.gemm import Certificate
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.choice.network_plan import NetworkPlan
    from memaopt.trials.firmware import FirmwareTrial
    from memaopt.trials.measurement import Measurement


def plans_in(path: Path) -> tuple[NetworkPlan, ...]:
    """The plans of the networks that a certificate, or the one in a folder, speaks of; InputError for one of a GEMM."""
    from memaopt.api import read

    return plans_of(read(path), path)


def plans_of(signed: Certificate | NetworkCertificate | BundleCertificate, path: Path) -> tuple[NetworkPlan, ...]:
    """The same of a certificate that was read from there."""
    from memaopt.certificates.bundle import BundleCertificate
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.report import console

    if not isinstance(signed, NetworkCertificate | BundleCertificate):
        raise InputError(f"{path}: of a GEMM; one of networks is expected")
    several = isinstance(signed, BundleCertificate)
    with console.spinner(f"making the {'plans' if several else 'plan'} of {signed.name} again"):
        return signed.plan.plans if isinstance(signed, BundleCertificate) else (signed.plan,)


def of_networks(found: Sequence[FirmwareTrial | Measurement]) -> dict[str, Any]:
    """What was found of a library's networks as JSON has it: of one network itself."""
    each = [{**one.to_dict(), "passed": one.passed} for one in found]
    return each[0] if len(each) == 1 else {"networks": each, "passed": all(one.passed for one in found)}
