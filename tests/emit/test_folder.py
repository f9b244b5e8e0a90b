"""The folder of a library in the ecosystems it is copied into: by their own tools and schemas, or by their rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from emit_helpers import case, certificate_of, host_compilers, write
from network_helpers import MCU

from memaopt.choice.bundle import compile_bundle
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.choice.placement import NetworkPlacement
from memaopt.emit import bundle
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.outside import images
from memaopt.machines.mcu import mcu
from memaopt.networks.operators import Size2D
from memaopt.networks.streaming.window import Stream
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder
from memaopt.writer import write_files

#: What Eclipse, and with it STM32CubeIDE, compiles wherever below a project it lies.
COMPILED = {".c", ".cc", ".cpp", ".cxx", ".s", ".S", ".asm"}
#: Files that have a fixed name in some ecosystem.
FIXED = {
    *("CMakeLists.txt", "Kconfig", "Makefile", "README.md", "library.json", "library.properties", "module.yml"),
    *("prj.conf", "testcase.yaml", "certificate.json", ".memaopt.json"),
}
#: Of arduino-lint: the categories that a library may have, and its fields that must not be empty.
ARDUINO_CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}
ARDUINO_FIELDS = ("name", "version", "author", "maintainer", "sentence", "category", "url", "architectures")
#: Zephyr's schema of module.yml, as far as a module without blobs and boards may use it.
ZEPHYR_MODULE = {
    "type": "map",
    "mapping": {
        "name": {"type": "str", "required": True},
        "build": {"type": "map", "mapping": {"cmake": {"type": "str"}, "kconfig": {"type": "str"}}},
        "samples": {"type": "seq", "sequence": [{"type": "str"}]},
        "tests": {"type": "seq", "sequence": [{"type": "str"}]},
    },
}
STUBS = {
    "zephyr/kernel.h": "#include <stdint.h>\nvoid printk(const char *text, ...);\nint k_msleep(int ms);\n",
    "zephyr/timing/timing.h": "#include <stdint.h>\ntypedef uint64_t timing_t;\nvoid timing_init(void);\n"
    "void timing_start(void);\ntiming_t timing_counter_get(void);\n"
    "uint64_t timing_cycles_get(volatile timing_t *const, volatile timing_t *const);\n"
    "uint64_t timing_cycles_to_ns(uint64_t);\nuint32_t timing_freq_get_mhz(void);\n",
    "main.h": "#include <stdint.h>\nstruct debug { uint32_t DEMCR; };\nstruct watch { uint32_t CTRL, CYCCNT; };\n"
    "extern volatile struct debug *CoreDebug;\nextern volatile struct watch *DWT;\n"
    "#define CoreDebug_DEMCR_TRCENA_Msk 1u\n#define DWT_CTRL_CYCCNTENA_Msk 1u\n",
    "Arduino.h": "struct Port { void begin(int); void print(const char *); "
    "template <class T> void println(T, int = 0); };\nextern Port Serial;\nunsigned long micros();\nvoid delay(int);\n",
}
KINDS = ("ds_cnn", "float ends", "in RAM", "outside", "by rows", "stream", "several", "q15", "s8 arguments")


def small(name: str = "small", setting: str = "stock") -> NetworkPlan:
    b = Builder(name, (1, 6), 0)
    return compile_network(b.finish(b.fully_connected(0, 4)), MCU.in_setting(setting))


def networks(name: str) -> list[str]:
    """Those of a library."""
    return ["tcn", "small"] if name == "tcn_small" else [name]


def written(kind: str, folder: Path) -> str:
    """A library of that kind in a folder; its name."""
    if kind == "q15":
        return write(certificate_of(case((5, 13, 7), "q15-c", (2, 2, 2))), folder)
    if kind == "s8 arguments":
        return write(certificate_of(case((5, 13, 7), "s8-c", (2, 4, 2), weights=None)), folder)
    if kind == "several":
        several = compile_bundle([zoo.build("tcn"), small().source], MCU)
        write_files(bundle.files(several), folder)
        return several.name
    if kind == "in RAM":
        plan = small("in_ram", "ram")
    elif kind == "outside":
        b = Builder("outside", (1, 6), 0)
        place = NetworkPlacement(weights="qspi")
        plan = compile_network(b.finish(b.fully_connected(0, 4)), mcu("stm32l4s5"), place=place)
    elif kind == "by rows":
        b = Builder("by_rows", (1, 9, 8, 4), 0)
        plan = compile_network(b.finish(b.conv_2d(b.conv_2d(0, 8, Size2D(3, 3)), 4, Size2D(3, 3))), MCU, by_rows=True)
    elif kind == "stream":
        plan = compile_network(zoo.build("tcn"), MCU, stream=Stream.asked("rows", 1))
    else:
        graph = zoo.build("ds_cnn")
        plan = compile_network(graph if kind == "ds_cnn" else zoo.with_float_ends(graph), MCU)
    write_files({**emit.files(plan), **images(plan)}, folder)
    return plan.name


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("library") / "made"
    return folder, written(request.param, folder)


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_is_one_source(made: tuple[Path, str]) -> None:
    """Catches a second file that a tool compiles which takes every source below a folder: a second main, or a header
    of another ecosystem; and a file that two networks in one project both have.
    """
    folder, name = made
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [str(path.relative_to(folder)) for path in files if path.suffix in COMPILED] == [library.source(name)]
    assert all(any(n in path.name for n in networks(name)) or path.name in FIXED for path in files)
    assert not [path for path in files if b"-Werror" in path.read_bytes()]
    run(*host_compilers()[0], "-std=c11", "-fsyntax-only", folder / library.source(name))


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("g++")), reason="needs gcc and g++")
def test_examples_compile(made: tuple[Path, str], tmp_path: Path) -> None:
    """Catches an example that does not fit the header; the platforms' own headers are stubs here."""
    folder, name = made
    for file, text in STUBS.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    warnings = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    plain = ["gcc", "-std=c11", *warnings, f"-I{tmp_path}", f"-I{folder / 'include'}", f"-I{folder / 'extras'}"]
    for chip in ([], ["-DCONFIG_CPU_CORTEX_M_HAS_DWT"]):
        run(*plain, *chip, "-x", "c", folder / "zephyr" / "sample" / f"{name}_main.inc")
    user, calls = tmp_path / "user.c", " + ".join(f"{n}_measure()" for n in networks(name))
    user.write_text(
        f'#include "{name}_stm32cube.h"\nuint32_t f(void);\nuint32_t f(void)\n{{\n    return {calls};\n}}\n'
    )
    run(*plain, user)
    # Arduino knows a library's folder src alone.
    sketch = ["g++", *warnings, "-Wno-unused-but-set-variable", f"-I{tmp_path}", f"-I{folder / 'src'}"]
    run(*sketch, "-include", "Arduino.h", "-x", "c++", next(folder.glob("examples/*/*.ino")))


