"""The same sums of up to three channels, whose elements are read by words all the same.

A word's halfwords are the elements of whole positions in turn: of one channel all, of two those of either are apart,
and of three channels three words have four positions in three such pairs, two channels of each in a register. SMLAD or
SXTAH add them up in 32 bits after some words, so that any number of positions is summed.
"""

from typing import NamedTuple

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.code import Call, Loop, Rendered
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.pooling.channel_sums import Sums, emitted_sums, kernel_of_sums, proven_of, sums_of
from memaopt.kernels.rounding.requantize import Proven
from memaopt.problems.layers import Mean, Pool

#: By the number of channels: words of whole positions, registers for words, and those of the sums of two halfwords.
_PERIOD, _HELD, _PAIRS = (0, 1, 1, 3), (0, 7, 6, 5), (0, 1, 2, 3)
#: Words of a turn at most.
_MOST = 12


class _Turns(NamedTuple):
    """``turns`` of ``words`` each, ``rest`` words more, and ``left`` elements behind them."""

    words: int
    turns: int
    rest: int
    left: int

    @property
    def trips(self) -> tuple[float, ...]:
        return (float(self.turns),) if self.turns > 1 else ()


def _turns(sums: Sums) -> _Turns:
    """As few cycles as there are for it: loads in groups, two sums a word, what adds them up, and the loop."""
    channels, period = sums.channels, _PERIOD[sums.channels]
    whole = sums.count * channels // (4 * period) * period
    left = sums.count * channels - 4 * whole

    def cycles(words: int) -> int:
        return 3 * words + -(-words // _HELD[channels]) + (0, 1, 2, 6)[channels]

    def all_of(words: int) -> int:
        turns, rest = divmod(whole, words)
        return turns * (cycles(words) + 3) + (cycles(rest) if rest else 0)

    words = min(range(period, _MOST + 1, period), key=all_of)
    return _Turns(words, *divmod(whole, words), left)


class FewSums:
    """AVERAGE_POOL_2D over a whole image."""

    name = "few sums"
    computes: type = Pool

    def plans(self, layer: Pool | Mean) -> tuple[Plan, ...]:
        sums = sums_of(layer)
        proven = None if sums is None or sums.channels > 3 else proven_of(layer)
        if sums is None or proven is None:
            return ()
        kernel, turns = _kernel(sums, proven), _turns(sums)
        words = turns.words * turns.turns + turns.rest
        # Images begin at any address where their elements are no multiple of 4.
        starts = np.arange(sums.times) * sums.count * sums.channels
        slow = float(np.where(starts % 2 == 1, 2, np.where(starts % 4 == 2, 1, 0)).mean())
        call = Call(kernel, turns.trips, slow=slow)
        each = around.piece(around.CALL), call
        code = each if sums.times == 1 else (*around.entry(), Loop(each, sums.times))
        size = 4 * words_of(call)
        return (
            Plan(
                family=self.name,
                tile=str(turns.words),
                cycles=round(cycles_of(code)),
                promise=Promise(
                    ((loads(words, 4) + loads(turns.left, 1)).times(sums.times),),
                    stores(sums.times * sums.channels, 1),
                    stack=saved(9).times(sums.times),
                ),
                data_bytes=0,
                code_bytes=size + 36,
                stack_bytes=52,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                in_place=True,
                alignment=4,
                requantization=proven.describe(),
            ),
        )

    def emit(self, layer: Pool | Mean, plan: Plan, name: str) -> Emitted:
        return emitted_sums(layer, plan, name, _kernel)


class FewMeans(FewSums):
    """MEAN over neighbouring axes, with up to three elements behind them."""

    computes = Mean


def _kernel(sums: Sums, proven: Proven) -> Rendered:
    loops = (("turns", _turns(sums)), ("held", _HELD[sums.channels]), ("pairs", _PAIRS[sums.channels]))
    return kernel_of_sums("few_sums", "kernels/pooling/few_sums.c.j2", sums, proven, loops)


FAMILIES = (FewSums(), FewMeans())
