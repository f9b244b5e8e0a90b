"""The project as a thing to install and to read: packaged files, README, documents, examples."""

import fnmatch
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_helpers import Cli
from conftest import SLOW

from memaopt.problems import suites
from memaopt.version import __version__

_ROOT = Path(__file__).parents[1]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def test_slow_files_exist() -> None:
    """Catches a file that was renamed and so became part of the quick subset."""
    assert {name for name in SLOW if not (_ROOT / "tests" / f"{name}.py").exists()} == set()


@pytest.mark.parametrize("package", sorted(_PROJECT["tool"]["setuptools"]["package-data"]))
def test_every_data_file_is_packaged(package: str) -> None:
    """Catches a template, header or preset that is in the source tree, but not in what pip installs."""
    patterns = _PROJECT["tool"]["setuptools"]["package-data"][package]
    files = [path.relative_to(_ROOT / package) for path in (_ROOT / package).rglob("*.*") if path.is_file()]
    data = [path.as_posix() for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]
    assert data
    left_out = [
        name for name in data if not any(fnmatch.fnmatch(f"/{name}", f"*/{p.split('**/')[-1]}") for p in patterns)
    ]
    assert not left_out


def test_one_version() -> None:
    """Catches a version told differently in the package, the project file and the changelog."""
    assert _PROJECT["project"]["version"] == __version__
    assert f"## {__version__}" in (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _masked(text: str) -> str:
    """The words of a text, numbers masked: where lines end depends on them, and the compiler is another elsewhere."""
    lines = [line for line in text.splitlines() if not line.startswith("built with")]
    return " ".join(re.sub(r"\d[\d,.]*", "#", re.sub("─+", "", " ".join(lines))).split())


def test_the_readmes_examples_print_what_it_shows(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches output in the README that memaopt does not print any more; figures may differ by compiler."""
    monkeypatch.setitem(suites.SUITES, "tinyml", suites.TINYML[:3])
    shown = [block for block in _blocks("text") if block.startswith("$ ")]
    assert len(shown) == 2
    for block in shown:
        command, output = block.split("\n", 1)
        words = shlex.split(command.removeprefix("$ "))
        assert words[:3] == ["python", "-m", "memaopt"]
        layers = re.findall(r"^\d+x\d+x\d+ .*\n", output, re.MULTILINE)
        assert _masked(cli(*words[3:]).out) == _masked(output.replace("".join(layers[3:]), ""))


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    """Catches a library example that fails, or that says something else than happens."""
    (code,) = _blocks("python")
    for line in re.findall(r"^(cert\..*?) +# (.*)$", code, re.MULTILINE):
        code += f"\nassert str({line[0]}) == {line[1]!r}, {line[0]}"
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "build" / "src" / "gemm_q15_64x576x64.c").is_file()


def test_commands_in_the_readme_exist(cli: Cli) -> None:
    """Catches a renamed command or option."""
    lines = re.findall(r"^ *(?:\S*/)?(?:python -m )?memaopt (\w.*?)(?: +#.*)?$", "\n".join(_blocks("sh")), re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)
        known = cli(words[0], "--help")
        assert known.code == 0, line
        assert all(word in known.out for word in words if word.startswith("--")), line


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{p.name}" for p in sorted((_ROOT / "docs").glob("*.md")))])
def test_links_between_documents_hold(document: str) -> None:
    """Catches a link to a file that is not there, and a document that no index names."""
    path = _ROOT / document
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
    if path.parent.name == "docs" and path.name != "README.md":
        assert f"({path.name})" in (_ROOT / "docs" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted((_ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    """Catches an example that went stale."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
