"""The block loop nest as C: loops in the certified order, each tile moved exactly where the schedule arrives at it."""

import re

from memaopt.models.nest import BlockFunction, Nest, NestLoop
from memaopt.problems.gemm import ACCUMULATOR_BYTES, REVISITED_BY, Dim, Operand

_INDENT = "    "


class _Writer:
    """Lines of C with their indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.level = 1

    def add(self, line: str) -> None:
        self.lines.append(_INDENT * self.level + line)

    def open(self, line: str) -> None:
        self.add(line + " {")
        self.level += 1

    def close(self) -> None:
        self.level -= 1
        self.add("}")


def loops_of(nest: Nest) -> str:
    """The body of the emitted function."""
    out = _Writer()
    if nest.space.buffering == "double":
        for operand in nest.depth:
            out.add(f"uint32_t {operand.lower()}_move = 0;")
            if operand != "C":
                out.add(f"fetch_{operand.lower()}({operand.lower()}, 0);")
    _level(nest, out, 0)
    return "\n".join(out.lines)


def fetches(nest: Nest) -> list[str]:
    """With double buffering, the functions that fetch the tiles of A and B by the number of the move."""
    if nest.space.buffering == "single":
        return []
    return [_fetch(nest, operand) for operand in ("A", "B") if operand in nest.depth]


def _level(nest: Nest, out: _Writer, level: int) -> None:
    """Move the tiles whose place is here, then the next loop inside, or the block itself; then C's way out."""
    for operand in ("A", "B"):
        if nest.depth.get(operand) == level:
            _move_in(nest, out, operand)
    if nest.depth.get("C") == level:
        _claim_c(nest, out)
    if level == len(nest.loops):
        _call_block(nest, out)
    else:
        loop = nest.loops[level]
        d, size = loop.dim, loop.dim.upper()
        if loop.kept:
            _open_turning(nest, out, level)
        else:
            out.open(f"for (uint32_t {d}0 = 0; {d}0 < {size}; {d}0 += {size}C)")
        at = len(out.lines)
        out.add(f"const uint32_t {d}c = {_length_at_hand(loop)};")
        _level(nest, out, level + 1)
        if not any(re.search(rf"\b{d}c\b", line) for line in out.lines[at + 1 :]):
            del out.lines[at]
        out.close()
    if nest.depth.get("C") == level:
        _move_out(nest, out)


def _open_turning(nest: Nest, out: _Writer, level: int) -> None:
    """A loop that runs forwards for every even block of the loop outside it, backwards for the others."""
    loop, around = nest.loops[level], nest.loops[level - 1].dim
    d, size, last = loop.dim, loop.dim.upper(), loop.trips - 1
    out.add(f"/* There and back: where {d} turns, the tile of {loop.kept} stays. */")
    out.open(f"for (uint32_t {d}_step = 0; {d}_step < {loop.trips}; {d}_step++)")
    out.add(f"const uint32_t {d}_at = {around}0 / {around.upper()}C % 2 == 0 ? {d}_step : {last} - {d}_step;")
    out.add(f"const uint32_t {d}0 = {d}_at < {last} ? {d}_at * {size}C : {size} - {size}C;")


def _length_at_hand(loop: NestLoop) -> str:
    """The block at hand of a loop: the last may be shorter, of a loop that turns the last but one."""
    d, size = loop.dim, loop.dim.upper()
    if loop.kept:
        return f"{d}_at == {loop.trips - 2} ? {size} - {loop.trips - 1} * {size}C : {size}C"
    return f"{d}0 + {size}C < {size} ? {size}C : {size} - {d}0"


def _length(nest: Nest, d: Dim) -> str:
    return f"{d}c" if nest.runs(d) else d.upper()


def _of_tile(nest: Nest, operand: Operand, d: Dim) -> str:
    """The extent of the tile at hand along a loop."""
    return f"{d}c" if nest.cuts(operand, d) else d.upper()


