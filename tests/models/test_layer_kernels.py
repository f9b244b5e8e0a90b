"""Kernels of the networks as schedules of s8 products: every model finds the best of those that fit."""

import random

import pytest

from memaopt.certificates.gemm import certify, verify
from memaopt.errors import InfeasibleError
from memaopt.kernels.schedule import LayerSchedule, Space, space, variants
from memaopt.machines.mcu import mcu
from memaopt.models import closed_form, cp_sat, exhaustive, layer_kernels
from memaopt.problems.gemm import Gemm, gemm
from memaopt.trials import gemm as trial

_ISSUED = {"a": "flash", "b": "sram", "c": "sram"}


def _layers(problem: Gemm, sram: int | None = None, objective: str = "cycles") -> Space:
    """The layer kernels of a problem, code in flash."""
    machine = mcu("stm32l4r5") if sram is None else mcu("stm32l4r5").with_sizes(sram=sram)
    return next(each for each in variants(space(problem, machine, objective)) if each.layers)


def _random(count: int) -> list[tuple[Gemm, int, str]]:
    rng = random.Random(0)
    found = []
    for _ in range(count):
        m, k, n = (rng.randint(1, 40) for _ in "mkn")
        homes = {x: rng.choice(("sram", "qspi", "flash")) for x in "ab"} | {"c": rng.choice(("sram", "qspi"))}
        problem = gemm(m, k, n, dtype="s8", placement=homes)
        resident = sum(problem.bytes_of(x) for x in ("A", "B", "C") if homes[x.lower()] == "sram")
        sram = resident + 512 + rng.choice((1, 300, 2000, 20000))
        found.append((problem, sram, rng.choice(("bytes", "cycles", "energy"))))
    return found


@pytest.mark.parametrize(("problem", "sram", "objective"), _random(24))
def test_the_models_agree_with_a_list_of_all_prices(problem: Gemm, sram: int, objective: str) -> None:
    """Catches a model that picks a plan that does not fit, or leaves out the best that does."""
    where = _layers(problem, sram, objective)
    offered = [offer.plan for offer in layer_kernels.offers(where)]
    fitting = [plan for plan in offered if layer_kernels.why_too_large(where, plan) is None]
    least = min((layer_kernels.price(where, plan) for plan in fitting), default=None)
    for model in (closed_form, cp_sat, exhaustive):
        if least is None:
            with pytest.raises(InfeasibleError):
                model.solve(where)
        else:
            answer = model.solve(where)
            assert answer.objective == least
            assert layer_kernels.why_infeasible(where, answer.schedule) is None


def test_some_of_them_do_not_fit() -> None:
    """Catches cases that never reach what the test above is for."""
    fits = [
        [price is not None for price in layer_kernels.prices(where)]
        for where in (_layers(*case) for case in _random(24))
    ]
    assert any(all(each) for each in fits)
    assert any(any(each) and not all(each) for each in fits)


@pytest.mark.parametrize(
    ("sizes", "homes", "setting"),
    [
        ((64, 64, 125), _ISSUED, "stock"),
        ((12, 640, 1), _ISSUED, "stock"),
        ((7, 13, 5), {**_ISSUED, "a": "sram"}, "stock"),
        ((10, 31, 64), {**_ISSUED, "a": "qspi"}, "stock"),
        ((24, 36, 50), {**_ISSUED, "b": "qspi"}, "stock"),
        ((24, 36, 50), {**_ISSUED, "b": "flash"}, "stock"),
        ((10, 31, 64), _ISSUED, "ram"),
    ],
)
def test_the_best_does_what_it_promises(sizes: tuple[int, int, int], homes: dict[str, str], setting: str) -> None:
    """Catches constants in another memory than promised, a wrong result, and cycles that are predicted badly."""
    certificate = certify(gemm(*sizes, dtype="s8", placement=homes), mcu("stm32l4r5").in_setting(setting), "cycles")
    assert isinstance(certificate.schedule, LayerSchedule)
    tried = trial.run(certificate)
    assert tried.counted == certificate.traffic.buffers
    assert tried.correct
    assert certificate.traffic.cycles == pytest.approx(tried.cycles, rel=0.05)
    verify(certificate)


def test_the_product_that_a_network_computed_faster() -> None:
    """Catches networks' kernels that are left out: without them this product takes 921,985 cycles."""
    certificate = certify(gemm(64, 64, 125, dtype="s8"), mcu("stm32l4r5"), "cycles")
    assert certificate.traffic.cycles < 660_000
    arguments = certify(gemm(64, 64, 125, dtype="s8", weights="argument"), mcu("stm32l4r5"), "cycles")
    assert not any(variant.layers for variant in arguments.variants)
    assert arguments.traffic.cycles > 900_000


def test_bytes_of_layer_kernels_count_the_stack() -> None:
    """Catches plans that seem to move less because nobody counts what they keep on the stack."""
    homes = {"a": "sram", "b": "sram", "c": "sram"}
    where = _layers(gemm(64, 64, 125, dtype="s8", placement=homes), objective="bytes")
    plans = [each.plan for each in layer_kernels.offers(where)]
    kept = 0
    for price, plan in zip(layer_kernels.prices(where), plans, strict=True):
        buffers = layer_kernels.promise(plan)
        if price is not None and plan.streams is None:
            assert price == (0, sum(access.bytes for access in buffers.values()))
            kept += buffers["stack"].bytes > 64 * 125
    assert kept
