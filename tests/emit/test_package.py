"""Archives of a library: each holds its folder, and is installed by the ecosystem's own tool where that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cli_helpers import Cli
from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.emit import network as emit
from memaopt.emit.package import KINDS, archive
from memaopt.networks.zoo.builder import Builder


@pytest.fixture(scope="module")
def files() -> dict[str, str | bytes]:
    b = Builder("small", (1, 6), 0)
    plan = compile_network(b.finish(b.fully_connected(0, 4)), MCU.in_setting("ram"))
    return {**emit.files(plan), "certificate.json": "{}", "small.tflite": b"\0\1"}


def unpacked(kind: str, files: dict[str, str | bytes], folder: Path) -> Path:
    """The archive itself, beside a folder ``in`` with what it holds."""
    name, data = archive(kind, "small", files)
    file = folder / name
    file.write_bytes(data)
    if name.endswith(".tar.gz"):
        with tarfile.open(file) as packed:
            packed.extractall(folder / "in", filter="data")
    else:
        with zipfile.ZipFile(file) as packed:
            assert packed.testzip() is None
            packed.extractall(folder / "in")
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_the_folder(kind: str, files: dict[str, str | bytes], tmp_path: Path) -> None:
    """Catches a file that is left out or changed, and dates or an order that differ from run to run."""
    assert archive(kind, "small", files) == archive(kind, "small", dict(reversed(files.items())))
    unpacked(kind, files, tmp_path)
    (description,) = (tmp_path / "in").rglob("library.json")
    root = description.parent
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    # Arduino wants one folder, whose name is the library's; a pack its description at the root, named as the archive.
    top = {"arduino": "small", "zephyr": "small"}.get(kind, root.name)
    assert root.name == top
    if kind == "cmsis-pack":
        assert [path.stem for path in root.glob("*.pdsc")] == ["memaopt.small"]


def test_platformio_installs_it(files: dict[str, str | bytes], tmp_path: Path) -> None:
    """Catches an archive that `pio pkg install` does not take for a library."""
    pytest.importorskip("platformio")
    file = unpacked("platformio", files, tmp_path)
    environment = {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(tmp_path / "core"),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
    }
    command = [sys.executable, "-m", "platformio", "pkg", "install", "--global", "--library", f"file://{file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "core" / "lib" / "small" / "src" / "small.c").is_file()


_APP = """
cmake_minimum_required(VERSION 3.16)
project(app C)
include(FetchContent)
FetchContent_Declare(small URL %s)
FetchContent_MakeAvailable(small)
file(WRITE ${CMAKE_BINARY_DIR}/app.c "#include <small.h>\\nint main(void) { return small_init(); }\\n")
add_executable(app ${CMAKE_BINARY_DIR}/app.c)
target_link_libraries(app PRIVATE small::small)
"""


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("cc")), reason="needs cmake and cc")
def test_cmake_fetches_it(files: dict[str, str | bytes], tmp_path: Path) -> None:
    """Catches an archive that FetchContent does not find a project in."""
    file = unpacked("cmake", files, tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "CMakeLists.txt").write_text(_APP % file)
    # The chip's linker options are the chip's: on this computer the folder is searched in vain.
    for command in (["cmake", "-S", "app", "-B", "built"], ["cmake", "--build", "built"], ["built/app"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_solve_writes_archives(cli: Cli, tmp_path: Path) -> None:
    """Catches an option passed over, a project beside the archive, and an archive that the next one takes away."""
    kinds = [word for kind in KINDS[1:] for word in ("--package", kind)]
    for given in (("--package", KINDS[0]), kinds, kinds):
        assert cli("solve", "gemm", "4x4x4", *given, "--out", tmp_path / "dist").code == 0
    names = sorted(path.name for path in (tmp_path / "dist").iterdir() if path.name != ".memaopt.json")
    assert names == sorted(archive(kind, "gemm_q15_4x4x4", {})[0] for kind in KINDS)
    assert "needs --out" in cli.refused("solve", "gemm", "4x4x4", "--package", "arduino")
    line = cli.refused("solve", "gemm", "4x4x4", "--package", "esp", "--out", tmp_path / "no")
    assert "there are arduino, zephyr, platformio, cmsis-pack, cmake" in line
    assert not (tmp_path / "no").exists()