def _offset(nest: Nest, operand: Operand, *, tile: bool = False, within: bool = False) -> str:
    """Elements up to the block at hand, as `` + ...`` or nothing: from the start of an operand to the block, or to its
    ``tile``, or from the tile's start to the block ``within`` it.
    """
    rows, along = nest.problem.stored(operand)

    def moves(d: Dim) -> bool:
        return nest.runs(d) and (nest.cuts(operand, d) if tile else not within or not nest.cuts(operand, d))

    row = f"{along.upper()}C" if within and nest.cuts(operand, along) else along.upper()
    text = f" + {rows}0 * {row}" if moves(rows) else ""
    return text + (f" + {along}0" if moves(along) else "")


def _copy(nest: Nest, operand: Operand, to: str, source: str, width: int, inward: bool) -> str:
    """A call of copy_rows between the operand's memory and its tile; whole rows are one run."""
    rows, along = nest.problem.stored(operand)
    if not nest.cuts(operand, along):
        return f"copy_rows({to}, {source}, 1, {_of_tile(nest, operand, rows)} * {along.upper()} * {width}, 0, 0);"
    outside, inside = f"{along.upper()} * {width}", f"{along.upper()}C * {width}"
    strides = f"{inside}, {outside}" if inward else f"{outside}, {inside}"
    return f"copy_rows({to}, {source}, {_of_tile(nest, operand, rows)}, {along}c * {width}, {strides});"


def _move_in(nest: Nest, out: _Writer, operand: Operand) -> None:
    x = operand.lower()
    if nest.space.buffering == "single":
        source = f"{x}{_offset(nest, operand, tile=True)}"
        copy = _copy(nest, operand, f"{x}_tile", source, nest.problem.width, True)
        turning = [loop.dim for loop in nest.loops if loop.kept == operand]
        for d in turning:
            out.open(f"if ({nest.loops[0].dim}0 == 0 || {d}_step > 0)")
        out.add(copy)
        for _ in turning:
            out.close()
        return
    out.add(f"const {_ctype(nest)} *const {x}_now = {x}_tile[{x}_move & 1U];")
    out.add(f"{x}_move++;")
    if nest.moves[operand] > 1:
        out.open(f"if ({x}_move < {nest.moves[operand]})")
        out.add(f"fetch_{x}({x}, {x}_move);")
        out.close()


def _fetch(nest: Nest, operand: Operand) -> str:
    """Tile number ``move`` of an operand, in the order in which the nest arrives at them, into its buffer."""
    x, out = operand.lower(), _Writer()
    inner = 1
    for loop in reversed(nest.loops[: nest.depth[operand]]):
        d, size = loop.dim, loop.dim.upper()
        if d != REVISITED_BY[operand]:
            index = "move" if inner == 1 else f"move / {inner}"
            out.lines.insert(0, f"    const uint32_t {d}c = {d}0 + {size}C < {size} ? {size}C : {size} - {d}0;")
            out.lines.insert(0, f"    const uint32_t {d}0 = {index} % {loop.trips} * {size}C;")
        inner *= loop.trips
    source = f"{x}{_offset(nest, operand, tile=True)}"
    out.add(_copy(nest, operand, f"{x}_tile[move & 1U]", source, nest.problem.width, True))
    body, code = "\n".join(out.lines), "CODE " if nest.schedule.code == "ram" else ""
    return (
        f"/* Fetches tile number `move` of {operand} into the buffer that the nest reads it from. The core copies,\n"
        " * or a DMA engine, if the nest waits for it before it reads the tile. */\n"
        f"{code}static void fetch_{x}(const {_ctype(nest)} *{x}, uint32_t move)\n{{\n{body}\n}}"
    )


def _claim_c(nest: Nest, out: _Writer) -> None:
    """The buffer for this tile of C, and the partial sums that an earlier visit left outside."""
    tile = "c_tile"
    if nest.space.buffering == "double":
        kind = _tile_type(nest)
        out.add(f"{kind} *const c_now = c_tile[c_move & 1U];")
        out.add("c_move++;")
        tile = "c_now"
    if nest.spilling:
        out.open("if (k0 > 0)")
        out.add(_copy(nest, "C", tile, f"{_sums(nest)}{_offset(nest, 'C', tile=True)}", ACCUMULATOR_BYTES, True))
        out.close()


