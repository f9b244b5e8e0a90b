"""Fixtures that several files share, which files are slow, and which run on the board."""

import gc
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cli_helpers import Cli

_HERE = Path(__file__).parent
#: Files that take four seconds of CPU or more: what they have is marked slow.
SLOW = {
    "baselines/test_baselines", "baselines/test_search", "bench/test_bench", "bench/test_cliffs",
    "bench/test_heat",
    "bench/test_network_traffic", "bench/test_studies", "board/test_build", "board/test_hostile", "board/test_memories",
    "board/test_reset",
    "certificates/test_evaluation", "certificates/test_gemm", "certificates/test_gemm_models",
    "certificates/test_network",
    "certificates/test_network_evaluation", "certificates/test_staging", "choice/test_choice", "choice/test_compile",
    "choice/test_external", "choice/test_fusion",
    "choice/test_in_ram", "choice/test_knee", "choice/test_layout", "choice/test_partition", "cli/test_cli",
    "cli/test_errors",
    "cli/test_inputs", "cli/test_manners", "cli/test_network", "cli/test_stream",
    "emit/test_c", "emit/test_folder", "emit/test_static",
    "kernels/test_chained_channels", "kernels/test_chained_rows", "kernels/test_conv_depthwise",
    "kernels/test_depthwise", "kernels/test_elementwise", "kernels/test_leads", "kernels/test_movement",
    "kernels/test_raw_pairs", "kernels/test_reach", "kernels/test_stack", "kernels/test_staging",
    "kernels/test_winograd", "machines/test_core", "models/test_io_bound", "models/test_kernel_waits",
    "models/test_models",
    "models/test_traffic", "models/test_waits", "networks/operators/test_compiled", "networks/operators/test_parted",
    "networks/test_reference", "networks/test_tables", "networks/test_zoo", "networks/test_zoo_large",
    "problems/test_objectives", "problems/test_suites", "report/test_page", "sweeps/test_fit", "sweeps/test_sweep",
    "test_fuzz", "test_hostile_files", "test_interrupts", "test_notebooks", "test_project", "test_site",
    "trials/test_firmware", "trials/test_gemm", "trials/test_image", "trials/test_library", "trials/test_measurement",
    "trials/test_pushes", "trials/test_ram", "trials/test_room", "trials/test_validation",
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


def pytest_collection_finish() -> None:
    """Garbage is looked for less often, and no more among modules and tests, which stay: a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk() -> Iterator[None]:
    """No test is of a power cut: hundreds write projects, and each file would be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    return Cli(capsys)
