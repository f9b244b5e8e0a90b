"""Wait states: flash behind its accelerator, code in RAM, external memories, against figures worked out by hand.

The figures for the STM32L4R5 follow from the structure in RM0432: 5 wait states, 64-bit reads, caches of
1 KiB and 256 bytes; docs/timing.md derives each.
"""

import gc
import weakref

import pytest
from board_helpers import assemble, compile_c, compilers, function

from memaopt.board import Board, Timing, build
from memaopt.errors import BuildError
from memaopt.machines.mcu import Mcu, mcu

L4R5 = mcu("stm32l4r5", "stock-prefetch")
F407 = mcu("stm32f407")


def changed(machine: Mcu, memory: str, **fields) -> Mcu:
    """The machine with fields of one memory changed."""
    data = machine.model_dump()
    for m in data["memories"]:
        if m["name"] == memory:
            m.update(fields)
    return Mcu.model_validate(data)


def accelerated(machine: Mcu, **fields) -> Mcu:
    return changed(machine, "flash", accelerator={**machine.memory("flash").accelerator.model_dump(), **fields})


SINGLE_BANK = accelerated(L4R5, read_bytes=16)
NO_PREFETCH = L4R5.in_setting("stock")
WIDE, NARROW = "add.w r2,r2,r2", "adds r2,r2"


def straight_line(tmp_path, machine, instruction, count):
    """Cycles for each of ``count`` instructions that run once."""
    board = assemble(tmp_path, function("f", f"{instruction}\n" * count + "bx lr"), machine)
    return board.call("f").cycles / count


