"""What programs see of a network's plan and of a run: one object of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.elsewhere import Elsewhere
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.traffic import compulsory_bytes, network_traffic

if TYPE_CHECKING:
    from memaopt.trials.network import NetworkTrial


def plan_json(
    plan: NetworkPlan,
    certificate: NetworkCertificate | None,
    trial: NetworkTrial | None,
    others: Sequence[Elsewhere] = (),
) -> dict[str, Any]:
    """One object: the certificate's fields (null without one), the trial's, and what other settings would give."""
    timed = plan.mcu.core.is_timed
    return {
        "name": plan.name,
        "mcu": plan.mcu.name,
        "setting": plan.mcu.setting.name,
        "elsewhere": [other.model_dump(mode="json") for other in others],
        "within": plan.within,
        "neighbours": [other._asdict() if timed else {"arena_bytes": other.arena_bytes} for other in plan.neighbours],
        "passed": trial is None or trial.passed,
        "milliseconds": 1000 * plan.machine_cycles / plan.mcu.clock_hz if timed else None,
        "without": [code.name for code in plan.customs],
        "totals": {
            "macs": plan.macs,
            "traffic": network_traffic(plan).model_dump(mode="json"),
            "compulsory_bytes": compulsory_bytes(plan),
            "cycles": plan.cycles if timed else None,
            "machine_cycles": plan.machine_cycles if timed else None,
            "ram_bytes": plan.ram_bytes,
            "arena_bytes": plan.arena_bytes,
            "tensor_bytes": plan.tensor_bytes,
            "scratch_bytes": plan.scratch_bytes,
            "stack_bytes": plan.stack_bytes,
            "state_bytes": plan.state_bytes,
            "constant_bytes": plan.constant_bytes,
            "flash_bytes": plan.flash_bytes,
        },
        "certificate": None if certificate is None else certificate.model_dump(mode="json"),
        "trial": None if trial is None else trial_json(trial),
    }


def trial_json(trial: NetworkTrial) -> dict[str, Any]:
    """A trial as data, without the host's time: the same on every run."""
    data = trial.model_dump(mode="json", exclude={"seconds"})
    for layer, found in zip(data["layers"], trial.layers, strict=True):
        layer |= {
            "equal": found.equal,
            "promised": {name: asdict(access) for name, access in found.promised.items()},
            "counted": {name: asdict(access) for name, access in found.counted.items()},
        }
    return data | {"passed": trial.passed}
