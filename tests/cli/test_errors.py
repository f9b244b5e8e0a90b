"""Bad input: one clear line on stderr, exit 2 (1 for a false certificate), nothing on stdout, nothing half-written."""

import errno
import importlib
import json
import os
import re
import sys
from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt import writer
from memaopt.machines.mcu import preset_names
from memaopt.problems import suites


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("gemm 0x5x5", "m should be greater than or equal to 1"),
        ("gemm 5x0x5", "k should be greater than or equal to 1"),
        ("gemm 5x5x0", "n should be greater than or equal to 1"),
        ("gemm -- -1x5x5", "expected gemm and its sizes"),
        ("gemm 4294967296x1x1", "m should be less than 4294967296"),
        ("gemm 1x99999999999999999999999x1", "k should be less than 4294967296"),
        ("gemm 64x64", "expected gemm and its sizes M, K and N, as in gemm 64x576x64"),
        ("gemm", "expected gemm and its sizes"),
        ("conv 1x2x3", "expected gemm and its sizes"),
        ("", "give one of gemm MxKxN, MODEL, --suite NAME or --file FILE"),
        ("gemm 2x2x2 --suite tinyml", "give one of"),
        ("--suite nothing", "no suite 'nothing': there is tinyml"),
        ("gemm 4x4x4 --dtype q7", "dtype should be 'f32', 'q15' or 's8'"),
        (
            "gemm 4x4x4 --objective speed",
            "no objective 'speed': there are bytes, cycles, energy, for networks ram, and",
        ),
        ("gemm 4x4x4 --buffering triple", "no buffering 'triple': choose single or double"),
        ("gemm 4x4x4 --place a", "'a' is not an operand and a memory"),
        ("gemm 4x4x4 --place d=sram", "'d=sram' is not an operand and a memory"),
        ("gemm 4x4x4 --place a=psram", "stm32l4r5 has no memory 'psram': it has flash, sram, qspi"),
        ("gemm 4x4x4 --place c=flash", "C cannot live in flash, which is read-only"),
        ("gemm 4x4x4 --sram lots", "'lots' is not a size"),
        ("gemm 4x4x4 --sram 0", "'0' is not a size"),
        ("gemm 4x4x4 --dma", "--dma has no effect on a gemm: its blocks are copied by the core"),
        ("gemm 4x4x4 --mcu nrf52840 --dma", "nrf52840: its file describes no DMA"),
        ("gemm 4x4x4 --size qspi", "--size qspi: give a memory and its size"),
        ("gemm 4x4x4 --size psram=1MiB", "no memory 'psram'"),
        ("gemm 4x4x4 --size qspi=4GiB", "'4GiB' is not a size"),
        ("gemm 4x4x4 --size sram=2048MiB", "memories.1.size should be less than or equal to 536870912"),
        ("gemm 4x4x4 --wait-states -1", "'--wait-states'"),
        ("gemm 4x4x4 --clock 121", "stm32l4r5: no clock of 121 MHz: its flash has wait states to 120 MHz"),
        ("gemm 4x4x4 --clock nan", "'--clock'"),
        ("gemm 4x4x4 --mcu apollo3 --clock 24", "apollo3 has no table of its flash's wait states by clock"),
        ("gemm 4x4x4 --mcu stm32l4r", "no microcontroller 'stm32l4r': did you mean stm32l4r5?"),
        ("gemm 4x4x4 --mcu nrf52", "did you mean nrf52832 or nrf52840?"),
        ("gemm 4x4x4 --mcu stm32h7", "no microcontroller 'stm32h7': there are apollo3, atsamd51, atsame54, cc2652"),
        ("gemm 4x4x4 --mcu ???", f"there are {', '.join(preset_names())}"),
        ("gemm 4x4x4 --mcu missing.toml", "missing.toml: cannot be read: No such file"),
        ("gemm 4x4x4 --file missing.toml", "give one of"),
        ("--file missing.toml", "missing.toml: cannot be read: No such file or directory"),
        ("gemm 4x4x4 --frobnicate", "No such option: --frobnicate; see memaopt solve --help"),
        ("gemm 4x4x4 --run --compiler tcc", "no compiler 'tcc': there are gcc and zig"),
        # Options without an effect on a gemm, and settings that are not there.
        ("gemm 4x4x4 --arena 4KiB", "--arena has no effect on a gemm"),
        ("gemm 4x4x4 --run --inputs 2", "--inputs has no effect on a gemm"),
        ("gemm 4x4x4 --inputs 2", "--inputs has no effect without --run"),
        ("gemm 4x4x4 --ram-for-constants 4KiB", "--ram-for-constants has no effect on a gemm"),
        ("gemm 4x4x4 --setting stok", "stm32l4r5 has no setting 'stok': it has stock, stock-prefetch, ram"),
        ("gemm 4x4x4 --mcu nrf52840 --setting stock-prefetch", "nrf52840 has no setting 'stock-prefetch'"),
        ("gemm 4x4x4 --ram-for-code much", "'much' is not a size"),
        # Options without an effect on a network: refused before the file is read.
        ("model.tflite --dtype s8", "--dtype has no effect on a network"),
        ("model.tflite --place all=qspi", "--place all=qspi: give MEMORY once for each of weights, parameters"),
        ("model.tflite --buffering double", "--buffering has no effect on a network"),
        ("model.tflite --size qspi=4MiB", "--size has no effect on a network: it uses flash and sram alone"),
        ("m.tflite --mcu stm32f469 --place input=fmc --size qspi=4MiB", "it uses flash, sram and fmc alone"),
        ("m.tflite --place weights=qspi --size qspi=4MiB", "m.tflite: cannot be read"),
        # Operands that fit nowhere, or not where they were put.
        ("gemm 5000x5000x5000", "A, B, C: 150,000,000 bytes do not fit qspi of stm32l4r5, which has 8,388,608"),
        ("gemm 4000x4000x1", "no memory that A could live in is larger than qspi with 8,388,608"),
        ("gemm 1000x10x1000 --mcu nrf52840", "no memory that C could live in is larger than sram with 262,144"),
        ("gemm 1000x1000x10 --place a=sram", "do not fit sram of stm32l4r5, which has 655,360: place it in another"),
        ("gemm 9000x1000x1000 --place all=qspi --size qspi=64MiB --run", "vector would have 19,000,000 elements"),
        ("gemm 4294967295x4294967295x4294967295", "no memory that A could live in is larger"),
    ],
)
@pytest.mark.parametrize("form", ["", "--json"])
def test_refused_in_one_line(arguments: str, said: str, form: str, cli: Cli) -> None:
    """Catches a traceback, a message that does not say what is wrong, or JSON of nothing."""
    assert said in cli.refused("solve", *form.split(), *arguments.split())


