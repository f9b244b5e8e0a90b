"""A program from reset: vector table, stacks, FPU, cycle counter, flags of peripherals, semihosting, how it ends."""

import re
from pathlib import Path

import pytest
from board_helpers import MCU, assemble, function

from memaopt.board import Board
from memaopt.errors import FaultError, InputError
from memaopt.machines.mcu import mcu

SRAM = MCU.sram.base
HOST = "bkpt #0xab"
# SYS_EXIT with ADP_Stopped_ApplicationExit.
EXIT = f"movs r0,#0x18\n ldr r1,=0x20026\n {HOST}\n"
ENABLE_COUNTER = """
 ldr r4,=0xe000edfc
 ldr r5,[r4]
 orr r5,r5,#0x1000000
 str r5,[r4]
 ldr r4,=0xe0001000
 ldr r5,=0xc5acce55
 str r5,[r4,#0xfb0]
 movs r5,#0
 str r5,[r4,#4]
 ldr r5,[r4]
 orr r5,r5,#1
 str r5,[r4]
"""


def program(folder: Path, body: str, top: int = SRAM + 0x8000, more: str = "", **options: object) -> Board:
    """A board with ``reset`` as the handler in a vector table at the start of the flash."""
    table = f'.section .vectors,"a"\n.word {top:#x}, reset\n.text\n'
    return assemble(folder, table + function("reset", body + "\n .ltorg\n .balign 4") + more, **options)  # type: ignore[arg-type]


def word(board: Board, where: str | int) -> int:
    return int.from_bytes(board.read(where, 4), "little")


def test_the_vector_table_gives_stack_and_handler(tmp_path: Path) -> None:
    """Catches a stack that is not where the table says, or is measured from elsewhere; registers not as after reset."""
    more = ".bss\n.global mark\n.type mark,%object\n.size mark,16\nmark: .space 16\n"
    board = program(tmp_path, f"mov r4,sp\n mov r5,lr\n sub sp,#64\n push {{r4,r5}}\n{EXIT}", SRAM + 0x200, more)
    assert (board.vectors.address, board.vectors.stack) == (0x0800_0000, SRAM + 0x200)
    run = board.reset()
    assert (run.function, run.ended, run.exit_code, run.stack_bytes) == ("reset", "exit", 0, 72)
    assert board.read(SRAM + 0x200 - 72, 8) == (SRAM + 0x200).to_bytes(4, "little") + b"\xff" * 4
    # From the end of the objects in RAM to the table's stack pointer: one byte more is an overflow.
    deep = program(tmp_path, f"sub sp,#0x1f0\n sub sp,#8\n{EXIT}", SRAM + 0x200, more)
    with pytest.raises(FaultError, match=r"stack overflow: SP is 0x20000008, .* in reset"):
        deep.reset()


def test_without_start_up_code_ram_is_not_initialised(tmp_path: Path) -> None:
    """Catches a board that does the start-up code's work: .data in place, .bss zero, RAM kept from an earlier run."""
    text = f"""ldr r0,=zero
 ldr r1,[r0]
 ldr r2,=seen
 str r1,[r2]
 movs r1,#7
 str r1,[r0]
 {EXIT}"""
    more = ".bss\nzero: .space 4\nseen: .space 4\n"
    board = program(tmp_path, text, more=more)
    for _ in range(2):
        board.reset()
        assert (word(board, "seen"), word(board, "zero")) == (0xA5A5A5A5, 7)


def test_flash_keeps_what_was_written(tmp_path: Path) -> None:
    """Catches a reset that erases the flash."""
    board = program(tmp_path, f"ldr r0,=0x08010000\n ldr r1,[r0]\n ldr r2,=0x20000000\n str r1,[r2]\n{EXIT}")
    board.write(0x0801_0000, b"KEPT")
    board.reset()
    assert board.read(SRAM, 4) == b"KEPT"


