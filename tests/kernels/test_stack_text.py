"""Accesses to the stack, read from the text of a kernel."""

from memaopt.access import loads, stores
from memaopt.kernels.stack import by_depth, of_call

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
