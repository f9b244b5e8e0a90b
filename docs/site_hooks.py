"""Pages of the site that are made when it is built: the reference, from docstrings, ``--help`` and the models of files,
and the documents that lie beside this folder.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from memaopt.version import __version__

_ROOT = Path(__file__).parents[1]
#: Documents outside the folder, and the pages that they become.
_BESIDE = {"README.md": "about.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_COPIED = (
    "examples/is_my_tiling_optimal.ipynb",
    "examples/what_does_my_network_cost.ipynb",
    "examples/problems.toml",
    "examples/sram_sweep.py",
    "LICENSE",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for path, text in {**_beside(), **dict(_reference())}.items():
        files.append(File.generated(config, path, content=text))
    for path in _COPIED:
        files.append(File.generated(config, path, content=(_ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of the folder lead to the pages that those documents became."""
    for name, path in _BESIDE.items():
        markdown = markdown.replace(f"](../{name})", f"]({path})")
    return markdown.replace("](../examples/", "](examples/")


def _beside() -> dict[str, str]:
    pages = {}
    for name, path in _BESIDE.items():
        text = (_ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in _BESIDE.items():
            text = text.replace(f"]({other})", f"]({target})")
        pages[path] = text
    return pages


def _reference() -> Iterator[tuple[str, str]]:
    yield "reference/commands.md", _commands()
    yield "reference/python.md", _python()
    schemas = dict(_schemas())
    lines = [f"- [`{name}`](schemas/{name}.json): {schema.get('title', name)}" for name, schema in schemas.items()]
    about = (
        "Certificates say their format in the field `format`: another one has another number, and another schema. The "
        f"others are of memaopt {__version__}: a machine's file, what `measure --json` and `validate --json` print."
    )
    yield "reference/schemas.md", "\n".join(["# JSON schemas", "", about, "", *lines, ""])
    for name, schema in schemas.items():
        yield f"reference/schemas/{name}.json", json.dumps(schema, indent=2) + "\n"


def _commands() -> str:
    """What ``--help`` says of each command."""
    os.environ.update(COLUMNS="100", TERM="dumb", NO_COLOR="1")
    from memaopt.cli.main import app, main

    parts = ["# Commands", ""]
    for command in app.registered_commands:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            main([str(command.name), "--help"])
        text = re.sub(rf"Usage: .*?{command.name} ", f"Usage: memaopt {command.name} ", shown.getvalue(), count=1)
        parts += [f"## memaopt {command.name}", "", "```text", text.strip("\n"), "```", ""]
    return "\n".join(parts)


def _python() -> str:
    """What each public name's docstring says."""
    import memaopt

    parts = ["# Python", "", inspect.cleandoc(memaopt.__doc__ or ""), ""]
    for name in memaopt.__all__:
        thing = getattr(memaopt, name)
        parts += [f"## {name}", "", *_signature(name, thing), _markdown(inspect.getdoc(thing) or ""), ""]
        if inspect.isclass(thing):
            for method, function in _methods(thing):
                parts += [f"### {name}.{method}", "", *_signature(method, function)]
                parts += [_markdown(inspect.getdoc(function) or ""), ""]
    return "\n".join(parts)


def _methods(thing: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and callable(function) and inspect.getdoc(function):
            yield name, function


def _signature(name: str, thing: Any) -> list[str]:
    try:
        shown = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return []
    return ["```python", f"{name}{shown}", "```", ""]


def _markdown(text: str) -> str:
    """Docstrings mark code by two backquotes, and names by a role."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text.replace("``", "`"))


def _schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema of each file that is read or written, by its format."""
    from memaopt.certificates.gemm import Certificate
    from memaopt.certificates.network import NetworkCertificate
    from memaopt.machines.mcu import Mcu
    from memaopt.trials.measurement import Measurement
    from memaopt.trials.validation import Validation

    for model in (Certificate, NetworkCertificate):
        yield model.model_fields["format"].default, model.model_json_schema()
    for model in (Mcu, Measurement, Validation):
        yield f"{model.__name__.lower()}-{__version__}", model.model_json_schema()