def test_floating_point_needs_cpacr(tmp_path: Path) -> None:
    """Catches an image that runs here and faults on the chip, where the FPU is off after reset."""
    use = "vmov s0,r0\n"
    with pytest.raises(FaultError, match=r"floating point while the FPU is off: CPACR does not enable it.* in reset"):
        program(tmp_path, f"nop\n{use}{EXIT}").reset()
    enable = "ldr r4,=0xe000ed88\n ldr r5,[r4]\n orr r5,r5,#0xf00000\n str r5,[r4]\n dsb\n isb\n"
    board = program(tmp_path, f"{enable}{use}{EXIT}", more=function("f", "vmov s0,r0\n bx lr"))
    assert board.call("f", 1).ended == "return"  # a call finds it on
    assert board.reset().ended == "exit"


def test_the_cycle_counter_counts_the_boards_cycles(tmp_path: Path) -> None:
    """Catches a counter that stands still, jumps, cannot be written, or runs while it is off."""
    work = "movs r6,#100\n 1: subs r6,#1\n bne 1b\n"
    body = f"""ldr r0,=0x20000000
 ldr r4,=0xe0001000
 ldr r1,[r4,#4]
 str r1,[r0]
 {ENABLE_COUNTER}
 ldr r1,[r4,#4]
 {work}
 ldr r2,[r4,#4]
 subs r2,r1
 str r2,[r0,#4]
 ldr r1,=0xfffffff0
 str r1,[r4,#4]
 {work}
 ldr r1,[r4,#4]
 str r1,[r0,#8]
 movs r1,#0
 str r1,[r4]
 ldr r1,[r4,#4]
 {work}
 ldr r2,[r4,#4]
 subs r2,r1
 str r2,[r0,#12]
 {EXIT}"""
    for options in ({}, {"wait_states": 0}):
        board = program(tmp_path, body, **options)  # type: ignore[arg-type]
        board.reset()
        off, on, wrapped, stopped = (word(board, SRAM + 4 * n) for n in range(4))
        # MOVS 1, each turn 3 and the last 2; the load of the counter itself, 2, and 1 more right after a store.
        wanted = 1 + 299 + 2 + 1
        assert (off, stopped) == (0, 0)
        if options:
            assert (on, wrapped) == (wanted, 1 + 299 - 16)
        else:
            assert wanted <= on <= wanted + 30


def test_the_cycle_counter_is_that_of_the_run(tmp_path: Path) -> None:
    """Catches a counter on the wrong clock: what it shows at the end is what the run took since it was started."""
    more = function("counted", "movs r6,#250\n 1: subs r6,#1\n bne 1b\n 2: b 2b")
    board = program(tmp_path, f"{ENABLE_COUNTER} b counted", more=more)
    before, whole = board.reset(until="counted"), board.reset()
    # It was started by the instruction before the branch, a few cycles before ``counted``.
    assert 0 <= word(board, 0xE000_1004) - (whole.cycles - before.cycles) <= 12


def test_status_flags_follow_their_switches(tmp_path: Path) -> None:
    """Catches clock set-up that waits for ever, or a register that does not read back."""
    body = f"""ldr r4,=0x40021000
 ldr r5,[r4]
 orr r5,r5,#0x1000000
 str r5,[r4]
 1: ldr r5,[r4]
 tst r5,#0x2000000
 beq 1b
 ldr r5,[r4,#8]
 orr r5,r5,#3
 str r5,[r4,#8]
 2: ldr r5,[r4,#8]
 and r5,r5,#12
 cmp r5,#12
 bne 2b
 ldr r5,[r4]
 bic r5,r5,#0x1000000
 str r5,[r4]
 3: ldr r5,[r4]
 tst r5,#0x2000000
 bne 3b
 ldr r4,=0xe000ed08
 ldr r5,=0x08000000
 str r5,[r4]
 ldr r5,[r4]
 ldr r4,=0x20000000
 str r5,[r4]
 {EXIT}"""
    board = program(tmp_path, body)
    assert board.reset(max_instructions=100).ended == "exit"
    assert word(board, SRAM) == 0x0800_0000


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32f446", "stm32f407"])
def test_the_flash_control_register_switches_prefetch(name: str, tmp_path: Path) -> None:
    """Catches prefetch that is on or off whatever the program says, and a register that tells something else."""
    machine = mcu(name)
    accelerator = machine.memory("flash").accelerator
    assert accelerator is not None
    assert accelerator.control is not None
    register = accelerator.control.address
    line = "add.w r1,r1,r1\n" * 2000

    def cycles(change: str) -> tuple[int, int]:
        body = f"ldr r4,={register:#x}\n ldr r5,[r4]\n {change}\n str r5,[r4]\n b 1f\n .ltorg\n .balign 4\n 1: {line}"
        board = program(tmp_path, f"{body}{EXIT}", machine=machine)
        ran = board.reset()
        return ran.cycles, word(board, register)

    (on, said_on), (off, said_off) = cycles("orr r5,r5,#0x100"), cycles("bic r5,r5,#0x100")
    assert off > 1.1 * on
    assert (said_on & 0x100, said_off & 0x100) == (0x100, 0)