def _move_out(nest: Nest, out: _Writer) -> None:
    tile = "c_now" if nest.space.buffering == "double" else "c_tile"
    if nest.spilling:
        out.open("if (k0 + KC < K)")
        out.add(_copy(nest, "C", f"{_sums(nest)}{_offset(nest, 'C', tile=True)}", tile, ACCUMULATOR_BYTES, False))
        out.level -= 1
        out.open("} else")
    target, width = f"c{_offset(nest, 'C', tile=True)}", nest.problem.width
    if nest.packed_results:
        rows, along = nest.problem.stored("C")
        tile_row = along.upper() + ("C" if nest.cuts("C", along) else "")
        sizes = f"{_of_tile(nest, 'C', rows)}, {_of_tile(nest, 'C', along)}"
        out.add(f"narrow_rows({target}, {tile}, {sizes}, {along.upper()} * {width}, {tile_row} * 4);")
    else:
        out.add(_copy(nest, "C", target, tile, width, False))
    if nest.spilling:
        out.close()


def _sums(nest: Nest) -> str:
    return "c" if nest.problem.width == ACCUMULATOR_BYTES else "c_partial"


def _ctype(nest: Nest) -> str:
    return nest.problem.element.c


def _tile_type(nest: Nest) -> str:
    return nest.problem.element.sums if nest.accumulating else _ctype(nest)


def _operands(nest: Nest) -> str:
    """The pointers that a block gets: a, b, where results go, and where partial sums are."""
    double, parts = nest.space.buffering == "double", []
    for operand in ("A", "B"):
        x = operand.lower()
        tile = f"{x}_now" if double else f"{x}_tile"
        tiled = operand in nest.tiled
        parts.append(f"{tile if tiled else x}{_offset(nest, operand, within=tiled)}")
    inside = _offset(nest, "C", within=True)
    c_tile = f"{'c_now' if double else 'c_tile'}{inside}"
    if "C" in nest.tiled:
        parts.append(f"({_ctype(nest)} *){f'({c_tile})' if inside else c_tile}" if nest.packed_results else c_tile)
        parts.append(c_tile if nest.accumulating else "NULL")
    else:
        where = _offset(nest, "C")
        sums = f"c_tile{inside}" if nest.separate_accumulators else f"{_sums(nest)}{where}"
        parts += [f"c{where}", sums if nest.accumulating else "NULL"]
    if nest.problem.channel_bytes:
        parts.append("channels + m0" if nest.runs("m") else "channels")
    return ", ".join(parts)


def _call_block(nest: Nest, out: _Writer) -> None:
    sizes = f"{_length(nest, 'm')}, {_length(nest, 'n')}"
    operands = _operands(nest)

    def call(block: BlockFunction) -> str:
        return f"{block.name}({operands}, {sizes});"

    if len(nest.blocks) == 1:
        out.add(call(nest.blocks[0]))
        return
    trips = next((loop.trips for loop in nest.loops if loop.dim == "k" and loop.kept), 0)
    at_start, before_end = ("k_step == 0", f"k_step < {trips - 1}") if trips else ("k0 == 0", "k0 + KC < K")
    by_phase: dict[tuple[bool, bool], list[BlockFunction]] = {}
    for block in nest.blocks:
        by_phase.setdefault((block.first, block.last), []).append(block)

    def calls(blocks: list[BlockFunction]) -> None:
        """Of two lengths in one phase the longer is that of KC."""
        if len(blocks) == 1:
            out.add(call(blocks[0]))
            return
        longer, shorter = blocks
        out.open("if (kc == KC)")
        out.add(call(longer))
        out.level -= 1
        out.open("} else")
        out.add(call(shorter))
        out.close()

    out.open(f"if ({at_start})")
    calls(by_phase[True, False])
    out.level -= 1
    if (False, False) in by_phase:
        out.open(f"}} else if ({before_end})")
        calls(by_phase[False, False])
        out.level -= 1
    out.open("} else")
    calls(by_phase[False, True])
    out.close()
