"""The page of presets."""

from pathlib import Path

from cli_helpers import Cli

from memaopt.machines.mcu import Mcu, mcu, preset_names
from memaopt.machines.memory import WaitsByClock
from memaopt.report import presets

_PAGE = Path(__file__).parents[2] / "docs" / "presets.md"


def test_the_page_is_current(cli: Cli) -> None:
    """Catches a preset that was changed, added or removed, and the page that still tells the old figures."""
    text = _PAGE.read_text(encoding="utf-8")
    assert text == presets.page(), "memaopt mcus --markdown > docs/presets.md"
    assert cli("mcus --markdown").out == text
    assert "--markdown has no effect on stm32l4r5" in cli.refused("mcus stm32l4r5 --markdown")


def _tables(machine: Mcu) -> list[WaitsByClock]:
    return [m.waits_by_clock for m in machine.memories if m.waits_by_clock is not None]


def test_the_page_has_every_source() -> None:
    """Catches a figure whose source the page leaves out."""
    text = presets.page()
    for name in preset_names():
        machine = mcu(name)
        for source in (
            *machine.sources.values(),
            *(m.source for m in (*machine.memories, *machine.settings, *_tables(machine))),
        ):
            assert source
            assert " ".join(source.replace("|", "/").split()) in text, f"{name}: {source}"