def test_arduinos_rules(made: tuple[Path, str]) -> None:
    """Catches what arduino-lint calls an error in a library: a field, a category, a name, a header out of place."""
    folder, name = made
    lines = (folder / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    assert all(fields[field].strip() for field in ARDUINO_FIELDS)
    assert fields["name"] == name
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", name)
    assert "arduino" not in name.lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] in ARDUINO_CATEGORIES
    assert re.match(r"https?://", fields["url"])
    assert not fields["sentence"].endswith(".")
    assert (folder / "src" / fields["includes"]).is_file()
    assert [path.stem for path in folder.glob("examples/*/*.ino")] == [path.name for path in folder.glob("examples/*")]


def test_platformio_packs_it(made: tuple[Path, str], tmp_path: Path) -> None:
    """Catches a library.json that PlatformIO refuses, and a package without the linker script or the sources."""
    pytest.importorskip("platformio")
    folder, name = made
    run(sys.executable, "-m", "platformio", "pkg", "pack", "-o", tmp_path / "made.tar.gz", folder)
    with tarfile.open(tmp_path / "made.tar.gz") as packed:
        names = set(packed.getnames())
    wanted = {library.header(name), library.source(name), f"src/{name}.h", "library.json"}
    wanted |= {library.vector(each) for each in networks(name)}
    wanted |= {library.linker_part(name)} if (folder / library.linker_part(name)).exists() else set()
    assert wanted <= names
    assert json.loads((folder / "library.json").read_text())["headers"] == f"{name}.h"


