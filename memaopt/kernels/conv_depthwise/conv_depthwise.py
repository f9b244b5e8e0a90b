"""CONV_2D and the DEPTHWISE_CONV_2D that reads it, as one layer: the convolution writes what the walk reads.

The kernel of raw pairs or that of chained channels stores its outputs as int16 values x - zero point straight into the
planes of the depthwise walk, so the tensor between them never exists: nothing is gathered, and no memory but the planes
is needed for it.

Of a first layer rows may be read where the image has them (memaopt/kernels/chained_rows/image_rows.py).

- whole: the planes hold all rows, channel after channel, as the walk has them when it runs alone. Fastest.
- in bands of rows of the depthwise layer's outputs: rows lie one after the other, in each of them the channels. The
  rows that the next band shares move to the top, the convolution computes the rest.

The columns of zeros between two rows serve both: right of the one, left of the other. Input rows are read, and output
rows written, in ascending order. Preconditions, checked offline: those of both kernels.
"""

from dataclasses import replace
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.fixedpoint import Int64Array
from memaopt.kernels import around, strips
from memaopt.kernels.chained_rows import chained_channels
from memaopt.kernels.chained_rows.channels_kernel import ChainedChannelsKernel, PatchForm
from memaopt.kernels.chained_rows.image_rows import ImageRows, RowsWork, image_rows, rows_work
from memaopt.kernels.chained_rows.shared_rows import shared_kernel
from memaopt.kernels.code import Assembly, Loop, Node
from memaopt.kernels.conv_depthwise.bands import Band, Planes, bands_of, lead_of_bands, planes_of
from memaopt.kernels.depthwise.depthwise import Walked
from memaopt.kernels.depthwise.kernels import geometry
from memaopt.kernels.depthwise.walk import walk_for, walk_parameters
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.family import data_bytes, dimensions, pareto
from memaopt.kernels.patches import patch_of
from memaopt.kernels.plan import Format, Plan, Promise
from memaopt.kernels.planes import Plane
from memaopt.kernels.raw_pairs import raw_pairs
from memaopt.kernels.raw_pairs.kernel import ROWS, SLOTS, PlaneRows, RawPairsKernel
from memaopt.kernels.rounding.output import Output
from memaopt.kernels.rounding.requantize import Proven
from memaopt.kernels.text.c import Array, words_bytes
from memaopt.kernels.text.thumb import REACH
from memaopt.problems.content import interned
from memaopt.problems.layers import Conv, ConvDepthwise

_BANDS = (2, 3, 4, 6, 12, 24)  # bands that an image is divided into
_STRIPS = (1, 2, 4)
_OF_RAW_PAIRS = (PatchForm.STRAIGHT, PatchForm.LOOPED)
_STACK = 152  # of its C, with helpers
#: The most code of its C by whether there are bands, strips of padded rows, and tiles across rows: of 790 plans.
_CODE = {
    (False, False, False): 176,
    (False, False, True): 248,
    (True, False, False): 412,
    (True, False, True): 592,
    (False, True, False): 704,
    (False, True, True): 704,
    (True, True, False): 984,
    (True, True, True): 984,
}
#: The same where rows are read where the image has them, by whether there are bands.
_ROWS_CODE = {False: 440, True: 680}


_ConvKernel = RawPairsKernel | ChainedChannelsKernel


class _Chosen(NamedTuple):
    """Both kernels, how they requantise, and the planes. ``across``: the same convolution for tiles of one column;
    ``rows``: how it reads rows where the input has them."""

    conv: _ConvKernel
    across: _ConvKernel | None
    grid: strips.Grid
    strip: strips.Strip | None
    rounding: Proven
    walked: Walked
    planes: Planes
    rows: ImageRows | None

    @property
    def scratch_bytes(self) -> int:
        """Of copies of the input."""
        held = self.rows.scratch_bytes if self.rows is not None else 0
        return held if self.strip is None else self.strip.bytes


