"""The documents as a site: no link is broken, and the reference has everything."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import memaopt
from memaopt.cli.main import app

pytest.importorskip("material")
_ROOT = Path(__file__).parents[1]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Catches a link that leads nowhere, a page that no menu names, and a reference without a command or a name."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text()
    commands = html.unescape(re.sub(r"<[^>]+>", "", page))
    for each in app.registered_commands:
        assert f"memaopt {each.name}" in commands
        assert f"Usage: memaopt {each.name}" in commands
    names = (tmp_path / "site" / "reference" / "python" / "index.html").read_text()
    for name in memaopt.__all__:
        assert f'id="{name.lower()}"' in names
    schemas = sorted((tmp_path / "site" / "reference" / "schemas").glob("*.json"))
    assert len(schemas) == 5
    for path in schemas:
        assert json.loads(path.read_text())["type"] == "object"
    menu = (_ROOT / "mkdocs.yml").read_text()
    assert not [path.name for path in (_ROOT / "docs").glob("*.md") if path.name not in menu]
