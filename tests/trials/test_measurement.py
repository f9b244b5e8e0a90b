"""A network's firmware: the same image built by make and by memaopt, on the board, by a port, by a probe."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_helpers import Cli

from memaopt.api import certify, emit
from memaopt.board import Board
from memaopt.certificates.gemm import Certificate
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import firmware
from memaopt.emit import folder as library
from memaopt.emit import network as emit_network
from memaopt.errors import FaultError, InputError
from memaopt.machines.mcu import mcu, preset_names
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.gemm import Gemm
from memaopt.trials import readout, silicon
from memaopt.trials.measurement import make, measure, measure_gemm


def network() -> Graph:
    b = Builder("small", (1, 12, 12, 4), 0)
    x = b.conv_2d(0, 8, Size2D(3, 3), Activation.RELU)
    return b.finish(b.conv_2d(x, 4, Size2D(1, 1)))


def written(folder: Path, chip: str = "stm32l4r5", setting: str = "stock") -> NetworkPlan:
    plan = compile_network(network(), mcu(chip, setting))
    emit_network.write(plan, folder)
    return plan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[NetworkPlan, Path, Path, str]:
    """A plan, its folder, its image, and what that prints on the board."""
    folder = tmp_path_factory.mktemp("measured") / "library"
    plan = written(folder)
    image = folder.parent / "firmware.elf"
    make([plan], folder, image)
    return plan, folder, image, Board(plan.mcu).load(image).reset().output


@pytest.mark.parametrize("chip", preset_names())
def test_the_firmware_of_each_chip(chip: str, tmp_path: Path) -> None:
    """Catches firmware that does not build or start on a chip, waits for a bit for ever, or measures something else."""
    plan = written(tmp_path, chip, "ram")
    found = measure(plan, tmp_path)
    assert found.passed, found.findings
    assert [layer.name for layer in found.layers] == [layer.name for layer in plan.layers]
    if not plan.mcu.core.is_timed:
        assert (found.promised, found.virtual, found.layers[0].virtual) == (None, None, None)
        return
    assert found.virtual is not None
    assert found.promised is not None
    # Code in RAM that shares its port with the data waits for them: promised without, that were 14 to 18 % less.
    assert abs(found.virtual / found.promised - 1) < 0.03
    assert sum(layer.virtual or 0 for layer in found.layers) == pytest.approx(found.virtual, rel=0.02)


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("arm-none-eabi-gcc")), reason="needs make and GCC")
@pytest.mark.parametrize("setting", ["stock-prefetch", "ram"])
def test_make_builds_the_same(setting: str, tmp_path: Path) -> None:
    """Catches a Makefile that does not build, warns, or builds another image than the one that is measured here."""
    plan = written(tmp_path, setting=setting)
    done = subprocess.run(["make"], cwd=tmp_path / firmware.FOLDER, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    image = tmp_path / firmware.FOLDER / "build" / f"{plan.name}_firmware.elf"
    # Bits that the firmware itself has to set are off.
    run = Board(plan.mcu.in_setting("stock")).load(image).reset()
    found = readout.read(run.output, plan.name, len(plan.layers))
    assert found is not None
    assert (run.exit_code, found.status, found.wrong, found.promised) == (0, 0, 0, plan.machine_cycles)
    assert found.cycles == pytest.approx(measure(plan, tmp_path).virtual, rel=0.001)


def test_zig_builds_it(tmp_path: Path) -> None:
    """Catches a linker script that lld does not take."""
    pytest.importorskip("ziglang")
    assert measure(written(tmp_path, setting="ram"), tmp_path, compiler="zig").passed


def test_a_wrong_layer_is_named(made: tuple[NetworkPlan, Path, Path, str], tmp_path: Path) -> None:
    """Catches a difference in a layer that nobody is told of."""
    plan, folder, _, _ = made
    shutil.copytree(folder, tmp_path / "patched")
    source = tmp_path / "patched" / library.source(plan.name)
    name = plan.layers[1].emitted.arrays[0].name
    text = source.read_text()
    start = text.index("{", text.index(f"{name}["))
    number = re.compile(r"-?(0x)?[0-9a-f]+").search(text, start)
    assert number is not None
    value = int(number[0], 0) ^ 1 << 24  # more than any rounding hides
    source.write_text(text[: number.start()] + str(value) + text[number.end() :])
    found = measure(plan, tmp_path / "patched")
    assert not found.passed
    assert plan.layers[1].name in found.findings[0]
    assert [layer.right for layer in found.layers] == [True, False]


def test_a_readout_in_other_text(made: tuple[NetworkPlan, Path, Path, str]) -> None:
    """Catches a readout that begins in the middle of one, or takes another library's, or other lines, for its own."""
    plan, _, _, text = made
    whole = readout.read(text, plan.name, 2)
    assert whole is not None
    assert readout.read(text, "other", 2) is None
    assert readout.read(text.replace(f"{plan.name}: ", f"a_{plan.name}: "), plan.name, 0) is None
    assert readout.read(text, plan.name, 3) is None
    half = text[text.index("layer 1") :]
    assert readout.read(half, plan.name, 2) is None
    noisy = f"*** booting ***\r\n{half}" + text.replace("\n", "\r\n") + "layer 0: promised 1, measured"
    assert readout.read(noisy, plan.name, 2) == whole


