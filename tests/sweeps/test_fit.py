"""Which chip? What fits is the certified library, what does not says what would do, what is demanded is held to."""

import re
from pathlib import Path

import pytest
from cli_helpers import Cli
from rich.console import Console

from memaopt.choice import best, solution
from memaopt.choice.compile import compile_network
from memaopt.choice.placement import NetworkPlacement
from memaopt.errors import InfeasibleError, InputError
from memaopt.machines.dma import MODELLED
from memaopt.machines.mcu import Mcu, mcu, preset_names
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.report.fit import html, print_fits
from memaopt.sweeps import fit


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network."""
    builder = Builder("small", (1, 24, 20, 8), 4)
    x = builder.conv_2d(0, 16, Size2D(3, 3), activation=Activation.RELU)
    path = tmp_path_factory.mktemp("fit") / "small.tflite"
    path.write_bytes(writer.write(builder.finish(builder.fully_connected(builder.average_pool(x), 4))))
    return path


_NONE = fit.Limits()


def _fit(model: Path, name: str, limits: fit.Limits = _NONE, **sizes: int) -> fit.Fit:
    machine = mcu(name).with_sizes(**sizes).in_setting("stock") if sizes else mcu(name)
    return fit.fit(fit.ModelFile(model.name, model.read_bytes()), machine.model_dump_json(), limits)


def test_what_fits_is_the_fastest_library(model: Path) -> None:
    """Catches figures of another library than the one that solve writes, and bytes left that the project takes."""
    found, machine = _fit(model, "stm32f446"), mcu("stm32f446")
    plan = compile_network(model, machine)
    assert (found.verdict, found.cycles, found.sram_bytes) == ("fits", plan.machine_cycles, plan.sram_bytes)
    assert found.latency_ms == 1e3 * plan.machine_cycles / machine.clock_hz
    assert found.energy_mj == pytest.approx(machine.power_mw * found.latency_ms * 1e-3)
    assert found.proof == plan.choice.proof
    assert found.sram_left == machine.sram.size - machine.setting.project_ram - plan.sram_bytes
    assert found.flash_left is not None
    assert found.flash_left < machine.memory("flash").size - machine.setting.project_flash - plan.flash_bytes


def test_what_would_do_does(model: Path) -> None:
    """Catches a chip that is said to be short of bytes that would not do."""
    found = _fit(model, "stm32f446", sram=8 << 10)
    assert (found.verdict, found.flash_short) == ("too large", 0)
    assert found.sram_bytes is not None
    assert found.sram_short == found.sram_bytes - (8 << 10) + mcu("stm32f446").setting.project_ram
    compile_network(model, mcu("stm32f446"), sram=found.sram_bytes)


def test_buffers_outside(model: Path, cli: Cli) -> None:
    """Catches another library than solve's for the same memories, a chip without such a memory that is too large or
    failed, what would do that does not, and a demand that no chip can meet."""
    place, small = NetworkPlacement.asked("weights=qspi,activations=fmc"), mcu("stm32f469").with_sizes(sram=8 << 10)
    asked = fit.ModelFile(model.name, model.read_bytes(), place=place)
    found = fit.fit(asked, small.model_dump_json(), _NONE)
    plan = compile_network(model, small, place=place)
    assert (found.verdict, found.cycles, found.sram_bytes) == ("fits", plan.machine_cycles, plan.sram_bytes)
    assert found.outside_bytes == plan.outer_bytes + plan.image.nbytes > 0
    assert fit.fit(asked, mcu("stm32l4s5").model_dump_json(), _NONE).verdict == "no memory"
    assert fit._would_do(small, asked)["sram_short"] == 0
    needed = fit._would_do(small, asked)["sram_bytes"]
    assert needed is not None
    assert compile_network(model, small, place=place, sram=needed).ends_away
    with pytest.raises(InfeasibleError):
        compile_network(model, small, place=place, sram=needed - 1)
    page = html([found])
    assert "<th>outside</th>" in page
    assert f">{found.outside_bytes:,}</td>" in page
    command = ("fit", model, "--mcus", "stm32l4s5", "--workers", 1, "--place")
    assert "has no memory 'fmc'" in cli.refused(*command, "activations=fmc")
    assert "a network on a sliding window" in cli.refused(*command, "activations=fmc", "--stream", "rows")


def test_dma_is_the_chips_that_have_one(model: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches ``--dma`` that changes nothing, that ends at a preset without one, or whose figures do not say so."""
    tried = list[Mcu]()
    found = fit.Fit(model=model.name, machine="", title="", setting="", verdict="fits", dma=True)
    monkeypatch.setattr(fit, "fits", lambda _, files, machines, __: tried.extend(machines) or [found])
    told = cli("fit", model, "--workers", 1, "--place", "weights=qspi", "--dma")
    assert tried == [mcu(name, dma=True) for name in ("stm32l4r5", "stm32l4s5")]
    assert told.err.startswith("left out, without a DMA: apollo3, ")
    assert MODELLED in " ".join(told.out.split())
    asked = fit.ModelFile(model.name, model.read_bytes(), place=NetworkPlacement(weights="qspi"))
    assert fit.fit(asked, tried[-1].model_dump_json(), _NONE).dma
    assert "nrf52840: its file describes no DMA" in cli.refused("fit", model, "--mcus", "nrf52840", "--dma")
    assert "place them there" in cli.refused("fit", model, "--dma")


