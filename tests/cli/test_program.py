"""``memaopt run FILE``: what a program took and touched, its profile, and one line for everything that goes wrong."""

import json
import re
from pathlib import Path

import pytest
from board_helpers import MCU
from cli_helpers import Cli
from elf_helpers import firmware, talking

from memaopt.board import Board
from memaopt.board.board import BUDGET
from memaopt.board.elf import read_elf

SRAM, FLASH = MCU.sram.base, MCU.memory("flash").base


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return firmware(tmp_path_factory.mktemp("firmware"))


def _symbol(elf: Path, name: str) -> int:
    return Board(MCU).load(elf).symbols[name]


def test_run_from_the_vector_table(cli: Cli, elf: Path) -> None:
    """Catches a run that does not start at the reset handler, or accesses booked on the wrong symbol."""
    ran = cli("run", elf, "--json").json
    assert (ran["call"], ran["function"], ran["arguments"], ran["mcu"]) == (None, "reset", [], "stm32l4r5")
    # 100 elements of a and b are written once and read once, of 4 bytes each.
    once = {"loads": 100, "load_bytes": 400, "stores": 100, "store_bytes": 400}
    assert ran["buffers"]["a"] == ran["buffers"]["b"] == once
    assert ran["buffers"]["result"] == {"loads": 0, "load_bytes": 0, "stores": 1, "store_bytes": 4}
    assert ran["memories"]["sram"]["stores"] == 201 + ran["buffers"].get("stack", {"stores": 0})["stores"]
    assert ran["energy"]["kind"] == "modelled"
    assert ran["cycles"] > ran["ideal_cycles"] > 1000


def test_how_the_run_ended_is_told(cli: Cli, elf: Path) -> None:
    """Catches a program that ended somewhere else than its user thinks, and a stop that is passed."""
    ended = re.search(r"ended +endless loop at (0x0800[0-9a-f]{4}) in reset\n", cli("run", elf).out)
    assert ended
    assert read_elf(elf).function_at(int(ended[1], 16)) == "reset"
    ran = cli("run", elf, "--until", "dot", "--json").json
    assert (ran["ended"], ran["ended_at"], ran["exit_code"]) == ("until", _symbol(elf, "dot"), None)
    assert ran["buffers"]["a"] == {"loads": 0, "load_bytes": 0, "stores": 100, "store_bytes": 400}
    assert f"ended         stopped at {_symbol(elf, 'dot'):#010x} in dot" in cli("run", elf, "--until", "dot").out
    assert cli("run", elf, "--call", "divide", "--args", "6,3", "--json").json["ended"] == "return"


@pytest.mark.parametrize("code", [0, 3])
def test_output_and_exit_code_are_the_programs(code: int, cli: Cli, tmp_path: Path) -> None:
    """Catches output that is lost or that the terminal obeys, and a program that fails unnoticed."""
    elf = talking(tmp_path, code)
    shown = cli("run", elf)
    assert shown.code == bool(code)
    assert "output        took 7 cycles ?[31m\n" in shown.out
    assert re.search(rf"ended +semihosting exit at 0x0800.... in reset, exit code {code}\n", shown.out)
    assert cli("run", elf, "--json").json["output"] == "took 7 cycles \x1b[31m\n"


