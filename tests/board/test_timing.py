"""A micro-benchmark for every timing rule: its cycles were worked out by hand from docs/timing.md."""

import pytest
from board_helpers import assemble, function

from memaopt.board import Board, Timing
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu

# Ideal memories: what is left are the rules of the core, with a fetch queue of 4 words and of 3.
QUEUE4 = mcu("stm32f407").with_wait_states(0)
QUEUE3 = mcu("stm32l4r5").with_wait_states(0)
RETURN = 3  # BX LR: 1 + 2
DATA = 0x2000_0100  # r0; r1 = 3, r2 = 0, and the words from DATA on hold DATA itself

# (rule, assembly, cycles besides BX LR, how often the rule's cycles are in them)
BENCHMARKS = [
    ("simple", "add r1,r1,r2", 1, 1),
    ("simple", "smlad r1,r1,r2,r3\n umaal r1,r2,r3,r12\n uxtb16 r1,r1\n pkhbt r1,r1,r2", 4, 4),
    ("it", "cmp r0,r0\n it eq\n addeq r1,r1,r2", 2, 1),
    ("skipped", "cmp r0,r0\n itte ne\n addne r1,r1,r2\n addne r1,r1,r2\n moveq r3,r2", 4, 2),
    ("skipped", "cmp r0,r0\n it ne\n ldrne r1,[r0]", 2, 1),
    ("load", "ldr r1,[r0]", 2, 1),
    ("load", "ldr r1,[r0]\n add r2,r2\n ldr r1,[r0]", 5, 2),
    ("load", "ldr r1,[r0]\n ldr r2,[r1]", 4, 2),  # the address is the load's result: not pipelined
    ("load", "ldr r1,[r0]\n ldr r2,[r0,r1]", 4, 2),
    ("load", "ldr r1,[r0],#4\n cmp r0,r0\n it ne\n ldrne r1,[r0]\n ldr r2,[r0]", 6, 2),  # skipped: not pipelined
    ("load_after_load", "ldr r1,[r0]\n ldr r2,[r0,#4]\n ldrb r3,[r0]", 4, 2),
    ("load_after_load", "ldr r1,[r0],#4\n ldr r2,[r0]", 3, 1),  # write-back is in time for the next load
    ("load_after_load", "vldr s0,[r0]\n vldr s1,[r0,#4]", 3, 1),
    ("load_after_load", "ldr r1,[r0]\n cmp r0,r0\n ldr r1,[r0]\n it eq\n ldreq r2,[r0]", 6, 1),  # IT is folded
    ("store", "str r1,[r0]", 1, 1),
    ("store", "str r1,[r0]\n strb r1,[r0]\n strh r1,[r0]", 3, 3),
    ("store", "ldr r1,[r0]\n str r1,[r0]", 3, 1),
    ("vstr", "vstr s0,[r0]", 2, 1),
    ("load_after_store", "str r1,[r0]\n ldr r2,[r0,#4]", 4, 1),
    ("load_after_store", "str r1,[r0]\n ldr r2,[r0,#4]\n ldr r3,[r0,#4]", 5, 1),
    ("load_after_store", "str r1,[r0]\n add r1,r1\n ldr r2,[r0,#4]", 4, 0),
    ("load_after_store", "str r1,[r0]\n ldm r0,{r1,r2}", 5, 1),
    ("double", "ldrd r1,r2,[r0]", 3, 1),
    ("double", "strd r1,r2,[r0]", 3, 1),
    ("double", "vldr d0,[r0]\n vstr d0,[r0]", 6, 2),
    ("double", "ldr r1,[r0]\n ldrd r1,r2,[r0]\n ldr r1,[r0]", 7, 1),  # pipelined with neither
    ("multiple", "ldm r0,{r1-r3}", 4, 1),
    ("multiple", "push {r4-r6}\n pop {r4-r6}", 8, 2),
    ("multiple", "vldm r0,{s0-s3}\n vstm r0,{d0-d1}", 10, 2),
    ("multiple", "ldr r1,[r0]\n ldm r0,{r1,r2}\n ldr r1,[r0]", 7, 1),
    ("address_interlock", "add r0,#4\n ldr r1,[r0]", 4, 1),
    ("address_interlock", "add r0,#4\n str r1,[r0]", 3, 1),
    ("address_interlock", "add r0,#4\n ldm r0,{r1,r2}", 5, 1),
    ("address_interlock", "add r0,#4\n stm r0,{r1,r2}", 4, 0),
    ("address_interlock", "add r2,#4\n ldr r1,[r0,r2]", 4, 1),
    ("address_interlock", "add r0,#4\n nop\n ldr r1,[r0]", 4, 0),
    ("address_interlock", "vmov s0,r0\n vmov r0,s0\n ldr r1,[r0]", 5, 1),
    ("address_interlock", "str r1,[r0],#4\n str r1,[r0]", 3, 1),
    ("address_interlock", "cmp r0,r1\n ldr r1,[r0]", 3, 0),
    ("unaligned_halfword", "ldrh r1,[r0,#1]", 3, 1),
    ("unaligned_halfword", "strh r1,[r0,#3]", 2, 1),
    ("unaligned_word", "ldr r1,[r0,#2]", 3, 1),
    ("unaligned_word", "str r1,[r0,#6]", 2, 1),
    ("unaligned_word_odd", "ldr r1,[r0,#1]", 4, 1),
    ("unaligned_word_odd", "str r1,[r0,#3]", 3, 1),
    ("branch", "cmp r0,r0\n bne 1f\n 1:", 2, 1),
    ("branch", "cbz r0,1f\n nop\n 1:", 2, 1),
    ("refill", "cmp r0,r0\n beq 1f\n nop\n 1:", 4, 1),
    ("refill", "cbnz r0,1f\n nop\n 1:", 3, 1),
    ("refill", "b 1f\n nop\n 1:", 3, 1),
    ("refill", "b 1f\n 1:", 3, 1),  # taken, though it goes to the next instruction
    ("refill", "cmp r0,r0\n it eq\n beq 1f\n nop\n 1:", 4, 1),
    ("refill", "push {r4,lr}\n bl 2f\n b 1f\n 2: bx lr\n nop\n 1: pop {r4,lr}", 3 + 3 + 3 + 3 + 3, 3),
    ("refill", "mov r12,lr\n adr.w r3,1f+1\n blx r3\n nop\n .balign 4\n 1: mov lr,r12", 1 + 1 + 3 + 1, 1),
    ("refill", "push {lr}\n adr.w r3,1f+1\n push {r3}\n pop {pc}\n .balign 4\n 1: pop {lr}", 2 + 1 + 2 + 4 + 2, 1),
    ("refill", "adr.w r3,1f+1\n str r3,[r0]\n nop\n ldr pc,[r0]\n .balign 4\n 1: nop", 1 + 1 + 1 + 4 + 1, 1),
    ("refill", "adr.w r3,1f+1\n mov pc,r3\n nop\n .balign 4\n 1: nop", 1 + 3 + 1, 1),
    ("refill_backward", "1: subs r1,#1\n bne 1b", 3 + 2 * 2 + 1, 2),
    ("refill_backward", "1: subs r1,#1\n bne.w 1b", 3 + 2 * 2 + 1, 2),
    ("refill_unaligned", "b 1f\n nop\n nop\n 1: add.w r1,r1,r1", 3 + 1 + 1, 1),
    ("refill_unaligned", "b 1f\n nop\n 1: add.w r1,r1,r1", 3 + 1, 0),
    ("refill_unaligned", "b 1f\n nop\n nop\n 1: adds r1,r1\n nop", 3 + 1 + 1, 0),
    ("table_branch", "tbb [pc,r2]\n 1: .byte (2f-1b)/2,0\n nop\n 2: nop", 2 + 2 + 1, 1),
    ("table_branch", "tbh [pc,r2,lsl #1]\n 1: .hword (2f-1b)/2\n nop\n 2: nop", 2 + 2 + 1, 1),
    ("vmov_two", "vmov r1,r2,s0,s1", 2, 1),
    ("vmov_two", "vmov s0,s1,r1,r2\n vmov d1,r1,r2", 4, 2),
    ("vmov_two", "vmov s0,s1,r0,r0\n vmov r0,r3,s0,s1\n ldr r1,[r0]", 6, 2),  # the first is usable at once
    ("address_interlock", "vmov s0,s1,r0,r0\n vmov r3,r0,s0,s1\n ldr r1,[r0]", 7, 1),  # the second is not
    ("float_simple", "vadd.f32 s0,s1,s2\n vsub.f32 s3,s1,s2\n vmul.f32 s4,s1,s2\n vmov s5,s6\n vmov s7,r1", 5, 5),
    ("float_accumulate", "vmla.f32 s0,s1,s2\n vfma.f32 s3,s1,s2\n vfms.f32 s4,s1,s2", 9, 3),
    ("float_divide", "vdiv.f32 s0,s1,s2\n vsqrt.f32 s3,s4", 28, 2),
    ("float_result", "vmul.f32 s0,s1,s2\n vadd.f32 s3,s3,s0", 3, 1),
    ("float_result", "vmul.f32 s0,s1,s2\n nop\n vadd.f32 s3,s3,s0", 3, 0),
    ("float_result", "vmul.f32 s0,s1,s2\n vmla.f32 s0,s3,s4", 4, 0),  # the addend is read later
    ("float_result", "vmul.f32 s0,s1,s2\n vmla.f32 s3,s0,s4", 5, 1),
    ("float_result", "vmla.f32 s0,s1,s2\n vstr s0,[r0]", 6, 1),
    ("float_result", "vcvt.f32.s32 s0,s0\n vmov r1,s0", 3, 1),
    ("divide_zero", "udiv r3,r2,r1", 2, 1),  # 0 / 3
    ("divide_zero", "udiv r3,r1,r2\n sdiv r3,r2,r2", 4, 2),  # by zero
    ("divide_short", "udiv r3,r1,r0", 3, 1),  # 3 / DATA
    ("divide_short", "mov r3,#-3\n sdiv r3,r3,r0", 1 + 3, 1),  # magnitudes are compared
    ("divide", "udiv r3,r1,r1", 4, 1),  # equally long
    ("divide", "mov r3,#2\n udiv r3,r3,r1", 1 + 4, 1),  # equally long, quotient 0
    ("divide", "mov r3,#45\n udiv r3,r3,r1", 1 + 4 + 1, 1),  # six bits by two
    ("divide", "mov r3,#-51\n sdiv r3,r3,r1", 1 + 4 + 1, 1),
    ("divide", "mov r3,#64\n udiv r3,r3,r1", 1 + 4 + 2, 1),  # seven bits by two
    ("divide", "mov r3,#-1\n mov r2,#1\n udiv r3,r3,r2", 2 + 4 + 8, 1),  # the longest: 12
]


