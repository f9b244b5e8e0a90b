"""Fixtures that several files share, which files are slow, and which run on the board."""

import re
from functools import cache
from pathlib import Path

import pytest
from cli_helpers import Cli

_HERE = Path(__file__).parent
#: Files that take four seconds of CPU or more: what they have is marked slow.
SLOW = {
    "baselines/test_baselines", "bench/test_bench", "board/test_hostile", "certificates/test_gemm",
    "cli/test_cli", "trials/test_gemm", "emit/test_c", "kernels/test_reach", "test_fuzz", "test_hostile_files",
    "kernels/test_conv_depthwise", "kernels/test_depthwise", "kernels/test_elementwise", "kernels/test_leads",
    "kernels/test_movement", "kernels/test_raw_pairs", "kernels/test_staging", "kernels/test_winograd",
    "trials/test_library", "models/test_models", "choice/test_choice", "cli/test_network",
    "choice/test_compile", "choice/test_fusion", "trials/test_image", "choice/test_in_ram",
    "trials/test_ram", "problems/test_suites", "models/test_traffic", "models/test_waits", "networks/test_zoo",
    "networks/operators/test_compiled",
    "networks/operators/test_parted", "networks/test_zoo_large", "sweeps/test_sweep", "sweeps/test_fit",
}  # fmt: skip


@cache
def _runs_on_board(file: Path) -> bool:
    """Whether a file of tests says so: by what it imports, or calls of the helpers."""
    return bool(re.search(r"memaopt\.(board|trials)|OnBoard|check_on_board|--run", file.read_text(encoding="utf-8")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow files, and of those that run on the virtual board."""
    for item in items:
        if _runs_on_board(item.path):
            item.add_marker(pytest.mark.board)
        if str(item.path.relative_to(_HERE).with_suffix("")) in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    return Cli(capsys)