def test_cycles_counted_by_hand(cli: Cli, elf: Path) -> None:
    """Catches a wrong clock: the one with wait states where the ideal is meant, or a rule that is not passed on."""
    command = ("run", elf, "--call", "count", "--args", "10,a", "--json")
    ideal = cli(*command, "--wait-states", 0).json
    # Each turn: LDR 2, ADDS 1, STR 1, SUBS 1, BNE 1 + 1 (the last 1); BX 3.
    assert ideal["cycles"] == ideal["ideal_cycles"] == 10 * 7 - 1 + 3
    assert (ideal["instructions"], ideal["stack_bytes"]) == (51, 0)
    assert ideal["buffers"] == {"a": {"loads": 10, "load_bytes": 40, "stores": 10, "store_bytes": 40}}
    usual = cli(*command).json
    assert usual["cycles"] > usual["ideal_cycles"] == 72
    changed = cli(*command, "--wait-states", 0, "--timing", "load=4, refill_backward=0").json
    assert changed["cycles"] == 72 + 2 * 10 - 9
    slow = cli(*command, "--clock", 60).json
    assert slow["clock_hz"] == 60_000_000
    assert slow["cycles"] == cli(*command, "--wait-states", 2).json["cycles"] < usual["cycles"]
    other = cli(*command, "--mcu", "stm32f407").json
    assert (other["mcu"], other["ideal_cycles"]) == ("stm32f407", 72)


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        ("dot --args a,b,100", "r0", 0),
        ("divide --args 7,-2", "r0", (1 << 32) - 3),
        ("divide --args 0x10,0b100", "r0", 4),
        ("divide --args 010,1", "r0", 10),
        ("divide --args 4294967295,1", "r0", (1 << 32) - 1),
        ("divide --args 7,0", "r0", 0),
        ("sixth --args 1,2,3,4,5,6", "r0", 6),
        ("scale --args x,3,2.5", "s0", 2.5),
        ("scale --args x,0,-1e-3", "s0", pytest.approx(-1e-3)),
        ("scale --args x,0,inf", "s0", None),
        ("scale --args x,0,nan", "s0", None),
        ("apply --args dot,5", "r0", 0),
    ],
)
def test_arguments_arrive(arguments: str, key: str, value: object, cli: Cli, elf: Path) -> None:
    """Catches arguments in the wrong register, misread, or function pointers without the Thumb bit; NaN in JSON."""
    result = cli("run", elf, "--json", "--call", *arguments.split())

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(result.out, parse_constant=refuse)[key] == value


def test_a_function_can_be_called_by_its_address(cli: Cli, elf: Path) -> None:
    """Catches an address taken for a name, with or without its Thumb bit."""
    address = _symbol(elf, "divide")
    for call in (f"{address:#x}", f"{address + 1}"):
        ran = cli("run", elf, "--call", call, "--args", "9,2", "--json").json
        assert (ran["function"], ran["r0"]) == ("divide", 4)


def test_json_is_complete_and_the_same_every_time(cli: Cli, elf: Path) -> None:
    """Catches the host's time in the figures, or text besides the JSON."""
    first, second = (cli("run", elf, "--call", "dot", "--args", "a,b,9", "--profile", "--json") for _ in range(2))
    assert first == second
    assert (first.code, first.err) == (0, "")
    assert first.json["arguments"] == [_symbol(elf, "a"), _symbol(elf, "b"), 9]
    assert {
        "program",
        "mcu",
        "clock_hz",
        "call",
        "cycles",
        "ideal_cycles",
        "instructions",
        "skipped",
        "buffers",
        "memories",
        "stack_bytes",
        "energy",
        "profile",
    } <= first.json.keys()
    assert "profile" not in cli("run", elf, "--json").json


def test_report_shows_what_was_counted_within_100_columns(cli: Cli, elf: Path) -> None:
    """Catches figures of the table that differ from the JSON's, and lines that a terminal would fold."""
    command = ("run", elf, "--call", "sixth", "--args", "1,2,3,4,5,-6")
    ran, shown = cli(*command, "--json").json, cli(*command)
    assert (shown.code, shown.err) == (0, "")
    # The first line holds the file's name, as long as it may be.
    assert max(map(len, shown.out.splitlines()[1:])) <= 100
    assert shown.out.startswith(f"sixth(1, 2, 3, 4, 5, -6) in {elf}, on STM32L4R5ZI")
    assert "r0 = 0xfffffffa = -6" in shown.out
    assert re.search(rf"cycles +{ran['cycles']:,}, .* us at 120 MHz", shown.out)
    assert f"{ran['ideal_cycles']:,} without wait states" in shown.out
    assert re.search(rf"instructions +{ran['instructions']}, ", shown.out)
    assert re.search(r"stack +8 bytes at most", shown.out)
    assert "uJ), modelled" in shown.out
    loads = ran["buffers"]["stack"]["loads"]
    for name in ("stack", "sram"):
        assert re.search(rf"(?m)^{name} +{loads} +{4 * loads} +0 +0$", shown.out)
    without = cli("run", elf, "--call", "count", "--args", "10,a", "--wait-states", 0).out
    assert "no memory has wait states" in without
    assert "s0 = " not in cli("run", elf).out  # a program that does not return has no result
    assert re.search(r"accesses +none", cli("run", elf, "--call", "divide", "--args", "6,3").out)


