"""What the code of a GEMM waits for in flash: predicted from the kernels' text, counted, and what is chosen by it."""

import numpy as np
import pytest
from emit_helpers import case, certificate_of

from memaopt import mcu
from memaopt.bench.gemm_waits import random_gemms, runs
from memaopt.bench.waits import ALL, study
from memaopt.certificates.gemm import certify, verify
from memaopt.kernels.assembly_code import parse
from memaopt.kernels.executed import words
from memaopt.kernels.gemm.families import BY_NAME, RegisterTile
from memaopt.models import kernel_waits
from memaopt.models.waits import timing
from memaopt.problems.gemm import Dtype, Placement, gemm
from memaopt.problems.layers import Lookup
from memaopt.trials import gemm as trial

_STOCK = mcu("stm32l4r5", "stock")
_WEIGHTS_IN_FLASH = Placement(a="flash", b="sram", c="sram")


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    [
        ((16, 27, 128), "s8"),
        ((24, 153, 31), "s8"),
        ((16, 27, 128), "q15"),
        ((20, 8, 150), "q15"),
        ((48, 8, 128), "q15"),
        ((13, 27, 64), "f32"),
    ],
)
def test_cycles_are_predicted_as_counted_with_code_in_flash(sizes: tuple[int, int, int], dtype: Dtype) -> None:
    """Catches waits of code that are left out, or of other kernels than those that are emitted, and rows of A that a
    kernel goes over whole for each tile of columns, but are priced as if a cache held them."""
    made = certify(gemm(*sizes, dtype=dtype, placement=_WEIGHTS_IN_FLASH), _STOCK, "cycles")
    verify(made)
    ran = trial.run(made)
    assert ran.passed
    assert made.traffic.cycles == pytest.approx(ran.cycles, rel=0.05)


def test_a_kernel_larger_than_the_cache_waits_and_is_not_chosen() -> None:
    """Catches bytes that are left open and decided without waits: the straight kernel takes twice as long."""
    problem = gemm(16, 27, 128, dtype="s8", placement=_WEIGHTS_IN_FLASH)
    tile, machine = RegisterTile(3, 4, 2), timing(_STOCK)
    straight, rolled = (
        kernel_waits.waits_of_a_tile(problem, BY_NAME[name], tile, machine) for name in ("s8-c", "s8-c-rolled")
    )
    assert straight > 10 * rolled
    made = certify(problem, _STOCK, "bytes")
    other = made.schedule.model_copy(update={"kernel": "s8-c"})
    ran, slower = (trial.run(made.model_copy(update={"schedule": schedule})) for schedule in (made.schedule, other))
    assert made.schedule.kernel == "s8-c-rolled"
    assert ran.passed
    assert ran.cycles < 1.1 * ran.ideal_cycles
    assert slower.cycles > 2 * ran.cycles
    assert slower.counted == ran.counted


@pytest.mark.parametrize(("name", "tile"), [("q15-c-rolled", (3, 2, 2)), ("s8-c-rolled", (2, 4, 2))])
@pytest.mark.parametrize("k", [1, 3, 7, 14, 22, 43])
def test_rolled_kernels_are_right_whatever_the_reduction(name: str, tile: tuple[int, int, int], k: int) -> None:
    """Catches a round too many or too few, and steps left over that are not done."""
    ran = trial.run(certificate_of(case((4, k, 5), name, tile)))
    assert ran.passed


def test_sizes_of_instructions_are_those_of_an_assembler() -> None:
    """Catches a cache that is priced as if every instruction had 32 bits, or as if none had."""
    text = """
      push {r2-r11, lr}
      ldr r4, [r0, #8]
      ldr r4, [r0, #128]
      ldr r8, [r0, #8]
      adds r0, r0, #4
      add r0, r0, #4
      mov r9, r4
      it ne
      addne r4, r4, #1
      bne.w 1b
      sxtb16 r4, r5
      mov r4, #4
      cmp r4, #4
    """
    halves = [2, 1, 2, 2, 1, 2, 1, 1, 1, 2, 2, 2, 1]
    assert words(parse(text, wide=False)) == -(-sum(halves) // 2)
    assert words(parse(text)) == len(halves)


def test_each_word_of_a_waits_where_no_data_are_cached() -> None:
    """Catches an accelerator that keeps instructions alone, priced as if a read of it gave four words of A."""
    machine = mcu("nrf52840")
    accelerator = machine.memory("flash").accelerator
    assert accelerator is not None
    assert accelerator.load_lines == 0
    product = gemm(24, 31, 10, dtype="q15", placement=Placement(a="flash", b="sram", c="sram"))
    for run in runs(product, machine):
        assert abs(run.error) <= ALL, run


def test_a_study_takes_what_fits_the_machine() -> None:
    """Catches a study that ends at the first problem which a smaller machine has not the room for."""
    every, small = list(random_gemms(9)), list(random_gemms(9, 0, 32 << 10))
    assert len(small) == 9
    assert any(each not in small for each in every)
    for each in small:
        assert certify(each, mcu("ra4m1"), "bytes").proof
    large = Lookup(40_000, np.zeros(256, np.int8))
    assert not study(mcu("ra4m1"), [("large", large)]).runs