def test_what_arrives_at_a_serial_port(made: tuple[NetworkPlan, Path, Path, str]) -> None:
    """Catches a reader that loses a line that comes in two parts, or waits for ever for a board that says nothing."""
    pytest.importorskip("serial")
    plan, folder, _, text = made
    here, there = pty.openpty()

    done = threading.Event()

    def send() -> None:
        while not done.wait(0.05):
            for part in ("boot\n", text[:30], text[30:]):
                os.write(here, part.encode())

    sender = threading.Thread(target=send)
    sender.start()
    port = os.ttyname(there)
    found = measure(
        plan, folder, lambda _: silicon.by_serial(port, 115200, lambda t: readout.read(t, plan.name, 2) is not None, 20)
    )
    done.set()
    sender.join()
    assert found.passed, found.findings
    assert found.silicon == found.virtual
    with pytest.raises(InputError, match=rf"^{port}: nothing came in 0\.3 s"):
        silicon.by_serial(port, 115200, lambda _: False, 0.3)
    with pytest.raises(InputError, match="/no/such/port"):
        silicon.by_serial("/no/such/port", 115200, lambda _: False, 0.3)


class Chip:
    """As pyOCD's target: a program that asks its host for these operations, one after the other."""

    def __init__(self, requests: list[tuple[int, bytes]]) -> None:
        self._requests: Iterator[tuple[int, bytes]] = iter(requests)
        self._registers = {"pc": 0x100}
        self._data = b""

    def reset_and_halt(self) -> None:
        pass

    def resume(self) -> None:
        self._registers["r0"], self._data = next(self._requests)
        self._registers["r1"] = 0x2000_0000

    def is_halted(self) -> bool:
        return True

    def read_core_register(self, name: str) -> int:
        return self._registers[name]

    def write_core_register(self, name: str, value: int) -> None:
        self._registers[name] = value

    def write_memory_block8(self, address: int, data: bytes) -> None:
        raise AssertionError("nothing is given to it")

    def read_memory_block8(self, address: int, size: int) -> list[int]:
        if address < 0x2000_0000:
            return list(b"\xab\xbe" if self._registers["r0"] else b"\x00\xbf")
        start = address - 0x2000_0000
        return list(self._data[start : start + size].ljust(size, b"\0"))


def test_what_a_probe_serves(made: tuple[NetworkPlan, Path, Path, str]) -> None:
    """Catches a host that loses text, does not end with the program, or goes on after another's breakpoint."""
    plan, folder, _, text = made
    lines = [(4, line.encode() + b"\n") for line in text.splitlines()]
    ended = (0x20, (0x20026).to_bytes(4, "little") + bytes(4))
    assert silicon.served(Chip([*lines, ended]), 5) == text
    found = measure(plan, folder, lambda _: silicon.served(Chip([*lines, ended]), 5))
    assert found.silicon == found.virtual
    with pytest.raises(FaultError, match="asks for operation 0x1"):
        silicon.served(Chip([(1, b"")]), 5)
    with pytest.raises(FaultError, match="stopped without asking"):
        silicon.served(Chip([(0, b"")]), 5)