def test_profile_by_function_block_and_instruction(cli: Cli, elf: Path) -> None:
    """Catches a profile without the loop's assembly, counts or cycles, or one that nobody asked for."""
    shown = cli("run", elf, "--call", "count", "--args", "1000,a", "--profile", "--wait-states", 0).out
    assert max(map(len, shown.splitlines()[1:])) <= 100
    at = _symbol(elf, "count")
    assert re.search(r"(?m)^count +5,001 +7,002 +100\.0% +7,002$", shown)
    assert re.search(rf"(?m)^count +{at:08x}-{at + 10:08x} +1,000 +5,000 +6,999 +100\.0% +6,999$", shown)
    assert f"loop 1: count, {at:08x}-{at + 10:08x}: 6,999 cycles (100.0%)" in shown
    loop = shown[shown.index("loop 1") :]
    lines = re.findall(r"(?m)^([0-9a-f]{8})  (\w+) .*?  +([\d,]+) +([\d.]+) +([\d.]+) +([\d.]+%)$", loop)
    assert [(name, runs, each) for _, name, runs, each, _, _ in lines] == [
        ("ldr", "1,000", "2.00"),
        ("adds", "1,000", "1.00"),
        ("str", "1,000", "1.00"),
        ("subs", "1,000", "1.00"),
        ("bne", "1,000", "2.00"),
    ]
    assert "ldr r2, [r1]" in loop  # brackets are not markup
    assert "loop 1" not in cli("run", elf).out
    profile = cli("run", elf, "--profile", "--json").json["profile"]
    functions = {f["name"]: f["cycles"] for f in profile["functions"]}
    assert sum(functions.values()) == cli("run", elf, "--json").json["cycles"]
    assert {"reset", "dot"} <= functions.keys()
    assert {loop["function"] for loop in profile["loops"]} == {"reset", "dot"}


FAULTS = {
    "load_outside": ("0x60000000", "access to 0x60000000, outside every memory of stm32l4r5"),
    "store_flash": (f"{FLASH + 0x100}", "write to 0x08000100, in read-only memory"),
    "unaligned_pair": (f"{SRAM + 2}", "unaligned access to 0x20000002"),
    "undefined": ("0", "undefined instruction"),
    "breakpoint": ("0", "breakpoint"),
    "jump": ("0x60000001", "jump to 0x60000000, where there is no code"),
    "divide": ("7,0 --trap-divide", "division by zero"),
    "deep": ("0", "stack overflow: SP is 0x"),
    "hang": ("0", "endless loop: a branch to itself"),
}


@pytest.mark.parametrize("function", FAULTS)
def test_faults_are_one_line_with_the_address_and_the_function(function: str, cli: Cli, elf: Path) -> None:
    """Catches a fault that is lost, a traceback, or a line that does not say where."""
    arguments, message = FAULTS[function]
    for more in ([], ["--json", "--profile"]):
        said = cli.refused("run", elf, "--call", function, "--args", *arguments.split(), *more)
        assert said.startswith(message)
        assert said.endswith(f"at {_symbol(elf, function) + 2:#010x} in {function}")


def test_a_budget_ends_an_endless_loop(cli: Cli, elf: Path) -> None:
    """Catches a run that does not end, one that ends too early, and a wrong default in the help."""
    said = cli.refused("run", elf, "--call", "forever", "--budget", 1000)
    assert re.fullmatch(r"still running after 1000 instructions, at 0x[0-9a-f]{8} in forever", said)
    assert "still running after 20 instructions" in cli.refused("run", elf, "--budget", 20)
    assert cli("run", elf, "--call", "count", "--args", "10,a", "--budget", 51).code == 0
    words = " ".join(re.findall(r"[^\s│]+", cli("run --help").out))
    assert f"after so many instructions. [default: {BUDGET}]" in words


