"""Are the cycles of GEMMs predicted well? Random ones of every dtype, each with the fastest schedule of its setting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from memaopt.bench.waits import LayerRun
from memaopt.certificates.gemm import certify
from memaopt.machines.mcu import Mcu
from memaopt.problems.gemm import DTYPES, OPERANDS, Gemm, Placement, gemm
from memaopt.trials import gemm as trial

#: Multiply-accumulates at most, and the sizes that layers have besides arbitrary ones.
_MOST_MACS = 800_000
_USUAL = (8, 16, 24, 32, 48, 64, 96, 128)


def random_gemms(count: int, seed: int = 0, sram: int | None = None) -> Iterator[Gemm]:
    """``count`` problems, dtypes in turn, A in flash or in SRAM; the same for the same seed.

    Of those that take more than three quarters of ``sram`` bytes there, if it is given, the next one has the place.
    """
    drawn = _drawn(seed)
    most = None if sram is None else sram * 3 // 4
    return itertools.islice((each for each in drawn if most is None or _in_sram(each) <= most), count)


def _in_sram(problem: Gemm) -> int:
    """Bytes of the operands that live in SRAM."""
    return sum(problem.bytes_of(x) for x in OPERANDS if problem.placement.of(x) == "sram")


def _drawn(seed: int) -> Iterator[Gemm]:
    rng = np.random.default_rng(seed)
    for dtype in itertools.cycle(DTYPES):
        m, k = (int(rng.choice(_USUAL)) if rng.random() < 0.5 else int(rng.integers(1, 160)) for _ in range(2))
        n = max(min(int(rng.integers(1, 600)), _MOST_MACS // (m * k)), 1)
        home = str(rng.choice(("flash", "sram")))
        yield gemm(m, k, n, dtype=dtype, placement=Placement(a=home, b="sram", c="sram"))


def runs(problem: Gemm, machine: Mcu, compiler: str | None = None) -> list[LayerRun]:
    """One problem in every setting of a machine: cycles predicted and counted."""
    found = []
    for setting in machine.settings:
        certificate = certify(problem, machine.in_setting(setting.name), "cycles")
        schedule, tried = certificate.schedule, trial.run(certificate, compiler=compiler)
        found.append(
            LayerRun(
                layer=f"gemm {problem.name} {problem.dtype}, A in {certificate.problem.placement.a}",
                setting=setting.name,
                kernel=f"{schedule.kernel} {schedule.tile}",
                where="code in RAM" if schedule.code == "ram" else "flash",
                predicted=certificate.traffic.cycles,
                counted=tried.cycles,
                ideal=tried.ideal_cycles,
            )
        )
    return found
