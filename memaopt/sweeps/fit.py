"""Which chip a network fits: the fastest library on each, what it leaves free, what would do where none fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel

from memaopt.choice.placement import ON_CHIP, NetworkPlacement, sites
from memaopt.errors import InfeasibleError, InputError, MemaoptError
from memaopt.machines.mcu import Mcu
from memaopt.networks.streaming.window import Stream
from memaopt.problems.custom import CustomCode
from memaopt.sweeps.pools import Workers
from memaopt.sweeps.worker import internal

if TYPE_CHECKING:
    from memaopt.networks.formats.model import Model

FitVerdict = Literal["fits", "too slow", "too much energy", "unknown", "too large", "no memory", "failed"]


class ModelFile(NamedTuple):
    """A model's file: its name, and its bytes; ``stream``: how its window slides, if it does; ``customs``: the C of
    operators of its own; ``place``: the memories that its buffers may live in."""

    name: str
    data: bytes
    stream: Stream | None = None
    customs: tuple[CustomCode, ...] = ()
    place: NetworkPlacement = ON_CHIP


class Limits(NamedTuple):
    """What is demanded besides fitting: milliseconds and millijoules of an inference; None is no demand."""

    latency_ms: float | None = None
    energy_mj: float | None = None


class Fit(BaseModel, frozen=True):
    """A network on a chip in a setting.

    Of one that fits: the fastest library's predicted cycles, its latency, its energy as modelled, power times time; the
    bytes that it takes and those that it and the project leave free, and how it was proven that no choice is faster. Of
    one that is too large: bytes of SRAM and flash that would do, each alone, and how many the chip is short of. None is
    what is not known: cycles of a core whose timing nobody has validated, energy of a chip of unknown power.
    ``without``: operators that C of the user's computes, of which no figure has anything. ``outside_bytes``: what lies
    outside the chip, if something may; a chip without such a memory has the verdict ``no memory``. ``dma``: cycles
    are with the chip's DMA where that is cheaper.
    """

    model: str
    machine: str
    title: str
    setting: str
    verdict: FitVerdict
    reason: str = ""
    cycles: int | None = None
    latency_ms: float | None = None
    energy_mj: float | None = None
    sram_bytes: int | None = None
    flash_bytes: int | None = None
    sram_left: int | None = None
    flash_left: int | None = None
    sram_short: int | None = None
    flash_short: int | None = None
    proof: str | None = None
    without: tuple[str, ...] = ()
    outside_bytes: int | None = None
    dma: bool = False


def fits(workers: Workers, models: Sequence[ModelFile], machines: Sequence[Mcu], limits: Limits) -> Iterator[Fit]:
    """Each network on each machine in its setting, in that order, as they come."""
    texts = [(machine, machine.model_dump_json()) for machine in machines]
    pending: list[Future[Fit]] = [
        workers.submit(fit, model, text, limits) for model in models for machine, text in texts
    ]
    for future in pending:
        yield workers.result(future)


def fit(model: ModelFile, machine: str, limits: Limits) -> Fit:
    """One network on one machine, which is given as JSON."""
    mcu = Mcu.model_validate_json(machine)
    chip = {"machine": mcu.name, "title": mcu.title, "setting": mcu.setting.name}
    found = Fit(model=model.name, **chip, verdict="failed", dma=mcu.dma is not None)
    try:
        return _fit(found, mcu, model, limits)
    except MemaoptError as error:
        return found.model_copy(update={"reason": str(error)})
    except Exception as error:  # a fault of memaopt's ends its row, not the others
        return found.model_copy(update={"reason": internal(error)})


def _fit(found: Fit, mcu: Mcu, model: ModelFile, limits: Limits) -> Fit:
    from memaopt.choice.compile import compile_network

    read = _read(model)
    try:
        sites(model.place, mcu)
    except InputError as error:
        return found.model_copy(update={"verdict": "no memory", "reason": str(error)})
    try:
        plan = compile_network(read, mcu, "cycles", stream=model.stream, place=model.place)
    except InfeasibleError as error:
        return found.model_copy(update={"verdict": "too large", "reason": str(error), **_would_do(mcu, model)})
    assert plan.budgets.sram is not None
    assert plan.budgets.flash is not None
    cycles = plan.machine_cycles if mcu.core.is_timed else None
    latency = None if cycles is None else 1e3 * cycles / mcu.clock_hz
    energy = None if latency is None or not mcu.power_mw else 1e-3 * mcu.power_mw * latency
    verdict, reason = _verdict(latency, energy, limits, mcu, plan.without)
    figures = {
        "cycles": cycles,
        "latency_ms": latency,
        "energy_mj": energy,
        "sram_bytes": plan.sram_bytes,
        "flash_bytes": plan.flash_bytes,
        "sram_left": plan.budgets.sram - plan.sram_bytes,
        "flash_left": plan.budgets.flash - plan.flash_bytes,
        "proof": plan.choice.proof,
        "without": tuple(code.name for code in plan.customs),
        "outside_bytes": plan.image.nbytes + plan.outer_bytes if model.place.describe() else None,
    }
    return found.model_copy(update={"verdict": verdict, "reason": reason, **figures})


def _verdict(
    latency: float | None, energy: float | None, limits: Limits, mcu: Mcu, without: str
) -> tuple[FitVerdict, str]:
    """Whether what is demanded is met; of figures ``without`` the user's C only that it is not can be known."""
    if limits.latency_ms is not None and latency is None:
        return "unknown", f"its latency: {mcu.core.untimed}"
    if limits.energy_mj is not None and energy is None:
        return "unknown", f"its energy: {mcu.core.untimed or 'no figure of its power is known'}"
    if limits.latency_ms is not None and latency is not None and latency > limits.latency_ms:
        return "too slow", f"{latency / limits.latency_ms:.2f} times the latency allowed"
    if limits.energy_mj is not None and energy is not None and energy > limits.energy_mj:
        return "too much energy", f"{energy / limits.energy_mj:.2f} times the energy allowed"
    if without and limits != Limits():
        return "unknown", f"whether it meets what is demanded: its figures are{without}"
    return "fits", ""


