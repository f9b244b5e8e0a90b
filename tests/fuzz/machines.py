"""Machine files and problem files: changed TOML, refused in one line or solved, certified and verified."""

from __future__ import annotations

import copy
import gc
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from elf_helpers import firmware

from memaopt.machines.mcu import preset_names
from memaopt.networks.formats.tflite import writer
from tests.fuzz import mutate
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.generator import random_network
from tests.fuzz.host import compilers
from tests.fuzz.watch import Said, command

#: Texts that are no file of any kind, or far too much of one.
_HOSTILE = (
    "", "[" * 5000, "a = " + "[" * 5000 + "]" * 5000, "clock_hz = " + "9" * 5000, "x = 1e999", "\ufeff",
    "[[gemm]]\n" * 20000, "m = 1\n" * 2, "\x00", "a.b.c." * 2000 + "d = 1",
    "title = '''" + "x" * 200000 + "'''", "name = 0x" + "f" * 5000,
)  # fmt: skip
_TITLES = (
    "*/ int x; /*", "a\nb", "\x1b[31mred", "[bold]b[/bold]", "[/]", "$(shell touch pwned)", "`touch pwned`", "\\", "%s",
    "a\\\nb", "??/", "#include <x>", "\u2028", "\u202e", "x" * 5000, '"', "'", "${X}", "//", "\r", "a;touch pwned", "é",
)  # fmt: skip


def text_of(rng: Rng, data: dict[str, Any], pool: Sequence[dict[str, Any]]) -> bytes:
    """The tree as TOML, changed as data and, now and then, as text."""
    if rng.integers(12) == 0:
        return _HOSTILE[int(rng.integers(len(_HOSTILE)))].encode()
    if rng.integers(4):
        data = mutate.mutated_tree(rng, data, pool)
    else:
        data = copy.deepcopy(data)
        texts = [spot for spot in mutate.spots(data) if isinstance(spot.value, str)]
        if texts:
            texts[int(rng.integers(len(texts)))].value = _TITLES[int(rng.integers(len(_TITLES)))]
    text = mutate.toml(data).encode("utf-8", "replace") if isinstance(data, dict) else b"x"
    return mutate.mutated_bytes(rng, text, [text]) if rng.integers(5) == 0 else text


def check_project(folder: Path) -> None:
    """Raise AssertionError unless what was written compiles, and holds nothing but what was meant."""
    assert command("verify", str(folder / "certificate.json")).code == 0
    sources = sorted(str(path) for path in folder.rglob("*.c"))
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    built = subprocess.run([*compilers()[0], *flags, *sources], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:2000]
    if shutil.which("make"):
        made = subprocess.run(["make", "-n", "-C", str(folder)], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[:2000]
    assert not list(folder.rglob("pwned*")), "a text ran a command"
    for path in filter(Path.is_file, folder.rglob("*")):
        text = path.read_bytes()
        assert path.suffix in (".json", ".tflite") or not any(b < 32 and b not in b"\n\t" for b in text), path.name


class _Files:
    """Changed files, each given to the command line."""

    batch = 1

    def __init__(self) -> None:
        self.folder = Path()
        self.pool: list[dict[str, Any]] = []

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        """Each: ``refused``, or what was done with it."""
        return [self._one(rng) for rng in rngs]

    def _one(self, rng: Rng) -> str | Case:
        text = text_of(rng, self.pool[int(rng.integers(len(self.pool)))], self.pool)
        path = self.folder / "given.toml"
        path.write_bytes(text)
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        arguments = self.arguments(rng, path, out)

        def verdict() -> str:
            said = command(*arguments)
            word = "refused" if said.code == 2 else self.judge(said, out)
            return f"{word} ({arguments[0]})"

        found = judged(verdict, {"given.toml": text, "arguments.txt": " ".join(arguments).encode()})
        if arguments[0] == "run" or "--run" in arguments:
            gc.collect()  # emulators that hold themselves
        return found

    def arguments(self, rng: Rng, path: Path, out: Path) -> list[str]:
        raise NotImplementedError

    def judge(self, said: Said, out: Path) -> str:
        raise NotImplementedError


class Machines(_Files):
    """Machine files, for a product, a network and a program."""

    name = "machine-files"

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder
        presets = resources.files("memaopt.machines") / "mcus"
        self.pool = [tomllib.loads((presets / f"{name}.toml").read_text("utf-8")) for name in preset_names()]
        graph = random_network(mutate.np.random.default_rng(5), "small", most=3, writable=True)
        self.model = folder / "small.tflite"
        self.model.write_bytes(writer.write(graph))
        made = folder / "made"
        made.mkdir(exist_ok=True)
        self.program = firmware(made)

    def arguments(self, rng: Rng, path: Path, out: Path) -> list[str]:
        match int(rng.integers(8)):
            case 0:
                return ["mcus", str(path)]
            case 1:
                return ["run", str(self.program), "--call", "dot", "--args", "a,b,9", "--mcu", str(path)]
            case 2 | 3:
                return ["solve", str(self.model), "--mcu", str(path), "--out", str(out)]
            case _:
                dtype = str(rng.choice(["q15", "s8", "f32"]))
                objective = str(rng.choice(["bytes", "cycles", "energy"]))
                command_line = ["solve", "gemm", "5x8x6", "--dtype", dtype, "--objective", objective]
                run = ["--run"] if rng.integers(4) == 0 else []
                return [*command_line, "--mcu", str(path), "--out", str(out), *run]

    def judge(self, said: Said, out: Path) -> str:
        assert said.code == 0, f"exit code {said.code}: {said.err} {said.out[-1500:]}"
        if out.exists():
            check_project(out)
        return "accepted"


class Problems(_Files):
    """Problem files."""

    name = "problem-files"

    def prepare(self, folder: Path, seed: int) -> None:
        self.folder = folder
        small: list[dict[str, Any]] = [
            {"m": 4, "k": 6, "n": 5, "dtype": "q15"},
            {
                "m": 3,
                "k": 9,
                "n": 8,
                "dtype": "s8",
                "input_zero_point": -3,
                "output_zero_point": 5,
                "clamp": [-100, 100],
            },
            {"m": 8, "k": 8, "n": 8, "dtype": "f32", "placement": {"a": "qspi", "b": "sram", "c": "qspi"}},
            {"m": 1, "k": 1, "n": 1},
        ]
        self.pool = [{"gemm": [table]} for table in small] + [{"gemm": small[:2]}]

    def arguments(self, rng: Rng, path: Path, out: Path) -> list[str]:
        more = ["--json"] if rng.integers(3) == 0 else []
        return ["solve", "--file", str(path), "--out", str(out), "--sram", str(rng.choice(["2KiB", "96KiB"])), *more]

    def judge(self, said: Said, out: Path) -> str:
        if said.code:
            return "infeasible in part"
        for certificate in sorted(out.rglob("certificate.json")):
            check_project(certificate.parent)
        return "accepted"
