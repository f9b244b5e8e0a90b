"""The board's counters against counts made by hand, and its results against Python's."""

import numpy as np
import pytest
from board_helpers import MCU, assemble, compile_c, compilers, function

from memaopt.board import Access, Board, build
from memaopt.errors import InputError

# One statement each, so that a miscount shows which access it is.
ACCESSES = {
    "ldr r1,[r0]": Access(loads=1, load_bytes=4),
    "ldrb r1,[r0,#3]": Access(loads=1, load_bytes=1),
    "ldrsh r1,[r0],#2": Access(loads=1, load_bytes=2),
    "ldr r1,[r0,#1]": Access(loads=1, load_bytes=4),
    "ldrd r1,r2,[r0,#8]!": Access(loads=2, load_bytes=8),
    "ldm r0,{r1-r3}": Access(loads=3, load_bytes=12),
    "add r0,#12\n ldmdb r0!,{r1-r3}": Access(loads=3, load_bytes=12),
    "vldr s0,[r0]": Access(loads=1, load_bytes=4),
    "vldr d0,[r0]": Access(loads=2, load_bytes=8),
    "vldm r0,{d0-d1}": Access(loads=4, load_bytes=16),
    "str r1,[r0,#4]": Access(stores=1, store_bytes=4),
    "strb r1,[r0]": Access(stores=1, store_bytes=1),
    "strd r1,r2,[r0]": Access(stores=2, store_bytes=8),
    "stm r0!,{r1-r3}": Access(stores=3, store_bytes=12),
    "vstm r0,{s0-s4}": Access(stores=5, store_bytes=20),
    "vstr s0,[r0]": Access(stores=1, store_bytes=4),
    "mov r1,#2\n ldr r1,[r0,r1,lsl #2]": Access(loads=1, load_bytes=4),
    "mov r1,#2\n ldrh r1,[r0,r1,lsl #1]": Access(loads=1, load_bytes=2),
    "ldrex r1,[r0]\n strex r2,r1,[r0]": Access(loads=1, load_bytes=4, stores=1, store_bytes=4),
    "cmp r0,r0\n it ne\n ldrne r1,[r0]": Access(),
    "cmp r0,r0\n ite eq\n ldreq r1,[r0]\n strne r1,[r0]": Access(loads=1, load_bytes=4),
    "nop": Access(),
}


@pytest.fixture(scope="module")
def accesses(tmp_path_factory):
    text = "".join(function(f"f{i}", f"{body}\n bx lr") for i, body in enumerate(ACCESSES))
    return assemble(
        tmp_path_factory.mktemp("board"),
        text + ".bss\n.balign 8\n.type data,%object\n.size data,64\n.global data\ndata: .space 64\n",
    )


@pytest.mark.parametrize("i", range(len(ACCESSES)), ids=[body.replace("\n", ";") for body in ACCESSES])
def test_each_kind_of_access_is_counted_in_its_buffer_and_memory(accesses, i):
    """Catches a wrong address, width or number of words for one kind of load or store."""
    body, expected = list(ACCESSES.items())[i]
    run = accesses.call(f"f{i}", accesses.symbols["data"])
    assert run.accesses("data") == expected
    assert run.memories["sram"] == expected
    assert run.memories["flash"] == Access()
    skipped = 1 if body.startswith("cmp") else 0
    assert run.skipped == skipped
    assert run.instructions == body.count("\n") + 2 - skipped


def test_the_stack_is_told_apart_by_the_function_that_accesses_it(tmp_path):
    """Catches what a caller does there counted as its callee's, also through another register, or a run before it."""
    outer = "push {r4,lr}\n push {r0-r2}\n mov r0,sp\n bl g\n add sp,#12\n pop {r4,pc}"
    board = assemble(tmp_path, function("f", outer) + function("g", "ldm r0,{r1-r3}\n strb r1,[r0]\n bx lr"))
    for _ in range(2):
        run = board.call("f")
    assert run.stack_by_function == {
        "f": Access(loads=2, load_bytes=8, stores=5, store_bytes=20),
        "g": Access(loads=3, load_bytes=12, stores=1, store_bytes=1),
    }
    assert sum(run.stack_by_function.values(), Access()) == run.accesses("stack")


