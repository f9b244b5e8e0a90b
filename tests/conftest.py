"""Fixtures that several files share, and which files are slow."""

import pytest
from cli_helpers import Cli

#: Files that take four seconds of CPU or more: what they have is marked slow.
SLOW = {
    "test_baselines", "test_bench", "test_board_hostile", "test_certificates", "test_cli", "test_emit_board",
    "test_emit_c", "test_emit_reach", "test_fuzz", "test_hostile_files", "test_layers_conv_depthwise",
    "test_layers_depthwise", "test_layers_elementwise", "test_layers_leads", "test_layers_movement",
    "test_layers_raw_pairs", "test_layers_staging", "test_layers_winograd", "test_library_check", "test_models",
    "test_network_choice", "test_network_cli", "test_network_compile", "test_network_fusion", "test_network_image",
    "test_network_places", "test_network_ram", "test_suites", "test_traffic", "test_waits", "test_zoo",
    "test_zoo_large",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow files."""
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    return Cli(capsys)
