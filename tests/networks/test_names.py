"""Names of networks become identifiers, files and targets that collide with nothing; free text ends no comment."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.emit import network as emit
from memaopt.networks.names import identifier_of
from memaopt.networks.zoo.builder import Builder
from memaopt.printable import in_comment

#: The project's own files, headers, words of C and C++, functions of the library, targets of build files.
TAKEN = (
    "main",
    "string",
    "stdint",
    "arm_acle",
    "Arduino",
    "class",
    "int",
    "static_assert",
    "memcpy",
    "abs",
    "test",
    "help",
    "aux",
)


@pytest.mark.slow
@given(st.text(max_size=300))
def test_any_name_becomes_an_identifier(name: str) -> None:
    """Catches a name that does not compile, that a C++ compiler reserves, or that changes when it is read again."""
    made = identifier_of(name)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", made)
    assert len(made) <= 48
    assert identifier_of(made) == made


@pytest.mark.parametrize("name", TAKEN)
def test_a_name_that_is_taken_is_changed(name: str) -> None:
    """Catches a library that is written over the project's own file, or found in place of a system's."""
    assert identifier_of(f"{name}.tflite") == f"net_{name.lower()}"


def test_the_projects_own_files_have_the_networks_name() -> None:
    """Catches a file that was added to what is emitted, and that another network in the project has too."""
    b = Builder("n", (1, 3), 0)
    plan = compile_network(b.finish(b.fully_connected(0, 2)), MCU)
    sources = {Path(file).stem for file in emit.files(plan) if file.endswith((".c", ".h", ".inc", ".ino"))} - {"n"}
    assert sources
    assert all(stem.startswith("n_") for stem in sources)


def test_long_names_are_told_apart() -> None:
    """Catches two networks in one project that end as one name, because only their ends differ."""
    names = ("a" * 200, "a" * 201, "a" * 199 + "b", "a" * 48)
    assert len(set(map(identifier_of, names))) == len(names)


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="needs make and cc")
@pytest.mark.parametrize("name", ["string", "main", "test", "class", "a" * 200])
def test_such_a_network_is_built(name: str, tmp_path: Path) -> None:
    """Catches files, macros, targets or symbols that the changed name still shares with something."""
    b = Builder(name, (1, 5), 0)
    emit.write(compile_network(b.finish(b.fully_connected(0, 3)), MCU), tmp_path)
    subprocess.run(["make", "-s", "-C", str(tmp_path), "check"], check=True)
    if shutil.which("c++"):
        header = f"include/{identifier_of(name)}.h"
        (tmp_path / "in_cpp.cpp").write_text(f'#include "{header}"\n#include <string.h>\n')
        subprocess.run(["c++", "-fsyntax-only", "-I.", "in_cpp.cpp"], check=True, cwd=tmp_path)
    if shutil.which("cmake") and name == "test":
        subprocess.run(["cmake", "-S", ".", "-B", "built"], check=True, cwd=tmp_path, capture_output=True)


_PARTS = st.sampled_from(("*", "/", "\\", "?", "??/", "*\\", "\n", "\r", "\x85", "\u2028", "$(rm)", "#", " ", "a"))


@given(st.lists(_PARTS, max_size=12).map("".join))
def test_free_text_ends_no_comment(text: str) -> None:
    """Catches a title that ends its comment, joins the next line to it, or starts a line of its own."""
    made = in_comment(text)
    assert len(made.splitlines()) <= 1
    assert not any(part in made for part in ("*/", "/*", "\\", "??"))