def test_zephyrs_files(made: tuple[Path, str]) -> None:
    """Catches a module.yml that Zephyr's schema refuses, a path in it that leads nowhere, and options that differ
    between Kconfig, CMake and the sample's prj.conf.
    """
    core = pytest.importorskip("pykwalify.core")
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
    folder, name = made
    module = yaml.load(folder / "zephyr" / "module.yml")
    core.Core(source_data=module, schema_data=ZEPHYR_MODULE).validate(raise_exception=True)
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).is_file()
    assert all((folder / sample / "CMakeLists.txt").is_file() for sample in module["samples"])
    option = f"MEMAOPT_{name.upper()}"
    assert f"config {option}\n" in (folder / "zephyr" / "Kconfig").read_text()
    script = (folder / "zephyr" / "CMakeLists.txt").read_text()
    assert f"if(CONFIG_{option})\n" in script
    assert f"CONFIG_{option}=y\n" in (folder / "zephyr" / "sample" / "prj.conf").read_text()
    for path in re.findall(r"\$\{CMAKE_CURRENT_LIST_DIR\}/([^)\s]+)", script):
        assert (folder / "zephyr" / path).exists(), path
    (scenario,) = yaml.load(folder / "zephyr" / "sample" / "testcase.yaml")["tests"].values()
    (wanted,) = scenario["harness_config"]["regex"]
    assert f'printk("{wanted}\\n")' in (folder / "zephyr" / "sample" / f"{name}_main.inc").read_text()


def test_the_packs_description(made: tuple[Path, str]) -> None:
    """Catches a description that is no XML, lacks what a pack must have, or lists a file that is not there."""
    folder, name = made
    package = ElementTree.parse(folder / f"memaopt.{name}.pdsc").getroot()
    assert [package.findtext(field) for field in ("vendor", "name")] == ["memaopt", name]
    assert all(package.findtext(field) for field in ("description", "url", "releases/release"))
    (component,) = package.iter("component")
    assert component.get("condition") in {each.get("id") for each in package.iter("condition")}
    files = {each.get("category"): each.get("name") for each in component.iter("file")}
    assert (files["header"], files["sourceC"]) == (library.header(name), library.source(name))
    assert all((folder / str(path)).exists() for path in files.values())


_APP = """
cmake_minimum_required(VERSION 3.16)
project(app C)
%s
add_executable(app app.c)
target_link_libraries(app PRIVATE %s)
"""


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("cc")), reason="needs cmake and cc")
@pytest.mark.parametrize("how", ["find_package", "add_subdirectory"])
def test_cmake_finds_two_networks(how: str, tmp_path: Path) -> None:
    """Catches a package that is not found, an alias or a header that is missing, and targets, files or symbols that
    two libraries in one program share.
    """
    names = ("first", "second")
    for name in names:
        emit.write(small(name), tmp_path / name)
        if how == "find_package":
            out = tmp_path / f"built_{name}"
            run("cmake", "-S", tmp_path / name, "-B", out)
            run("cmake", "--build", out)
            run("cmake", "--install", out, "--prefix", tmp_path / "installed")
            shutil.rmtree(tmp_path / name)
    own = [f"find_package({name} REQUIRED)" if how == "find_package" else f"add_subdirectory({name})" for name in names]
    targets = " ".join(f"{name}::{name}" for name in names)
    (tmp_path / "CMakeLists.txt").write_text(_APP % ("\n".join(own), targets))
    headers = "".join(f'#include "{name}.h"\n' for name in names)
    calls = " + ".join(f"{name}_invoke(in, out)" for name in names)
    (tmp_path / "app.c").write_text(
        f"{headers}static int8_t in[6], out[4];\nint main(void)\n{{\n    return {calls};\n}}\n"
    )
    run("cmake", "-S", tmp_path, "-B", tmp_path / "app", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    run("cmake", "--build", tmp_path / "app")
    run(tmp_path / "app" / "app")


def test_another_network_takes_its_place(tmp_path: Path) -> None:
    """Catches files and empty folders of the network that was there before, mixed with those of the new one."""
    emit.write(small("earlier", "ram"), tmp_path / "out")
    (tmp_path / "out" / "examples" / "earlier_example" / "mine.txt").write_text("mine")
    emit.write(small("later"), tmp_path / "out")
    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*earlier*")}
    assert left == {"examples/earlier_example"}, "which holds a file of the user's"
    emit.write(small("later"), tmp_path / "new")
    new = {path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*")}
    found = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")}
    assert {str(path) for path in found - new} == {"examples/earlier_example", "examples/earlier_example/mine.txt"}
