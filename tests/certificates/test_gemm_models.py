"""The models behind a certificate: they agree or there is none, and what a solver does wrong is no disagreement."""

import json

import pytest
from gemm_certificates_helpers import OUTSIDE
from models_helpers import machine_with

from memaopt.certificates import gemm as certificates
from memaopt.certificates.gemm import certify, verify
from memaopt.errors import (
    ContradictionError,
    DisagreementError,
    InfeasibleError,
    UnfinishedError,
)
from memaopt.kernels.schedule import IN_BLOCKS, Space, space
from memaopt.machines.mcu import Mcu, mcu
from memaopt.models import closed_form, cp_sat
from memaopt.models.answers import Answer
from memaopt.problems.gemm import Gemm, Placement, gemm


def test_no_certificate_when_a_model_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a certificate written although the models disagree; the message shows each answer."""
    problem, machine = gemm(8, 8, 8, placement=OUTSIDE), machine_with(700)

    def worse(where: Space, known: Answer | None) -> Answer:
        answer = closed_form.solve(where)
        schedule = answer.schedule.model_copy(update={"mc": 1, "kc": 1, "nc": 1, "hold": IN_BLOCKS})
        cost = certificates.price_of(where, schedule)
        return answer.model_copy(update={"model": "cp_sat", "schedule": schedule, "objective": cost})

    def lying(where: Space, known: Answer | None) -> Answer:
        return closed_form.solve(where).model_copy(update={"model": "cp_sat", "objective": (0, 0)})

    def helpless(where: Space, known: Answer | None) -> Answer:
        raise InfeasibleError("nothing fits")

    for model, message in (
        (helpless, "cp_sat: nothing fits; exhaustive"),
        (worse, r"the models differ: closed_form \(.*cp_sat \(.*exhaustive \("),
        (lying, r"cp_sat answers \(0, 0\) .* but it costs"),
    ):
        monkeypatch.setitem(certificates.MODELS, "cp_sat", model)
        with pytest.raises(DisagreementError, match=message):
            certify(problem, machine)


def test_a_model_that_does_not_finish_is_no_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a limit that is reported as if models had contradicted each other, with an equal and a worse answer."""
    problem, machine = gemm(8, 8, 8, placement=OUTSIDE), machine_with(700)

    def slow(where: Space, known: Answer | None) -> Answer:
        return closed_form.solve(where).model_copy(update={"model": "cp_sat", "proven": False})

    def slow_and_worse(where: Space, known: Answer | None) -> Answer:
        schedule = closed_form.solve(where).schedule.model_copy(update={"mc": 1, "kc": 1, "nc": 1, "hold": IN_BLOCKS})
        answer = closed_form.solve(where).model_copy(update={"schedule": schedule, "proven": False})
        return answer.model_copy(update={"objective": certificates.price_of(where, schedule)})

    for model in (slow, slow_and_worse):
        monkeypatch.setitem(certificates.MODELS, "cp_sat", model)
        with pytest.raises(UnfinishedError, match="cp_sat did not finish within its limit; closed_form and exhaustive"):
            certify(problem, machine)
    monkeypatch.undo()
    monkeypatch.setattr(cp_sat, "UNITS", 0.0)
    with pytest.raises(UnfinishedError):
        cp_sat.solve(space(problem, machine), units=0.0)


_HARD: list[tuple[tuple[int, int, int], str, str, int, dict[str, str]]] = [
    ((720, 3, 840), "q15", "single", 6070, {"a": "ccm", "c": "fmc"}),
    ((3, 10, 299), "s8", "double", 775, {"a": "flash", "b": "fmc", "c": "fmc"}),
]


@pytest.mark.parametrize(("sizes", "dtype", "buffering", "sram", "placement"), _HARD)
def test_what_is_hard_to_optimise_is_soon_refuted(
    sizes: tuple[int, int, int], dtype: str, buffering: str, sram: int, placement: dict[str, str]
) -> None:
    """Catches a solver that looks for an optimum for a minute where it was only asked whether one is better."""
    m, k, n = sizes
    problem = Gemm(m=m, k=k, n=n, dtype=dtype, placement=Placement(**placement))  # type: ignore[arg-type]
    machine = mcu("stm32f407").with_sizes(sram=sram)
    cert = certify(problem, machine, objective="energy", buffering=buffering)
    verify(cert)
    assert certify(problem, machine, objective="energy", buffering=buffering).to_json() == cert.to_json()


