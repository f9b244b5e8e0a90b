"""AVERAGE_POOL_2D, MAX_POOL_2D, and the extremes along neighbouring axes."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import piece
from memaopt.kernels.code import Call, Loop, Node, Rendered
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of, words_of
from memaopt.kernels.family import dimensions
from memaopt.kernels.leads import window_lead
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import short_name
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.layers import Pool, PoolKind

#: Elements that a 16-bit sum holds, and that the reciprocal of their number is exact for.
_MOST = 255
#: Taps of a window that is written out, and registers for what is loaded at once.
_WRITTEN_OUT, _LOADED = 9, ("r4", "r5", "r6", "r9")

#: Bytes of the generic kernel's C at most, and of its loops written out, which GCC does for one or two channels:
#: `tests/kernels/test_frames.py`.
_CODE, _CODE_OF_FEW = 304, 840


def title_of(layer: Pool) -> str:
    kind = {PoolKind.AVERAGE: "AVERAGE_POOL_2D", PoolKind.MAX: "MAX_POOL_2D", PoolKind.MIN: "least"}[layer.kind]
    return f"{kind} {dimensions(layer.shape)} -> {dimensions(layer.output)}, {layer.window.describe()}"


def details_of(layer: Pool) -> str:
    """What tells the assembly of layers apart."""
    return (
        f"{dimensions(layer.shape)} to {dimensions(layer.output)}, {layer.window.describe()}, "
        f"clamp {layer.minimum} to {layer.maximum}{', ties up' if layer.ties_up else ''}"
    )


def emitted_pool(layer: Pool, plan: Plan, name: str, kernel: Rendered | None) -> Emitted:
    """The C of a layer that its assembly computes."""
    assert kernel is not None
    template = "kernels/pooling/pool_layer.c.j2"
    return emitted(unary(name), plan, title_of(layer), template, kernels=(kernel,), kernel=kernel.name)


@dataclass(frozen=True)
class _Tap:
    """A load of a window that is written out, at ``offset`` from r3, or if ``far`` from r10, which is first set to
    ``row`` bytes behind r3 unless that is 0.
    """

    register: str
    offset: int
    far: bool
    row: int


def _inside(layer: Pool) -> tuple[tuple[_Tap, ...], ...]:
    """The loads of a window, some at once, if it is small and lies inside the image everywhere; else none."""
    kernel, (_, width, channels) = layer.window.kernel, layer.shape
    taps = kernel.height * kernel.width
    whole = layer.window.taps(layer.shape, layer.output) == taps * layer.output.positions
    if not whole or taps > _WRITTEN_OUT or (kernel.width - 1) * channels > REACH:
        return ()
    groups = []
    for y in range(kernel.height):
        row = y * width * channels
        far = row + (kernel.width - 1) * channels > REACH
        for x in range(0, kernel.width, len(_LOADED)):
            columns = range(x, min(x + len(_LOADED), kernel.width))
            groups.append(
                tuple(
                    _Tap(register, (0 if far else row) + c * channels, far, row if far and c == 0 else 0)
                    for register, c in zip(_LOADED, columns, strict=False)
                )
            )
    return tuple(groups)


def _trips(layer: Pool, by: int) -> tuple[float, ...]:
    """Trips of the kernel's loops: rows, columns, groups of ``by`` channels, and in windows that may be cut off the
    rows and columns that lie inside, in the mean.
    """
    window, output = layer.window, layer.output
    trips = (output.height, output.width, layer.shape.channels // by)
    if _inside(layer):
        return trips
    rows = window.rows_inside(layer.shape, output)
    return *trips, rows / output.height, window.taps(layer.shape, output) / rows / output.width


def _kernel(layer: Pool, words: bool) -> Rendered | None:
    """The assembly for a layer; None if a window has no element or more than a sum holds."""
    window, (kernel_height, kernel_width) = layer.window, layer.window.kernel
    if layer.kind is PoolKind.AVERAGE and kernel_height * kernel_width > _MOST:
        return None
    for size, outputs, kernel, stride, before in zip(
        layer.shape[:2], layer.output[:2], window.kernel, window.stride, window.padding, strict=True
    ):
        top = np.arange(outputs) * stride - before
        if (np.minimum(top + kernel, size) <= np.maximum(top, 0)).any():
            return None
    details = details_of(layer)
    values = (("layer", layer), ("words", words), ("inside", _inside(layer)), ("details", details))
    family = f"pool_{layer.kind}{'_words' if words else ''}"
    return Rendered(short_name(family, details), "kernels/pooling/pool.c.j2", values)


def _stack(layer: Pool) -> Access:
    """Of the assembly: where windows may be cut off, the input, and top and start of a row."""
    if _inside(layer):
        return saved(9)
    row = loads(3 + layer.output.width, 4) + stores(2, 4)
    return saved(9) + stores(2, 4) + row.times(layer.output.height)


class _AssemblyPool:
    """What the two families share: pooling as assembly for the layer's own sizes."""

    name: ClassVar[str]
    tile: ClassVar[str]
    by: ClassVar[int]
    computes = Pool

    def plans(self, layer: Pool) -> tuple[Plan, ...]:
        kernel = _kernel(layer, self.by == 4)
        if kernel is None or layer.shape.channels % self.by:
            return ()
        taps = layer.window.taps(layer.shape, layer.output) * layer.shape.channels // self.by
        call = Call(kernel, _trips(layer, self.by))
        code = (around.piece(around.CALL), call)
        size = 4 * words_of(call)
        channels = range(0, layer.shape.channels, self.by)
        return (
            Plan(
                family=self.name,
                tile=self.tile,
                cycles=round(cycles_of(code)),
                promise=Promise(
                    (loads(taps, self.by),), stores(layer.output.elements // self.by, self.by), stack=_stack(layer)
                ),
                data_bytes=0,
                code_bytes=size + 20,
                stack_bytes=48,
                kernels=(kernel.name,),
                shared_bytes=size,
                code=code,
                lead=window_lead(layer.window, layer.shape, layer.output, channels, self.by),
                alignment=self.by,
            ),
        )

    def emit(self, layer: Pool, plan: Plan, name: str) -> Emitted:
        return emitted_pool(layer, plan, name, _kernel(layer, self.by == 4))


class WordPool(_AssemblyPool):
    """Pooling of four channels at once."""

    name = "words"
    tile = "4"
    by = 4


class BytePool(_AssemblyPool):
    """Pooling of one channel after the other."""

    name = "bytes"
    tile = "1"
    by = 1


class _Compiled(NamedTuple):
    """Of plain C as GCC 12.2 makes it at -O3, fitted to counts of windows of 9 elements and more: of an element of a
    window, of a row of it, of an output, of a position.
    """

    tap: around.Compiled
    row: around.Compiled
    output: around.Compiled
    position: around.Compiled = around.Compiled(100, 33)


_AVERAGE = _Compiled(around.Compiled(20, 6.6), around.Compiled(20, 7.6), around.Compiled(80, 33))
_EXTREME = _Compiled(around.Compiled(20, 7.5), around.Compiled(20, 8.5), around.Compiled(80, 22))


class GenericPool:
    """Pooling with any window, element by element, as a compiler makes it. Windows smaller than were fitted it unrolls,
    but there is assembly for them.
    """

    name = "generic"
    computes = Pool

    def plans(self, layer: Pool) -> tuple[Plan, ...]:
        channels, output = layer.shape.channels, layer.output
        taps = layer.window.taps(layer.shape, output) * channels
        rows = layer.window.rows_inside(layer.shape, output) * output.width * channels
        n = output.elements
        made = _AVERAGE if layer.kind is PoolKind.AVERAGE else _EXTREME
        window = Loop((Loop((piece(made.tap),), taps / rows), piece(made.row)), rows / n)
        code: tuple[Node, ...] = (
            Loop((piece(made.position), Loop((window, piece(made.output)), channels)), n / channels),
        )
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)),
                promise=Promise((loads(taps, 1),), stores(n, 1)),
                data_bytes=0,
                code_bytes=_CODE_OF_FEW if channels <= 2 else _CODE,
                code=code,
                lead=window_lead(layer.window, layer.shape, output, range(channels), 1),
            ),
        )

    def emit(self, layer: Pool, plan: Plan, name: str) -> Emitted:
        return emitted(unary(name), plan, title_of(layer), "kernels/pooling/generic_pool.c.j2", layer=layer)


FAMILIES = (GenericPool(), WordPool(), BytePool())
