"""What a custom operator's function computes: its C, built for this computer in a program of its own, and run."""

from __future__ import annotations

from functools import lru_cache

from memaopt import interrupts
from memaopt.errors import BuildError, MissingToolError
from memaopt.host_compiler import HOST_COMPILERS, host_command
from memaopt.problems.custom import DESCRIPTION, DESCRIPTION_TEXT, CustomCode, CustomLayer

#: Seconds after which it is said that a call does not return.
_PATIENCE = 60
_ALIGNED = 16  # as operands lie in an arena
_RUBBISH = 0xA5  # what the outputs hold before


def computed(layer: CustomLayer, inputs: tuple[bytes, ...]) -> bytes:
    """The bytes of all outputs, as they lie, for those of the inputs.

    Raises MissingToolError if this computer has no compiler, BuildError if the C does not build, or does not end well.
    """
    return _computed(layer, inputs)


def files_of(code: CustomCode) -> dict[str, str]:
    """What is built with the code: its files, and the header that they include."""
    return {DESCRIPTION: DESCRIPTION_TEXT, **{file.name: file.text for file in code.files}}


@lru_cache(maxsize=64)
def _computed(layer: CustomLayer, inputs: tuple[bytes, ...]) -> bytes:
    compiler, code = host_command(), layer.code
    if compiler is None:
        raise MissingToolError(
            f"custom operator {code.name}: what it computes is found by running its C here, and no C compiler "
            f"({', '.join(HOST_COMPILERS)}) is on PATH"
        )
    with interrupts.scratch_folder() as folder:
        own = folder / "own"  # a file of the user's may be called as one of these
        own.mkdir()
        for name, text in files_of(code).items():
            (own / name).write_text(text, encoding="utf-8")
        (folder / "program.c").write_text(_program(layer), encoding="utf-8")
        (folder / "inputs").write_bytes(b"".join(inputs))
        sources = [str(folder / "program.c"), *(str(own / file.name) for file in code.sources)]
        flags = ["-std=c11", "-O2", "-ffp-contract=off", f"-I{own}", "-o", str(folder / "program")]
        status, _, errors = interrupts.run([*compiler, *flags, *sources, "-lm"], folder)
        if status != 0:
            lines = errors.splitlines()
            told = next((line for line in lines if "error:" in line or "undefined" in line), "it does not build")
            told = told.replace(f"{own}/", "").replace(f"{folder}/", "").removeprefix("/usr/bin/ld: ")
            raise BuildError(f"custom operator {code.name}: {told}; it is called as {layer.declared}")
        program = [str(folder / name) for name in ("program", "inputs", "outputs")]
        try:
            status, _, _ = interrupts.run(program, folder, _PATIENCE)
        except TimeoutError:
            raise BuildError(f"custom operator {code.name}: a call has not returned after {_PATIENCE} s") from None
        if status != 0:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            raise BuildError(f"custom operator {code.name}: built for this computer, a call ends {how}")
        return (folder / "outputs").read_bytes()


def _program(layer: CustomLayer) -> str:
    """A program that reads the inputs from its first file, and writes the outputs to its second."""
    names = tuple(f"in{i}" for i in range(len(layer.inputs)))
    buffers = [f"static _Alignas({_ALIGNED}) int8_t {n}[{o.bytes}];" for n, o in zip(names, layer.takes, strict=True)]
    reads = [f"    failed |= fread({name}, 1, sizeof {name}, given) != sizeof {name};" for name in names]
    return "\n".join(
        [
            f'#include "{DESCRIPTION}"',
            f'#include "{layer.code.header.name}"',
            "#include <stdio.h>",
            "#include <string.h>",
            *buffers,
            f"static _Alignas({_ALIGNED}) int8_t out[{layer.gives.bytes}];",
            "static void call(void)",
            "{",
            layer.call(names, "out") + "}",
            "int main(int count, char **names)",
            "{",
            "    int failed = count != 3;",
            '    FILE *const given = fopen(names[1], "rb");',
            "    if (failed || given == NULL) { return 3; }",
            *reads,
            f"    memset(out, {_RUBBISH}, sizeof out);",
            "    call();",
            '    FILE *const made = fopen(names[2], "wb");',
            "    if (failed || made == NULL) { return 3; }",
            "    failed |= fwrite(out, 1, sizeof out, made) != sizeof out;",
            "    failed |= fclose(made) != 0;",
            "    return failed ? 3 : 0;",
            "}",
            "",
        ]
    )
