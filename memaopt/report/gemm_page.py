"""The report of a certified GEMM as one page, of the same make as a network's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memaopt.access import Access
from memaopt.certificates.gemm import Certificate, Variant
from memaopt.choice.elsewhere import Elsewhere
from memaopt.kernels.text.templates import render
from memaopt.printable import printable
from memaopt.problems.gemm import OPERANDS
from memaopt.report import pictures
from memaopt.report.gemm import schedule_facts
from memaopt.trials.gemm import GemmTrial
from memaopt.version import __version__


def page(certificate: Certificate, trial: GemmTrial | None = None, others: Sequence[Elsewhere] = ()) -> str:
    """The page of a certificate, with what was counted if it was run, and what other settings would give."""
    machine, traffic = certificate.machine, certificate.traffic
    facts = {fact.name: fact.text for fact in schedule_facts(certificate, (), with_times=False)}
    levels = _levels(certificate)
    split = _bars(certificate, levels)
    made = render(
        "report/templates/gemm.html.j2",
        title=f"gemm {certificate.problem.name} {certificate.problem.dtype}",
        machine=machine,
        timed=machine.core.is_timed,
        cycles=traffic.cycles,
        certificate=certificate,
        trial=trial,
        others=others,
        version=__version__,
        tiles=_tiles(certificate, trial),
        levels=levels,
        split=split,
        bars=pictures.stacked(split, "bytes moved, and their bounds"),
        rows=_rows(certificate, trial),
        facts=[(name, facts[name]) for name in ("operands", "schedule", "weights", "kernel") if name in facts],
        variants=[(_called(variant), _cost(certificate, variant)) for variant in certificate.variants],
        proof=facts["proof"],
    )
    return printable(made)


def _tiles(certificate: Certificate, trial: GemmTrial | None) -> list[tuple[str, str, str]]:
    """The figures that come first: a name, the figure, what it means."""
    traffic, macs = certificate.traffic, certificate.problem.macs
    tiles = [("external bytes", f"{traffic.external_bytes:,}", _above(certificate.gap))]
    tiles.append(("register bytes", f"{traffic.register_bytes:,}", _above(certificate.register_gap)))
    if traffic.cycles is not None:
        tiles.append(("cycles promised", f"{traffic.cycles:,}", f"{traffic.cycles / macs:.2f} for each MAC"))
    if trial is not None and trial.cycles is not None:
        tiles.append(("cycles counted", f"{trial.cycles:,}", f"{trial.cycles / macs:.2f} for each MAC"))
    tiles.append(("proof", "agreed" if certificate.agreed else "one model", f"{len(certificate.answers)} models asked"))
    if trial is not None:
        verdict = "every element and every access is as promised" if trial.passed else "something is not as promised"
        tiles.append(("verdict", "passed" if trial.passed else "FAILED", verdict))
    return tiles


def _above(gap: float) -> str:
    return "the lower bound" if gap == 0 else f"{100 * gap:.1f}% above the lower bound"


def _levels(certificate: Certificate) -> list[tuple[str, int, int, str]]:
    """Of each level that something crosses: its name, the bytes moved, the bound, and how far that is."""
    traffic, bounds = certificate.traffic, certificate.bounds
    levels = [
        ("external", traffic.external_bytes, bounds.external_bytes, _above(certificate.gap)),
        ("registers", traffic.register_bytes, bounds.register_bytes, _above(certificate.register_gap)),
    ]
    return [level for level in levels if level[1]]


def _bars(
    certificate: Certificate, levels: Sequence[tuple[str, int, int, str]]
) -> list[tuple[str, list[tuple[str, int]], int]]:
    """A bar of the bytes moved at each level, by operand where they are theirs, in a frame as long as the bound."""
    sram, problem = certificate.machine.sram.name, certificate.problem
    buffers = {name: access.bytes for name, access in certificate.traffic.buffers.items()}
    outside: list[tuple[str, int]] = [
        (x, buffers[x]) for x in OPERANDS if problem.placement.of(x) != sram and buffers.get(x)
    ]
    split = {"external": outside, "registers": []}
    return [
        (name, split[name] if sum(size for _, size in split[name]) == moved else [("moved", moved)], bound)
        for name, moved, bound, _ in levels
    ]


def _rows(certificate: Certificate, trial: GemmTrial | None) -> list[dict[str, Any]]:
    """A line for each buffer: what is promised of it, and whether it was counted."""
    promised = certificate.traffic.buffers
    return [
        {
            "name": name,
            "figures": (access.loads, access.load_bytes, access.stores, access.store_bytes),
            "equal": trial is None or trial.counted.get(name, Access()) == access,
        }
        for name, access in sorted(promised.items())
    ]


def _called(variant: Variant) -> str:
    if variant.layers:
        return f"a kernel of the networks, code in {variant.code}"
    streamed = f"{' and '.join(variant.streamed)} streamed" if variant.streamed else "every operand staged"
    return f"{streamed}, code in {variant.code}"


def _cost(certificate: Certificate, variant: Variant) -> str:
    """What a variant costs beside the best, by the first part of the objective in which they differ."""
    if variant.objective is None:
        return "nothing fits"
    best = min(each.objective for each in certificate.variants if each.objective is not None)
    for mine, least in zip(variant.objective, best, strict=True):
        if mine != least and not certificate.machine.core.is_timed:
            return "comes after the best"
        if mine != least:
            return f"{mine / least:.3f} times the best" if least else f"{mine:,}, the best 0"
    return "the best"
