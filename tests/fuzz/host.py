"""Many compiled networks in one program for this computer, with the sanitizers, compared byte for byte."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit import ram
from memaopt.networks import reference
from memaopt.networks.graph import DType
from memaopt.trials.layer import stored

Array = np.ndarray[Any, Any]
_WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
#: What the driver writes before each layer: its number, its bytes.
_HEAD = np.dtype([("layer", "<i4"), ("bytes", "<i4")])

_DRIVER = jinja2.Template(
    """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

{% for p in plans %}
#include "{{ p.name }}.h"
{% endfor %}

static FILE *given, *found;

static void seen(void *context, int32_t layer, const void *output, int32_t bytes)
{
    int32_t head[2];
    (void)context;
    head[0] = layer;
    head[1] = bytes;
    fwrite(head, sizeof head, 1, found);
    fwrite(output, (size_t)bytes, 1, found);
}

static void *made(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        exit(3);
    }
    return memory;
}

static void *taken(size_t bytes)
{
    void *memory = made(bytes);
    if (fread(memory, bytes, 1, given) != 1) {
        exit(3);
    }
    return memory;
}
{% for p in plans %}

static int run_{{ p.name }}(void)
{
    void *arena = aligned_alloc(16, {{ p.name.upper() }}_ARENA_BYTES + 0u);
    int failed;
    {% for end in ins[loop.index0] %}
    void *{{ end.parameter }} = taken({{ end.bytes }});
    {% endfor %}
    {% for end in outs[loop.index0] %}
    void *{{ end.parameter }} = made({{ end.bytes }});
    {% endfor %}
    if (arena == NULL) {
        return 3;
    }
    memset(arena, 0xA5, {{ p.name.upper() }}_ARENA_BYTES);
    {% if copies[loop.index0] %}
    if ({{ p.name }}_init() != 0) {
        return 5;
    }
    {% endif %}
    failed = {{ p.name }}_invoke_observed(arena, {{ names[loop.index0] }}, seen, NULL);
    {% for end in outs[loop.index0] %}
    fwrite({{ end.parameter }}, {{ end.bytes }}, 1, found);
    {% endfor %}
    {% for end in ins[loop.index0] + outs[loop.index0] %}
    free({{ end.parameter }});
    {% endfor %}
    free(arena);
    return failed;
}
{% endfor %}

int main(int argc, char **argv)
{
    int failed = 3;
    if (argc != 5 || (given = fopen(argv[2], "rb")) == NULL || (found = fopen(argv[3], "wb")) == NULL) {
        return 2;
    }
    for (int n = atoi(argv[4]); n > 0; n--) {
        switch (atoi(argv[1])) {
        {% for p in plans %}
        case {{ loop.index0 }}:
            failed = run_{{ p.name }}();
            break;
        {% endfor %}
        default:
            break;
        }
        if (failed) {
            return 4;
        }
    }
    return fclose(found) ? 3 : 0;
}
""",
    trim_blocks=True,
    lstrip_blocks=True,
)


def _unlimited() -> None:
    """Give the address space back that a sanitizer's shadow takes."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_AS)[1]))


@cache
def compilers() -> list[tuple[str, ...]]:
    """What builds C for this computer: as the optimiser sees it, and with the sanitizers where they are there."""
    found: list[tuple[str, ...]] = []
    for name, optimise in (("gcc", "-O2"), ("clang", "-O1")):
        if shutil.which(name):
            wanted = [(name, optimise), (name, "-O0", *_SANITIZERS), (name, "-O1", *_SANITIZERS)]
            found += [command for command in wanted if _builds(command)]
    return found or [(sys.executable, "-m", "ziglang", "cc", "-O1")]


