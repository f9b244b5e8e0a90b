"""The tables of a program's run on the virtual board. Nothing is wider than 100 columns."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from memaopt.board.results import known
from memaopt.machines.mcu import Mcu
from memaopt.printable import printable
from memaopt.report.console import Fact, print_facts, table

if TYPE_CHECKING:
    from memaopt.board import Access, Profile, Run
    from memaopt.board.profile import LoopProfile

_SYMBOLS = 20
_FUNCTIONS = 15
_BLOCKS = 10
_LABEL = 14
_ENDS = {
    "exit": "semihosting exit",
    "until": "stopped",
    "loop": "endless loop",
    "sleep": "sleeps for ever (WFI or WFE, and no interrupts on this board)",
    "breakpoint": "breakpoint",
}


def print_run(console: Console, title: str, machine: Mcu, run: "Run", end: str) -> None:
    """What a run took and touched, and its profile if it was taken; ``end`` is the function that it ended in."""
    console.print(f"{title}, on {machine.title}\n", style="bold", highlight=False, markup=False, soft_wrap=True)
    for line in run.output.splitlines():
        console.print(Text.assemble((f"{'output':<{_LABEL}}", "cyan"), printable(line)), soft_wrap=True)
    print_facts(console, _facts(machine, run, end), _LABEL)
    if any(a.loads or a.stores for a in run.memories.values()):
        _print_accesses(console, "accesses to memory", run.memories)
        _print_accesses(console, "to symbol", run.buffers)
    else:
        print_facts(console, [Fact("accesses", "none")], _LABEL)
    if run.profile is not None:
        _print_profile(console, known(run.cycles), run.profile)


def _facts(machine: Mcu, run: "Run", end: str) -> Iterable[Fact]:
    if run.ended != "return":
        code = "" if run.exit_code is None else f", exit code {run.exit_code}"
        yield Fact("ended", f"{_ENDS[run.ended]} at {run.ended_at:#010x} in {end}{code}")
    else:
        signed = run.r0 - (1 << 32) if run.r0 >> 31 else run.r0
        yield Fact("result", f"r0 = {run.r0:#x} = {signed:,}, s0 = {run.s0:.8g}")
    skipped = f", and {run.skipped:,} skipped in IT blocks" if run.skipped else ""
    if run.cycles is None or run.ideal_cycles is None or run.energy is None:
        yield Fact("cycles", f"not shown: {machine.core.untimed}")
        yield Fact("instructions", f"{run.instructions:,}{skipped}")
        yield Fact("stack", f"{run.stack_bytes:,} bytes at most")
        return
    waited = f"waited {run.fetch_stalls:,} for instructions, {run.data_stalls:,} for data"
    yield Fact("cycles", f"{run.cycles:,}, {_time(run.cycles, machine)} at {machine.clock_hz / 1e6:g} MHz; {waited}")
    if machine.has_wait_states:
        added = (run.cycles - run.ideal_cycles) / run.ideal_cycles if run.ideal_cycles else 0
        yield Fact(
            "", f"{run.ideal_cycles:,} without wait states, {_time(run.ideal_cycles, machine)}: they add {added:.1%}"
        )
    else:
        yield Fact("", "no memory has wait states")
    if run.dma_bytes:
        yield Fact("DMA", f"{run.dma_bytes:,} bytes copied, modelled")
    each = f"{run.cycles / run.instructions:.2f} cycles each" if run.instructions else ""
    yield Fact("instructions", f"{run.instructions:,}, {each}{skipped}")
    yield Fact("stack", f"{run.stack_bytes:,} bytes at most")
    spread = "" if run.energy.range_uj is None else " ({} to {})".format(*map(_energy, run.energy.range_uj))
    yield Fact("energy", machine.unpowered or f"{_energy(run.energy.total_uj)}{spread}, modelled")


def _time(cycles: int, machine: Mcu) -> str:
    seconds = cycles / machine.clock_hz
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us"


def _energy(microjoules: float) -> str:
    return f"{microjoules / 1e3:,.4g} mJ" if microjoules >= 1e4 else f"{microjoules:.4g} uJ"


def _print_accesses(console: Console, heading: str, accesses: Mapping[str, "Access"]) -> None:
    """Those that there were, most bytes first."""
    found = [(a.load_bytes + a.store_bytes, name, a) for name, a in accesses.items() if a.loads or a.stores]
    found.sort(key=lambda item: (-item[0], item[1]))
    names = ("loads", "bytes loaded", "stores", "bytes stored")
    made = table((heading, *names))
    # One width for both tables, so that their columns stand below each other.
    made.columns[0].width = 40
    for column in made.columns[1:]:
        column.min_width = 13
    for _, name, a in found[:_SYMBOLS]:
        made.add_row(name, *(f"{n:,}" for n in (a.loads, a.load_bytes, a.stores, a.store_bytes)))
    console.print()
    console.print(made, highlight=False, markup=False)
    _print_left(console, len(found) - _SYMBOLS, "with fewer bytes")


def _print_profile(console: Console, total: int, profile: "Profile") -> None:
    cycles = ("cycles", "share", "no waits")
    made = table(("function", "instructions", *cycles))
    for f in profile.functions[:_FUNCTIONS]:
        made.add_row(f.name, f"{f.instructions:,}", *_cycles(f.cycles, f.ideal_cycles, total))
    console.print()
    console.print(made, highlight=False, markup=False)
    _print_left(console, len(profile.functions) - _FUNCTIONS, "with fewer cycles")

    made = table(("basic block", "at", "runs", "instructions", *cycles))
    for b in profile.blocks[:_BLOCKS]:
        share = _cycles(b.cycles, b.ideal_cycles, total)
        made.add_row(b.function, _range(b.start, b.end), f"{b.executions:,}", f"{b.instructions:,}", *share)
    console.print()
    console.print(made, highlight=False, markup=False)
    _print_left(console, len(profile.blocks) - _BLOCKS, "with fewer cycles")
    for n, loop in enumerate(profile.loops, start=1):
        _print_loop(console, n, loop, total)


def _print_loop(console: Console, number: int, loop: "LoopProfile", total: int) -> None:
    """An innermost loop: its instructions, how often each ran and what that cost."""
    share = f"{loop.cycles:,} cycles ({_share(loop.cycles, total)}), {loop.ideal_cycles:,} without wait states"
    title = f"\nloop {number}: {loop.function}, {_range(loop.start, loop.end)}: {share}"
    console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
    made = table(("address", "instruction", "runs", "cycles each", "no waits", "share"), words=2)
    for line in loop.lines:
        # An instruction that was only ever skipped has the cycles of all its skips.
        share = f"{line.cycles * max(line.executions, 1) / total:.1%}"
        each = (f"{line.cycles:.2f}", f"{line.ideal_cycles:.2f}", share)
        made.add_row(f"{line.address:08x}", line.text, f"{line.executions:,}", *each)
    console.print(made, highlight=False, markup=False)


def _cycles(cycles: int, ideal: int, total: int) -> tuple[str, str, str]:
    return f"{cycles:,}", _share(cycles, total), f"{ideal:,}"


def _share(cycles: int, total: int) -> str:
    return f"{cycles / total:.1%}" if total else ""


def _range(start: int, end: int) -> str:
    return f"{start:08x}-{end:08x}"


def _print_left(console: Console, count: int, which: str) -> None:
    if count > 0:
        console.print(f"and {count} more {which} (--json has all)", style="dim", highlight=False, soft_wrap=True)
