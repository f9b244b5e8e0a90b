"""Compiled templates are kept, and are those of the text and the settings at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from memaopt.kernels.text.bytecode import TemplateCache


def _rendered(folder: Path, settings: bytes = b"", compiled: list[str] | None = None) -> str:
    """The text of a template in an environment of its own, which notes what it compiles."""
    noted = [] if compiled is None else compiled

    class Noting(jinja2.Environment):
        def compile(self, source, name=None, filename=None, raw=False, defer_init=False):  # type: ignore[no-untyped-def]
            noted.append(str(name))
            return super().compile(source, name, filename, raw, defer_init)

    environment = Noting(loader=jinja2.FileSystemLoader(folder), bytecode_cache=TemplateCache(settings))
    return environment.get_template("a.j2").render()


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.j2").write_text("one")
    return tmp_path / "texts" / "a.j2"


def test_a_template_is_compiled_once(template: Path) -> None:
    """Catches one that is compiled each time, and one that stays as it was though its text or the settings changed."""
    compiled: list[str] = []
    assert [_rendered(template.parent, compiled=compiled) for _ in range(3)] == ["one"] * 3
    assert compiled == ["a.j2"]
    template.write_text("two")
    assert [_rendered(template.parent, compiled=compiled) for _ in range(2)] == ["two"] * 2
    assert compiled == ["a.j2"] * 2
    _rendered(template.parent, b"others", compiled)
    assert compiled == ["a.j2"] * 3


def test_nothing_is_written_where_python_writes_nothing(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches files beside the package for one who wants none, and a folder that cannot be written as an error."""
    cache = Path(str(sys.pycache_prefix))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert _rendered(template.parent) == "one"
    assert not cache.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    cache.write_text("a file")
    assert _rendered(template.parent) == "one"


def test_what_is_torn_is_compiled_again(template: Path) -> None:
    """Catches a file cut short by a full disk that ends every run."""
    assert _rendered(template.parent) == "one"
    (kept,) = Path(str(sys.pycache_prefix)).rglob("a.j2*")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert _rendered(template.parent) == "one"
