"""How kernels run over two inputs that are broadcast: in runs along which both lie whole.

Where one of them is there once for many rows (a constant for each channel), or one element of it for each row, it is
first spread in scratch memory, so that a run is many rows long, however short these are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memaopt.access import Access, loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.code import Call, Loop, Node, Rendered, TableLoads
from memaopt.kernels.elementwise.pairs import index_text, merged, strides_of
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import body_of, cycles_of, words
from memaopt.kernels.plan import Plan, Promise, saved
from memaopt.kernels.text.c import Array
from memaopt.problems.binary import Binary

#: What GCC 12.2 makes at -O3 of a call of a kernel, of one that spreads, of a loop and of a turn of it, as counted.
_CALL, _SPREAD = Compiled(24, 10), Compiled(32, 11)
_LOOP, _TURN = Compiled(8, 4), Compiled(16, 4)
#: Cycles of an argument of a call besides the first that lies on the stack.
_ARGUMENT = 3
#: Cycles of a layer around that, its entry and its exit.
_LAYER = 6
#: Cycles that spreading takes for a byte, and a run around its elements; bytes of a run that is spread, at most.
_STORED, _RUN, _WIDE = 5, 45, 256
#: Elements from which on a row that one element is spread along is a run of its own.
_ROW = 32


@dataclass(frozen=True)
class Spreading:
    """``count`` elements, each ``times`` times, ``apart`` from each to the next; those of the next ``step`` behind."""

    count: int
    times: int
    step: int
    apart: int

    @property
    def words(self) -> int:
        """Words that one element fills; 0 of several."""
        return -(-self.times // 4) if self.count == 1 else 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its code."""
        call = around.fill_words(self.words) if self.words else around.spread_bytes(self.count, self.times)
        return around.piece(_SPREAD), call

    @property
    def stored(self) -> Access:
        return stores(self.words, 4) if self.words else stores(self.count * self.times, 1)


@dataclass(frozen=True)
class PairRun:
    """``count`` runs in a row of 8 ``eights`` + ``rest`` elements each, from ``start`` on, ``fill`` before each."""

    count: int
    start: int
    eights: int
    rest: int
    fill: Spreading | None = None

    @property
    def elements(self) -> int:
        return 8 * self.eights + self.rest

    @property
    def slug(self) -> str:
        """For the names of kernels: what they have besides eights."""
        return f"_and_{self.rest}" if self.rest and self.eights else f"_only_{self.rest}" if self.rest else ""


