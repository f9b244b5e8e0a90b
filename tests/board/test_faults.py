"""What faults on the chip faults on the board, with the address and the function; programs that do not return."""

import re
import struct
import sys

import pytest
from board_helpers import MCU, assemble, compile_c, compilers, function

from memaopt.board import Board
from memaopt.errors import FaultError, InputError, MissingToolError

SRAM, FLASH = MCU.sram.base, MCU.memory("flash").base

FAULTS = {
    "load outside the map": ("ldr r1,[r0]", 0x6000_0000, "access to 0x60000000, outside every memory of stm32l4r5"),
    "store outside the map": ("str r1,[r0,#8]", 0x6000_0000, "access to 0x60000008"),
    "word across the end of a memory": ("ldr r1,[r0]", MCU.sram.end - 2, "outside every memory"),
    "null pointer": ("ldr r1,[r0]", 0, "access to 0x00000000"),
    "write to flash": ("strb r1,[r0]", FLASH + 0x100, "write to 0x08000100, in read-only memory"),
    "unaligned LDRD": ("ldrd r1,r2,[r0]", SRAM + 2, "unaligned access to 0x20000002"),
    "unaligned STRD": ("strd r1,r2,[r0]", SRAM + 1, "unaligned access"),
    "unaligned LDM": ("ldm r0,{r1,r2}", SRAM + 2, "unaligned access"),
    "unaligned STM": ("stm r0!,{r1,r2}", SRAM + 2, "unaligned access"),
    "unaligned VLDR": ("vldr s0,[r0]", SRAM + 1, "unaligned access"),
    "unaligned VSTM": ("vstm r0,{s0-s3}", SRAM + 2, "unaligned access"),
    "unaligned LDREX": ("ldrex r1,[r0]", SRAM + 2, "unaligned access"),
    "undefined instruction": ("udf #0", 0, "undefined instruction"),
    "no such encoding": (".hword 0xffff, 0xffff", 0, "undefined instruction"),
    "supervisor call": ("svc #0", 0, "supervisor call"),
    "breakpoint": ("bkpt #1", 0, "breakpoint"),
    "jump outside the map": ("bx r0", 0x6000_0001, "jump to 0x60000000, where there is no code"),
    "jump to peripherals": ("bx r0", 0x4000_0001, "jump to 0x40000000, where there is no code"),
    "endless loop": ("b .", 0, "endless loop"),
}


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    text = "".join(function(f"f{i}", f"nop\n{body}\n bx lr") for i, (body, _, _) in enumerate(FAULTS.values()))
    return assemble(tmp_path_factory.mktemp("faults"), text)


@pytest.mark.parametrize("i", range(len(FAULTS)), ids=list(FAULTS))
def test_fault_names_what_where_and_the_function(board, i):
    """Catches a program that goes on, silently wrong, where the chip stops."""
    _, argument, message = list(FAULTS.values())[i]
    with pytest.raises(FaultError, match=re.escape(message)) as caught:
        board.call(f"f{i}", argument)
    at = board.symbols[f"f{i}"] + 2
    assert str(caught.value).endswith(f"at {at:#010x} in f{i}")
    assert (caught.value.address, caught.value.function) == (at, f"f{i}")


def test_board_is_usable_after_a_fault(board):
    """Catches a stop that lasts."""
    with pytest.raises(FaultError):
        board.call("f0", 0x6000_0000)
    assert board.call("f0", SRAM).memories["sram"].loads == 1


def test_aligned_accesses_do_not_fault(board):
    """Catches an alignment check that is too strict: words may be unaligned, doubles need a multiple of 4."""
    for i, name in enumerate(FAULTS):
        if name.startswith("unaligned"):
            board.call(f"f{i}", SRAM + 4)
    assert board.call("f0", SRAM + 1).memories["sram"].loads == 1


def test_stack_overflow(tmp_path):
    """Catches a recursion that runs over static data; the fault is at the instruction that moved SP."""
    body = "push {r4,lr}\n subs r0,#1\n it ne\n blne deep\n pop {r4,pc}"
    board = assemble(tmp_path, function("deep", body), stack_bytes=256)
    assert board.call("deep", 32).stack_bytes == 256
    with pytest.raises(FaultError, match=r"stack overflow: SP is 0x2009fef8, at 0x[0-9a-f]+ in deep"):
        board.call("deep", 33)


def test_stack_high_water_mark(tmp_path):
    """Catches a mark that misses PUSH, VPUSH, SUB SP or an argument on the stack."""
    board = assemble(
        tmp_path,
        function(
            "f", "push {r4-r7}\n vpush {s16-s19}\n sub sp,#64\n add sp,#64\n vpop {s16-s19}\n pop {r4-r7}\n bx lr"
        ),
    )
    assert board.call("f").stack_bytes == 16 + 16 + 64
    assert board.call("f", 1, 2, 3, 4, 5).stack_bytes == 16 + 16 + 64 + 8


def test_division_by_zero_traps_only_when_asked(tmp_path):
    """Catches a trap that the chip does not have at reset, or one that cannot be enabled."""
    text = function("f", "udiv r0,r0,r1\n bx lr")
    assert assemble(tmp_path, text).call("f", 7, 0).r0 == 0
    with pytest.raises(FaultError, match="division by zero"):
        assemble(tmp_path, text, trap_divide=True).call("f", 7, 0)


def test_budget_ends_an_endless_loop(tmp_path):
    """Catches a run that never comes back."""
    board = assemble(tmp_path, function("f", "1: add r0,#1\n b 1b"))
    with pytest.raises(FaultError, match="still running after 1000 instructions") as caught:
        board.call("f", max_instructions=1000)
    assert caught.value.function == "f"


