"""The notebooks of examples/, run cell by cell."""

import json
from pathlib import Path
from typing import Any

import pytest

_EXAMPLES = Path(__file__).parents[1] / "examples"


def _run(path: Path) -> dict[str, Any]:
    """The names that a notebook leaves behind."""
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are not kept: they would grow old"
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
    return names


@pytest.mark.parametrize("path", sorted(_EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    """Catches a notebook that stops in the middle."""
    assert _run(path)


def test_three_published_tilings_are_judged() -> None:
    """Catches a tiling that is not feasible as the notebook has it, or none of which is told how far it is."""
    found = _run(_EXAMPLES / "is_my_tiling_optimal.ipynb")["found"]
    assert len(found) == 3
    for name, each in found.items():
        assert each.feasible, f"{name}: {each.reason}"
        assert each.distances["external bytes"].optimum >= 0
