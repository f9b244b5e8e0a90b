"""The decoder against Unicorn's own memory hooks (safe outside IT blocks), and the emulator's known traps."""

import random
import struct

import pytest
from board_helpers import assemble, function

from memaopt.board import Timing, layout
from memaopt.board.decode import Decoder
from memaopt.errors import FaultError

unicorn = pytest.importorskip("unicorn")

CODE, DATA = 0x0800_0000, 0x2000_0000
# Registers that addresses are made of: rN holds DATA + 0x1000 + 0x100 N, r8-r11 hold small indices.
REGISTERS = {n: DATA + 0x1000 + 0x100 * n for n in range(8)} | {8: 4, 9: 12, 10: 64, 11: 0x104}


def random_accesses(count):
    """Assembly of random loads and stores in every addressing mode."""
    rng = random.Random(3)
    low = [f"r{n}" for n in range(8)]
    lines = []
    while len(lines) < count:
        base, to, index = rng.choice(low), rng.choice(low), f"r{rng.randrange(8, 12)}"
        offset = 4 * rng.randrange(-60, 60)
        kind = rng.choice(["ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "str", "strb", "strh"])
        other = rng.choice([r for r in low if r not in (base, to)])
        modes = [f"[{base},#{offset}]", f"[{base},{index}]", f"[{base},{index},lsl #{rng.randrange(4)}]"]
        if base != to:
            modes += [f"[{base},#{offset}]!", f"[{base}],#{offset}"]
        group = sorted(rng.sample([n for n in range(12) if f"r{n}" != base], rng.randrange(2, 8)))
        registers = "{" + ",".join(f"r{n}" for n in group) + "}"
        first = rng.randrange(16)
        mark = rng.choice(["", "!"])
        singles = f"{{s{first}-s{first + rng.randrange(1, 12)}}}"
        doubles = f"{{d{first // 2}-d{first // 2 + rng.randrange(1, 4)}}}"
        lines.append(
            rng.choice(
                [
                    f"{kind} {to},{rng.choice(modes)}",
                    f"{kind} {to},[{base},#{4 * rng.randrange(5) if kind.endswith('r') else 0}]",
                    f"{rng.choice(['ldrd', 'strd'])} {to},{other},{rng.choice(modes[3:] + modes[:1])}"
                    if base != to
                    else f"vldr d3,[{base},#{offset}]",
                    f"{rng.choice(['ldm', 'ldmdb', 'stm', 'stmdb'])} {base}{mark},{registers}",
                    f"{rng.choice(['vldr', 'vstr'])} {rng.choice(['s5', 'd6'])},[{base},#{offset}]",
                    f"{rng.choice(['vldmia', 'vstmia'])} {base}{mark},{rng.choice([singles, doubles])}",
                    f"{rng.choice(['vldmdb', 'vstmdb'])} {base}!,{rng.choice([singles, doubles])}",
                    f"{rng.choice(['push', 'pop'])} {registers}",
                    f"{rng.choice(['vpush', 'vpop'])} {singles}",
                    f"ldr {to},[pc,#{4 * rng.randrange(1, 30)}]",
                    f"ldr.w {to},[pc,#{-4 * rng.randrange(0, 3)}]",
                    f"{rng.choice(['ldrb', 'ldrsh'])}.w {to},[pc,#{4 * rng.randrange(1, 30)}]",
                    f"vldr s1,[pc,#{4 * rng.randrange(1, 30)}]",
                    f"ldrd {to},{other},[pc,#{4 * rng.randrange(1, 30)}]" if to != other else "nop",
                    f"ldrex {to},[{base},#{4 * rng.randrange(4)}]",
                    f"ldrt {to},[{base},#{rng.randrange(40)}]",
                ]
            )
        )
    return lines


def accesses_in_unicorn(code, address):
    """What Unicorn's memory hooks see of one instruction: (address, bytes, is a store), merged to whole words."""
    from unicorn import arm_const as uc

    emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    emulator.ctl_set_cpu_model(uc.UC_CPU_ARM_CORTEX_M4)
    emulator.mem_map(CODE, 0x10000)
    emulator.mem_map(DATA, 0x10000)
    emulator.mem_map(0xE000_0000, 0x100000)
    emulator.mem_write(0xE000_ED88, struct.pack("<I", 0xF << 20))
    emulator.mem_write(address, code)
    for n, value in REGISTERS.items():
        emulator.reg_write(uc.UC_ARM_REG_R0 + n, value)
    emulator.reg_write(uc.UC_ARM_REG_SP, DATA + 0x800)
    seen = []
    kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
    emulator.hook_add(kinds, lambda _u, kind, at, size, *_: seen.append((at, size, kind == unicorn.UC_MEM_WRITE)))
    emulator.emu_start(address | 1, address + len(code), count=1)
    words = []
    for at, size, store in seen:
        # Doubles are seen as one access of 8 bytes, or as two of 4.
        words += [(at + n, min(size, 4), store) for n in range(0, size, 4)]
    return sorted(words)


def accesses_decoded(row, address):
    from unicorn import arm_const as uc

    if not row.flags & layout.ACCESSES:
        return []
    values = {uc.UC_ARM_REG_R0 + n: v for n, v in REGISTERS.items()} | {uc.UC_ARM_REG_SP: DATA + 0x800}
    at = row.offset
    if row.base != layout.LITERAL:
        at += values[row.base]
    if row.index_register:
        at += values[row.index_register] << row.shift
    at &= 0xFFFFFFFF
    store = row.kind in (layout.STORE, layout.STORE_MANY)
    return [(at + n * row.width, row.width, store) for n in range(row.words)]


def test_decoded_addresses_are_those_that_the_emulator_accesses(tmp_path):
    """Catches a wrong base, index, shift, offset, width or number of words in any addressing mode."""
    lines = random_accesses(200)
    # The literal pool's words are read as data, so any bytes do.
    board = assemble(tmp_path, function("f", "\n".join(lines) + "\n bx lr\n .space 128"))
    decoder = Decoder(Timing())
    address, end, checked = board.symbols["f"], board.symbols["f"], 0
    for line in lines:
        code = board.read(address, 4)
        row = decoder.decode(code, address)
        here = CODE + 0x100 + address % 4
        # Literals are relative to the instruction: decode it where it is run.
        moved = decoder.decode(code, here)
        expected = accesses_in_unicorn(code[: row.size], here)
        assert accesses_decoded(moved, here) == expected, line
        checked += bool(expected)
        address += row.size
    assert checked > 190
    assert address > end


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("add r1,r2,r3", {"late": 1 << 1}),
        ("cmp r1,r2", {"late": 0}),
        ("tst.w r1,r2", {"late": 0}),
        ("smull r1,r2,r3,r4", {"late": 0b110}),
        ("umaal r5,r6,r3,r4", {"late": 0b1100000}),
        ("smlald r5,r6,r3,r4", {"late": 0b1100000}),
        ("movt r9,#1", {"late": 1 << 9}),
        ("str r1,[r2],#4", {"late": 1 << 2}),
        ("strd r1,r3,[r2,#8]!", {"late": 1 << 2}),
        ("stm r2!,{r0,r1}", {"late": 0}),
        ("ldr r1,[r2],#4", {"late": 0, "loaded": 1 << 1}),
        ("ldrd r1,r4,[r2]", {"loaded": 0b10010, "kind": layout.LOAD_MANY}),
        ("vmov r1,r2,s0,s1", {"late": 1 << 2, "float_reads": 0b11}),
        ("vmov r1,r2,d3", {"late": 1 << 2, "float_reads": 0b11 << 6}),
        ("vmov s3,r1", {"late": 0, "float_reads": 0}),
        ("vmov r1,s3", {"late": 1 << 1, "float_reads": 1 << 3}),
        ("vmov s4,s3", {"late": 0, "float_reads": 1 << 3}),
        ("vadd.f32 s1,s2,s3", {"float_reads": 0b1100, "float_late": 0b10}),
        ("vmla.f32 s1,s2,s3", {"float_reads": 0b1100, "float_late": 0b10}),
        ("vcmp.f32 s1,s2", {"float_reads": 0b110, "float_late": 0}),
        ("vcmp.f32 s1,#0", {"float_reads": 0b10}),
        ("vneg.f32 s1,s2", {"float_reads": 0b100, "float_late": 0}),
        ("vstr d2,[r0]", {"float_reads": 0b11 << 4}),
        (
            "vpush {s16-s17}",
            {
                "float_reads": 0b11 << 16,
                "flags": layout.ACCESSES | layout.MUST_ALIGN | layout.WRITES_SP | layout.FLOAT,
            },
        ),
        ("sub sp,#16", {"flags": layout.WRITES_SP}),
        ("ldr r1,[sp],#8", {"flags": layout.ACCESSES | layout.WRITES_SP}),
        ("pop {r4,pc}", {"flags": layout.ACCESSES | layout.MUST_ALIGN | layout.WRITES_SP | layout.BRANCH}),
        ("it eq\n nopeq", {"flags": layout.IT_BLOCK, "cost": 0}),
        ("itet eq\n nopeq\n nopne\n nopeq", {"words": 3}),
        ("nop", {"flags": 0, "cost": 1, "kind": layout.OTHER}),
        ("nop.w", {"flags": 0, "size": 4}),
        ("dbg #1", {"flags": 0}),
        ("yield", {"flags": layout.YIELD}),
        ("wfe.w", {"flags": layout.WAIT_EVENT, "size": 4}),
        ("wfi", {"flags": layout.SLEEP}),
        ("sev", {"flags": layout.SEND_EVENT}),
        ("bkpt #0xab", {"flags": layout.HOST}),
        ("bkpt #0xac", {"flags": layout.BREAKPOINT}),
        ("mrc p15,0,r0,c1,c0,0", {"flags": layout.COPROCESSOR}),
        ("stc p7,c1,[r0]", {"flags": layout.COPROCESSOR}),
        ("vmrs r0,fpscr", {"flags": layout.FLOAT}),
        ("msr msp,r0", {"flags": layout.WRITES_SP | layout.MOVES_SP}),
        ("mov sp,r0", {"flags": layout.WRITES_SP | layout.MOVES_SP}),
        ("pld [r0]", {"flags": 0, "words": 0}),
        ("dmb", {"flags": 0}),
        ("mrs r1,primask", {"late": 0b10}),
        ("b .", {"flags": layout.BRANCH | layout.HALT}),
        ("bl .", {"flags": layout.BRANCH}),
        ("f: beq 9b", {"refill": 1, "offset": CODE - 8}),
        ("f: beq.w 8b", {"refill": 1, "offset": CODE - 4000}),
        ("f: beq.w 9f", {"refill": 2, "offset": CODE + 4004}),
        ("f: bne 9f\n .space 98\n 9:", {"refill": 2, "offset": CODE + 100}),
        ("f: cbz r1,9f\n .space 18\n 9:", {"refill": 2, "offset": CODE + 20}),
    ],
)
def test_registers_and_flags(tmp_path, text, fields):
    """Catches a dependence that the pipeline model does not see, or sees where there is none."""
    label = "" if text.startswith("f:") else "f:"
    around = f"8: .space 3992\n9: .space 8\n.thumb_func\n.type f,%function\n{label} {text}\n .space 4000\n9: nop"
    board = assemble(tmp_path, f".global f\n{around}")
    row = Decoder(Timing()).decode(board.read("f", 4), CODE)
    assert {name: getattr(row, name) for name in fields} == fields


