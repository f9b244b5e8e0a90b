"""The block loop nest as C: loops in the certified order, each tile moved exactly where the schedule arrives at it."""

import re

from memaopt.emit.plan import ACCUMULATOR_TYPES, C_TYPES, Block, Plan
from memaopt.problems.gemm import ACCUMULATOR_BYTES, INDEXED_BY, REVISITED_BY, Dim, Operand

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


def nest(plan: Plan) -> str:
    """The body of the emitted function."""
    out = _Writer()
    if plan.space.buffering == "double":
        for operand in plan.depth:
            out.add(f"uint32_t {operand.lower()}_move = 0;")
            if operand != "C":
                out.add(f"fetch_{operand.lower()}({operand.lower()}, 0);")
    _level(plan, out, 0)
    return "\n".join(out.lines)


def fetches(plan: Plan) -> list[str]:
    """With double buffering, the functions that fetch the tiles of A and B by the number of the move."""
    if plan.space.buffering == "single":
        return []
    return [_fetch(plan, operand) for operand in ("A", "B") if operand in plan.depth]


def _level(plan: Plan, out: _Writer, level: int) -> None:
    """Move the tiles whose place is here, then the next loop inside, or the block itself; then C's way out."""
    for operand in ("A", "B"):
        if plan.depth.get(operand) == level:
            _move_in(plan, out, operand)
    if plan.depth.get("C") == level:
        _claim_c(plan, out)
    if level == len(plan.loops):
        _call_block(plan, out)
    else:
        loop = plan.loops[level]
        d, size = loop.dim, loop.dim.upper()
        out.open(f"for (uint32_t {d}0 = 0; {d}0 < {size}; {d}0 += {size}C)")
        at = len(out.lines)
        out.add(f"const uint32_t {d}c = {d}0 + {size}C < {size} ? {size}C : {size} - {d}0;")
        _level(plan, out, level + 1)
        if not any(re.search(rf"\b{d}c\b", line) for line in out.lines[at + 1 :]):
            del out.lines[at]
        out.close()
    if plan.depth.get("C") == level:
        _move_out(plan, out)


def _runs(plan: Plan, d: Dim) -> bool:
    return any(loop.dim == d for loop in plan.loops)


def _length(plan: Plan, d: Dim) -> str:
    return f"{d}c" if _runs(plan, d) else d.upper()


def _stored_as(plan: Plan, operand: Operand) -> tuple[Dim, Dim]:
    """The loops along the rows and along the elements of a row, as the operand is stored."""
    first, second = INDEXED_BY[operand]
    return (second, first) if plan.problem.dtype == "s8" and operand != "A" else (first, second)


def _offset(plan: Plan, operand: Operand) -> str:
    """Elements from the start of an operand to the block at hand, as `` + ...`` or nothing."""
    rows, along = _stored_as(plan, operand)
    text = f" + {rows}0 * {along.upper()}" if _runs(plan, rows) else ""
    return text + (f" + {along}0" if _runs(plan, along) else "")


def _copy(plan: Plan, operand: Operand, to: str, source: str, width: int, inward: bool) -> str:
    """A call of copy_rows between the operand's memory and its tile; whole rows are one run."""
    rows, along = _stored_as(plan, operand)
    if not _runs(plan, along):
        return f"copy_rows({to}, {source}, 1, {_length(plan, rows)} * {along.upper()} * {width}, 0, 0);"
    outside, inside = f"{along.upper()} * {width}", f"{along.upper()}C * {width}"
    strides = f"{inside}, {outside}" if inward else f"{outside}, {inside}"
    return f"copy_rows({to}, {source}, {_length(plan, rows)}, {_length(plan, along)} * {width}, {strides});"


def _move_in(plan: Plan, out: _Writer, operand: Operand) -> None:
    x = operand.lower()
    if plan.space.buffering == "single":
        source = f"{x}{_offset(plan, operand)}"
        out.add(_copy(plan, operand, f"{x}_tile", source, plan.problem.width, True))
        return
    out.add(f"const {_ctype(plan)} *const {x}_now = {x}_tile[{x}_move & 1U];")
    out.add(f"{x}_move++;")
    if plan.moves[operand] > 1:
        out.open(f"if ({x}_move < {plan.moves[operand]})")
        out.add(f"fetch_{x}({x}, {x}_move);")
        out.close()