def test_literals_stack_and_user_ranges_are_told_apart(tmp_path):
    """Catches literal pools counted as weights, and spills counted as operands."""
    board = assemble(
        tmp_path,
        function(
            "f",
            "push {r4,lr}\n ldr r4,=0x20001000\n ldr r0,[r4]\n ldr r1,[r4,#4]\n ldr r0,[r4,#8]\n pop {r4,pc}\n .ltorg",
        ),
    )
    run = board.call("f", buffers={"A": (0x2000_1000, 6), "B": (0x2000_1008, 4)})
    assert run.accesses("literals") == Access(loads=1, load_bytes=4)
    assert run.accesses("stack") == Access(loads=2, load_bytes=8, stores=2, store_bytes=8)
    # A word belongs to the buffer of its first byte.
    assert run.accesses("A") == Access(loads=2, load_bytes=8)
    assert run.accesses("B") == Access(loads=1, load_bytes=4)
    assert run.memories["sram"].loads == 5
    assert run.memories["flash"].loads == 1
    with pytest.raises(InputError, match="no buffer 'C'"):
        run.accesses("C")


def test_constants_of_the_compilers_library_are_literals(tmp_path):
    """Catches what compiler-rt reads of its own taken for an operand, and what the user shares a file's name with."""
    head = ".syntax unified\n.thumb\n.cpu cortex-m4\n"
    objects = "".join(
        f".type {name},%object\n{name}: .word {n}\n.size {name},4\n" for n, name in enumerate(["own", "seen"])
    )
    runtime = (
        f'{head}.file "compiler_rt"\n.global seen, at\n.section .rodata.a\n{objects}.align 2\nat: .word own, seen\n'
    )
    body = "ldr r3,=at\n ldr r1,[r3]\n ldr r0,[r1]\n ldr r1,[r3,#4]\n ldr r0,[r1]\n bx lr\n .ltorg"
    sources = [tmp_path / "program.s", tmp_path / "runtime.s"]
    for source, text in zip(sources, (f"{head}.text\n{function('f', body)}", runtime), strict=True):
        source.write_text(text)
    run = Board(MCU).load(build(sources, tmp_path / "program.elf", MCU)).call("f")
    # The pool's word and what is local; ``at`` has no size and is nobody's.
    assert run.accesses("literals") == Access(loads=2, load_bytes=8)
    assert run.accesses("seen") == Access(loads=1, load_bytes=4)
    assert "own" not in run.buffers


def test_multiple_load_across_two_buffers_counts_each_word_where_it_lies(tmp_path):
    """Catches LDM attributed as a whole to its first word's buffer."""
    board = assemble(tmp_path, function("f", "ldm r0,{r0-r3}\n bx lr"))
    run = board.call("f", 0x2000_0000, buffers={"A": (0x2000_0000, 12), "B": (0x2000_000C, 4)})
    assert (run.accesses("A").loads, run.accesses("B").loads) == (3, 1)


COPY = """
    mov     r12, r0
    cbz     r2, 3f
1:  tst     r1, #3              @ bytes until the source is aligned
    beq     2f
    ldrb    r3, [r1], #1
    strb    r3, [r12], #1
    subs    r2, #1
    bne     1b
    bx      lr
2:  subs    r2, #4
    itt     ge
    ldrge   r3, [r1], #4
    strge   r3, [r12], #4
    bgt     2b
    beq     3f
    adds    r2, #4
    lsls    r3, r2, #31         @ bit 1 of the rest to C, bit 0 to N
    itt     cs
    ldrhcs  r3, [r1], #2
    strhcs  r3, [r12], #2
    lsls    r3, r2, #31
    itt     mi
    ldrbmi  r3, [r1]
    strbmi  r3, [r12]
3:  bx      lr
"""


