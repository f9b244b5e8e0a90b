"""Hostile programs for ``memaopt run``: ELF files whose structure or whose instructions were changed.

Each ends in a result or in one line, in time and memory. A program that runs gives the same figures again, and with
``--profile``, which must agree with itself.
"""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elf_helpers import firmware
from elftools.elf.elffile import ELFFile

from tests.fuzz import mutate
from tests.fuzz.bench import Case, Rng, judged
from tests.fuzz.watch import command

_CALLS = ("dot", "scale", "apply", "sixth", "count", "deep", "jump", "reset", "0x08000101", "hang", "nothing")
_ARGS = ("", "a,b,100", "x,64,0.5", "dot,4", "1,2,3,4,5,6", "0xffffffff,a", "-1", "100,a,a")
#: Instructions of 16 bits: breakpoints, supervisor calls, hints, interrupt masks, returns, odd branches, IT blocks.
_SHORT = (
    0xBE00, 0xBEFF, 0xDF00, 0xDFFF, 0xBF00, 0xBF10, 0xBF20, 0xBF30, 0xBF40, 0xBF50, 0xB672, 0xB662, 0x4770, 0x4700,
    0x47FF, 0xBF08, 0xBFFF, 0xBF18, 0xDE00, 0xE7FE, 0xE7FF, 0xE000, 0xBD00, 0xB500, 0xBDFF, 0xC8FF, 0xC0FF, 0x4687,
    0x46BD, 0x4685, 0xBA80, 0x2000, 0x2800, 0xD0FE, 0xB100, 0xB900,
)  # fmt: skip
#: Of 32 bits: TBB, TBH, MRC, MCR, MRS, MSR, LDREX, STREX, CLREX, barriers, SVC-like, LDRD, VFP, division, far branches.
_LONG = (
    0xE8D0F000, 0xE8D0F010, 0xE8DFF001, 0xEE100F10, 0xEE000F10, 0xF3EF8000, 0xF3808800, 0xF3EF8003, 0xE8500F00,
    0xE8400000, 0xF3BF8F2F, 0xF3BF8F4F, 0xF3BF8F6F, 0xF7F0A000, 0xE9D00100, 0xE9500102, 0xEEB00A40, 0xEE800A00,
    0xED2D8A10, 0xECBD8A10, 0xFB90F0F0, 0xFBB0F0F1, 0xF000F800, 0xF7FFFFFE, 0xF000B800, 0xF8DFF000, 0xF85DFB04,
    0xE8BD8FFF, 0xE92DFFFF, 0xF3AF8001, 0xF3AF8002, 0xF3AF8000, 0xEEF10A10, 0xEEE10A10, 0xF991F000, 0xF3C00000,
)  # fmt: skip
_VALUES = (0, 1, 2, 0x34, 0x20, 0x7FFFFFFF, 0xFFFFFFFF, 0x08000000, 0x20000000, 0x10000000, 0x1000, 0xFFF, 0x40000000)