def _builds(command: Sequence[str]) -> bool:
    """Whether a compiler builds and links a program."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        built = subprocess.run(
            [*command, str(source), "-o", str(source.with_suffix(""))],
            capture_output=True,
            check=False,
            preexec_fn=_unlimited,
        )
        return built.returncode == 0


class Host:
    """Networks in one program. Their names must differ."""

    def __init__(self, plans: Sequence[NetworkPlan], folder: Path, compiler: Sequence[str]) -> None:
        self.plans = plans
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        sources = []
        for plan in plans:
            texts = emit.files(plan)
            for name in (library.header(plan.name), library.source(plan.name)):
                (folder / Path(name).name).write_text(texts[name], encoding="utf-8")
            sources.append(folder / f"{plan.name}.c")
        ends = [emit.ends(plan) for plan in plans]
        names = [", ".join(end.parameter for end in (*inputs, *outputs)) for inputs, outputs in ends]
        driver = folder / "driver.c"
        copies = [ram.copies(plan) is not None for plan in plans]
        driver.write_text(
            _DRIVER.render(plans=plans, ins=[i for i, _ in ends], outs=[o for _, o in ends], names=names, copies=copies)
        )
        self.program = folder / "program"
        command = [*compiler, "-std=c11", *_WARNINGS, *map(str, sources), str(driver), "-o", str(self.program)]
        built = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_unlimited)
        assert built.returncode == 0, f"{built.stderr[:4000]}\nby {' '.join(command)}"

    def check(self, number: int, samples: Sequence[Sequence[Array]]) -> None:
        """Raise AssertionError unless each layer and each output of a network has the reference's bytes."""
        plan = self.plans[number]
        given, found = self.folder / "given", self.folder / "found"
        given.write_bytes(b"".join(np.ascontiguousarray(x).tobytes() for values in samples for x in values))
        ran = subprocess.run(
            [str(self.program), str(number), str(given), str(found), str(len(samples))],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            preexec_fn=_unlimited,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=0"},
        )
        assert ran.returncode == 0, f"the program ends with {ran.returncode}: {ran.stderr[:3000]}"
        data = found.read_bytes()
        for values in samples:
            data = self._compare(plan, values, data)
        assert not data, f"{len(data)} bytes too many"

    def _compare(self, plan: NetworkPlan, values: Sequence[Array], data: bytes) -> bytes:
        """Compare one run; what follows it in ``data``."""
        expected = {op.output: value for op, value in reference.layers(plan.graph, list(values))}
        for number, layer in enumerate(plan.layers):
            head = np.frombuffer(data[: _HEAD.itemsize], _HEAD)[0]
            size = int(head["bytes"])
            assert head["layer"] == number, f"layer {head['layer']} runs in place of {number}"
            bytes_found = data[_HEAD.itemsize : _HEAD.itemsize + size]
            wanted = stored(expected[layer.op.output], layer.plan.output_format)
            assert bytes_found == wanted, f"{layer.name} ({layer.plan.family} {layer.plan.tile}) has other bytes"
            data = data[_HEAD.itemsize + size :]
        for index, wanted_output in zip(plan.graph.outputs, reference.run(plan.source, list(values)), strict=True):
            wanted = np.ascontiguousarray(wanted_output).tobytes()
            assert data[: len(wanted)] == wanted, f"output {plan.graph.tensors[index].name!r} has other bytes"
            data = data[len(wanted) :]
        return data


def samples(plan: NetworkPlan, rng: np.random.Generator) -> list[list[Array]]:
    """Inputs: random ones, extreme bytes, and all at the zero point."""
    tensors = [plan.graph.tensors[i] for i in plan.graph.inputs]
    made = [emit.random_inputs(plan, int(rng.integers(1 << 30)))]
    for values in ([-128, 127], [-128], [127]):
        made.append(
            [
                rng.normal(0, 8, t.shape).astype(np.float32)
                if t.dtype is DType.FLOAT32
                else rng.choice(np.array(values), t.shape).astype(t.dtype.value)
                for t in tensors
            ]
        )
    made.append([np.full(t.shape, t.zero_points[0] if len(t.zero_points) else 0, t.dtype.numpy) for t in tensors])
    return made