def prepare(board):
    board.write(DATA, DATA.to_bytes(4, "little") * 8)
    return board


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    text = "".join(function(f"f{i}", f"{body}\n bx lr") for i, (_, body, _, _) in enumerate(BENCHMARKS))
    folder = tmp_path_factory.mktemp("timing")
    assemble(folder, text, QUEUE4)
    return folder / "program.elf"


@pytest.fixture(scope="module")
def board(program):
    return prepare(Board(QUEUE4).load(program))


@pytest.mark.parametrize("i", range(len(BENCHMARKS)), ids=[f"{b[0]}:{b[1]}".replace("\n", ";") for b in BENCHMARKS])
def test_micro_benchmark_takes_its_cycles(board, i):
    """Catches a rule that is missing, wrong, or applied where it should not be."""
    prepare(board)
    run = board.call(f"f{i}", DATA, 3, 0)
    assert run.cycles - RETURN == BENCHMARKS[i][2]
    assert run.ideal_cycles == run.cycles


@pytest.mark.parametrize("rule", sorted({b[0] for b in BENCHMARKS}))
def test_each_rule_can_be_overridden(program, rule):
    """Catches a rule whose number is not the one that the board uses."""
    default = getattr(Timing(), rule)
    board = prepare(Board(QUEUE4, timing=Timing(**{rule: default + 7})).load(program))
    plain = prepare(Board(QUEUE4).load(program))
    for i, (name, _, _, times) in enumerate(BENCHMARKS):
        if name == rule:
            returns = 1 if rule in ("branch", "refill") else 0  # BX LR is one as well
            difference = board.call(f"f{i}", DATA, 3, 0).cycles - plain.call(f"f{i}", DATA, 3, 0).cycles
            assert difference == 7 * (times + returns), BENCHMARKS[i][1]