class Elfs:
    """Changed copies of a small firmware."""

    name = "elfs"
    batch = 1

    def prepare(self, folder: Path, seed: int) -> None:
        made = folder / "made"
        made.mkdir(exist_ok=True)
        built = firmware(made)
        self.file = folder / "program.elf"
        self.data = built.read_bytes()
        elf = ELFFile(built.open("rb"))
        self.code = [(s["sh_offset"], s["sh_size"]) for s in elf.iter_sections() if s["sh_flags"] & 4 and s["sh_size"]]
        self.tables = [
            *((elf["e_phoff"] + i * 32, 32) for i in range(elf["e_phnum"])),
            *((elf["e_shoff"] + i * 40, 40) for i in range(elf["e_shnum"])),
            (0, 52),
        ]
        symbols = elf.get_section_by_name(".symtab")
        self.symbols = (symbols["sh_offset"], symbols["sh_size"] // 16)
        names = elf.get_section_by_name(".strtab")
        self.names = (names["sh_offset"], names["sh_size"])

    def check(self, numbers: Sequence[int], rngs: Sequence[Rng]) -> list[str | Case]:
        """Each: ``runs``, ``faults`` or ``refused``, with what was changed."""
        return [self._one(rng) for rng in rngs]

    def _one(self, rng: Rng) -> str | Case:
        data, what = self._mutated(rng)
        self.file.write_bytes(data)
        arguments = ["run", str(self.file), "--budget", str(int(rng.choice([1, 1000, 20000, 50000])))]
        if rng.integers(4):
            arguments += ["--call", str(rng.choice(_CALLS))]
            if given := str(rng.choice(_ARGS)):
                arguments += ["--args", given]
            if rng.integers(6) == 0:
                arguments += ["--stack", str(rng.choice(["64", "1KiB", "512KiB", "8"]))]
        if rng.integers(6) == 0:
            arguments += ["--mcu", str(rng.choice(["nrf52840", "stm32f407", "stm32f446"]))]
        if rng.integers(8) == 0:
            arguments += ["--trap-divide"]
        if rng.integers(8) == 0:
            arguments += ["--wait-states", str(int(rng.integers(9)))]
        arguments.append("--json" if rng.integers(2) else "--profile")
        files = {"program.elf": data, "arguments.txt": " ".join(arguments).encode()}

        def verdict() -> str:
            said = command(*arguments)
            if said.code:
                word = "faults" if " at 0x" in said.err else "refused"
                return f"{word} ({what})"
            if "--json" in arguments:
                self._agrees(said.out, arguments)
            return f"runs ({what})"

        found = judged(verdict, files)
        gc.collect()  # emulators that hold themselves
        return found

    def _agrees(self, out: str, arguments: Sequence[str]) -> None:
        """The same program makes the same figures again, and the profile adds up to them."""
        first = _figures(json.loads(out))
        again = _figures(json.loads(command(*arguments, "--profile").out))
        assert first == {key: value for key, value in again.items() if key in first}, f"{first}, then {again}"

    def _mutated(self, rng: Rng) -> tuple[bytes, str]:
        data = bytearray(self.data)
        match int(rng.integers(8)):
            case 0:
                return mutate.mutated_bytes(rng, self.data, [self.data]), "bytes"
            case 1 | 2:
                for _ in range(int(rng.integers(1, 4))):
                    start, size = self.tables[int(rng.integers(len(self.tables)))]
                    at = start + int(rng.integers(size // 4)) * 4
                    struct.pack_into("<I", data, at, self._value(rng, data, at))
                return bytes(data), "headers"
            case 3:
                start, count = self.symbols
                for _ in range(int(rng.integers(1, 9))):
                    at = start + 16 * int(rng.integers(count)) + 4 * int(rng.integers(4))
                    struct.pack_into("<I", data, at, self._value(rng, data, at))
                start, size = self.names
                for _ in range(int(rng.integers(4))):
                    data[start + int(rng.integers(size))] = int(rng.choice([0x1B, 0x0A, 0x9B, 0xFF, 0, 0x5B, 0x07]))
                return bytes(data), "symbols"
            case _:
                return self._instructions(rng, data), "instructions"

    def _value(self, rng: Rng, data: bytearray, at: int) -> int:
        old = int.from_bytes(data[at : at + 4], "little")
        near = old + int(rng.choice([-4, -1, 1, 2, 4, 64, 0x1000]))
        values: Sequence[Any] = (near, near, old * 2, len(data), int(rng.integers(1 << 32)), *_VALUES)
        return int(values[int(rng.integers(len(values)))]) & 0xFFFFFFFF

    def _instructions(self, rng: Rng, data: bytearray) -> bytes:
        sections = [c for c in self.code if c[1] > 8]
        for _ in range(int(2 ** rng.integers(0, 7))):
            start, size = sections[int(rng.integers(len(sections)))]
            at = start + 2 * int(rng.integers(size // 2 - 2))
            match int(rng.integers(5)):
                case 0 | 1:
                    word = _SHORT[int(rng.integers(len(_SHORT)))]
                    struct.pack_into("<H", data, at, word ^ (1 << int(rng.integers(8)) if rng.integers(3) == 0 else 0))
                case 2 | 3:
                    word = _LONG[int(rng.integers(len(_LONG)))]
                    word ^= 1 << int(rng.integers(20)) if rng.integers(2) else 0
                    struct.pack_into("<HH", data, at, word >> 16, word & 0xFFFF)
                case _:
                    struct.pack_into("<H", data, at, int(rng.integers(1 << 16)))
        return bytes(data)


def _figures(run: dict[str, Any]) -> dict[str, Any]:
    """A run's figures, without the time it took and the profile."""
    return {key: value for key, value in run.items() if key not in ("profile", "seconds", "speed")}
