"""What runs a network on many samples: the reference, on all cores, or the library's own C, built for this computer."""

from __future__ import annotations

import ctypes
import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt import blas, interrupts
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as emitted
from memaopt.emit import network as emit
from memaopt.errors import BuildError, InputError, MissingToolError
from memaopt.host_compiler import HOST_COMPILERS, host_compiler
from memaopt.networks.batched.batched import Batched, run_elsewhere
from memaopt.networks.graph import Graph
from memaopt.sweeps.pools import Processes
from memaopt.writer import write_scratch

Array = npt.NDArray[Any]
#: The outputs of samples, in their order, some at a time.
Executor = Callable[[Array], Iterator[Array]]
_WORTH_PROCESSES = 2.0  # seconds of work that are left: other processes take most of one to begin


@contextmanager
def executor(graph: Graph, plan: NetworkPlan | None = None) -> Iterator[tuple[str, Executor]]:
    """What runs samples of a network, and its name: the reference, or the C of a plan. MissingToolError without a
    compiler for that.
    """
    if plan is None:
        yield "the reference", lambda samples: _reference(graph, samples)
        return
    with _built(plan) as (compiler, run):
        yield f"its C, built here by {compiler}", run


def _reference(graph: Graph, samples: Array) -> Iterator[Array]:
    """Here as long as little is left to do, then on all cores."""
    batched = Batched(graph)
    parts = batched.parts(samples)
    started, left = time.perf_counter(), len(samples)
    for part in parts:
        yield batched.run([part])[0]
        left -= len(part)
        if (time.perf_counter() - started) * left / (len(samples) - left) > _WORTH_PROCESSES:
            break
    if left and (os.cpu_count() or 1) > 1:
        with blas.one_thread_each(), Processes() as workers:
            data = pickle.dumps(graph)
            for answer in [workers.submit(run_elsewhere, data, part) for part in parts]:
                yield workers.result(answer)
    else:
        yield from (batched.run([part])[0] for part in parts)


@contextmanager
def _built(plan: NetworkPlan) -> Iterator[tuple[str, Executor]]:
    """The compiler's version, and the library as it runs on all cores."""
    compiler = host_compiler()
    if compiler is None:
        raise MissingToolError(f"--library needs a C compiler: {', '.join(HOST_COMPILERS)}: none is on PATH")
    if plan.ram_bytes:
        raise InputError(f"{plan.name}: copies code or constants into RAM, which no computer does: leave out --library")
    with interrupts.scratch_folder() as folder:
        write_scratch(emit.files(plan), folder)
        library = folder / "library.so"
        flags = ["-std=c11", "-O3", "-ffp-contract=off", "-shared", "-fPIC"]
        sources = map(str, emitted.sources(folder, plan.name, plan.customs))
        libraries = ["-lm"] if plan.customs else []
        command = [compiler[0], *flags, "-I", str(folder / "include"), *sources, "-o", str(library), *libraries]
        # A third faster, where the compiler knows this computer.
        status, _, errors = interrupts.run([*command, "-march=native"], folder)
        if status != 0:
            status, _, errors = interrupts.run(command, folder)
        if status != 0:
            raise BuildError(f"{compiler[1]} does not build the library: {errors.strip().splitlines()[:1]}")
        run = _called(plan, library)

        def on_all_cores(samples: Array) -> Iterator[Array]:
            # C of the user's may keep something between its calls.
            with ThreadPoolExecutor(1 if plan.customs else os.cpu_count()) as pool:
                yield from pool.map(run, samples)

        yield compiler[1], on_all_cores


def _called(plan: NetworkPlan, library: Path) -> Callable[[Array], Array]:
    """The library's own function for one sample, in an arena for each call: [1, *output shape]."""
    invoke = getattr(ctypes.CDLL(str(library)), f"{plan.name}_invoke_with")
    output = plan.source.tensors[plan.source.outputs[0]]

    def run(value: Array) -> Array:
        given, result = np.ascontiguousarray(value), np.zeros((1, *output.shape), output.dtype.numpy)
        arena = np.zeros(plan.arena_bytes + 16, np.uint8)
        start = arena.ctypes.data + -arena.ctypes.data % 16
        status = invoke(*map(ctypes.c_void_p, (start, given.ctypes.data, result.ctypes.data)))
        if status != 0:
            raise BuildError(f"{plan.name}_invoke_with returns {status} on this computer")
        return result

    return run