def test_semihosting_output_and_exit(tmp_path: Path) -> None:
    """Catches output that is lost, mixed up or cut, and an exit code that is not the program's."""
    body = f"""movs r0,#4
 ldr r1,=text
 {HOST}
 movs r0,#3
 ldr r1,=letter
 {HOST}
 movs r0,#5
 ldr r1,=block
 {HOST}
 cmp r0,#0
 bne 1f
 movs r0,#0x20
 ldr r1,=code
 {HOST}
 1: b 1b"""
    more = """.section .rodata
.balign 4
block: .word 1, text, 2
code: .word 0x20026, 42
text: .asciz "cycles 123\\n"
letter: .ascii "!"
"""
    run = program(tmp_path, body, more=more).reset()
    assert (run.output, run.ended, run.exit_code) == ("cycles 123\n!cy", "exit", 42)
    assert run.to_dict()["output"] == run.output


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"movs r0,#4\n mov r1,#0x60000000\n {HOST}", "gives operation 0x4 an argument: "),
        (f"movs r0,#6\n movs r1,#0\n {HOST}", "asks for operation 0x6, which the board does not have"),
        (f"ldr r1,=1f\n movs r0,#5\n {HOST}\n b .\n .balign 4\n 1: .word 7, 0, 0", "writes to file 7"),
        (f"ldr r1,=1f\n movs r0,#5\n {HOST}\n b .\n .balign 4\n 1: .word 1, 0x20000000, 0x7fffffff", "more than 1 MiB"),
        (
            f"ldr r2,=0x20051000\n movs r0,#0\n strb r0,[r2]\n 1: movs r0,#4\n ldr r1,=0x20001000\n {HOST}\n b 1b",
            "writes more than 1 MiB",
        ),
        (f"cmp r0,r0\n it eq\n {HOST}", "a semihosting request inside an IT block, which the board cannot follow"),
    ],
)
def test_what_the_host_does_not_serve_is_a_fault(body: str, message: str, tmp_path: Path) -> None:
    """Catches a request that is passed over in silence, a traceback, and output without a bound."""
    with pytest.raises(FaultError, match=re.escape(message)):
        program(tmp_path, body).reset()


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        ("1: b 1b", "loop"),
        ("1: wfi\n b 1b", "sleep"),
        ("1: dsb\n wfi\n nop\n b 1b", "sleep"),
        ("1: wfe\n b.w 1b", "sleep"),
        ("nop\n bkpt #1", "breakpoint"),
        (EXIT, "exit"),
        ("sev\n wfe\n yield\n movs r2,#1\n 1: wfe\n b 1b", "sleep"),
    ],
)
def test_how_a_run_ended_is_told(body: str, ended: str, tmp_path: Path) -> None:
    """Catches a program that waits taken for one that has finished, or the other way round."""
    board = program(tmp_path, body)
    run = board.reset()
    assert (run.ended, run.exit_code) == (ended, 0 if ended == "exit" else None)
    assert board.symbols["reset"] <= run.ended_at <= board.symbols["reset"] + 12


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1: ldr r1,[r0]\n cbnz r1,2f\n wfi\n b 1b\n 2: nop", "waits for an interrupt or an event: the board has none"),
        ("wfi\n adds r0,#1\n b .", "waits for an interrupt or an event"),
        ("wfe\n adds r0,#1\n b .", "waits for an interrupt or an event"),
        ("1: adds r0,#1\n wfi\n b 1b", "waits for an interrupt or an event"),
        ("wfi\n bl reset", "waits for an interrupt or an event"),
        ("mrc p15,0,r0,c1,c0,0", "coprocessor instruction: a Cortex-M4 has none"),
        ("mcr p15,0,r0,c1,c0,0", "coprocessor instruction"),
        ("mrrc p7,0,r0,r1,c1", "coprocessor instruction"),
        ("cdp p7,0,c1,c2,c3", "coprocessor instruction"),
        ("svc #0", "supervisor call"),
        ("bx lr", "jump to 0xfffffffe, where there is no code"),
        ("cmp r0,r0\n it eq\n wfeeq", "inside an IT block"),
    ],
)
def test_what_never_goes_on_is_a_fault(body: str, message: str, tmp_path: Path) -> None:
    """Catches an instruction that ends a run as if it had succeeded, or is passed over."""
    board = program(tmp_path, f"ldr r0,=0x20000000\n movs r1,#0\n str r1,[r0]\n {body}")
    with pytest.raises(FaultError, match=re.escape(message)):
        board.reset()


