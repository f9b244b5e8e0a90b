"""Layers built and run: on the host, and on the virtual board."""

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from board_helpers import compilers
from emit_helpers import host_compilers

from memaopt.access import Access
from memaopt.board import Board, Run, build
from memaopt.kernels.registry import Emitted, source_file
from memaopt.kernels.text.standard import WARNINGS as WARNINGS
from memaopt.machines.mcu import mcu

MCU = mcu("stm32l4r5").with_wait_states(0)
#: GCC if it is installed, else Zig's Clang.
COMPILER = compilers()[0]
#: Undefined behaviour ends the program.
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=undefined")


class Host:
    """Layers compiled with the host's compiler: what their portable C computes."""

    def __init__(self, folder: Path, layers: Sequence[Emitted], flags: Sequence[str] = ()) -> None:
        source, library = folder / "layers.c", folder / "layers.so"
        source.write_text(source_file(layers))
        command = [*host_compilers()[0], "-std=c11", "-O2", *WARNINGS, "-shared", "-fPIC", *flags]
        subprocess.run([*command, str(source), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def run(self, layer: Emitted, inputs: Sequence[np.ndarray], output: np.ndarray) -> np.ndarray:
        """The layer's output; guard bytes around it must survive."""
        arrays = [_guarded(x) for x in inputs]
        # Scratch memory holds rubbish.
        out, scratch = _guarded(np.zeros_like(output)), _guarded(np.full(layer.plan.scratch_bytes, 0x6B, np.int8))
        pointers = [ctypes.c_void_p(a.ctypes.data + _GUARD) for a in (*arrays, out, scratch)]
        getattr(self._library, layer.name)(*pointers)
        for a in (*arrays, out, scratch):
            assert (a[:_GUARD] == 0x5A).all(), "something was written outside a buffer"
            assert (a[-_GUARD:] == 0x5A).all(), "something was written outside a buffer"
        return out[_GUARD:-_GUARD].view(output.dtype)


_GUARD = 64


def _guarded(data: np.ndarray) -> np.ndarray:
    memory = np.full(data.nbytes + 2 * _GUARD + 16, 0x5A, np.uint8)
    start = -memory.ctypes.data % 16
    view = memory[start : start + data.nbytes + 2 * _GUARD]
    view[_GUARD : _GUARD + data.nbytes] = np.frombuffer(data.tobytes(), np.uint8)
    return view


class OnBoard:
    """Layers on the virtual Cortex-M4, compiled by ``compiler``."""

    def __init__(
        self,
        folder: Path,
        layers: Sequence[Emitted],
        compiler: str = COMPILER,
        optimise: str = "-O3",
        define: dict[str, str | int] | None = None,
    ) -> None:
        source, elf = folder / f"layers_{compiler}.c", folder / f"layers_{compiler}.elf"
        source.write_text(source_file(layers))
        # Equal arrays of two layers become one, under a name of one of them: accesses of the other would be nobody's.
        apart = ["-fno-ipa-icf"] if compiler == "gcc" else []
        program = build([source], elf, MCU, compiler=compiler, optimise=optimise, define=define, flags=apart)
        self.board = Board(MCU).load(program)

    def run(self, layer: Emitted, inputs: Sequence[np.ndarray], output: np.ndarray) -> tuple[np.ndarray, Run]:
        """The layer's output, and what the board counted."""
        at, buffers, arguments = MCU.sram.base + 0x1000, {}, []
        sizes = [*(x.nbytes for x in inputs), output.nbytes, layer.plan.scratch_bytes]
        names = [*(f"input{i if len(inputs) > 1 else ''}" for i in range(len(inputs))), "output", "scratch"]
        for name, size in zip(names, sizes, strict=True):
            if size:
                buffers[name] = (at, size)
            arguments.append(at)
            at += -(-size // 16) * 16 + 32
        for address, data in zip(arguments, inputs, strict=False):
            self.board.write(address, data.tobytes())
        self.board.write(arguments[len(inputs)], b"\x5a" * output.nbytes)
        self.board.write(arguments[-1], b"\x6b" * layer.plan.scratch_bytes)
        run = self.board.call(layer.name, *arguments, buffers=buffers)
        raw = self.board.read(arguments[len(inputs)], output.nbytes)
        return np.frombuffer(raw, output.dtype), run


def counted(layer: Emitted, run: Run) -> dict[str, Access]:
    """The board's counts under the names of a promise; of the stack, what the layer's kernels do there."""
    stack = [run.stack_by_function[k.name] for k in layer.kernels if k.name in run.stack_by_function]
    counts = {"stack": sum(stack, Access())} if stack else {}
    for name, access in run.buffers.items():
        key = layer.buffers.get(name, name)
        if access and (key in ("output", "scratch", "parameters", "channels") or key.startswith("input")):
            counts[key] = counts.get(key, Access()) + access
    return counts