@dataclass(frozen=True)
class Runs:
    """How two broadcast inputs run along together, in loops over the axes ``shape``: all of ``runs`` in turn.

    ``first``, ``second`` and ``out`` are the C texts of the pointers in those loops. ``spread``: the input (0 or 1)
    that fills scratch memory, by ``once`` before all runs or by what each run has.
    """

    shape: tuple[int, ...]
    first: str
    second: str
    out: str
    runs: tuple[PairRun, ...]
    spread: int | None = None
    once: Spreading | None = None

    @property
    def count(self) -> int:
        """Times that the loops turn."""
        return math.prod(self.shape)

    @property
    def calls(self) -> int:
        """Of kernels, in the whole layer."""
        return self.count * sum(run.count for run in self.runs)

    @property
    def fills(self) -> tuple[tuple[Spreading, int], ...]:
        """Each, with how often it fills, in one turn of the loops."""
        each = tuple((run.fill, run.count) for run in self.runs if run.fill is not None)
        return each if self.once is None else ((self.once, 1), *each)

    @property
    def scratch_bytes(self) -> int:
        """By whole words."""
        return max((-(-fill.count * fill.times // 4) * 4 for fill, _ in self.fills), default=0)

    @property
    def code_bytes(self) -> int:
        """An estimate of the code around the kernel."""
        loops = len(self.shape) + sum(run.count > 1 for run in self.runs)
        return 20 + (_LOOP.size + _TURN.size) * loops + _CALL.size * len(self.runs) + _SPREAD.size * len(self.fills)

    def pointers(self, run: PairRun, turn: str) -> list[str]:
        """C texts of where both inputs and the output of a run start, number ``turn`` of its kind."""
        made = [_moved(text, run.start, run, run.elements, turn) for text in (self.first, self.second, self.out)]
        return made if self.spread is None else [*made[: self.spread], "scratch", *made[self.spread + 1 :]]

    def source(self, run: PairRun | None, turn: str = "") -> str:
        """The C text of where the elements are that are spread, before all runs or before one."""
        text = self.second if self.spread else self.first
        if run is None or run.fill is None:
            return text
        return _moved(text, run.start // run.fill.times, run, run.fill.count, turn)


def _moved(text: str, start: int, run: PairRun, step: int, turn: str) -> str:
    return text + (f" + {start}" if start else "") + (f" + {turn} * {step}" if run.count > 1 else "")


def runs_of(layer: Binary) -> Runs | None:
    """The runs of ADD, SUB and MUL. None where they are broadcast in another way than these: both inputs run along the
    innermost axes; one of them does, and the other is there one row for all, or one element for each row."""
    shape, (first, second) = merged(layer.output_shape, layer.first_shape, layer.second_shape)
    length, rows = shape[-1], shape[-2] if len(shape) > 1 else 1
    alone = (first[-1], second[-1]).index(0) if 0 in (first[-1], second[-1]) else None
    if len(shape) == 1:
        if alone is None:
            return _placed(layer, 1, (PairRun(1, 0, *divmod(length, 8)),))
        return _repeated(layer, alone, 1, length, 1)
    if alone is None:
        still = (first[-2], second[-2]).index(0) if 0 in (first[-2], second[-2]) else None
        if still is None or (length % 8 == 0 and length > _WIDE // 2):
            return _placed(layer, 1, (PairRun(1, 0, length // 8, 0),)) if length % 8 == 0 else None
        return _repeated(layer, still, length, rows, 2)
    if length % 8 == 0 and length >= _ROW:
        return _placed(layer, 1, (PairRun(1, 0, length // 8, 0, Spreading(1, length, length, 1)),), alone)
    if ((first, second)[alone][-2], (second, first)[alone][-2]) != (1, length):
        return None
    many = min(_unit(length) * max(1, _WIDE // (_unit(length) * length)), rows)
    return _placed(layer, 2, _chunks(rows, many, length, spread=True), alone)


def _unit(length: int) -> int:
    """Rows of so many elements that make eights."""
    return 8 // math.gcd(8, length)


def _repeated(layer: Binary, operand: int, length: int, rows: int, axes: int) -> Runs | None:
    """Runs with the one row of an input, which is spread as often as is worth while."""
    worth = math.sqrt(rows * _RUN / (_STORED * length))
    many = max(round(min(worth, _WIDE / length) / _unit(length)), 1) * _unit(length)
    fill = Spreading(length, min(many, rows), 1, length)
    return _placed(layer, axes, _chunks(rows, fill.times, length, spread=False), operand, fill)


def _chunks(rows: int, many: int, length: int, spread: bool) -> tuple[PairRun, ...]:
    """Runs of ``many`` rows, of which the last may have fewer, and elements besides eights."""
    whole, left = divmod(rows, many)
    if many * length % 8:
        whole, left = 0, rows
    runs = []
    for count, start, taken in ((whole, 0, many), (1, whole * many, left)):
        if count * taken:
            fill = Spreading(taken, length, length, 1) if spread else None
            runs.append(PairRun(count, start * length, *divmod(taken * length, 8), fill))
    return tuple(runs)


def _placed(
    layer: Binary, axes: int, runs: tuple[PairRun, ...], spread: int | None = None, once: Spreading | None = None
) -> Runs | None:
    """The runs over the last axes, in loops over those before; None where words do not lie at multiples of 4."""
    shape, (first, second) = merged(layer.output_shape, layer.first_shape, layer.second_shape)
    outer = len(shape) - axes
    if outer and math.prod(shape[outer:]) % 4:
        return None
    steps = strides_of(tuple(shape), len(shape))
    first_at, second_at, out_at = (
        name if index_text(strides[:outer]) == "0" else f"{name} + {index_text(strides[:outer])}"
        for name, strides in (("first", first), ("second", second), ("out", steps))
    )
    return Runs(tuple(shape[:outer]), first_at, second_at, out_at, runs, spread, once)


class PairKernel(NamedTuple):
    """A kernel of so many ``eights`` a turn, and what a call of it does beside the elements: words of ``factors`` that
    it reads, ``arguments`` that lie on the stack. ``by_words``: eights are stored as two words."""

    rendered: Rendered
    factors: int
    arguments: int
    eights: int = 1
    by_words: bool = False


def pairs_plan(
    family: str,
    layer: Binary,
    runs: Runs,
    kernel_of: Callable[[PairRun], PairKernel],
    *,
    stack: int,
    data: int,
    table: int = 0,
    table_item: int = 1,
    table_by: int | None = None,
    told: str = "proven for all 65,536 pairs of inputs",
) -> Plan:
    """The plan of kernels over ``runs``: ``stack`` bytes, ``data`` bytes of constants, of them ``table`` read here and
    there, ``table_item`` bytes an element, at each byte of the input ``table_by``, if it is at those of one. ``told``:
    how it is known that they round as they have to."""
    nodes: list[Node] = [] if runs.once is None else [*runs.once.nodes]
    inner: tuple[Node, ...]
    sizes: dict[str, int] = {}
    called, read, written = Access(), Access(), Access()
    parameters, scratch = loads(layer.elements if table else 0, table_item), Access()
    for run in runs.runs:
        kernel = kernel_of(run)
        call = Call(kernel.rendered, tuple(n for n in (run.eights / kernel.eights, run.rest) if n))
        sizes[kernel.rendered.name] = 4 * words(body_of(call))
        before = _CALL._replace(cycles=_CALL.cycles + _ARGUMENT * (kernel.arguments - 1))
        turn = (*(run.fill.nodes if run.fill else ()), around.piece(before), call)
        nodes += turn if run.count == 1 else [around.piece(_LOOP), Loop((*turn, around.piece(_TURN)), run.count)]
        times = run.count * runs.count
        called += (saved(9) + loads(kernel.arguments, 4)).times(times)
        parameters += loads(kernel.factors, 4).times(times)
        read += (loads(2 * run.eights, 4) + loads(run.rest, 1)).times(times)
        outputs = stores(2 * run.eights, 4) if kernel.by_words else stores(8 * run.eights, 1)
        written += (outputs + stores(run.rest, 1)).times(times)
    inputs = [read, read]
    if runs.spread is not None:
        inputs[runs.spread] = sum((loads(fill.count * n * runs.count, 1) for fill, n in runs.fills), Access())
        scratch = sum((fill.stored.times(n * runs.count) for fill, n in runs.fills), read)
    inner = tuple(nodes)
    if runs.shape:
        inner = (*(around.piece(_LOOP) for _ in runs.shape), Loop((*nodes, around.piece(_TURN)), runs.count))
    # One element for each row is looked up many times in turn.
    again = runs.spread is not None and runs.spread == table_by and runs.once is None
    looked_up = inputs[table_by].loads if again and table_by is not None else layer.elements
    code = sum(sizes.values())
    marked = all(any(held.table for held in kernel_of(run).rendered.constants) for run in runs.runs)
    return Plan(
        family=family,
        tile=str(8 * max(kernel_of(run).eights for run in runs.runs)),
        cycles=round(_LAYER + cycles_of(inner)),
        promise=Promise((inputs[0], inputs[1]), written, parameters, scratch, called),
        scratch_bytes=runs.scratch_bytes,
        data_bytes=data,
        code_bytes=code + runs.code_bytes,
        stack_bytes=stack,
        kernels=tuple(sizes),
        shared_bytes=code,
        code=(*around.entry(), *inner, *([TableLoads(table, looked_up, marked=marked)] if table else [])),
        in_place=layer.first_shape == layer.output_shape,
        alignment=4,
        requantization=told,
    )


def emitted_runs(
    signature: str,
    plan: Plan,
    title: str,
    arrays: Sequence[Array],
    runs: Runs,
    kernel_of: Callable[[PairRun], PairKernel],
    *,
    table: bool = False,
) -> Emitted:
    """The layer of such a plan; its constants are factors, if any, and after them a table if there is one."""
    kernels = [kernel_of(run).rendered for run in runs.runs]
    return emitted(
        signature,
        plan,
        title,
        "kernels/elementwise/runs_layer.c.j2",
        arrays=arrays,
        kernels=tuple(dict.fromkeys(kernels)),
        runs=runs,
        names=[kernel.name for kernel in kernels],
        table=table,
    )
