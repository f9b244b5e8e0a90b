"""Compiled networks on the host: every layer's bytes through the library's own callback."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from emit_helpers import host_compilers

from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import network as emit
from memaopt.emit.folder import source
from memaopt.kernels.text.standard import WARNINGS as WARNINGS
from memaopt.machines.mcu import mcu
from memaopt.networks import reference
from memaopt.trials.layer import stored
from memaopt.writer import write_scratch

MCU = mcu("stm32l4r5")


class Library:
    """The emitted library, built with the host's compiler and the undefined-behaviour sanitizer."""

    def __init__(self, plan: NetworkPlan, folder: Path) -> None:
        self.plan = plan
        write_scratch(emit.files(plan), folder)
        library = folder / "library.so"
        flags = ["-std=c11", "-O1", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
        sources = [str(folder / source(plan.name)), "-o", str(library)]
        command = [*host_compilers()[0], *flags, "-fno-sanitize=alignment", "-shared", "-fPIC"]
        subprocess.run([*command, *sources], check=True)
        self._library = ctypes.CDLL(str(library))
        if plan.has_init:
            assert getattr(self._library, f"{plan.name}_init")() == 0

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> tuple[list[bytes], list[np.ndarray[Any, Any]]]:
        """Each layer's output as it lies in the arena, and the network's outputs."""
        plan, seen = self.plan, []

        def callback(_: int, layer: int, output: int, size: int) -> None:
            assert layer == len(seen)
            seen.append(ctypes.string_at(output, size))

        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)
        arena = np.full(plan.arena_bytes + 192, 0xA5, np.uint8)
        start = -arena.ctypes.data % 16 + 64
        given = [np.ascontiguousarray(x) for x in inputs]
        tensors = [plan.graph.tensors[t] for t in plan.graph.outputs]
        outputs = [np.zeros(t.shape, t.dtype.numpy) for t in tensors]
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*given, *outputs)]
        invoke = getattr(self._library, f"{plan.name}_invoke_observed")
        assert invoke(ctypes.c_void_p(arena.ctypes.data + start), *pointers, kind(callback), None) == 0
        assert (arena[:start] == 0xA5).all(), "written before the arena"
        assert (arena[start + plan.arena_bytes :] == 0xA5).all(), "written behind the arena"
        return seen, outputs

    def check(self, inputs: Sequence[np.ndarray[Any, Any]]) -> None:
        """Every layer and every output against the reference, byte for byte."""
        plan = self.plan
        seen, outputs = self.run(inputs)
        expected = {op.output: value for op, value in reference.layers(plan.graph, list(inputs))}
        for layer, found in zip(plan.layers, seen, strict=True):
            wanted = stored(expected[layer.op.output], layer.plan.output_format)
            assert found == wanted, f"{layer.name} ({layer.plan.family} {layer.plan.tile})"
        for found, wanted in zip(outputs, reference.run(plan.source, list(inputs)), strict=True):
            np.testing.assert_array_equal(found, wanted)