def test_every_rule_has_a_benchmark():
    """Catches a new rule that nothing checks; the fetch queue and tables in flash have their own tests below."""
    own = {"fetch_latency", "fetch_recovers", "table_sixteenths"}
    assert {b[0] for b in BENCHMARKS} == set(Timing.model_fields) - own


def run_of_wide(tmp_path, machine, count, before="", **options):
    text = function("f", before + "add.w r1,r1,r1\n" * count + "bx lr")
    return assemble(tmp_path, text, machine, **options).call("f", DATA).cycles - RETURN


@pytest.mark.parametrize(("count", "stalls"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (31, 2)])
def test_misaligned_wide_instructions_stall_a_queue_of_three_words(tmp_path, count, stalls):
    """Catches a queue that is too fast or too slow: the third such instruction after an access is the first to wait,
    and after eight cycles none does.
    """
    assert run_of_wide(tmp_path, QUEUE3, count, "str r1,[r0]\n") == 1 + count + stalls
    assert run_of_wide(tmp_path, QUEUE4, count, "str r1,[r0]\n") == 1 + count


def test_far_from_accesses_no_queue_stalls(tmp_path):
    """Catches stalls in code that computes in registers only, such as soft floating point; a rule that is ignored."""
    for count in (5, 31):
        assert run_of_wide(tmp_path, QUEUE3, count, "nop\n") == 1 + count
    longer = Timing(fetch_recovers=64)
    assert run_of_wide(tmp_path, QUEUE3, 31, "str r1,[r0]\n", timing=longer) == 1 + 31 + 15
    assert run_of_wide(tmp_path, QUEUE4, 31, "str r1,[r0]\n", timing=longer) == 1 + 31


