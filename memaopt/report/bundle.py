"""What people see of several networks in one library: each one's report, and what all of them take together."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from memaopt.certificates.bundle import BundleCertificate
from memaopt.choice.bundle import BundlePlan
from memaopt.kernels.text.templates import render
from memaopt.overview import framed
from memaopt.printable import printable
from memaopt.report import network, network_json
from memaopt.report.console import Fact, print_facts
from memaopt.report.page import page as page_of_network
from memaopt.trials.bundle import BundleTrial
from memaopt.trials.network import NetworkTrial
from memaopt.version import __version__


def print_bundle(console: Console, signed: BundleCertificate, trial: BundleTrial | None) -> None:
    """The networks one after the other as each is shown alone, then the totals."""
    plan = signed.plan
    for each, found in zip(plan.plans, _trials(plan, trial), strict=True):
        network.print_plan(console, each, found)
        console.print()
    console.print(Text.assemble((plan.name, "bold"), f": {len(plan.plans)} networks in one library"))
    print_facts(console, (Fact(name, text, "") for name, text in _totals(signed)))


def _totals(signed: BundleCertificate) -> list[tuple[str, str]]:
    """What all of them take, one fact each."""
    facts = [(name, text) for name, text in signed.facts()[len(signed.networks) :] if name != "certificate"]
    shared = signed.totals.shared_bytes
    return [
        *facts,
        *([("", f"{shared:,} bytes of constants are in several networks, once")] if shared else []),
    ]


def bundle_json(signed: BundleCertificate, trial: BundleTrial | None) -> dict[str, Any]:
    """One object: the totals, the certificate's digest, and each network as it is alone."""
    plan = signed.plan
    networks = zip(plan.plans, signed.networks, _trials(plan, trial), strict=True)
    return {
        "name": plan.name,
        "mcu": plan.mcu.name,
        "setting": plan.mcu.setting.name,
        "passed": trial is None or trial.passed,
        "totals": signed.totals.model_dump(mode="json"),
        "together": None if signed.together is None else signed.together.model_dump(mode="json"),
        "sha256": signed.sha256,
        "networks": [network_json.plan_json(each, certificate, found) for each, certificate, found in networks],
    }


def page(signed: BundleCertificate, trial: BundleTrial | None = None) -> str:
    """The report as one page, with each network's own in it."""
    plan, found = signed.plan, signed.totals
    tiles = [
        ("arena", f"{found.arena_bytes:,} bytes", f"{found.apart_arena_bytes:,} with one each"),
        ("flash", f"{found.flash_bytes:,} bytes", f"{found.apart_flash_bytes:,} were nothing shared"),
        ("networks", str(len(plan.plans)), "one at a time"),
    ]
    if trial is not None:
        verdict = "every byte and every access is as promised" if trial.passed else "something is not as promised"
        tiles.append(("verdict", "passed" if trial.passed else "FAILED", verdict))
    pages = [
        (each.name, framed(page_of_network(each, certificate, of)))
        for each, certificate, of in zip(plan.plans, signed.networks, _trials(plan, trial), strict=True)
    ]
    made = render(
        "report/templates/bundle.html.j2",
        title=plan.name,
        machine=plan.mcu,
        timed=plan.mcu.core.is_timed,
        certificate=signed,
        others=(),
        version=__version__,
        tiles=tiles,
        pages=pages,
    )
    return printable(made)


def _trials(plan: BundlePlan, trial: BundleTrial | None) -> tuple[NetworkTrial | None, ...]:
    return (None,) * len(plan.plans) if trial is None else trial.networks
