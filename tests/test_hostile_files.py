"""Machine, problem and certificate files that nobody would write: the field and the limit, in one line, at once."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Cli

from memaopt.files import CERTIFICATE_BYTES, MACHINE_BYTES, PROBLEMS_BYTES, read_bytes
from memaopt.machines.core import core

_HEAD = 'name = "m"\ntitle = "T"\nclock_hz = 100\n'
_FLASH = '[[memories]]\nname = "flash"\nkind = "flash"\nbase = 0x0800_0000\nsize = 0x1_0000\nwritable = false\n'
_SRAM = '[[memories]]\nname = "sram"\nkind = "sram"\nbase = 0x2000_0000\nsize = 0x8000\n'
_MORE = '[[memories]]\nname = "{}"\nkind = "external"\nbase = {}\nsize = {}\n'
_ALIAS = '[[aliases]]\nname = "{}"\nmemory = "sram"\noffset = {}\nbase = {}\nsize = {}\n'


def _machine(head: str = "", tail: str = "", flash: str = _FLASH, sram: str = _SRAM) -> str:
    return _HEAD + head + flash + sram + tail


def _core(**changes: object) -> str:
    """The Cortex-M4 as a table of a machine's file, with other fields."""
    fields = {"name": '"cortex-m4"', "title": '"T"', "thumb2": "true", "dsp": "true", "core_registers": 14}
    fields |= {"fpu_registers": 32, "gcc_cpu": '"cortex-m4"', "gcc_fpu": '"fpv4-sp-d16"', "zig_cpu": '"cortex_m4"'}
    fields |= {"emulator": '"cortex-m4"', "cpuid": 0x410F_C241}
    fields |= {f"reach.{each}": size for each, size in core("cortex-m4").reach}
    return "".join(f"core.{name} = {value}\n" for name, value in {**fields, **changes}.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_machine(tail=_MORE.format("qspi", 0x2000_8100, 0x100)), "memories.2.base: 0x20008100 is no multiple"),
        (_machine(tail=_MORE.format("qspi", 0x4000_0000, 0x100)), "'qspi' lies over peripherals"),
        (_machine(tail=_MORE.format("qspi", 0x3FFF_F000, 0x1100)), "'qspi' lies over peripherals"),
        (_machine(tail=_MORE.format("qspi", 0xF000_0000, 0x1000)), "'qspi' lies over peripherals"),
        (_machine(tail=_MORE.format("qspi", 0x9000_0000, 1 << 32)), "memories.2.size should be less than or equal to"),
        (
            _machine(tail=_MORE.format("qspi", 0x9000_0000, 400 << 20) + _MORE.format("q2", 0xB000_0000, 400 << 20)),
            "bytes together",
        ),
        (_machine(tail=_MORE.format("qspi; }", 0x9000_0000, 64)), "memories.2.name: String should match pattern"),
        (_machine(tail=_MORE.format("text", 0x9000_0000, 64)), "'text' is taken"),
        (_machine(tail=_MORE.format("auto", 0x9000_0000, 64)), "'auto' is taken"),
        (_machine(tail=_MORE.format("q" * 100, 0x9000_0000, 64)), "at most 32 characters"),
        (_machine(tail=_ALIAS.format("sram2", 0x100, 0x1000_0000, 0x100)), "aliases.0.offset: 0x100 is no multiple"),
        (_machine(tail=_ALIAS.format("sram2", 0, 0x1000_0100, 0x100)), "aliases.0.base: 0x10000100 is no multiple"),
        (_machine(tail=_ALIAS.format("sram", 0, 0x1000_0000, 0x100)), "the same name"),
        (_machine(tail="".join(_MORE.format(f"q{i}", 0x9000_0000 + 4096 * i, 64) for i in range(300))), "at most 16"),
        (_machine("power_mw = inf\n"), "power_mw should be a finite number"),
        (_machine("power_mw = nan\n"), "power_mw should be a finite number"),
        (_machine("power_range_mw = [1, inf]\n"), "power_range_mw.1 should be a finite number"),
        (_machine(_core(core_registers=1000000)), "core.core_registers should be less than or equal to 14"),
        (_machine(_core(fpu_registers=1000000)), "core.fpu_registers should be less than or equal to 32"),
        (_machine(_core(gcc_cpu='"x -fplugin=x"')), "core.gcc_cpu: String should match pattern"),
        (
            _machine(_core(**{"reach.behind": 127})),
            "core: cortex-m4: reach.behind is 127, and kernels are",
        ),
        (_machine(_core(dsp="false")), "core: cortex-m4 has no dsp: every kernel needs it"),
        (_machine(_core(fpu_registers=0)), "core: cortex-m4: an FPU has registers and a name for gcc_fpu, or"),
        (_machine('core = "banana"\n'), "core: 'banana' is not known: there are cortex-m"),
        (_machine(flash=_FLASH + "first = 1000000000000\n"), "memories.0.first should be less than or equal to 10000"),
        (_machine(flash=_FLASH + 'energy_pj_per_byte = "3"\n'), "memories.0.energy_pj_per_byte should be a valid"),
        (_machine(flash=_FLASH + "executable = 1\n"), "memories.0.executable should be a valid boolean"),
        (_machine(sram=_SRAM + "writable = false\n"), "'sram' is not writable"),
        (_machine(sram=_SRAM.replace('kind = "sram"', 'kind = "external"')), "'sram' and of that kind is needed"),
        (_machine().replace("100", '"100"', 1), "clock_hz should be a valid integer"),
        (_machine().replace('"T"', '""'), "title: String should have at least 1 character"),
        (_machine().replace('"T"', f'"{"T" * 300}"'), "at most 200 characters"),
        (_machine().replace('"m"', '"a b"'), "name: String should match pattern"),
        (_machine(f"x = {'[' * 5000}\n"), "nested too deeply"),
        (_machine(f"x = {'9' * 5000}\n"), "not valid TOML"),
        (_machine(f"fetch_queue_words = 0x{'9' * 5000}\n"), "fetch_queue_words should be"),
        (_machine(f"{'a.' * 3000}a = 1\n"), "is no field"),
        ("#" * (MACHINE_BYTES + 1), f"more than {MACHINE_BYTES:,} bytes"),
    ],
)
def test_a_machine_that_cannot_be(text: str, said: str, cli: Cli, tmp_path: Path) -> None:
    """Catches tracebacks, emulators that cannot map, and minutes of search, each from one line of a machine file."""
    file = tmp_path / "m.toml"
    file.write_text(text)
    message = cli.refused("solve", "gemm", "4x4x4", "--mcu", file)
    assert message.startswith(f"{file}: ")
    assert said in message
    assert len(message) < len(str(file)) + 300