@pytest.mark.parametrize(
    ("machine", "instruction", "expected"),
    [
        (L4R5, WIDE, 3.02),  # 8 bytes every 6 cycles
        (L4R5, NARROW, 1.51),
        (SINGLE_BANK, WIDE, 1.52),  # 16 bytes every 6 cycles
        (SINGLE_BANK, NARROW, 1.01),
        (L4R5.with_wait_states(0), WIDE, 1.0),
        (NO_PREFETCH, WIDE, 3.5),  # 5 wait states, then 2 cycles
        (F407, WIDE, 1.52),
    ],
    ids=["dual-wide", "dual-narrow", "single-wide", "single-narrow", "ideal", "no-prefetch", "f407"],
)
def test_straight_line_code_from_flash(tmp_path, machine, instruction, expected):
    """Catches a wrong read width, array occupancy or prefetch."""
    assert straight_line(tmp_path, machine, instruction, 400) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("machine", "size", "expected"),
    [
        (L4R5, 900, 1.01),  # fits the instruction cache of 1 KiB
        (L4R5, 1100, 3.06),  # LRU evicts each line just before its turn
        (SINGLE_BANK, 1100, 1.55),
        (F407, 900, 1.01),
        (F407, 1100, 1.55),
    ],
)
def test_loop_that_fits_the_cache_is_free_and_one_that_does_not_thrashes(tmp_path, machine, size, expected):
    """Catches a cache of the wrong size, or with another replacement than LRU."""
    body = f"1:\n{WIDE}\n" + f"{WIDE}\n" * (size // 4 - 1) + "subs r0,#1\n bne.w 1b\n bx lr"
    board = assemble(tmp_path, function("f", body), machine)
    more, once = board.call("f", 11).cycles, board.call("f", 1).cycles
    assert (more - once) / 10 / (size // 4) == pytest.approx(expected, abs=0.04)


def load_loop(words):
    return "1:\n" + "ldr r2,[r0],#4\n" * words + "subs r1,#1\n bne.w 1b\n bx lr"


@pytest.mark.parametrize(
    ("machine", "per_word"), [(L4R5, 2.5), (SINGLE_BANK, 1.25), (F407, 1.25), (mcu("nrf52840"), 3.0)]
)
def test_streaming_weights_from_flash_costs_the_array_read_for_each_line(tmp_path, machine, per_word):
    """Catches data reads that hit where they cannot, or that arithmetic hides."""
    board = assemble(tmp_path, function("f", load_loop(16)), machine)
    weights = machine.memory("flash").base + 0x8000
    run = board.call("f", weights, 32)
    assert run.data_stalls == pytest.approx(per_word * 16 * 32, rel=0.04)  # and a little for prefetches
    from_ram = board.call("f", machine.sram.base + 0x100, 32)
    assert run.cycles == from_ram.ideal_cycles + run.data_stalls + run.fetch_stalls
    assert from_ram.data_stalls == 0
    # Without wait states a table beside the code still costs an eighth of a cycle a load.
    assert run.ideal_cycles == from_ram.ideal_cycles + 16 * 32 // 8


def test_data_cache_holds_eight_lines(tmp_path):
    """Catches a data cache of the wrong size: 64 words fit 256 bytes, 80 do not."""
    walk = "mov r3,#20\n 2: mov r2,r0\n mov r12,r1\n 1: ldr r4,[r2],#4\n subs r12,#1\n bne 1b\n subs r3,#1\n bne 2b"
    board = assemble(tmp_path, function("f", f"push {{r4}}\n {walk}\n pop {{r4}}\n bx lr"), L4R5)
    weights = L4R5.memory("flash").base + 0x8000
    assert board.call("f", weights, 64).data_stalls == pytest.approx(32 * 5, abs=12)
    assert board.call("f", weights, 80).data_stalls > 19 * 40 * 4


RAM_LOOP = '.section .ramfunc,"ax",%progbits\n'


def test_code_in_ram_runs_without_waits_on_the_code_bus_only(tmp_path):
    """Catches RAM code that goes to the slow address, or is charged wrongly there."""
    body = f"1:\n{WIDE}\n" + f"{WIDE}\n" * 299 + "subs r0,#1\n bne.w 1b\n bx lr"
    board = assemble(tmp_path, RAM_LOOP + function("f", body), L4R5)
    assert board.symbols["f"] >> 16 == 0x1000
    run = board.call("f", 10)
    assert run.cycles == run.ideal_cycles
    system = Mcu.model_validate({**L4R5.model_dump(), "code_ram": "sram"})
    slow = assemble(tmp_path, RAM_LOOP + function("f", body), system)
    assert slow.symbols["f"] >> 16 == 0x2000
    assert slow.call("f", 10).cycles / run.cycles == pytest.approx(2.0, abs=0.01)
    narrow = assemble(tmp_path, RAM_LOOP + function("f", body.replace(WIDE, NARROW)), system)
    again = narrow.call("f", 10)
    assert again.cycles == pytest.approx(again.ideal_cycles, rel=0.01)


def test_data_on_the_bus_that_code_comes_over_delays_fetches(tmp_path):
    """Catches a missing conflict between code and data in the same RAM."""
    body = "1:\n" + f"ldr r2,[r1]\n{NARROW}\n{WIDE}\n" * 40 + "subs r0,#1\n bne.w 1b\n bx lr"
    system = Mcu.model_validate({**L4R5.model_dump(), "code_ram": "sram"})
    board = assemble(tmp_path, RAM_LOOP + function("f", body), system)
    near, far = board.call("f", 10, L4R5.sram.base + 0x4000), board.call("f", 10, 0x9000_0000)
    assert near.fetch_stalls > far.fetch_stalls


def test_data_and_code_share_memory_through_an_alias(tmp_path):
    """Catches an alias that is memory of its own."""
    board = assemble(tmp_path, function("f", "ldr r0,[r0]\n bx lr"), L4R5)
    board.write(0x2003_0010, (1234).to_bytes(4, "little"))
    run = board.call("f", 0x1000_0010)
    assert run.r0 == 1234
    assert run.memories["sram"].loads == 1


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("name", ["stm32l4r5", "nrf52840", "stm32f407", "stm32f446"])
def test_code_in_ram_does_not_overlap_data(tmp_path, compiler, name):
    """Catches a RAM function placed onto .bss under its other address."""
    machine = mcu(name)
    size = 210_000 if name == "stm32l4r5" else 50_000
    board = compile_c(
        tmp_path,
        f"char big[{size}];\n"
        '__attribute__((section(".ramfunc"))) int f(int n) { int s = 0;'
        " for (int i = 0; i < n; i++) { big[i] = (char)(i & 127); s += big[i]; } return s; }",
        machine,
        compiler,
    )
    assert board.call("f", size).r0 == sum(i & 127 for i in range(size))
    assert board.call("f", size).r0 == sum(i & 127 for i in range(size))


@pytest.mark.parametrize("name", ["stm32l4r5", "nrf52840", "stm32f407"])
def test_small_sram_still_has_a_stack_beside_code_in_ram(tmp_path, name):
    """Catches RAM code outside a reduced SRAM that is taken for its contents."""
    machine = mcu(name).with_sizes(sram=16 * 1024)
    code = '__attribute__((section(".ramfunc"))) int f(int n) { volatile int a[100]; a[n] = n; return a[n]; }'
    assert compile_c(tmp_path, code, machine).call("f", 5).r0 == 5


@pytest.mark.parametrize("compiler", compilers())
def test_no_room_for_code_in_ram_is_told(tmp_path, compiler):
    """Catches RAM code over data where data fill the RAM that code could run from, and the error without such code."""
    big = "char big[300000]; char f(int n) { return big[n]; }"
    assert compile_c(tmp_path, big, L4R5, compiler).call("f", 5).r0 == 0
    with pytest.raises(BuildError, match=r"\.ramfunc will not fit in sram2"):
        compile_c(tmp_path, big + '__attribute__((section(".ramfunc"))) int g(void) { return 1; }', L4R5, compiler)


def test_external_memory_costs_a_first_and_following_accesses(tmp_path):
    """Catches sequential accesses priced as random ones, or the reverse."""
    qspi = L4R5.memory("qspi")
    board = assemble(
        tmp_path, function("f", load_loop(4)) + function("g", "ldr r1,[r0]\n ldr r1,[r0,#8]\n bx lr"), L4R5
    )
    assert board.call("f", qspi.base, 1).data_stalls == qspi.first + 3 * qspi.next
    assert board.call("g", qspi.base, 1).data_stalls == 2 * qspi.first


def test_store_buffer_hides_a_slow_store_until_the_next_access(tmp_path):
    """Catches a single store that stalls at once, or a burst of stores that costs nothing."""
    qspi = L4R5.memory("qspi")
    text = function("one", "str r1,[r0]\n" + "nop\n" * 100 + "bx lr") + function(
        "two", "str r1,[r0]\n str r1,[r0,#4]\n bx lr"
    )
    board = assemble(tmp_path, text + function("many", "stm r0,{r0-r3}\n bx lr"), L4R5)
    assert board.call("one", qspi.base).data_stalls == 0
    assert board.call("two", qspi.base).data_stalls == qspi.first
    assert board.call("many", qspi.base).data_stalls == qspi.first + 3 * qspi.next


@pytest.mark.parametrize("where", [0x2000_0000, 0x2004_0000, 0x0800_4000])
def test_both_clocks_agree_without_wait_states(tmp_path, where):
    """Catches an ideal core that differs from the machine whose memories never wait, in any of its memories."""
    text = function("f", load_loop(8))
    with_waits = assemble(tmp_path, text, L4R5).call("f", where, 50)
    without = assemble(tmp_path, text, L4R5.with_wait_states(0)).call("f", where, 50)
    assert with_waits.ideal_cycles == without.cycles == without.ideal_cycles
    assert with_waits.cycles > without.cycles


@pytest.mark.parametrize(
    ("base", "sixteenths"),
    [(0x2000_0000, 0), (0x2002_FFF0, 0), (0x2003_0000, 0), (0x1000_0000, 0), (0x2004_0000, 1), (0x2009_F000, 1)],
)
def test_loads_from_each_bank_of_the_sram(tmp_path, base, sixteenths):
    """Catches a bank that costs what another does, stores that are charged, sixteenths lost or rounded up."""
    stores = function("g", "1: str r2,[r0]\n subs r1,#1\n bne 1b\n bx lr")
    board = assemble(tmp_path, function("f", load_loop(4)) + stores)
    # 4 loads a turn: after so many turns that many whole cycles.
    for turns in (1, 3, 4, 41):
        assert board.call("f", base, turns).data_stalls == 4 * turns * sixteenths // 16
    assert board.call("g", base, 64).data_stalls == 0
    pair = assemble(tmp_path, function("f", "1: ldm r0,{r2,r3}\n subs r1,#1\n bne 1b\n bx lr"))
    assert pair.call("f", base, 80).data_stalls == 2 * 80 * sixteenths // 16


def test_a_bank_is_priced_under_its_alias(tmp_path):
    """Catches a load that is cheaper by another address of the same bytes."""
    data = L4R5.model_dump()
    for m in data["memories"]:
        for region in m["regions"]:
            region["load_sixteenths"] = 8 if region["name"] == "sram2" else 0
    board = assemble(tmp_path, function("f", load_loop(4)), Mcu.model_validate(data))
    assert board.call("f", 0x1000_0000, 5).data_stalls == board.call("f", 0x2003_0000, 5).data_stalls == 10


def test_tables_beside_the_code(tmp_path):
    """Catches a charge for tables where code and data come from different memories, and a rule that is ignored."""
    text = function("f", load_loop(4)) + RAM_LOOP + function("g", load_loop(4))
    for machine in (L4R5, F407.with_wait_states(0)):
        board = assemble(tmp_path, text, machine)
        table, ram = machine.memory("flash").base + 0x4000, machine.sram.base
        assert board.call("f", table, 40).ideal_cycles - board.call("f", ram, 40).ideal_cycles == 20
        if machine is L4R5:
            assert board.call("g", table, 40).ideal_cycles == board.call("g", ram, 40).ideal_cycles
    slow = assemble(tmp_path, text, F407.with_clock(30_000_000)).call("f", 0x0800_4000, 40)
    assert slow.cycles == slow.ideal_cycles  # flash alone waits for nothing: a load from it does not hold up fetching
    board = assemble(tmp_path, text, L4R5, timing=Timing(table_sixteenths=0))
    assert board.call("f", 0x0800_4000, 40).ideal_cycles == board.call("f", 0x2000_0000, 40).ideal_cycles


def test_more_wait_states_never_make_code_faster(tmp_path):
    """Catches an accounting of the busy array that runs backwards."""
    text = function("f", load_loop(8))
    cycles = []
    for states in (0, 1, 3, 5, 8):
        board = assemble(tmp_path, text, L4R5.with_wait_states(states))
        cycles.append(board.call("f", 0x0800_4000, 20).cycles)
    assert cycles == sorted(cycles)
    assert len(set(cycles)) == len(cycles)


def test_a_build_can_be_loaded_directly(tmp_path):
    """Catches a Build that the board does not take."""
    source = tmp_path / "p.s"
    source.write_text(f".syntax unified\n.thumb\n{function('f', 'mov r0,#7' + chr(10) + ' bx lr')}")
    assert Board(L4R5).load(build([source], tmp_path / "p.elf", L4R5)).call("f").r0 == 7


def test_a_board_goes_when_nobody_has_it(tmp_path):
    """Catches a core that reaches itself: it would keep megabytes until Python looks for circles, which commands
    hardly ever have it do."""
    board = assemble(tmp_path, function("f", "bx lr"), L4R5)
    board.call("f")
    core = weakref.ref(board._core)
    with_collector = gc.isenabled()
    gc.disable()
    try:
        del board
        assert core() is None
    finally:
        if with_collector:
            gc.enable()