def _raw_pairs(
    layer: ConvDepthwise, form: PatchForm, pitch: int, planes: Planes
) -> tuple[RawPairsKernel, Proven] | None:
    """The raw-pair kernel that writes the planes, from rows ``pitch`` bytes apart."""
    conv = layer.conv
    patch = patch_of(conv, pitch)
    n = min(3, conv.output.width, (REACH - SLOTS - 4) // patch.padded_bytes)
    unroll = raw_pairs.unroll_of(patch, form is PatchForm.LOOPED)
    proven = raw_pairs.proven_unsigned(conv)
    if n < 1 or unroll is None or proven is None or len(conv.weights) < ROWS or not raw_pairs.fits(conv):
        return None
    kernel = RawPairsKernel(
        n,
        len(conv.weights),
        unroll,
        patch,
        n * conv.window.stride.width * conv.shape.channels,
        conv.shape.channels % 4 == 0,
        Output.of(proven, conv.requantization),
        Format.S8,
        Format.FUSED,
        PlaneRows(planes.channel, 2, 2 * n, layer.depthwise.input_zero_point),
    )
    return interned(kernel), proven


def _chained(
    layer: ConvDepthwise, form: PatchForm, pitch: int, planes: Planes
) -> tuple[ChainedChannelsKernel, Proven] | None:
    """The kernel of chained channels that does the same."""

    def to_planes(n: int) -> PlaneRows:
        return PlaneRows(planes.channel, 2, 2 * n, layer.depthwise.input_zero_point)

    return chained_channels.kernel_of(layer.conv, layer.conv.output.width, form, pitch, to_planes)


class ConvIntoDepthwise:
    """A CONV_2D without groups, then a 3x3 DEPTHWISE_CONV_2D that reads it."""

    name = "fused planes"
    computes = ConvDepthwise

    def plans(self, layer: ConvDepthwise) -> tuple[Plan, ...]:
        conv, window = layer.conv, layer.depthwise.window
        walked = window.kernel == (3, 3) and window.dilation == (1, 1) and window.stride.height <= 3
        if conv.groups != 1 or not walked or layer.depthwise.multiplier != 1:
            return ()
        height = layer.output.height
        strip_heights = sorted({min(rows, conv.output.height) for rows in _STRIPS}) if strips.pads(conv) else [0]
        forms = [(strip, 0) for strip in strip_heights]
        if conv.output.width > 3 and conv.output.width % 3 and conv.output.height >= 3:
            forms.append((3 if strips.pads(conv) else 0, 1))
        options = [
            {"chain": chain, "columns": columns, "form": form, "strip": strip}
            for strip, columns in forms
            for chain, form in [*((0, form) for form in _OF_RAW_PAIRS), *((1, form) for form in PatchForm)]
        ]
        if image_rows(conv, columns=False) is not None:
            options.append({"chain": 1, "columns": 0, "form": PatchForm.HELD, "rows": 1, "strip": 0})
        plans = [
            self._plan(layer, {"band": band, "unroll": unroll, **of_conv})
            for band in sorted({0, 1, *(-(-height // count) for count in _BANDS)} - {height})
            for of_conv in options
            for unroll in ([0, 8] if (band or height) > 12 else [0])
        ]
        return pareto(plan for plan in plans if plan is not None)

    def _choose(self, layer: ConvDepthwise, options: dict[str, int]) -> _Chosen | None:
        conv, depthwise = layer.conv, layer.depthwise
        band, height = options["band"], options["strip"]
        shape = geometry(depthwise, band, zero_rows=bool(band))
        planes = planes_of(depthwise, shape, bool(band))
        walked = shape._replace(plane=Plane(planes.rows, planes.row, planes.left, 0))
        walk = walk_for(depthwise, walked, band, options["unroll"])
        strip = strips.strip_of(conv, height) if height else None
        pitch = strip.pitch if strip else conv.shape.width * conv.shape.channels
        writer = _chained if options["chain"] else _raw_pairs
        made = None if walk is None else writer(layer, PatchForm(options["form"]), pitch, planes)
        if walk is None or made is None:
            return None
        kernel, proven = made
        rows = image_rows(conv, columns=False) if options.get("rows") else None
        if rows is not None:
            shared = shared_kernel(kernel, rows) if isinstance(kernel, ChainedChannelsKernel) else None
            if shared is None:
                return None
            kernel = shared
        n, step = kernel.n, conv.window.stride.width * conv.shape.channels
        across = None
        if options["columns"]:
            if n < 3:
                return None
            columns = PlaneRows(planes.channel, planes.row, 2, depthwise.input_zero_point)
            across = interned(replace(kernel, advance=step, planes=columns))
        row_step = conv.window.stride.height * pitch
        grid = strips.Grid(n, conv.output.height, conv.output.width, row_step, step, 2)
        return _Chosen(kernel, across, grid, strip, proven, walk, planes, rows)

    def _plan(self, layer: ConvDepthwise, options: dict[str, int]) -> Plan | None:
        chosen = self._choose(layer, options)
        if chosen is None:
            return None
        kernel, across, _, strip, rounding, walked, planes, _ = chosen
        walk, bands = walked.kernel, bands_of(layer, planes.rows, options["band"])
        work = _work(layer.conv, chosen, bands)
        taps, output, read = walk.accesses(planes.channels)
        stack = work.stack + walk.stack(planes.channels).times(len(bands))
        cleared = sum(count for _, count in planes.zeros())
        filled = sum(band.zeros for band in bands) * planes.row // 4
        kept = sum(planes.rows - band.moved for band in bands[1:]) * planes.row // 4
        scratch = (
            work.scratch + work.output + taps.times(len(bands)) + stores(cleared + filled + kept, 4) + loads(kept, 4)
        )
        weights = work.parameters + read.times(len(bands))
        code = _code(chosen, bands, work)
        cycles = cycles_of(code, kernels=False) + work.kernels + len(bands) * walk.cycles(planes.channels)
        kernels = [kernel.name, *([] if across is None else [across.name]), walk.name]
        shared = kernel.code_bytes + walk.code_bytes + (0 if across is None else across.code_bytes)
        tile = kernel.tile
        tile += " and columns" if across is not None else ""
        tile += f", bands of {options['band']}" if options["band"] else ""
        tile += f", strips of {strip.rows}" if strip else ""
        tile += f", loop of {walk.unroll}" if walk.walk.turns else ""
        return Plan(
            family=self.name,
            tile=tile,
            cycles=round(cycles),
            promise=Promise((work.input,), output.times(len(bands)), weights, scratch, stack),
            data_bytes=words_bytes(kernel.channel_tiles * kernel.words) + words_bytes(planes.channels * walk.words),
            code_bytes=shared + _code_bytes(bool(options["band"]), chosen),
            scratch_bytes=planes.bytes + chosen.scratch_bytes,
            stack_bytes=max(kernel.stack_bytes, 72) + _STACK,
            kernels=tuple(kernels),
            shared_bytes=shared,
            code=code,
            input_format=Format.FUSED,
            lead=lead_of_bands(layer, bands, options["band"]),
            alignment=4,
            fpu=kernel.fpu if isinstance(kernel, ChainedChannelsKernel) else None,
            packings=(
                kernel.packing(kernel.channel_tiles) if isinstance(kernel, ChainedChannelsKernel) else None,
                walk.packing(planes.channels),
            ),
            requantization=f"{rounding.describe()}; {walked.proven.describe()}",
            options=tuple(sorted(options.items())),
        )

    def emit(self, layer: ConvDepthwise, plan: Plan, name: str) -> Emitted:
        chosen = self._choose(layer, dict(plan.options))
        assert chosen is not None
        kernel, across, grid, strip, rounding, walked, planes, rows = chosen
        walk = walked.kernel
        parameters = walk_parameters(layer.depthwise, walked)
        arrays = _arrays(name, _weight_stream(layer.conv, kernel, rounding), parameters)
        assert data_bytes(arrays) == plan.kernel_bytes
        conv, depthwise, band = layer.conv, layer.depthwise, plan.option("band")
        title = f"CONV_2D {dimensions(conv.shape)} -> {dimensions(conv.output)}, {conv.window.describe()}"
        then = f"then DEPTHWISE_CONV_2D -> {dimensions(depthwise.output)}, {depthwise.window.describe()}"
        used: list[Assembly] = [kernel, walk] if across is None else [kernel, across, walk]
        return emitted(
            unary(name),
            plan,
            title,
            "kernels/conv_depthwise/conv_depthwise.c.j2",
            arrays=arrays,
            kernels=used,
            notes=[then + "."],
            conv=conv,
            depthwise=depthwise,
            kernel=kernel.name,
            across=None if across is None else across.name,
            walk=walk.name,
            grid=grid,
            strip=strip,
            rows=rows,
            fill=strips.fill_of(conv),
            planes=planes,
            zeros=planes.zeros(),
            band=band,
            last=depthwise.output.height - band,
            step=depthwise.window.stride.height,
            above=depthwise.window.padding.top,
        )


def _code_bytes(banded: bool, chosen: _Chosen) -> int:
    """Of its C."""
    if chosen.rows is not None:
        return _ROWS_CODE[banded]
    return _CODE[banded, chosen.strip is not None, chosen.across is not None]


def _work(conv: Conv, chosen: _Chosen, bands: list[Band]) -> RowsWork:
    """What the convolution takes, all bands together; its outputs are the planes'."""
    kernel, across, grid, strip = chosen.conv, chosen.across, chosen.grid, chosen.strip
    if chosen.rows is not None:
        assert isinstance(kernel, ChainedChannelsKernel)
        return rows_work(chosen.rows, kernel, None, [band.rows for band in bands])
    whole, rest = divmod(grid.width, grid.n)
    at_once = [len(band.rows) for band in bands]
    if strip is not None:
        at_once = [min(strip.rows, rows - i) for rows in at_once for i in range(0, rows, strip.rows)]
    rows = sum(at_once)
    groups = sum(count // grid.n for count in at_once) if across else 0
    alone = rows - groups * grid.n if rest else 0  # rows with a tile that overlaps the one before it
    tiles = rows * whole + groups * rest + alone
    source, stored, weights, stack = kernel.accesses(tiles, rows + alone + (groups if rest else 0))
    cycles = (rows * whole + alone) * kernel.tile_cycles + (rows + alone) * kernel.call_cycles
    cycles += 0 if across is None else groups * (rest * across.tile_cycles + across.call_cycles)
    row: tuple[Node, ...] = (around.piece(around.TILES), kernel.call(whole))
    row += (Loop((around.piece(around.TILES), kernel.call(1)), alone / rows),) if alone else ()
    row += (Loop((around.piece(around.TILES), across.call(rest)), groups / rows),) if across and groups else ()
    part: tuple[Node, ...] = (Loop(row, rows / len(at_once)),)
    if strip is None:
        return RowsWork(source, Access(), stored, weights, stack, (), part, len(at_once), cycles)
    work = strips.strip_work(conv, strip, [band.rows for band in bands])
    first = (around.piece(around.CALL), around.fill_words(strip.bytes // 4))
    part = (strips.filling(conv, strip, conv.output.height * len(at_once) / rows), *part)
    return RowsWork(work.input, work.scratch + source, stored, weights, stack, first, part, len(at_once), cycles)


def _code(chosen: _Chosen, bands: list[Band], work: RowsWork) -> tuple[Node, ...]:
    """What one call executes: zeros, then for each band what it shares with the last one, its rows, and the walk."""
    kernel, planes, call = chosen.conv, chosen.planes, around.piece(around.CALL)
    kept = sum(planes.rows - band.moved for band in bands[1:]) * planes.row / 4 / len(bands)
    filled = sum(band.zeros for band in bands) * planes.row / 4 / len(bands)
    moving = (call, around.copy_words(kept), call, around.fill_words(filled)) if len(bands) > 1 else ()
    weights = kernel.channel_tiles * kernel.words
    walk = (call, chosen.walked.kernel.call(planes.channels)._replace(behind=weights))
    clearing = [node for _, count in planes.zeros() for node in (call, around.clear_apart(count))]
    turns = Loop(work.turn, work.turns / len(bands))
    return (*around.entry(), *clearing, *work.first, Loop((*moving, turns, *walk), len(bands)))


def _weight_stream(conv: Conv, kernel: _ConvKernel, proven: Proven) -> Int64Array:
    """The convolution's parameters in the order in which its kernel reads them."""
    if isinstance(kernel, RawPairsKernel):
        return raw_pairs.weight_stream(conv, kernel, proven)
    return chained_channels.weight_stream(conv, kernel, proven)


def _arrays(name: str, stream: Int64Array, parameters: Int64Array) -> list[Array]:
    return [
        Array("int32_t", f"{name}_weights", stream, "channels at a time: starts, weights, output stage").in_lines(),
        Array(
            "int32_t", f"{name}_taps", parameters, "parameters of each depthwise channel, as its kernel reads them"
        ).in_lines(),
    ]


FAMILIES = (ConvIntoDepthwise(),)