def _would_do(mcu: Mcu, model: ModelFile) -> dict[str, int | None]:
    """What would do layer by layer, and how many bytes are missing; None where that was not found. Tensors that may be
    outside are."""
    from memaopt.choice.problem import ALL_AWAY, left_by_project, prepare
    from memaopt.choice.solution import least_budgets
    from memaopt.choice.spaces import simplifications
    from memaopt.networks.streaming.window import streamed

    graph = _read(model).graph
    graph = graph if model.stream is None else streamed(graph, model.stream)[0].graph
    flash_left, sram_left = left_by_project(mcu, graph)
    *_, place = model.place, *model.place.opened(mcu)
    room = ALL_AWAY if sites(place, mcu).between else None
    least = [least_budgets(prepare(each.graph, mcu, place=place, room=room)) for _, each in simplifications(graph)]
    found: dict[str, int | None] = {}
    for what, left, values in zip(("sram", "flash"), (sram_left, flash_left), zip(*least, strict=True), strict=True):
        fewest = min((size for size in values if size is not None), default=None)
        found[f"{what}_bytes"] = fewest
        found[f"{what}_short"] = None if fewest is None else max(fewest - left, 0)
    return found


@lru_cache(maxsize=4)
def _read(model: ModelFile) -> Model:
    from memaopt.networks.formats.model import Model
    from memaopt.networks.reading import Wanted

    return Model.parsed(model.data, model.name, Wanted(model.customs))


def amount(text: str, units: dict[str, float], option: str) -> float:
    """A number with one of these units, in the unit whose factor is 1; InputError if it is none."""
    for unit, factor in sorted(units.items(), key=lambda entry: -len(entry[0])):
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            try:
                value = factor * float(number)
            except ValueError:
                break
            if 0 < value < 1e9:
                return value
            break
    raise InputError(f"{option} {text[:40]}: give a number with one of {', '.join(units)}, as in 50{next(iter(units))}")
