"""Programs that claim too much: none costs more than its size, all are refused in one line or run at once."""

import resource
import struct
import time

import pytest
from board_helpers import MCU, assemble, function

from memaopt.board import Board
from memaopt.board.elf import read_elf
from memaopt.errors import FaultError, InputError

FLASH, SRAM = 0x0800_0000, MCU.sram.base
HEADER, SEGMENT, SECTION = 52, 32, 40


def elf(segments, body=b"", sections=(), names=0, entry=0):
    """An ELF file: segments as (virtual, physical, offset, bytes in the file, bytes), sections as 10 words, then body.

    Offsets count from the start of the body.
    """
    tables = HEADER + SEGMENT * len(segments) + SECTION * len(sections)
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    at = HEADER + SEGMENT * len(segments) if sections else 0
    head += struct.pack(
        "<HHIIIIIHHHHHH", 2, 40, 1, entry, HEADER, at, 0, HEADER, SEGMENT, len(segments), SECTION, len(sections), names
    )
    loaded = (
        struct.pack("<8I", 1, (tables + offset) & 0xFFFFFFFF, virtual, physical, held, size, 7, 4)
        for virtual, physical, offset, held, size in segments
    )
    named = (struct.pack("<10I", *words[:4], tables + words[4], *words[5:]) for words in sections)
    return b"".join((head, *loaded, *named, body))


def with_symbols(count, size=4, start=SRAM, name=8):
    """A program that returns at once, and ``count`` objects in RAM."""
    code = struct.pack("<HH", 0x2005, 0x4770)  # movs r0,#5; bx lr
    table = b"".join(struct.pack("<IIIBBH", 1 + n * name, start + n * size, size, 1, 0, 1) for n in range(count))
    strings = b"\0" + b"".join(f"s{n:0{name - 2}d}".encode() + b"\0" for n in range(count))
    sections = [
        (0,) * 10,
        (0, 1, 6, FLASH, 0, len(code), 0, 0, 4, 0),
        (0, 2, 0, 0, 4, len(table), 3, 0, 4, 16),
        (0, 3, 0, 0, 4 + len(table), len(strings), 0, 0, 1, 0),
    ]
    return elf([(FLASH, FLASH, 0, 4, 4)], code + table + strings, sections)


def test_a_hundred_thousand_symbols():
    """Catches a reader or a map of names that takes longer than the program itself."""
    Board(MCU).load(with_symbols(1)).call(FLASH + 1)  # the hook is compiled
    data = with_symbols(100_000)
    start = time.process_time()
    board = Board(MCU).load(data)
    run = board.call(FLASH + 1)
    assert time.process_time() - start < 2
    assert (run.r0, len(board.symbols)) == (5, 100_000)
    # More objects than there are names for: the rest is counted with its memory.
    board.write("s000007", b"\1\2\3\4")
    assert board.read(SRAM + 28, 4) == b"\1\2\3\4"


def test_code_that_is_never_reached_is_not_decoded(tmp_path):
    """Catches decoding that goes on behind what stops a program, through two MiB of zeros."""
    for stop in ("bkpt #1", "svc #0", "udf #0", "wfi", "mrc p15,0,r0,c1,c0,0", "tbb [pc,r0]\n .byte 0, 1\n udf #0"):
        board = assemble(tmp_path, function("f", f"movs r0,#1\n {stop}"))
        with pytest.raises(FaultError):
            board.call("f", max_instructions=1000)
        assert len(board._core.decoded()[0]) < 300, stop
    board = assemble(tmp_path, function("f", "movs r0,#1\n bx lr\n" + "nop\n" * 5000))
    board.call("f")
    assert len(board._core.decoded()[0]) == 2