def test_titles_are_text(cli: Cli, tmp_path: Path) -> None:
    """Catches markup that ends in a traceback, control characters that a terminal obeys, and C in a comment's end."""
    file = tmp_path / "m.toml"
    file.write_text(_machine().replace('"T"', r'"[/red] \u001b[31m \u009b2J \u202e [bold] */ int x; /* \\"'))
    for command in (("solve", "gemm", "4x4x4"), ("solve", "gemm", "4x4x4", "--run")):
        result = cli(*command, "--mcu", file)
        assert result.code == 0
        assert "[/red] ?[31m ?2J ? [bold] */ int x; /*" in result.out
    assert "\x1b" not in cli.refused("solve", "gemm", "4x4x4\x1b[31m")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[[gemm]]\nm = 0x{'f' * 5000}\nk = 1\nn = 1\n", "m should be"),
        (f"[[gemm]]\nm = {'9' * 5000}\nk = 1\nn = 1\n", "not valid TOML"),
        ("[[gemm]]\nm = true\nk = 1\nn = 1\n", "m should be a valid integer"),
        ("[[gemm]]\nm = 1.0\nk = 1\nn = 1\n", "m should be a valid integer"),
        ("[[gemm]]\nm = 1\nk = 1\nn = 1\nclamp = [-1, 400]\n", "clamp.1 should be less than or equal to 127"),
        ("[[gemm]]\nm = 1\nk = 1\nn = 1\nplacement = { a = '' }\n", "placement.a: String should have at least 1"),
        ("[[gemm]]\nm = 1\nk = 1\nn = 1\n" * 1001, "a file may have 1,000"),
        (f"gemm = {'[' * 5000}\n", "nested too deeply"),
        ("#" * (PROBLEMS_BYTES + 1), f"more than {PROBLEMS_BYTES:,} bytes"),
    ],
)
def test_problems_that_cannot_be(text: str, said: str, cli: Cli, tmp_path: Path) -> None:
    """Catches tracebacks and numbers taken for others."""
    file = tmp_path / "p.toml"
    file.write_text(text)
    assert said in cli.refused("solve", "--file", file)


@pytest.fixture(scope="module")
def certificate() -> dict[str, Any]:
    from memaopt import Gemm, certify, mcu

    data: dict[str, Any] = json.loads(certify(Gemm(m=8, k=8, n=8), mcu("stm32l4r5")).to_json())
    return data


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("schedule", "mc"), 1 << 70, "schedule.mc should be less than or equal to 4294967296"),
        (("schedule", "mc"), "8", "schedule.mc should be a valid integer"),
        (("schedule", "mc"), 8.0, "schedule.mc should be a valid integer"),
        (("machine", "clock_hz"), 0, "machine.clock_hz should be greater than 0"),
        (("machine", "memories", 0, "size"), 1 << 33, "machine.memories.0.size should be less than or equal to"),
        (("gap",), 1e999, "gap should be a finite number"),
        (("problem", "m"), True, "problem.m should be a valid integer"),
        (("more",), 1, "more is no field"),
    ],
)
def test_a_certificate_that_cannot_be(
    path: tuple[str | int, ...], value: object, said: str, certificate: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    """Catches fields of another type, or so large that deriving them would take for ever."""
    data = json.loads(json.dumps(certificate))
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file = tmp_path / "c.json"
    file.write_text(json.dumps(data))
    assert said in cli.refused("verify", file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000, "nested too deeply"),
        (f'{{"format": {"9" * 5000}}}', "not valid JSON"),
        (" " * (CERTIFICATE_BYTES + 1), f"more than {CERTIFICATE_BYTES:,} bytes"),
    ],
)
def test_json_that_cannot_be(text: str, said: str, cli: Cli, tmp_path: Path) -> None:
    """Catches tracebacks from Python's JSON reader."""
    file = tmp_path / "c.json"
    file.write_text(text)
    assert said in cli.refused("verify", file)


def test_a_path_with_a_nul(cli: Cli) -> None:
    """Catches a ValueError from the operating system's interface."""
    for command in (("verify",), ("solve", "--file"), ("solve", "gemm", "4x4x4", "--mcu"), ("inspect",)):
        name = "a\0b.toml" if "--mcu" in command else "a\0b.tflite"
        assert "null byte" in cli.refused(*command, name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_files_without_an_end() -> None:
    """Catches a file read whole before its size is known: one that says 0 bytes, and a hundred megabytes of JSON."""
    code = """
import sys
from memaopt.cli.main import main
main(["verify", sys.argv[1]])
"""
    limit = 1500 << 20

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/zero"], capture_output=True, text=True, check=False, preexec_fn=small
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "more than" in done.stderr
    with pytest.raises(ValueError, match="more than 5 bytes"):
        read_bytes("/dev/zero", 5)
