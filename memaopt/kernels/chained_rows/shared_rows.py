"""CONV_2D 3x3 over three channels, as a network's first layer is: chained channels whose three positions share words
(shared_words.py), from rows that are read where the image has them (image_rows.py).

Preconditions, checked offline: those of chained channels; rows of whole words, padding of one row and column at most.
"""

from dataclasses import replace
from typing import NamedTuple

from memaopt.kernels import around
from memaopt.kernels.chained_rows.chained_channels import kernel_of, weight_stream
from memaopt.kernels.chained_rows.channels_kernel import TILE, ChainedChannelsKernel, PatchForm
from memaopt.kernels.chained_rows.image_rows import ImageRows, RowsWork, image_rows, rows_work
from memaopt.kernels.chained_rows.shared_words import CHANNELS, SharedWords
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.strips import fill_of
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv

#: Bytes that two additions move a pointer by.
_FURTHEST = 1 << 20
#: The most code and stack of its C by whether edges are columns.
_FRAMES = {False: around.Frame(368, 88), True: around.Frame(592, 120)}
#: Bytes of code more where GCC writes out turns of three rows, if these are so few and none overlap.
_WRITTEN_OUT, _MOST_TURNS = 160, 3


def shared_kernel(kernel: ChainedChannelsKernel, rows: ImageRows) -> ChainedChannelsKernel | None:
    """A kernel whose words are held in the FPU, of three positions apart, with shared ones in their place."""
    first = rows.start(rows.left)
    words = SharedWords(rows.stride, rows.row_bytes, first % 4, kernel.advance)
    return interned(replace(kernel, shared=words, fpu=True)) if words.reach <= REACH else None


class _Chosen(NamedTuple):
    kernel: ChainedChannelsKernel
    across: ChainedChannelsKernel | None
    rows: ImageRows
    proven: Proven

    @property
    def kernels(self) -> list[ChainedChannelsKernel]:
        return [self.kernel] if self.across is None else [self.kernel, self.across]

    @property
    def work(self) -> RowsWork:
        return rows_work(self.rows, self.kernel, self.across, [range(self.rows.height)])


class SharedRows:
    """CONV_2D 3x3 of three channels to five or more, stride 1 or 2, on cores with an FPU."""

    name = "shared rows"
    computes = Conv

    def plans(self, layer: Conv) -> tuple[Plan, ...]:
        plans = (self._plan(layer, columns) for columns in (False, True))
        return pareto(plan for plan in plans if plan is not None)

    def _choose(self, layer: Conv, columns: bool) -> _Chosen | None:
        rows = image_rows(layer, columns)
        made = None if rows is None else kernel_of(layer, TILE, PatchForm.HELD, rows.row_bytes)
        if rows is None or made is None:
            return None
        held, proven = made
        kernel = shared_kernel(held, rows)
        if kernel is None:
            return None
        across = None
        if columns:
            # At the ends of a row edges begin here and there; what unaligned words wait is that of its start.
            words = SharedWords(rows.stride, rows.pitch, rows.left_x % 4, CHANNELS, below=True)
            below = layer.output.width * layer.output.channels
            if TILE * below > _FURTHEST:
                return None
            patch = kernel.patch._replace(pitch=rows.pitch)
            across = interned(replace(kernel, patch=patch, shared=words, advance=CHANNELS, below=below))
        return _Chosen(kernel, across, rows, proven)

    def _plan(self, layer: Conv, columns: bool) -> Plan | None:
        chosen = self._choose(layer, columns)
        if chosen is None:
            return None
        kernel, across, rows, proven = chosen
        work, frame, height = chosen.work, _FRAMES[columns], layer.output.height
        few = columns and rows.left > 0 and height % 3 == 0 and height <= 3 * _MOST_TURNS
        code = (*around.entry(), *work.first, Loop(work.turn, work.turns))
        shared = sum(each.code_bytes for each in chosen.kernels)
        return Plan(
            family=self.name,
            tile=kernel.tile + (" and columns" if across is not None else ""),
            cycles=round(cycles_of(code, kernels=False) + work.kernels),
            promise=Promise((work.input,), work.output, work.parameters, work.scratch, work.stack),
            data_bytes=words_bytes(kernel.channel_tiles * kernel.words),
            code_bytes=shared + frame.code + _WRITTEN_OUT * few,
            scratch_bytes=rows.scratch_bytes,
            stack_bytes=max(each.stack_bytes for each in chosen.kernels) + frame.stack,
            kernels=tuple(each.name for each in chosen.kernels),
            shared_bytes=shared,
            code=code,
            lead=rows.lead(layer.output.channels),
            alignment=4,
            fpu=True,
            packings=(kernel.packing(kernel.channel_tiles),),
            requantization=proven.describe(),
            options=(("columns", int(columns)),),
        )

    def emit(self, layer: Conv, plan: Plan, name: str) -> Emitted:
        chosen = self._choose(layer, bool(plan.option("columns")))
        assert chosen is not None
        kernel, across, rows, proven = chosen
        comment = "four channels at a time: starts, chained weights, output stage"
        arrays = [Array("int32_t", f"{name}_weights", weight_stream(layer, kernel, proven), comment).in_lines()]
        assert data_bytes(arrays) == plan.kernel_bytes
        return emitted(
            unary(name),
            plan,
            f"CONV_2D {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}",
            "kernels/chained_rows/shared_rows.c.j2",
            arrays=arrays,
            kernels=chosen.kernels,
            rows=rows,
            kernel=kernel.name,
            across=None if across is None else across.name,
            outputs=layer.output.channels,
            fill=fill_of(layer),
        )


FAMILIES = (SharedRows(),)
