"""Profiles and energy against what was counted by hand."""

import json

import pytest
from board_helpers import MCU, assemble, compile_c, function

from memaopt.access import Access
from memaopt.board import Board
from memaopt.machines.energy import energy
from memaopt.machines.mcu import mcu

IDEAL = MCU.with_wait_states(0)

PROGRAM = function(
    "inner", "mov r2,#10\n1: ldr r3,[r1]\n adds r3,r2\n str r3,[r1]\n subs r2,#1\n bne 1b\n bx lr"
) + function("outer", "push {r4,lr}\n mov r4,r0\n2: bl inner\n subs r4,#1\n bne 2b\n pop {r4,pc}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    board = assemble(tmp_path_factory.mktemp("profile"), PROGRAM, IDEAL)
    return board.call("outer", 7, 0x2000_0100, profile=True)


def test_functions_own_their_cycles(run):
    """Catches cycles booked on the wrong function, or lost."""
    functions = {f.name: f for f in run.profile.functions}
    # Each turn: LDR 2, ADDS 1, STR 1, SUBS 1, BNE 1 + 1 (the last 1); MOV 1 and BX 3 around the ten of them.
    assert functions["inner"].cycles == 7 * (1 + 10 * 7 - 1 + 3)
    assert functions["inner"].instructions == 7 * (1 + 50 + 1)
    assert functions["outer"].cycles == run.cycles - functions["inner"].cycles
    assert sum(f.cycles for f in run.profile.functions) == run.cycles
    assert sum(f.instructions for f in run.profile.functions) == run.instructions
    assert run.profile.functions[0].name == "inner"


def test_blocks_split_at_branches_and_targets(run):
    """Catches blocks that hold a branch in the middle, or that a branch enters in the middle."""
    blocks = run.profile.blocks
    hottest = blocks[0]
    assert (hottest.function, hottest.executions, hottest.instructions) == ("inner", 70, 350)
    assert hottest.cycles == 7 * (10 * 7 - 1)
    assert sum(b.cycles for b in blocks) == run.cycles
    assert sorted((b.function, b.executions) for b in blocks) == [
        ("inner", 7),
        ("inner", 7),
        ("inner", 70),
        ("outer", 1),
        ("outer", 1),
        ("outer", 7),
        ("outer", 7),
    ]


def test_hottest_loop_shows_its_assembly_and_the_cycles_of_each_instruction(run):
    """Catches a loop that is not innermost, or averages over the wrong count."""
    loop = run.profile.loops[0]
    assert [line.text.split()[0] for line in loop.lines] == ["ldr", "adds", "str", "subs", "bne"]
    assert [line.cycles for line in loop.lines] == [2, 1, 1, 1, pytest.approx(1.9)]
    assert (loop.executions, loop.cycles) == (70, 7 * 69)
    assert all(line.executions == 70 for line in loop.lines)
    # The loop around the call is a loop of its own function.
    assert run.profile.loops[1].function == "outer"


def test_skipped_instructions_cost_their_own_lines(tmp_path):
    """Catches cycles of skipped instructions that are booked nowhere."""
    board = assemble(tmp_path, function("f", "1: cmp r0,#3\n it eq\n addeq r1,#1\n subs r0,#1\n bne 1b\n bx lr"), IDEAL)
    run = board.call("f", 8, 0, profile=True)
    lines = run.profile.loops[0].lines
    assert run.skipped == 7
    assert [line.executions for line in lines] == [8, 8, 1, 8, 8]
    assert lines[2].cycles == 8  # one run and seven skips, for each run of it
    assert sum(f.cycles for f in run.profile.functions) == run.cycles


def test_wait_states_show_in_the_profile(tmp_path):
    """Catches a profile of the ideal clock where the machine's is meant."""
    run = assemble(tmp_path, PROGRAM).call("outer", 7, 0x2000_0100, profile=True)
    assert sum(f.cycles for f in run.profile.functions) == run.cycles > run.ideal_cycles
    assert sum(f.ideal_cycles for f in run.profile.functions) == run.ideal_cycles


def test_results_are_json_and_the_same_every_time(tmp_path):
    """Catches results that cannot be printed with --json, or that hold the host's time."""
    board = compile_c(tmp_path, "int a[4]; int f(int n) { return a[n] + n; }")
    first, second = (board.call("f", 2, profile=True).to_dict() for _ in range(2))
    assert json.loads(json.dumps(first)) == first == second
    assert first["profile"]["functions"][0]["name"] == "f"
    assert first["buffers"] == {"a": {"loads": 1, "load_bytes": 4, "stores": 0, "store_bytes": 0}} | {
        name: value for name, value in first["buffers"].items() if name == "literals"
    }
    assert "profile" not in board.call("f", 2).to_dict()


def test_energy_is_power_times_time_plus_external_bytes(tmp_path):
    """Catches a factor of a thousand, or accesses counted twice."""
    machine = mcu("stm32l4r5")
    used = energy(
        machine, 120_000_000, {"sram": Access(loads=5, load_bytes=20), "qspi": Access(loads=1, load_bytes=1_000_000)}
    )
    assert used.kind == "modelled"
    assert used.seconds == 1
    assert used.core_uj == 44_000
    assert used.memory_uj == {"sram": 0, "qspi": pytest.approx(1650)}
    assert used.total_uj == pytest.approx(45_650)
    assert used.range_uj == (pytest.approx(34_650), pytest.approx(56_650))
    assert energy(mcu("nrf52840"), 64_000_000, {}).range_uj is None
    board = assemble(tmp_path, function("f", "1: subs r0,#1\n bne 1b\n bx lr"))
    run = board.call("f", 1000)
    assert run.energy.core_uj == pytest.approx(run.cycles / 120e6 * 44e3)


def test_board_with_other_wait_states(tmp_path):
    """Catches wait_states that are ignored."""
    assemble(tmp_path, PROGRAM)
    ideal = Board(MCU, wait_states=0).load(tmp_path / "program.elf").call("outer", 7, 0x2000_0100)
    slow = Board(MCU, wait_states=9).load(tmp_path / "program.elf").call("outer", 7, 0x2000_0100)
    usual = Board(MCU).load(tmp_path / "program.elf").call("outer", 7, 0x2000_0100)
    assert ideal.cycles == usual.ideal_cycles == slow.ideal_cycles
    assert ideal.cycles < usual.cycles < slow.cycles