def _fetch(plan: Plan, operand: Operand) -> str:
    """Tile number ``move`` of an operand, in the order in which the nest arrives at them, into its buffer."""
    x, out = operand.lower(), _Writer()
    inner = 1
    for loop in reversed(plan.loops[: plan.depth[operand]]):
        d, size = loop.dim, loop.dim.upper()
        if d != REVISITED_BY[operand]:
            index = "move" if inner == 1 else f"move / {inner}"
            out.lines.insert(0, f"    const uint32_t {d}c = {d}0 + {size}C < {size} ? {size}C : {size} - {d}0;")
            out.lines.insert(0, f"    const uint32_t {d}0 = {index} % {loop.trips} * {size}C;")
        inner *= loop.trips
    source = f"{x}{_offset(plan, operand)}"
    out.add(_copy(plan, operand, f"{x}_tile[move & 1U]", source, plan.problem.width, True))
    body, code = "\n".join(out.lines), "CODE " if plan.schedule.code == "ram" else ""
    return (
        f"/* Fetches tile number `move` of {operand} into the buffer that the nest will read it from; a DMA engine can "
        f"take this over. */\n{code}static void fetch_{x}(const {_ctype(plan)} *{x}, uint32_t move)\n{{\n{body}\n}}"
    )


def _claim_c(plan: Plan, out: _Writer) -> None:
    """The buffer for this tile of C, and the partial sums that an earlier visit left outside."""
    tile = "c_tile"
    if plan.space.buffering == "double":
        kind = _tile_type(plan)
        out.add(f"{kind} *const c_now = c_tile[c_move & 1U];")
        out.add("c_move++;")
        tile = "c_now"
    if plan.spilling:
        out.open("if (k0 > 0)")
        out.add(_copy(plan, "C", tile, f"{_sums(plan)}{_offset(plan, 'C')}", ACCUMULATOR_BYTES, True))
        out.close()


def _move_out(plan: Plan, out: _Writer) -> None:
    tile = "c_now" if plan.space.buffering == "double" else "c_tile"
    if plan.spilling:
        out.open("if (k0 + KC < K)")
        out.add(_copy(plan, "C", f"{_sums(plan)}{_offset(plan, 'C')}", tile, ACCUMULATOR_BYTES, False))
        out.level -= 1
        out.open("} else")
    target, width = f"c{_offset(plan, 'C')}", plan.problem.width
    if plan.packed_results:
        rows, along = _stored_as(plan, "C")
        tile_row = along.upper() + ("C" if _runs(plan, along) else "")
        sizes = f"{_length(plan, rows)}, {_length(plan, along)}"
        out.add(f"narrow_rows({target}, {tile}, {sizes}, {along.upper()} * {width}, {tile_row} * 4);")
    else:
        out.add(_copy(plan, "C", target, tile, width, False))
    if plan.spilling:
        out.close()


def _sums(plan: Plan) -> str:
    return "c" if plan.problem.width == ACCUMULATOR_BYTES else "c_partial"


def _ctype(plan: Plan) -> str:
    return C_TYPES[plan.problem.dtype]


def _tile_type(plan: Plan) -> str:
    return ACCUMULATOR_TYPES[plan.problem.dtype] if plan.accumulating else _ctype(plan)


def _operands(plan: Plan) -> str:
    """The pointers that a block gets: a, b, where results go, and where partial sums are."""
    staged, double = plan.space.staged, plan.space.buffering == "double"
    parts = []
    for operand in ("A", "B"):
        x = operand.lower()
        tile = f"{x}_now" if double else f"{x}_tile"
        parts.append(tile if operand in staged else f"{x}{_offset(plan, operand)}")
    c_tile = "c_now" if double and "C" in staged else "c_tile"
    if "C" in staged:
        results = f"({_ctype(plan)} *)c_tile" if plan.packed_results else c_tile
        parts.append(results.replace("c_tile", c_tile))
        parts.append(c_tile if plan.accumulating else "NULL")
    else:
        parts.append(f"c{_offset(plan, 'C')}")
        if plan.separate_accumulators:
            parts.append(f"c_tile{_offset(plan, 'C') if plan.spilling else ''}")
        else:
            parts.append(parts[-1] if plan.accumulating else "NULL")
    if plan.problem.dtype == "s8":
        parts.append("channels + m0" if _runs(plan, "m") else "channels")
    return ", ".join(parts)


def _call_block(plan: Plan, out: _Writer) -> None:
    sizes = f"{_length(plan, 'm')}, {_length(plan, 'n')}"
    operands = _operands(plan)

    def call(block: Block) -> str:
        return f"{block.name}({operands}, {sizes});"

    if len(plan.blocks) == 1:
        out.add(call(plan.blocks[0]))
        return
    by_phase = {(block.first, block.last): block for block in plan.blocks}
    out.open("if (k0 == 0)")
    out.add(call(by_phase[True, False]))
    out.level -= 1
    if (False, False) in by_phase:
        out.open("} else if (k0 + KC < K)")
        out.add(call(by_phase[False, False]))
        out.level -= 1
    out.open("} else")
    out.add(call(by_phase[False, True]))
    out.close()