@pytest.mark.parametrize("objective", ["bytes", "cycles"])
def test_the_solver_believes_no_answer_that_is_wrong(objective: str) -> None:
    """Catches a solver that repeats what it is told: of a worse schedule, and of an objective nobody reaches."""
    where = space(gemm(6, 10, 7, placement=OUTSIDE), machine_with(700), objective)
    best = closed_form.solve(where)
    assert cp_sat.solve(where, best).objective == best.objective
    schedule = best.schedule.model_copy(update={"mc": 1, "kc": 1, "nc": 1, "hold": IN_BLOCKS})
    worse = best.model_copy(update={"schedule": schedule, "objective": certificates.price_of(where, schedule)})
    below = best.model_copy(update={"objective": (best.objective[0] - 1, *best.objective[1:])})
    for told in (worse, below, None):
        answer = cp_sat.solve(where, told)
        assert answer.proven
        assert answer.objective == best.objective


@pytest.mark.parametrize(("sizes", "dtype", "sram"), [((306, 164, 231), "q15", 147080), ((111, 218, 32), "s8", 4939)])
def test_no_price_is_a_factor_that_wraps(sizes: tuple[int, int, int], dtype: str, sram: int) -> None:
    """Catches prices as factors of constraints that hold by turns: OR-Tools multiplies those of two, the product wraps
    at 64 bits, and a model with a solution is called infeasible."""
    m, k, n = sizes
    problem = gemm(m, k, n, dtype=dtype, placement={"a": "qspi", "b": "qspi", "c": "sram"})
    where = space(problem, mcu("stm32l4r5").with_sizes(sram=sram, qspi=64 << 20), "energy")
    known = closed_form.solve(where)
    answer = cp_sat.solve(where, known)
    assert answer.proven
    assert answer.objective == known.objective


def test_a_solver_that_contradicts_itself_is_no_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a wrong "infeasible" or optimum of the solver reported as the model's, and a model that really differs
    (it does not reach the objective, or not by that schedule) reported as the solver's fault."""
    where = space(gemm(9, 20, 7, placement=OUTSIDE), machine_with(900), "energy")
    best = closed_form.solve(where)
    worse = best.model_copy(update={"objective": (best.objective[0] + 1,)})
    below = best.model_copy(update={"objective": (best.objective[0] - 1,)})
    too_large = best.model_copy(update={"schedule": best.schedule.model_copy(update={"mc": 9, "kc": 20, "nc": 7})})

    def infeasible(*_: object) -> Answer:
        raise InfeasibleError("nothing fits")

    monkeypatch.setattr(cp_sat, "_confirmed", lambda *_: None)
    monkeypatch.setattr(cp_sat, "_minimised", infeasible)
    with pytest.raises(ContradictionError, match="contradicts itself: it says that no schedule fits, and reaches"):
        cp_sat.solve(where, best)
    for told in (below, too_large, None):
        with pytest.raises(InfeasibleError, match="nothing fits"):
            cp_sat.solve(where, told)
    monkeypatch.setattr(cp_sat, "_minimised", lambda *_: worse)
    with pytest.raises(ContradictionError, match=r"it calls \(.*\) the best, and reaches"):
        cp_sat.solve(where, best)
    for told in (below, worse, None):
        assert cp_sat.solve(where, told).objective == worse.objective


def test_a_hint_that_the_solver_fails_on() -> None:
    """Catches an error of the solver's own, which a hint brings about while it simplifies this model."""
    data = mcu("stm32l4r5").model_dump(mode="json")
    sizes = {"flash": 0x20_0000, "sram": 540, "qspi": 1}
    energies = {"flash": 9.0, "sram": 1.0, "qspi": 50.0}
    for memory in data["memories"]:
        name = memory["name"]
        memory |= {"size": sizes[name], "first": 2, "next": 2, "energy_pj_per_byte": energies[name], "regions": []}
        memory["waits_by_clock"] = None
    small = Mcu.model_validate_json(json.dumps(data | {"aliases": [], "code_ram": "sram"}))
    problem = gemm(13, 1, 2, dtype="s8", placement={"a": "flash", "b": "flash", "c": "sram"})
    assert certify(problem, small, "energy").agreed