_STM32 = [name for name in preset_names() if name.startswith("stm32")]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("frob", "No such command 'frob'; see memaopt --help"),
        ("verify", "give certificates, or --all DIR"),
        ("verify missing.json", "missing.json: cannot be read: No such file or directory"),
        ("verify .", "no certificate.json there"),
        ("run", "Missing argument"),
        ("run missing", "missing: no certificate.json there; write a project with solve ... --out missing"),
        ("solve gemm 4x4x4 --out=", "--out is empty: give a name; . is the current folder"),
        ("fit none.tflite --html=", "--html is empty"),
        ("mcus stm32", f"did you mean {', '.join(_STM32[:-1])} or {_STM32[-1]}?"),
        ("--frobnicate", "No such option: --frobnicate; see memaopt --help"),
    ],
)
def test_commands_refused_in_one_line(command: str, said: str, cli: Cli) -> None:
    """Catches the same for the other commands."""
    assert said in cli.refused(command)


def test_no_name_is_not_the_current_folder(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an argument that is an unset variable, and files that are written wherever the user is."""
    monkeypatch.chdir(tmp_path)
    assert "DIR is empty" in cli.refused("zoo", "")
    assert "FILE... is empty" in cli.refused("verify", "")
    assert not list(tmp_path.iterdir())


def test_a_certificate_comes_by_a_pipe(cli: Cli, tmp_path: Path) -> None:
    """Catches a pipe of which the first bytes are read to tell what it is, and then missing."""
    assert cli("solve", "gemm", "4x4x4", "--out", tmp_path / "made").code == 0
    there, here = os.pipe()
    os.write(here, (tmp_path / "made" / "certificate.json").read_bytes())
    os.close(here)
    assert "every claim holds" in cli("verify", f"/dev/fd/{there}").out
    os.close(there)


_LEAST = re.compile(r"the least that would do is ([\d,]+) bytes and there are ([\d,]+)")


@pytest.mark.parametrize("buffering", ["single", "double"])
@pytest.mark.parametrize("place", ["all=qspi", "a=flash,b=sram,c=qspi", "a=sram,b=qspi,c=sram"])
@pytest.mark.parametrize("dtype", ["f32", "q15", "s8"])
def test_the_least_sram_is_said_and_is_the_least(dtype: str, place: str, buffering: str, cli: Cli) -> None:
    """Catches a least that does not do, and one that is more than is needed."""
    command = f"solve gemm 12x30x10 --dtype {dtype} --place {place} --buffering {buffering}"
    resident = {"all=qspi": 0, "a=flash,b=sram,c=qspi": 300, "a=sram,b=qspi,c=sram": 480}[place]
    have = 100 + resident * {"f32": 4, "q15": 2, "s8": 1}[dtype]
    least, there = (int(n.replace(",", "")) for n in _LEAST.search(cli.refused(f"{command} --sram {have}")).groups())
    assert there == have < least
    assert cli(f"{command} --sram {least}").code == 0
    assert str(least) in cli.refused(f"{command} --sram {least - 1}").replace(",", "")


@pytest.mark.parametrize("dtype", ["f32", "q15", "s8"])
def test_the_least_sram_is_enough_for_the_program(dtype: str, cli: Cli) -> None:
    """Catches a least that leaves no room for the stack or for aligning the tiles."""
    command = f"solve gemm 12x30x10 --dtype {dtype} --place all=qspi"
    least = int(_LEAST.search(cli.refused(f"{command} --sram 100"))[1].replace(",", ""))
    assert cli(f"{command} --sram {least} --run").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[gemm]]\nm = 4\nk = = 4\n", "line 3"),
        ("[[gemm]]\nm = 4\nk = 'x\n", "at end of document"),
        ("[[gemm", "not valid TOML"),
        ("\x00", "not valid TOML"),
        ("", "expected [[gemm]] tables, found none"),
        ("gemm = 3\n", "expected [[gemm]] tables"),
        ("[[conv]]\nm = 4\n", "expected [[gemm]] tables, found conv"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\n\n# next\n[[gemm]]\nm = 4\n", ":7: [[gemm]]: m, k and n are needed"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 0\n", ":1: [[gemm]]: gemm 4x4x0: n should be greater than or equal to 1"),
        ("[[gemm]]\nm = 4\nk = 4.5\nn = 1\n", ":1: [[gemm]]: gemm 4x4.5x1: k should be a valid integer"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\nx = 4\n", "x is no field: there are m, k, n, dtype"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\ndtype = 'f64'\n", "dtype should be 'f32', 'q15' or 's8'"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\nclamp = [3, 2]\n", "clamp (3, 2) is not a range within int8"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\nplacement = 'qspi'\n", "placement"),
        ("[[gemm]]\nm = 4\nk = 4\nn = 4\nplacement = { d = 'qspi' }\n", "placement.d"),
    ],
)
def test_a_malformed_file_of_problems(text: str, said: str, cli: Cli, tmp_path: Path) -> None:
    """Catches a message without the file, or without the line or table at fault."""
    file = tmp_path / "bad.toml"
    file.write_text(text)
    message = cli.refused("solve", "--file", file)
    assert message.startswith(str(file))
    assert said in message


def test_files_that_are_not_text(cli: Cli, tmp_path: Path) -> None:
    """Catches a UnicodeDecodeError."""
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff\xfe\x00")
    assert str(file) in cli.refused("solve", "--file", file)
    assert str(file) in cli.refused("solve", "gemm", "4x4x4", "--mcu", file)
    assert str(file) in cli.refused("verify", file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((r'name = "stm32l4r5"', 'name = = "x"'), "line 2"),
        ((r"clock_hz = \d[\d_]*", "clock_hz = 0"), "clock_hz should be greater than 0"),
        ((r"fetch_queue_words = 3", "speed = 14"), "speed is no field"),
        ((r"base = 0x2000_0000", "base = 0x0800_1000"), "overlap"),
        ((r'name = "sram"\n', 'name = "ram"\n'), "'sram' and of that kind is needed"),
    ],
)
def test_a_malformed_machine(change: tuple[str, str], said: str, cli: Cli, tmp_path: Path) -> None:
    """Catches a machine file's fault that is not told with file and place."""
    file = tmp_path / "own.toml"
    text = cli("mcus stm32l4r5").out
    assert re.search(change[0], text)
    file.write_text(re.sub(change[0], change[1], text, count=1))
    message = cli.refused("solve", "gemm", "4x4x4", "--mcu", file)
    assert message.startswith(str(file))
    assert said in message


def test_a_false_certificate_is_exit_1_and_a_broken_one_exit_2(cli: Cli, tmp_path: Path) -> None:
    """Catches a tampered certificate that passes, and one that cannot be told from an unreadable one."""
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3\xff")
    assert "a model, and no certificate: memaopt solve" in cli.refused("verify", tmp_path / "net.tflite")
    file = tmp_path / "certificate.json"
    cli("solve", "gemm", "20x9x7", "--out", tmp_path)
    text = file.read_text()
    data = json.loads(text)
    data["traffic"]["external_bytes"] -= 1
    file.write_text(json.dumps(data))
    assert "sha256" in cli.refused("verify", file, code=1)
    assert "sha256" in cli.refused("verify", file, "--json", code=1)
    file.write_text(text[: len(text) // 2])
    message = cli.refused("verify", file)
    assert re.match(rf"{re.escape(str(file))}:\d+: not valid JSON: .*truncated", message)
    assert "not valid JSON" in cli.refused("run", tmp_path)
    file.write_text("[]")
    assert "not a certificate" in cli.refused("verify", file)
    file.write_text(text)
    good = tmp_path / "good.json"
    good.write_text(text)
    file.write_text(text.replace('"agreed": true', '"agreed": false'))
    assert cli("verify", good, file).code == 1


def test_a_project_without_its_sources(cli: Cli, tmp_path: Path) -> None:
    """Catches a traceback where a file of the project is missing or does not compile."""
    cli("solve", "gemm", "20x9x7", "--out", tmp_path)
    source = tmp_path / "src" / "gemm_q15_20x9x7.c"
    source.write_text(source.read_text() + "\nint broken = ;\n")
    assert "error" in cli.refused("run", tmp_path)
    source.unlink()
    assert f"{source}: no such source file" in cli.refused("run", tmp_path)


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_file_where_the_folder_should_be(where: str, cli: Cli, tmp_path: Path) -> None:
    """Catches a traceback, or a file overwritten."""
    (tmp_path / "file").write_text("mine")
    message = cli.refused("solve", "gemm", "4x4x4", "--json", "--out", tmp_path / where)
    assert "cannot be written" in message
    assert "choose another folder" in message
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_where_a_file_should_be(cli: Cli, tmp_path: Path) -> None:
    """Catches half of the files replaced before the others cannot be."""
    (tmp_path / "Makefile").mkdir()
    assert "Makefile is a folder there" in cli.refused("solve", "gemm", "4x4x4", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_leaves_nothing(code: int, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches files, or a folder, left behind when the third of them cannot be written."""
    written = []

    def fail_on_the_third(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writer.os, "fsync", fail_on_the_third)
    out = tmp_path / "new" / "folder"
    assert os.strerror(code) in cli.refused("solve", "gemm", "4x4x4", "--out", out)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_keeps_what_was_there(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an earlier project damaged by one that could not be written."""
    cli("solve", "gemm", "4x4x4", "--out", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer.os, "fsync", full)
    cli.refused("solve", "gemm", "4x4x4", "--objective", "cycles", "--out", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_suite_stops_at_a_disk_that_is_full(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches twenty red rows where one line says it all."""
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(suites.SUITES, "tinyml", suites.TINYML[:3])
    assert "cannot be written" in cli.refused("solve", "--suite", "tinyml", "--out", tmp_path / "file")


def test_no_compiler(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a missing compiler found late, or without the command that installs one."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    message = cli.refused("solve gemm 4x4x4 --run")
    assert message == "no C compiler: pip install 'memaopt[zig]', or put arm-none-eabi-gcc on PATH"
    assert "pip install 'memaopt[zig]'" in cli.refused("solve gemm 4x4x4 --run --compiler zig")
    assert "apt install gcc-arm-none-eabi" in cli.refused("solve gemm 4x4x4 --run --compiler gcc")
    assert cli("solve gemm 4x4x4").code == 0


@pytest.mark.parametrize("module", ["unicorn", "capstone"])
def test_board_packages_missing(module: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an ImportError, or a message without the command that installs what is missing."""
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'memaopt[board]'" in cli.refused("solve gemm 4x4x4 --run --json")
    assert cli("solve", "gemm", "4x4x4", "--out", tmp_path).code == 0
    assert "pip install 'memaopt[board]'" in cli.refused("run", tmp_path)


def test_a_compiler_that_cannot_be_run(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback when the program called arm-none-eabi-gcc is no compiler."""
    fake = tmp_path / "arm-none-eabi-gcc"
    fake.write_text("#!/bin/sh\necho broken installation >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    identify = importlib.import_module("memaopt.board.build")._version
    identify.cache_clear()
    assert "broken installation" in cli.refused("solve gemm 4x4x4 --run --compiler gcc")
    identify.cache_clear()


def test_interrupted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback on Ctrl-C."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("memaopt.cli.gemm.certify", interrupted)
    assert cli("solve gemm 4x4x4") == (130, "", "")