@pytest.mark.parametrize("there", [True, False])
def test_an_image_goes_through_pyocd(
    there: bool,
    made: tuple[NetworkPlan, Path, Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches an image that is not written before it runs, a chip that is not the one asked for, and pyOCD's own lines
    on stdout, where JSON goes. The names of pyOCD are those of 0.46.
    """
    _, _, image, text = made
    ended = (0x20, (0x20026).to_bytes(4, "little") + bytes(4))
    chip = Chip([*((4, line.encode() + b"\n") for line in text.splitlines()), ended])
    done: list[object] = []

    class Session(nullcontext[None]):
        target = chip

    class Programmer:
        def __init__(self, session: Any, progress: Callable[[float], None]) -> None:
            assert session.target is chip
            progress(1.0)

        def program(self, file: str) -> None:
            done.append(file)

    class Helper:
        @staticmethod
        def session_with_chosen_probe(**options: object) -> Any:
            print("No connected debug probes")
            done.append(options["options"])
            return Session() if there else None

    for name, members in (
        ("pyocd.core.exceptions", {"Error": RuntimeError}),
        ("pyocd.core.helpers", {"ConnectHelper": Helper}),
        ("pyocd.flash.file_programmer", {"FileProgrammer": Programmer}),
    ):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**members))
    if there:
        assert silicon.by_probe(image, target="stm32l4r5zitx", seconds=5) == text
        assert done == [{"target_override": "stm32l4r5zitx"}, str(image)]
    else:
        with pytest.raises(InputError, match="probe: none is connected"):
            silicon.by_probe(image, target=None, seconds=5)
        assert done == [{}]
    assert capsys.readouterr().out == ""


def test_without_a_debugger_the_text_is_kept(made: tuple[NetworkPlan, Path, Path, str], tmp_path: Path) -> None:
    """Catches a breakpoint that nobody serves, which is a fault on a chip alone, and a buffer that an RTT viewer does
    not find, or that has too little room.
    """
    plan, folder, _, text = made
    shutil.copytree(folder, tmp_path / "alone")
    program = tmp_path / "alone" / firmware.program(plan.name)
    # Where DHCSR would say that a debugger is there, a word of zeros.
    program.write_text(program.read_text().replace("0xE000EDF0u", "0xE000ED08u"))
    make([plan], tmp_path / "alone", tmp_path / "alone.elf")
    board = Board(plan.mcu).load(tmp_path / "alone.elf")
    run = board.reset()
    assert (run.output, run.ended) == ("", "loop")
    control = board.read("rtt", 48)
    assert control[:16] == b"SEGGER RTT".ljust(16, b"\0")
    buffer, size, written = (int.from_bytes(control[at : at + 4], "little") for at in (28, 32, 36))
    assert buffer == board.symbols["rtt_text"]
    masked = [re.sub(r"measured \d+", "", each) for each in (board.read("rtt_text", written).decode(), text)]
    assert masked[0] == masked[1]
    assert written < size


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_the_header_in_a_program_of_ones_own(made: tuple[NetworkPlan, Path, Path, str], tmp_path: Path) -> None:
    """Catches a header that C++ refuses, or that warns."""
    plan, folder, _, _ = made
    user = tmp_path / "user.cpp"
    user.write_text(
        f'#include "{plan.name}_samples.h"\nstatic void put(const char *) {{}}\n'
        f"static int get(void *, uint32_t) {{ return 1; }}\n"
        f"int main() {{ {plan.name}_serve(get, put); return {plan.name}_report(put); }}\n"
    )
    include = [f"-I{path}" for path in library.include_folders(folder)]
    subprocess.run(["g++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *include, user], check=True)


@pytest.mark.parametrize(
    ("problem", "setting"),
    [
        (Gemm(m=16, k=24, n=20), "stock-prefetch"),
        (Gemm(m=8, k=16, n=12, dtype="f32"), "stock"),
        (Gemm(m=16, k=64, n=16, dtype="s8"), "stock"),
    ],
)
def test_the_firmware_of_a_product(problem: Gemm, setting: str, tmp_path: Path, cli: Cli) -> None:
    """Catches firmware of a product that does not start, and wrong elements, or another library, that nobody tells."""
    signed = certify(problem, mcu("stm32l4r5", setting), "cycles")
    assert isinstance(signed, Certificate)
    emit(signed, tmp_path)
    found = cli("measure", tmp_path, "--json").json
    assert found["passed"]
    assert found["virtual"] == pytest.approx(signed.traffic.cycles, rel=0.05)
    checker = tmp_path / library.checker(found["name"])
    text = checker.read_text()
    assert "expected[i]" in text
    checker.write_text(text.replace("expected[i]", "expected[i ^ 1]"))
    wrong = cli("measure", tmp_path)
    assert wrong.code == 1
    assert "elements of C are wrong" in wrong.out
    traffic = signed.traffic.model_copy(update={"cycles": signed.traffic.cycles + 1})
    other = measure_gemm(signed.model_copy(update={"traffic": traffic}), tmp_path)
    assert "another certificate's library" in other.findings[-1]


def test_a_product_without_firmware(tmp_path: Path, cli: Cli) -> None:
    """Catches firmware that would read operands from a memory that nothing has put them into."""
    cli("solve", "gemm", "8x16x8", "--place", "all=qspi", "--out", tmp_path)
    assert not (tmp_path / firmware.FOLDER).exists()
    assert "has no firmware: it has operands beside flash and SRAM" in cli.refused("measure", tmp_path)


def test_measure_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """Catches a table or JSON without a layer, and options that go by without an effect."""
    certificate = certify(network(), mcu("stm32l4r5"))
    emit(certificate, tmp_path / "made")
    found = cli("measure", tmp_path / "made", "--json")
    assert found.code == 0
    assert found.json["passed"]
    assert [set(layer) for layer in found.json["layers"]] == [{"name", "promised", "virtual", "silicon", "right"}] * 2
    shown = cli("measure", tmp_path / "made", "--virtual").out
    assert all(layer["name"] in shown and f"{layer['virtual']:,}" in shown for layer in found.json["layers"])
    assert "--baud has no effect" in cli.refused("measure", tmp_path / "made", "--baud", 9600)
    assert "--target has no effect" in cli.refused("measure", tmp_path / "made", "--target", "x")
    assert "--serial has no effect" in cli.refused("measure", tmp_path / "made", "--virtual", "--serial", "x")
    shutil.rmtree(tmp_path / "made" / "extras")
    assert "has no extras/firmware" in cli.refused("measure", tmp_path / "made")
