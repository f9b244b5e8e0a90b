"""The floors of the house: a module imports only from its own floor and from those above it, and from no circle."""

import ast
import graphlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "memaopt"

#: From the top down. What stands in no folder is the top floor, but for the doors.
FLOORS = (
    "", "machines", "problems", "networks", "kernels", "models", "memory", "choice", "certificates", "sweeps", "emit",
    "board", "trials", "report", "bench", "cli",
)  # fmt: skip
#: Where layers are: those that operators become, and those made by hand.
_LAYERS = {"memaopt.networks.layers", *(f"memaopt.problems.{name}" for name in ("layers", "log_softmax", "svdf"))}
_DOORS = {"memaopt", "memaopt.__main__", "memaopt.api", "memaopt.register"}


@cache
def _modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for path in _PACKAGE.rglob("*.py"):
        parts = ("memaopt", *path.relative_to(_PACKAGE).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST, modules: dict[str, Path], *, at_once: bool) -> Iterator[str]:
    """The modules of the package that a text imports; ``at_once``: only what is imported when the module is."""
    for node in ast.iter_child_nodes(tree):
        if at_once and (isinstance(node, ast.FunctionDef) or _typing(node)):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "memaopt":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "memaopt")
        else:
            yield from _imports(node, modules, at_once=at_once)


def _typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _floor(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (_PACKAGE / parts[1]).is_dir() else ""


def test_every_folder_is_a_floor() -> None:
    """Catches a folder whose place in the house nobody has said."""
    folders = {path.parent.relative_to(_PACKAGE).parts[0] for path in _PACKAGE.glob("*/*.py")}
    assert folders == set(FLOORS) - {""}


def test_no_import_runs_up() -> None:
    """Catches a module that knows of what stands on it."""
    modules = _modules()
    wrong = [
        f"{name} imports {imported}"
        for name, path in sorted(modules.items())
        if name not in _DOORS
        for imported in _imports(_tree(path), modules, at_once=False)
        if imported not in _DOORS and FLOORS.index(_floor(imported)) > FLOORS.index(_floor(name))
    ]
    assert not wrong


def test_no_imports_in_a_circle() -> None:
    """Catches modules that cannot be understood, or loaded, one after the other."""
    modules = _modules()
    graph = {
        name: {i for i in _imports(_tree(path), modules, at_once=True) if i != name} for name, path in modules.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_a_name_has_one_home() -> None:
    """Catches a second public class of one name, which then means two things; only an operator of a network and the
    layer that it becomes, or that is made by hand in its stead, share theirs.
    """
    homes: dict[str, set[str]] = {}
    for module, path in _modules().items():
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                home = "layer" if module in _LAYERS or module.startswith("memaopt.networks.operators.") else module
                homes.setdefault(node.name, set()).add(home)
    assert not {name: sorted(where) for name, where in homes.items() if len(where) > 1}


def test_a_module_is_short() -> None:
    """Catches a module that has grown to two, or a file of tests."""
    files = {**_modules(), **{str(path): path for path in (_ROOT / "tests").rglob("*.py")}}
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in files.items()}
    assert not {name: count for name, count in lines.items() if count >= 400}


def test_only_tables_are_laid_out_by_hand() -> None:
    """Catches what is kept from the formatter and is no table: a display, or a call with one, assigned or returned."""
    for path in [*_PACKAGE.rglob("*.py"), *(_ROOT / "tests").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        kept = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# fmt: skip")}
        if not kept:
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.Return) and node.end_lineno in kept:
                value = node.value
                inside = value.args if isinstance(value, ast.Call) else [value]
                if any(isinstance(part, ast.Dict | ast.Set | ast.Tuple | ast.List) for part in inside):
                    kept.discard(node.end_lineno)
        assert not kept, f"{path.relative_to(_ROOT)}: {sorted(kept)}"


def test_every_path_in_the_documents_exists() -> None:
    """Catches a document that sends the reader to a file that has moved."""
    for document in [_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")]:
        text = document.read_text(encoding="utf-8")
        for path in re.findall(r"`(memaopt/[\w/.]+)`", text):
            assert (_ROOT / path).exists(), f"{document.name}: {path}"
        for path in re.findall(r"`([a-z][\w/]*\.py)`", text):
            assert (_ROOT / path).exists() or any(_ROOT.glob(f"memaopt/**/{path}")), f"{document.name}: {path}"


def test_what_the_documents_import_is_there() -> None:
    """Catches an example in a document that stops at its first line."""
    imports = re.compile(r"^from (memaopt[\w.]*) import ([\w, ]+)$", re.MULTILINE)
    for document in [_ROOT / "README.md", *(_ROOT / "docs").glob("*.md")]:
        for module, names in imports.findall(document.read_text(encoding="utf-8")):
            for name in names.split(", "):
                exec(f"from {module} import {name}", {})
