"""Samples on a chip: the firmware's protocol on the virtual board, a line that loses bytes, an answer that differs."""

from __future__ import annotations

import os
import pty
import shutil
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli

from memaopt.api import certify, emit
from memaopt.board.semihosting import HostInput, Semihosting
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.operators.attributes import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import silicon, target
from memaopt.trials.measurement import from_reset, make

SHAPE = (8, 8, 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[NetworkPlan, Path]:
    """A plan, and the folder of its library, with its model beside."""
    folder = tmp_path_factory.mktemp("served")
    b = Builder("small", (1, *SHAPE), 0)
    x = b.conv_2d(0, 8, Size2D(3, 3), Activation.RELU)
    model = folder / "small.tflite"
    model.write_bytes(Model.of(b.finish(b.fully_connected(b.average_pool(x), 40))).data)
    signed = certify(model, mcu("stm32l4r5"))
    emit(signed, folder / "library")
    return signed.plan, folder / "library"


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (5, *SHAPE)).astype(np.int8)


def answered(plan: NetworkPlan, sample: np.ndarray, *, torn: bool = False) -> str:
    """The line of a program that computes a sample rightly; ``torn``: a digit of it is lost."""
    output = reference.run(plan.source, [sample[None]])[0].tobytes()
    data = output.hex()[1:] if torn else output.hex()
    sent = zlib.crc32(sample.tobytes())
    return f"{plan.name}: sample {sent:x}, cycles 77, status 0, sum {zlib.crc32(output):x}, output {data}\n"


@pytest.mark.slow
def test_by_the_firmware(made: tuple[NetworkPlan, Path], samples: np.ndarray, cli: Cli, tmp_path: Path) -> None:
    """Catches samples that are served wrongly, or not all, and a difference that nobody is told of."""
    plan, folder = made
    np.savez(tmp_path / "d.npz", x=samples)
    model = folder.parent / "small.tflite"
    found = cli("validate", model, tmp_path / "d.npz", "--target", folder, "--json").json
    assert found["passed"]
    assert (found["target"]["where"], found["target"]["samples"], found["target"]["wrong"]) == (
        "the virtual board",
        5,
        0,
    )
    assert found["target"]["cycles"] == pytest.approx([plan.machine_cycles] * 2, rel=0.05)
    shutil.copytree(folder, tmp_path / "patched")
    source = tmp_path / "patched" / library.source(plan.name)
    call = f"{plan.layers[-1].name}(base"
    assert source.read_text().count(call) == 1
    source.write_text(source.read_text().replace(call, f"{plan.layers[-1].name}(base + 1"))
    shown = cli("validate", model, tmp_path / "d.npz", "--target", tmp_path / "patched")
    assert shown.code == 1
    assert "5 outputs differ" in shown.out
    assert "--serial has no effect" in cli.refused("validate", model, tmp_path / "d.npz", "--serial", "x")
    assert "--chip has no effect" in cli.refused(
        "validate", model, tmp_path / "d.npz", "--target", folder, "--chip", "x"
    )
    (tmp_path / "other.tflite").write_bytes(model.read_bytes() + b"\0")
    other = cli.refused("validate", tmp_path / "other.tflite", tmp_path / "d.npz", "--target", folder)
    assert "is not a library of this model alone" in other


@pytest.mark.slow
def test_a_sample_that_comes_torn(made: tuple[NetworkPlan, Path], samples: np.ndarray, tmp_path: Path) -> None:
    """Catches firmware that computes rubbish, or loses its place between two samples, and one that waits for input
    where nobody has any.
    """
    plan, folder = made
    make([plan], folder, tmp_path / "firmware.elf")
    whole = target.frame(samples[0])
    torn = whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]
    given = HostInput("samples", torn + b"MMX" + whole + b"ME" + whole)
    found = target.answers(from_reset(plan.mcu, tmp_path / "firmware.elf", given), plan.name)
    assert len(found) == 2
    assert found[0] is None
    assert found[1] is not None
    assert found[1].output == reference.run(plan.source, [samples[:1]])[0].tobytes()
    for nothing in (None, HostInput("", whole), HostInput("samples", whole[:-1])):
        assert target.answers(from_reset(plan.mcu, tmp_path / "firmware.elf", nothing), plan.name) == []