def test_copy_with_it_blocks_is_right_for_every_length(tmp_path):
    """Catches stale IT state: later instructions silently skipped, or skipped accesses counted."""
    board = assemble(tmp_path, function("copy", COPY))
    source, target = 0x2000_0100, 0x2000_0200
    rng = np.random.default_rng(1)
    for size in range(40):
        data = rng.integers(0, 256, 64, np.uint8).tobytes()
        board.write(source, data)
        board.write(target, bytes(64))
        run = board.call("copy", target, source, size, buffers={"S": (source, 64), "T": (target, 64)})
        assert run.r0 == target
        assert board.read(target, 64) == data[:size] + bytes(64 - size)
        n = size // 4 + (size >> 1 & 1) + (size & 1)
        assert run.accesses("S") == Access(loads=n, load_bytes=size)
        assert run.accesses("T") == Access(stores=n, store_bytes=size)


MATMUL = """
#include <stdint.h>
#include <string.h>
volatile int32_t a[12 * 20], b[20 * 8]; // volatile: every access is made
int32_t c[12 * 8], copy[12 * 8];
__attribute__((section(".qspi"))) int16_t far[64];
void matmul(void)
{
    for (int i = 0; i < 12; i++) {
        for (int j = 0; j < 8; j++) {
            int32_t sum = 0;
            for (int k = 0; k < 20; k++) {
                sum += a[i * 20 + k] * b[k * 8 + j];
            }
            c[i * 8 + j] = sum;
        }
    }
    memcpy(copy, c, sizeof copy);
}
int sum_far(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum += far[i];
    }
    return sum;
}
float axpy(float x, int32_t n, float y) { return x * (float)n + y; }
int64_t divide(int64_t x, int64_t y) { return x / y; }
"""


@pytest.mark.parametrize("compiler", compilers())
def test_compiled_c_computes_and_counts(tmp_path, compiler):
    """Catches wrong results or traffic of compiled code, with either compiler, libraries included."""
    board = compile_c(tmp_path, MATMUL, compiler=compiler)
    rng = np.random.default_rng(2)
    a = rng.integers(-1000, 1000, (12, 20), np.int32)
    b = rng.integers(-1000, 1000, (20, 8), np.int32)
    board.write("a", a.tobytes())
    board.write("b", b.tobytes())
    run = board.call("matmul")
    assert np.array_equal(np.frombuffer(board.read("c"), np.int32).reshape(12, 8), a @ b)
    assert board.read("copy") == board.read("c")
    assert run.accesses("a").load_bytes == run.accesses("b").load_bytes == 4 * 12 * 8 * 20
    assert run.accesses("c") == Access(loads=96, load_bytes=384, stores=96, store_bytes=384)
    assert run.accesses("copy").store_bytes == 384

    values = rng.integers(-1000, 1000, 64, np.int16)
    board.write("far", values.tobytes())
    run = board.call("sum_far", 50)
    assert run.r0 == int(values[:50].sum()) & 0xFFFFFFFF
    assert run.memories["qspi"] == run.accesses("far") == Access(loads=50, load_bytes=100)
    assert board.call("axpy", 1.5, 3, 2.0).s0 == 6.5
    assert board.call("divide", 1000, 0, 0xFFFFFFF9, 0xFFFFFFFF).r0 == -142 & 0xFFFFFFFF


def test_arguments_beyond_four_go_to_the_stack(tmp_path):
    """Catches arguments in the wrong place or order."""
    board = compile_c(tmp_path, "int f(int a,int b,int c,int d,int e,int f){ return a + 2*b + 3*c + 4*d + 5*e + 6*f; }")
    run = board.call("f", 1, 10, 100, 1000, -5, 7)
    assert run.r0 == 1 + 20 + 300 + 4000 - 25 + 42
    stack = run.accesses("stack")
    assert stack.loads - stack.stores == 2


def test_same_run_twice_is_the_same(tmp_path):
    """Catches counters or pipeline state carried over from one call to the next."""
    board = compile_c(tmp_path, MATMUL)
    assert board.call("matmul").to_dict() == board.call("matmul").to_dict()