def test_aligned_code_never_stalls_the_queue(tmp_path):
    """Catches stalls where each word holds whole instructions."""
    for machine in (QUEUE3, QUEUE4):
        assert run_of_wide(tmp_path, machine, 40) == 40
        board = assemble(tmp_path, function("f", "nop\n" * 41 + "bx lr"), machine)
        assert board.call("f").cycles == 41 + RETURN


def test_slow_instructions_let_the_queue_catch_up(tmp_path):
    """Catches a queue that forgets the time it had while a long instruction executed."""
    board = assemble(tmp_path, function("f", "nop\n" + "ldm r0,{r1,r2}\n nop.w\n" * 6 + "bx lr"), QUEUE3)
    assert board.call("f", DATA).cycles == 1 + 6 * (3 + 1) + RETURN


def test_a_longer_fetch_latency_needs_a_longer_queue(tmp_path):
    """Catches a fetch latency that cannot be overridden."""
    body = function("f", "add.w r1,r1,r1\n" * 20 + "bx lr")
    board = assemble(tmp_path, body, QUEUE3, timing=Timing(fetch_latency=5))
    assert board.call("f").cycles > 20 + RETURN


def test_loop_at_a_misaligned_target_pays_for_each_turn(tmp_path):
    """Catches a rule for branch targets that looks at the wrong address: one loop at 0 and at 2 mod 4."""
    loop = "mov r1,#10\n {pad}\n 1: add.w r2,r2,r2\n subs r1,#1\n bne 1b\n bx lr"
    text = function("even", loop.format(pad="")) + function("odd", loop.format(pad="nop"))
    board = assemble(tmp_path, text, QUEUE4)
    assert board.call("odd").cycles - board.call("even").cycles == 1 + 9


def test_overrides_by_name_are_checked():
    """Catches a misspelt rule that changes nothing, silently."""
    assert Timing.override({"load": 3}) == Timing(load=3)
    with pytest.raises(InputError, match=r"no timing rule 'refil': did you mean refill\?"):
        Timing.override({"refil": 3})
    with pytest.raises(InputError, match="timing rule load: "):
        Timing.override({"load": -1})


def test_every_rule_names_its_source():
    """Catches a number that nobody can look up."""
    for name, field in Timing.model_fields.items():
        assert any(source in (field.description or "") for source in ("TRM", "P", "I", "fit")), name