def test_the_stack_can_be_chosen(cli: Cli, elf: Path) -> None:
    """Catches --stack that is ignored: the deepest SP is that much below the end of the SRAM."""
    # Each turn pushes 36 bytes; the one that goes over the limit faults.
    for size, turns in ((128, 128 // 36 + 1), (1024, 1024 // 36 + 1)):
        said = cli.refused("run", elf, "--call", "deep", "--stack", size)
        assert f"SP is {MCU.sram.end - turns * 36:#010x}" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--call dto", "--call dto: no such function in FILE: did you mean dot?"),
        ("--call a", "--call a: data, not a function in FILE"),
        ("--call 0x60000000", "nothing of FILE is at that address"),
        ("--call -1", "nothing of FILE is at that address"),
        ("--call dot --args a,,1", "--args a,,1: there is nothing between two commas, or at an end"),
        ("--call dot --args a,b,", "nothing between two commas, or at an end"),
        ("--call dot --args a,c", "--args: 'c' is neither a number nor a symbol of FILE"),
        ("--call dot --args 0x100000000", "--args: 0x100000000 does not fit 32 bits"),
        ("--call dot --args -2147483649", "--args: -2147483649 does not fit 32 bits"),
        ("--call scale --args x,1,1e39", "--args: 1e39 does not fit a float of 32 bits"),
        ("--call dot --args " + ",".join(["1.5"] * 17), "at most 16 floats"),
        ("--args 1", "--args needs --call FUNCTION"),
        ("--until dto", "--until dto: no such function in FILE: did you mean dot?"),
        ("--until dot --call dot", "--until is for a run from reset: leave out --call"),
        ("--stack 1KiB", "--stack needs --call FUNCTION"),
        ("--call dot --stack 1MiB", "the stack needs"),
        ("--call dot --stack much", "'much' is not a size"),
        ("--timing lod=3", "no timing rule 'lod': did you mean load?"),
        ("--timing load", "--timing load: 'load' is not a rule and its cycles, as in load=3"),
        ("--timing load=2.5", "'load=2.5' is not a rule and its cycles"),
        ("--timing load=-1", "timing rule load: "),
        ("--mcu stm33", "no microcontroller 'stm33': there are apollo3, "),
        ("--wait-states -1", "see memaopt run --help"),
        ("--budget 0", "see memaopt run --help"),
        ("--budget many", "see memaopt run --help"),
        ("--compiler gcc", "--compiler: FILE is not a folder, there is nothing to build"),
        ("--call", "requires an argument"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments: str, message: str, cli: Cli, elf: Path) -> None:
    """Catches tracebacks, and lines that do not say what is wrong."""
    assert message.replace("FILE", str(elf)) in cli.refused("run", elf, *arguments.split())


def test_bad_files_are_refused_in_one_line(cli: Cli, elf: Path, tmp_path: Path) -> None:
    """Catches tracebacks for what is no program, or none of this chip, and folders taken for programs."""
    text = tmp_path / "text.elf"
    text.write_text("hello")
    assert f"{text}: not a valid ELF file" in cli.refused("run", text)
    part = tmp_path / "part.elf"
    part.write_bytes(elf.read_bytes()[:1000])
    cli.refused("run", part)
    assert "missing.elf: cannot be read: No such file" in cli.refused("run", "missing.elf")
    assert "a model, and no program: memaopt solve net.tflite --run" in cli.refused("run", "net.tflite")
    assert "of a certificate give the folder that it is in" in cli.refused("run", "certificate.json")
    assert "missing: cannot be read: No such file" in cli.refused("run", "missing", "--call", "f")
    assert "missing: no certificate.json there" in cli.refused("run", "missing")
    assert f"{tmp_path}: no certificate.json there" in cli.refused("run", tmp_path)
    said = cli.refused("run", tmp_path, "--profile", "--wait-states", "0")
    assert said == f"{tmp_path} is a folder: --wait-states, --profile can be used with an ELF file only"
    assert "do not fit a memory of nrf52840" in cli.refused("run", elf, "--mcu", "nrf52840")


@pytest.mark.parametrize("name", [b"\x1b[31m", b"[/re]", b"a\xc2\x9bb\n"])
def test_names_of_symbols_are_text(name: bytes, cli: Cli, elf: Path, tmp_path: Path) -> None:
    """Catches a terminal that obeys a symbol's name, and markup in it that ends in a traceback."""
    hostile = tmp_path / "hostile.elf"
    data = elf.read_bytes()
    assert b"\0scale\0" in data
    hostile.write_bytes(data.replace(b"\0scale\0", b"\0" + name + b"\0"))
    result = cli("run", hostile, "--call", hex(_symbol(elf, "scale")), "--args", "x,64,0.5", "--profile")
    assert result.code == 0
    assert (name.decode().replace("\x1b", "?").replace("\x9b", "?").split("\n")[0]) in result.out
    refused = cli.refused("run", hostile, "--call", "none")
    for text in (result.out, refused):
        assert all(c.isprintable() or c == "\n" for c in text)