def test_stale_it_state_does_not_skip_instructions(tmp_path):
    """Catches the emulator's known trap: with memory hooks, a load in an IT block makes it skip what follows."""
    body = "cmp r0,r0\n ittt eq\n ldreq r2,[r1]\n addeq r2,#1\n streq r2,[r1]\n"
    board = assemble(tmp_path, function("f", "movs r3,#0\n" + (body + "adds r3,#1\n") * 50 + "mov r0,r3\n bx lr"))
    board.write(0x2000_0100, bytes(4))
    run = board.call("f", 5, 0x2000_0100)
    assert run.r0 == 50
    assert int.from_bytes(board.read(0x2000_0100, 4), "little") == 50
    assert run.memories["sram"].loads == run.memories["sram"].stores == 50


def test_a_run_that_stopped_inside_an_it_block_does_not_spoil_the_next(tmp_path):
    """Catches IT state left behind by a fault, which makes the next call skip its first instructions."""
    block = "itttt eq\n addeq r0,#1\n addeq r0,#1\n ldreq r1,[r2]\n addeq r0,#1\n"
    text = function("f", f"cmp r0,r0\n {block} bx lr") + function("g", "movs r0,#1\n adds r0,#2\n adds r0,#4\n bx lr")
    board = assemble(tmp_path, text + function("unequal", "cmp r0,#0\n bx lr"))
    for instructions in range(1, 6):
        with pytest.raises(FaultError):
            board.call("f", 5, 0, 0, max_instructions=instructions)
        run = board.call("g")
        assert (run.r0, run.instructions, run.skipped) == (7, 4, 0)
        board.call("unequal", 1)
        assert board.call("g").instructions == 4


def test_code_that_changes_is_decoded_again(tmp_path):
    """Catches stale instructions after a write from outside, and after the program has copied code itself."""
    copy = "ldr r2,=0x20000100\n ldrh r1,[r0]\n strh r1,[r2]\n movw r1,#0x4770\n strh r1,[r2,#2]\n"
    run = "push {lr}\n adds r2,#1\n blx r2\n pop {pc}\n .ltorg"
    board = assemble(tmp_path, function("f", copy + run) + function("g", "movs r0,#1\n bx lr"))
    for value in (5, 6, 7):
        code = (0x2000 | value).to_bytes(2, "little")  # movs r0,#value
        board.write(0x2000_0200, code)
        result = board.call("f", 0x2000_0200)
        assert result.r0 == value
        assert result.memories["sram"].stores == 3
        board.write("g", code)
        assert board.call("g").r0 == value
