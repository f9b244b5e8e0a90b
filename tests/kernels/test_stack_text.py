"""Accesses to the stack, read from the text of a kernel."""

from hypothesis import given, settings
from hypothesis import strategies as st

from memaopt.access import loads, stores
from memaopt.kernels.gemm.families import FAMILIES, tiles
from memaopt.kernels.gemm.kernel import RegisterKernel, Strides, rounds, stack_by_depth
from memaopt.kernels.stack import by_depth, of_call
from memaopt.models.traffic import loop_words
from memaopt.problems.gemm import gemm

_TEXT = """
  @ r0: not an access to [sp]
  push {r4-r7, lr}
  vpush {s16-s31}
  ldrd r2, r3, [sp, #8]
2:
  ldr.w r4, [sp, #4]
1:
  str r4, [sp]
  ldr r5, [r0]
  beq 3f
  bne.w 1b
3:
  ldr r6, [r1]
  bne 2b
  vpop {s16-s31}
  pop {r4-r7, pc}
"""


def test_each_access_is_counted_as_often_as_its_loop_turns() -> None:
    """Catches an access that is missed, or counted once where a loop repeats it, or by a forward branch."""
    depths = by_depth(_TEXT)
    assert depths == (stores(5 + 16, 4) + loads(2 + 16 + 5, 4), loads(1, 4), stores(1, 4))
    assert of_call(depths, 3, 5) == depths[0] + loads(3, 4) + stores(15, 4)
    assert of_call(depths) == depths[0] + depths[1] + depths[2]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_words_that_are_priced_are_those_of_the_text(data: st.DataObject) -> None:
    """Catches a kernel that keeps more than its price says: in some pass, tile, ragged edge or stride, with an FPU or
    without. The words of a first and a last pass are held to the text together."""
    fpu = data.draw(st.booleans())
    family = data.draw(st.sampled_from([each for each in FAMILIES if tiles(each, 14, 32 if fpu else 0)]))
    tile = data.draw(st.sampled_from(tiles(family, 14, 32 if fpu else 0)))
    keeps, stride = family.stationary, data.draw(st.sampled_from((200, 4096, 70000)))
    mr, nr = (
        1 if keeps == x else data.draw(st.integers(1, most)) for x, most in zip("BA", (tile.mr, tile.nr), strict=True)
    )
    steps = data.draw(st.integers(1, 70)) if keeps == "C" else data.draw(st.integers(1, tile.kr))
    first, last = data.draw(st.booleans()), data.draw(st.booleans())
    problem = gemm(4, 4, 4, dtype=family.dtype)
    strides = Strides(stride, stride, stride, problem.width, stride, 4)

    def words(first: bool, last: bool) -> int:
        kernel = RegisterKernel(mr, steps, nr, first, last)
        done = of_call(stack_by_depth(problem, family, tile, kernel, strides, fpu), 1, rounds(family, tile.kr, kernel))
        return done.loads + done.stores

    priced = family.stack(*tile, fpu)
    looped = int(loop_words(steps, tile.kr, family.unrolling)[steps]) if priced.looped else 0
    rows = priced.row * (mr - 1)
    if first == last:
        a_pass = words(first, last)
        assert a_pass == looped + rows * last + sum(p.single if first else p.each for p in (priced.call, priced.turn))
    else:
        assert words(True, False) + words(False, True) == 2 * looped + rows + priced.call.over(2) + priced.turn.over(2)