def test_decoding_in_parts_keeps_it_blocks_whole(tmp_path):
    """Catches an IT block that is decoded in two goes, whose instructions then run whatever their condition."""
    block = "cmp r0,#0\n itete eq\n addeq r1,#1\n addne r2,#1\n addeq r1,#1\n addne r2,#1\n"
    for shift in range(8):
        body = "movs r1,#0\n movs r2,#0\n" + "nop\n" * shift + block * 90 + "mov r0,r1\n add r0,r0,r2,lsl #16\n bx lr"
        board = assemble(tmp_path, function("f", body))
        assert board.call("f", 0).r0 == 180
        assert board.call("f", 1).r0 == 180 << 16


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: elf([(FLASH, FLASH, 0, 64, 64), (FLASH + 60, FLASH + 60, 0, 64, 64)], bytes(64)),
            "two segments are used at 0x0800003c",
        ),
        (
            lambda: elf([(SRAM, FLASH, 0, 64, 64), (SRAM + 64, FLASH + 32, 0, 64, 64)], bytes(64)),
            "two segments are loaded at 0x08000020",
        ),
        (lambda: elf([(FLASH, FLASH, 0, 64, 64)] * 60_000, bytes(64)), "two segments are used at 0x08000000"),
        (lambda: elf([(FLASH, FLASH, 0, 65, 65)], bytes(64)), "cut off: the segment for 0x08000000 ends at byte 149"),
        (lambda: elf([(FLASH, FLASH, -1, 0xFFFFFFFF, 0xFFFFFFFF)], bytes(64)), "cut off: the segment for 0x08000000"),
        (lambda: elf([(FLASH, FLASH, 0, 64, 32)], bytes(64)), "the segment for 0x08000000 has 64 bytes for 32"),
        (
            lambda: elf([(SRAM + 0x3_0000, FLASH, 0, 16, 16), (0x1000_0008, FLASH + 16, 0, 16, 16)], bytes(64)),
            "0x20030000 and at 0x10000008 are the same bytes of RAM",
        ),
        (lambda: elf([(SRAM, SRAM, 0, 0, 0xFFFF_FFFF)]), "4294967295 bytes at 0x20000000 do not fit a memory"),
        (
            lambda: elf([(FLASH, FLASH, 0, 4, 4)], bytes(64), [(0, 2, 0, 0, 0, 16 * 1_000_001, 0, 0, 4, 16)]),
            "1000001 symbols, a program may have 1000000",
        ),
        (
            lambda: elf([(FLASH, FLASH, 0, 4, 4)], bytes(64), [(0, 2, 0, 0, 60, 160, 0, 0, 4, 16)]),
            "cut off in the symbols",
        ),
    ],
)
def test_a_file_that_claims_too_much_is_refused_before_anything_is_copied(made, message):
    """Catches bytes taken twice, bytes that are not there, and memory or time that the file's size does not tell."""
    data = made()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        Board(MCU).load(data)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_names_that_share_their_letters():
    """Catches a million names of megabytes each, cut from one string."""
    strings = b"\0" + b"a" * 8_000_000 + b"\0"
    table = b"".join(struct.pack("<IIIBBH", 1 + n, SRAM, 4, 1, 0, 1) for n in range(1000))
    sections = [(0,) * 10, (0, 2, 0, 0, 0, len(table), 2, 0, 4, 16), (0, 3, 0, 0, len(table), len(strings), 0, 0, 1, 0)]
    with pytest.raises(InputError, match="a name of more than 4095 bytes"):
        read_elf(elf([(FLASH, FLASH, 0, 4, 4)], table + strings, sections))


def test_a_huge_file_is_not_read(tmp_path):
    """Catches a file of 300 MiB, most of it a hole, that is read whole."""
    path = tmp_path / "huge.elf"
    with path.open("wb") as file:
        file.write(elf([(FLASH, FLASH, 0, 4, 4)], bytes(4)))
        file.truncate(300 << 20)
    with pytest.raises(InputError, match="300 MiB, a program may have 256"):
        read_elf(path)


def test_objects_outside_every_memory_are_passed_over():
    """Catches a program refused for a symbol that nothing is at."""
    board = Board(MCU).load(with_symbols(3, start=0x6000_0000))
    assert board.call(FLASH + 1).r0 == 5