STARTUP = """
#include <stdint.h>
extern uint32_t image[], data_start[], data_end[];
int initialised = 41, result;
const int table[4] = {1, 2, 3, 4};
static int add(int a, int b) { return a + b; }
void reset(void);
__attribute__((section(".vectors"), used)) void *const vectors[2] = {(void *)0x20008000, (void *)reset};
void reset(void)
{
    volatile uint32_t *clock = (volatile uint32_t *)0x40013800u; // a peripheral register, written and read
    *clock = 5u;
    result = 0; // nobody has cleared it
    for (int i = 0; i < 4; i++) {
        result = add(result, table[i]);
    }
    result += initialised + (int)*clock;
    for (;;) {
    }
}
"""


@pytest.mark.parametrize("compiler", compilers())
def test_program_runs_from_its_vector_table(tmp_path, compiler):
    """Catches a wrong initial SP or PC, and peripherals that cannot be touched."""
    board = compile_c(tmp_path, STARTUP, compiler=compiler)
    run = board.reset()
    assert int.from_bytes(board.read("result"), "little") == 10 + 41 + 5
    assert run.function == "reset"
    assert run.accesses("peripheral").stores == 1
    assert run.memories["peripheral"].loads == 1
    assert run.stack_bytes < 64


def test_data_are_where_start_up_code_looks_for_them(tmp_path):
    """Catches an ELF whose .data is loaded at its run address only."""
    image = _elf([(0x2000_0000, 0x0800_1000, b"DATA")], symbols=False)
    board = Board(MCU).load(image)
    assert board.read(0x0800_1000, 4) == board.read(0x2000_0000, 4) == b"DATA"
    # Without symbols a function is called by its address, and names are addresses.
    code = struct.pack("<HH", 0x2005, 0x4770)  # movs r0,#5; bx lr
    board = Board(MCU).load(_elf([(0x0800_0000, 0x0800_0000, code)], symbols=False))
    run = board.call(0x0800_0001)
    assert (run.r0, run.function) == (5, "0x08000000")
    with pytest.raises(InputError, match="no symbol 'f'"):
        board.call("f")


def _elf(segments, symbols):
    """A minimal ELF file with the given (virtual address, physical address, bytes)."""
    assert not symbols
    offset = 52 + 32 * len(segments)
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 0, 0x5000200, 52, 32, len(segments), 40, 0, 0)
    table, body = b"", b""
    for virtual, physical, data in segments:
        table += struct.pack("<8I", 1, offset + len(body), virtual, physical, len(data), len(data), 7, 4)
        body += data
    return head + table + body


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda e: b"not an ELF file at all", "not a valid ELF"),
        (lambda e: e[:60], "not a valid ELF"),
        (lambda e: e[:4] + b"\x02" + e[5:], "not a"),
        (lambda e: e[:18] + b"\x03\x00" + e[20:], "not a 32-bit little-endian Arm program"),
        (lambda e: e[:16] + b"\x01\x00" + e[18:], "not a linked executable"),
    ],
)
def test_file_that_is_no_program_is_one_line(damage, message):
    """Catches a traceback for a broken or foreign file."""
    good = _elf([(0x0800_0000, 0x0800_0000, bytes(4))], symbols=False)
    with pytest.raises(InputError, match=message) as caught:
        Board(MCU).load(damage(good))
    assert "\n" not in str(caught.value)


def test_bad_requests_are_one_line(tmp_path, board):
    """Catches tracebacks for what a user can get wrong."""
    cases = [
        (lambda: Board(MCU).call("f"), "no program on the board"),
        (lambda: Board(MCU).load(tmp_path / "missing.elf"), "cannot be read"),
        (lambda: board.call("nothing"), "no symbol 'nothing'"),
        (lambda: board.call("f0", 1 << 32), "does not fit 32 bits"),
        (lambda: board.read("f0"), "say how many bytes"),
        (lambda: board.read(0x6000_0000, 4), "no memory there"),
        (lambda: board.write(0x6000_0000, b"x"), "no memory there"),
        (lambda: board.call("f0", SRAM, buffers={"A": (0x6000_0000, 4)}), "not inside a memory"),
        (lambda: board.call("f0", SRAM, buffers={"A": (SRAM, 0)}), "has 0 bytes"),
        (lambda: Board(MCU).load(_elf([(0x6000_0000, 0x6000_0000, b"DATA")], symbols=False)), "do not fit a memory"),
        (lambda: Board(MCU, stack_bytes=1 << 20).load(tmp_path / "x").call("f0"), "cannot be read"),
        (lambda: board.reset(), "no vector table and no entry point"),
    ]
    for action, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            action()
        assert "\n" not in str(caught.value)


def test_stack_that_does_not_fit_is_refused(tmp_path):
    """Catches a stack on top of static data."""
    text = function("f", "bx lr") + f".bss\n.global big\nbig: .space {MCU.sram.size - 100}\n"
    assert assemble(tmp_path, text).call("f").stack_bytes == 0
    with pytest.raises(InputError, match="static data leave 100 bytes of SRAM, the stack needs 1024"):
        assemble(tmp_path, text, stack_bytes=1024).call("f")


def test_missing_packages_are_told_with_the_command(monkeypatch):
    """Catches a traceback when the board's packages are not installed."""
    module = sys.modules["memaopt.board.board"]
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in ("unicorn", "capstone") else True)
    with pytest.raises(MissingToolError, match=r"the board needs unicorn, capstone: pip install 'memaopt\[board\]'"):
        Board(MCU)