def test_waiting_is_a_fault_in_a_call(tmp_path: Path) -> None:
    """Catches WFI that returns from a call as if the function had."""
    text = function("f", "1: wfi\n b 1b") + function("g", "yield\n sev\n wfe\n movs r0,#3\n bx lr")
    board = assemble(tmp_path, text)
    with pytest.raises(FaultError, match=r"waits for an interrupt or an event: the board has none, at .* in f"):
        board.call("f")
    run = board.call("g")
    assert (run.r0, run.ended, run.instructions) == (3, "return", 5)


def test_a_run_can_stop_at_a_symbol(tmp_path: Path) -> None:
    """Catches a stop that comes too late, or is passed unnoticed."""
    board = program(tmp_path, "movs r0,#1\n bl f\n 1: b 1b", more=function("f", "movs r0,#2\n bx lr"))
    run = board.reset(until="f")
    assert (run.ended, run.ended_at, run.r0, run.instructions) == ("until", board.symbols["f"], 1, 2)
    assert board.reset(until=board.symbols["f"] + 3).r0 == 2
    with pytest.raises(InputError, match="no symbol 'g'"):
        board.reset(until="g")


def test_main_and_process_stack(tmp_path: Path) -> None:
    """Catches a stack that is taken for an overflow of the other, or one that is not measured."""
    more = """.bss
.balign 8
.global main_stack
.type main_stack,%object
.size main_stack,256
main_stack: .space 256
.global interrupt_stack
.type interrupt_stack,%object
.size interrupt_stack,128
interrupt_stack: .space 128
"""
    body = """ldr r0,=main_stack+256
 msr psp,r0
 push {r0-r3}
 mrs r0,control
 orr r0,r0,#2
 msr control,r0
 isb
 sub sp,#48
"""
    board = program(tmp_path, body + EXIT, SRAM + 256 + 128, more)
    run = board.reset()
    assert run.stack_bytes == 16 + 48
    deep = program(tmp_path, body + "sub sp,#212\n" + EXIT, SRAM + 256 + 128, more)
    with pytest.raises(FaultError, match=r"stack overflow: SP is 0x1ffffffc"):
        deep.reset()


def test_registers_of_the_core_after_reset(tmp_path: Path) -> None:
    """Catches a run that begins on the stack or with the masks that the last one left."""
    body = "mrs r0,control\n mrs r1,primask\n ldr r2,=0x20000000\n strd r0,r1,[r2]\n cpsid i\n"
    body += f"movs r0,#2\n msr control,r0\n{EXIT}"
    board = program(tmp_path, body, more=function("f", "mrs r0,primask\n bx lr"))
    for _ in range(2):
        board.reset()
        assert board.read(SRAM, 8) == bytes(8)
    assert board.call("f").r0 == 0


@pytest.mark.parametrize(("name", "address"), [("nrf52840", 0x1000_0130), ("stm32l4r5", 0x1FFF_7590)])
def test_what_the_chip_says_of_itself_can_be_read(name: str, address: int, tmp_path: Path) -> None:
    """Catches start-up code that faults where it looks for the chip's revision or identifier."""
    board = program(tmp_path, f"ldr r0,={address:#x}\n ldr r0,[r0]\n b .", machine=mcu(name))
    run = board.reset()
    assert (run.ended, run.r0, run.memories["peripheral"].loads) == ("loop", 0, 1)
