"""The report of a compiled network as one page: HTML that needs no network, no script and no file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.elsewhere import Elsewhere
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.pareto import Point
from memaopt.choice.traffic import describe, layer_traffic
from memaopt.kernels.text.templates import render
from memaopt.machines.energy import energy
from memaopt.networks.chains import space_of
from memaopt.printable import counted, printable
from memaopt.report import pictures
from memaopt.report.network import kernel_name, layer_shape, operator_name
from memaopt.report.rounding import roundings
from memaopt.version import __version__

if TYPE_CHECKING:
    from memaopt.trials.network import NetworkTrial

_PROOFS = {
    "enumeration": "best of all that fit {space}, by an exhaustive search",
    "solver": "best of all that fit {space}, by CP-SAT",
    "none": "not proven best",
}
_PACKED = {
    "live set": "it equals the largest live set",
    "search": "least, by an exhaustive search",
    "solver": "least, by CP-SAT",
    "none": "not proven least",
}


def page(
    plan: NetworkPlan,
    certificate: NetworkCertificate | None = None,
    trial: NetworkTrial | None = None,
    others: Sequence[Elsewhere] = (),
    front: Sequence[Point] = (),
) -> str:
    """The page. ``front`` is that of the arena, else the plan and its neighbours are shown as far as they are known."""
    timed = plan.mcu.core.is_timed
    marks = _front(plan, front) if timed else []
    made = render(
        "report/templates/network.html.j2",
        title=plan.name,
        machine=plan.mcu,
        cycles=plan.machine_cycles,
        plan=plan,
        timed=timed,
        certificate=certificate,
        trial=trial,
        others=others,
        version=__version__,
        tiles=_tiles(plan, trial),
        rows=[_row(plan, number, layer, trial) for number, layer in enumerate(plan.layers)],
        memory_map=pictures.memory_map(plan),
        packed=_PACKED[plan.memory.proof],
        roofline=pictures.roofline(plan) if timed else "",
        sizes=_sizes(plan),
        bars=pictures.stacked(_sizes(plan), "flash and RAM by what takes them"),
        front=pictures.front(marks) if len(marks) > 1 else "",
        graph=pictures.graph(plan),
        proof=_PROOFS[plan.choice.proof].format(space=space_of(plan.chains)),
    )
    return printable(made)


def _tiles(plan: NetworkPlan, trial: NetworkTrial | None) -> list[tuple[str, str, str]]:
    """The figures that come first: a name, the figure, what it means."""
    tiles = []
    if plan.mcu.core.is_timed:
        milliseconds = 1000 * plan.machine_cycles / plan.mcu.clock_hz
        tiles.append(
            (
                f"cycles {f'predicted{plan.without}' if plan.customs else 'promised'}{plan.with_dma}",
                f"{plan.machine_cycles:,}",
                f"{milliseconds:,.2f} ms",
            )
        )
    if trial is not None and trial.cycles is not None:
        error = 100 * (trial.cycles / plan.machine_cycles - 1)
        told = "with all operators" if plan.customs else f"{error:+.2f}% of those promised"
        tiles.append(("cycles counted", f"{trial.cycles:,}", told))
    tiles.append(("arena", f"{plan.arena_bytes:,} bytes", _PACKED[plan.memory.proof]))
    tiles.append(("flash", f"{plan.flash_bytes:,} bytes", f"{plan.constant_bytes:,} of constants"))
    tiles.append(
        (
            "kernels",
            _PROOFS[plan.choice.proof].split(" {")[0],
            f"{space_of(plan.chains)}: {counted(len(plan.layers), 'layer')}, {plan.macs:,} MAC",
        )
    )
    if trial is not None:
        own = "; custom operators promise no access" if plan.customs else ""
        verdict = f"every byte and every access is as promised{own}" if trial.passed else "something is not as promised"
        tiles.append(("verdict", "passed" if trial.passed else "FAILED", verdict))
    return tiles


def _row(plan: NetworkPlan, number: int, layer: LayerPlan, trial: NetworkTrial | None) -> dict[str, Any]:
    """A layer's line of the table."""
    found = None if trial is None else trial.layers[number]
    traffic = layer_traffic(plan, layer)
    return {
        "number": number,
        "operator": operator_name(layer),
        "shape": layer_shape(plan, layer),
        "kernel": kernel_name(layer),
        "name": layer.name,
        "own": bool(layer.plan.without),
        "cycles": layer.machine_cycles,
        "share": 100 * layer.machine_cycles / max(plan.machine_cycles, 1),
        "waits": layer.stall_cycles,
        "bytes": traffic.bytes,
        "times": traffic.gap + 1,
        "moved": describe(traffic),
        "energy": energy(plan.mcu, layer.machine_cycles, {}).total_uj if plan.mcu.power_mw else None,
        "rounding": _rounding(layer),
        "proof": "; ".join(sorted(set(roundings(layer)))),
        "counted": None if found is None else found.cycles,
        "equal": None if found is None else found.passed,
    }


def _rounding(layer: LayerPlan) -> str:
    """Why its rounding is exact, in a word or two."""
    said = roundings(layer)
    if not said:
        return "none"
    return "proven" if all(text.startswith("proven") for text in said) else "the reference's"


def _sizes(plan: NetworkPlan) -> list[tuple[str, list[tuple[str, int]], int]]:
    """Flash and RAM: what takes how many bytes, and what the budget is."""
    flash, ram = plan.budgets.flash or 0, plan.budgets.sram or 0
    return [
        ("flash", [("constants", plan.constant_bytes), ("code, about", plan.code_bytes)], flash),
        (
            "RAM",
            [
                ("tensors", plan.tensor_bytes),
                ("scratch", plan.scratch_bytes),
                ("stack, about", plan.stack_bytes),
                ("copied from flash", plan.ram_bytes),
            ],
            ram,
        ),
    ]


def _front(plan: NetworkPlan, points: Sequence[Point]) -> list[pictures.Mark]:
    """The plan itself, marked, and what else is known of its front."""
    others = [(p.arena_bytes, p.machine_cycles) for p in points if not p.default] or [*plan.neighbours]
    here = (plan.arena_bytes, plan.machine_cycles)
    return [
        pictures.Mark(arena, cycles, f"{arena:,} bytes of arena, {cycles:,} cycles", (arena, cycles) == here)
        for arena, cycles in sorted({here, *((arena, cycles) for arena, cycles in others)})
    ]