def test_by_a_line(made: tuple[NetworkPlan, Path], samples: np.ndarray) -> None:
    """Catches an answer that is taken before it is whole, and a sample that is given up, or sent for ever."""
    plan, _ = made
    sent: list[bytes] = []

    def exchange(data: bytes, enough: Callable[[str], bool]) -> str:
        sent.append(data)
        sample = np.frombuffer(data[2:-4], np.int8).reshape(SHAPE)
        whole = answered(plan, sample)
        assert not enough(whole[:-1])
        assert enough(whole)
        return answered(plan, sample, torn=True) if len(sent) in (1, 2) else "boot\n" + whole

    outputs = np.stack([reference.run(plan.source, [sample[None]])[0] for sample in samples])
    done: list[int] = []
    found = target.compared(target.by_line(plan, exchange), samples, outputs, done.append)
    assert (found.samples, found.wrong, found.cycles, sum(done)) == (5, 0, (77, 77), 5)
    assert len(sent) == 7
    outputs[3] ^= 1
    assert target.compared(target.by_line(plan, exchange), samples, outputs, done.append).wrong == 1
    never = target.by_line(plan, lambda data, enough: f"{plan.name}: sample again\n")
    with pytest.raises(InputError, match="sample 0 did not cross whole in 3 tries"):
        list(never.run(samples))


def test_at_a_serial_port(made: tuple[NetworkPlan, Path], samples: np.ndarray) -> None:
    """Catches a port that is only read, or opened anew for each sample."""
    pytest.importorskip("serial")
    plan, _ = made
    here, there = pty.openpty()
    size = len(target.frame(samples[0]))

    def serve() -> None:
        for _ in samples:
            data = b""
            while len(data) < size:
                data += os.read(here, size - len(data))
            os.write(here, answered(plan, np.frombuffer(data[2:-4], np.int8).reshape(SHAPE)).encode())

    chip = threading.Thread(target=serve, daemon=True)
    chip.start()
    with silicon.serial_line(os.ttyname(there), 115200, 20) as exchange:
        found = list(target.by_line(plan, exchange).run(samples))
    assert [answer.output for answer in found] == [
        reference.run(plan.source, [sample[None]])[0].tobytes() for sample in samples
    ]


def test_what_a_host_gives() -> None:
    """Catches a command line that is written beyond its room, and reads that begin anew each time."""
    memory = bytearray(64)

    def write(address: int, data: bytes) -> None:
        memory[address : address + len(data)] = data

    def words(*values: int) -> None:
        write(0, b"".join(value.to_bytes(4, "little") for value in values))

    def read(address: int, size: int) -> bytes:
        return bytes(memory[address : address + size])

    host = Semihosting(read, write, HostInput("samples", b"abcde"))
    words(32, 7)
    assert host.serve(0x15, 0).result == 0xFFFF_FFFF
    words(32, 8)
    assert host.serve(0x15, 0).result == 0
    assert (read(32, 8), read(4, 4)) == (b"samples\0", b"\7\0\0\0")
    write(40, b":tt")
    words(40, 0, 3)
    handle = host.serve(1, 0).result
    assert handle == 3
    for size, left, there in ((2, 0, b"ab"), (4, 1, b"cde"), (4, 4, b"")):
        words(handle, 48, size)
        assert host.serve(6, 0).result == left
        assert read(48, len(there)) == there
    assert Semihosting(read, write).serve(0x15, 0).result == 0xFFFF_FFFF
    assert Semihosting(read, write).serve(6, 0).refused