def test_what_is_not_known_is_not_zero(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a network of which the search finds no least budget, and that 0 bytes are said to be enough for."""
    monkeypatch.setattr(solution, "best_of", lambda *_: best.Best(None, None, 0, "none"))
    assert fit._would_do(mcu("stm32f446"), fit.ModelFile(model.name, model.read_bytes())) == dict.fromkeys(
        ("sram_bytes", "sram_short", "flash_bytes", "flash_short")
    )


def test_a_fault_ends_its_row_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback in place of all other chips."""
    monkeypatch.setattr(fit, "_fit", lambda *_: 1 // 0)
    found = _fit(model, "stm32f446")
    assert (found.verdict, found.reason[:33]) == ("failed", "internal error: ZeroDivisionError")


def test_what_is_demanded_is_held_to(model: Path) -> None:
    """Catches a chip that is too slow and passes, and one of unknown timing that passes or fails."""
    latency = _fit(model, "stm32f446").latency_ms
    assert latency is not None
    assert _fit(model, "stm32f446", fit.Limits(latency_ms=latency)).verdict == "fits"
    slow = _fit(model, "stm32f446", fit.Limits(latency_ms=latency / 2))
    assert (slow.verdict, slow.reason) == ("too slow", "2.00 times the latency allowed")
    assert _fit(model, "stm32f446", fit.Limits(energy_mj=1e-6)).verdict == "too much energy"
    unknown = _fit(model, "stm32f746", fit.Limits(latency_ms=1.0))
    assert (unknown.verdict, unknown.cycles, unknown.latency_ms) == ("unknown", None, None)
    assert _fit(model, "stm32f746").verdict == "fits"


def test_the_page_holds_all_and_fetches_nothing(model: Path) -> None:
    """Catches a page that needs a network, or that a model's name writes into."""
    found = _fit(model, "stm32f446").model_copy(update={"model": "<b>&.tflite"})
    page = html([found])
    assert "&lt;b&gt;&amp;.tflite" in page
    assert f"{found.latency_ms:,.3f}</td>" in page
    assert not re.search(r"src=|href=|<script|url\(", page)


def test_the_table_is_no_wider_than_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a column that makes a terminal fold every line: of each the longest word that presets have."""
    settings = [(name, each.name) for name in preset_names() for each in mcu(name).settings]
    machine, setting = (max(words, key=len) for words in zip(*settings, strict=True))
    figures = {"latency_ms": 1234.5, "energy_mj": 123.456, "sram_bytes": 345_678, "flash_bytes": 1_234_567}
    left = {"sram_short": 123_456, "flash_left": 1_807_820, "proof": "enumeration"}
    widest = fit.Fit(
        model="m", machine=machine, title="", setting=setting, verdict="too much energy", **figures, **left
    )
    print_fits(Console(width=80), [widest])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "too large" not in " ".join(lines), "a note on what is not there"
    assert any("too much" in line and "123.456" in line and "enumeration" in line for line in lines)


def test_on_the_command_line(model: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a table, JSON and exit code that differ; a unit that is taken for another; a file that is read twice."""
    opened, really = list[Path](), Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how, **named: opened.append(path) or really(path, *how, **named))
    command = ("fit", model, "--mcus", "stm32f446", "--mcus", "nrf52840", "--workers", 1)
    told = cli(*command, "--html", tmp_path / "fit.html", "--json")
    assert told.code == 0
    assert opened.count(model) == 1
    assert [each["machine"] for each in told.json] == ["stm32f446", "nrf52840"]
    assert (tmp_path / "fit.html").read_text().count("<tr class") == 2
    slow = cli(*command[:4], "--workers", 1, "--latency", "1us")
    assert slow.code == 1
    assert "too slow" in slow.out
    assert not re.search(r"slow +0\.0+ ", slow.out)
    assert "…" not in slow.out
    assert "no preset has that clock" in cli.refused("fit", model, "--clock", 9000)
    assert "no clock of 400 MHz" in cli.refused("fit", model, "--mcus", "stm32f446", "--clock", 400)
    (tmp_path / "no.tflite").write_text("no model")
    assert "no.tflite is not a .tflite file" in cli.refused("fit", model, tmp_path / "no.tflite")
    other = tmp_path / model.name
    other.write_bytes(model.read_bytes())
    both = cli("fit", model, other, other, "--mcus", "stm32f446", "--workers", 1, "--json")
    assert [each["model"] for each in both.json] == [str(model), str(other)]
    assert re.search(r"stm32f446 .*stock .* [\d.]+ +[\d.]+ +[\d,]+ +[\d,]+ +[\d,]+ +[\d,]+ +enumeration", slow.out)
    for wrong in ("50", "0ms", "-1ms", "xms"):
        with pytest.raises(InputError, match="give a number with one of ms, us, s"):
            fit.amount(wrong, {"ms": 1.0, "us": 1e-3, "s": 1e3}, "--latency")
    assert fit.amount("0.05 s", {"ms": 1.0, "us": 1e-3, "s": 1e3}, "--latency") == pytest.approx(50)
