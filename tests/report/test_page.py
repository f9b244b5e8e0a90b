"""The report of a network as a page: whole by itself, true, readable on a phone and by keyboard, in a real browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cli_helpers import Cli
from network_helpers import MCU

from memaopt.api import certify, html_report
from memaopt.certificates.network import NetworkCertificate
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.zoo import zoo
from memaopt.problems.gemm import Gemm
from memaopt.report import pictures
from memaopt.report.page import page

_EMPTY = {"meta", "link"}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell", "chrome-headless-shell")
CHROMIUM = next(filter(shutil.which, _BROWSERS), None)


class _Reader(HTMLParser):
    """What a page holds: its tags, its attributes, and whether what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made() -> NetworkCertificate:
    found = certify(zoo.build("ds_cnn"), MCU)
    assert isinstance(found, NetworkCertificate)
    return found


def test_the_page_says_what_the_plan_says(made: NetworkCertificate) -> None:
    """Catches a figure, a layer, a buffer or a section that is missing, and a second point that is called chosen."""
    plan, read = made.plan, _Reader(page(made.plan, made))
    assert f"{plan.machine_cycles:,}" in read.text
    assert made.sha256 in read.text
    for layer in plan.layers:
        assert f"{layer.machine_cycles:,}" in read.text
        assert f"{layer.traffic.bytes:,}" in read.text
    kinds = [attributes.get("class") for tag, attributes in read.tags if tag in ("rect", "circle")]
    assert sum("block" in str(kind) for kind in kinds) >= len(plan.memory.buffers)
    assert kinds.count("scratch block") == len(plan.memory.scratch)
    assert kinds.count("chosen") == (1 if plan.neighbours else 0)
    assert kinds.count("node") == len(plan.layers)
    sections = {attributes["id"] for tag, attributes in read.tags if tag == "section"}
    links = {str(attributes["href"]).removeprefix("#") for tag, attributes in read.tags if tag == "a"}
    assert links == sections
    front = {"front"} if plan.neighbours else set()
    assert sections == {"memory", "layers", "roofline", "sizes", *front, "graph", "certificate"}


def test_blocks_lie_where_the_plan_has_them(made: NetworkCertificate) -> None:
    """Catches a picture upside down, out of its frame, or of other bytes than its title says."""
    read, plan = _Reader(page(made.plan, made)), made.plan
    blocks = [a for tag, a in read.tags if tag == "rect" and str(a.get("class")).endswith("block")]
    memory = blocks[: len(plan.memory.buffers) + len(plan.memory.scratch)]
    offsets = [b.offset for b in plan.memory.buffers] + [s.offset for s in plan.memory.scratch]
    sizes = [b.size for b in plan.memory.buffers] + [s.size for s in plan.memory.scratch]
    scale = (420 - 40 - 28) / plan.memory.arena_bytes
    for block, offset, size in zip(memory, offsets, sizes, strict=True):
        assert float(str(block["height"])) == pytest.approx(size * scale, abs=0.11)
        assert float(str(block["y"])) == pytest.approx(380 - (offset + size) * scale, abs=0.11)


def test_a_front_can_be_read() -> None:
    """Catches labels that lie on each other, a chosen point without one, and axes that say two values or none."""
    arenas = [28_144, 28_960, 29_900, 30_720, 32_896, 33_664, 35_904, 36_864, 40_064, 42_880, 46_464, 69_504]
    marks = [pictures.Mark(a, 4.6e6 + 2e10 / a, "", a == 40_064) for a in arenas]
    texts = re.findall(r'<text x="([0-9.]+)" y="([0-9.]+)">([0-9,]+(?: \(chosen\))?)</text>', pictures.front(marks))
    assert {"28,144", "69,504", "40,064 (chosen)"} <= {text for _, _, text in texts}
    boxes = [(float(x), float(y), float(x) + 7 * len(text)) for x, y, text in texts]
    for number, (left, base, right) in enumerate(boxes):
        assert all(right < x or end < left or abs(y - base) > 12 for x, y, end in boxes[:number])
    for kind in ("tick", "under"):
        assert 3 <= len(re.findall(rf'<text class="{kind}"', pictures.front(marks))) <= 7
        assert len(re.findall(rf'<text class="{kind}"', pictures.front(marks[:2]))) >= 3


def test_it_is_whole_by_itself(made: NetworkCertificate) -> None:
    """Catches a script, a font or a picture that is fetched, and text of others that becomes a tag."""
    graph = zoo.build("fc_autoencoder")
    machine = MCU.model_copy(update={"title": '<script>alert(1)</script> & \x1b[31m"chip"'})
    for text in (page(made.plan, made), page(certify(graph, machine).plan)):
        read = _Reader(text)
        assert "<script" not in text
        assert "\x1b" not in text
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", text)
        assert {tag for tag, a in read.tags if "src" in a} == set()
        assert [a["href"] for tag, a in read.tags if tag == "link"] == ["data:,"]


def test_no_cycles_where_nobody_timed_them() -> None:
    """Catches a figure of cycles or energy of a core whose timing nobody has validated."""
    text = _Reader(page(certify(zoo.build("fc_autoencoder"), mcu("nrf5340")).plan)).text
    assert "No cycles are shown" in text
    assert not re.search(r"[\d,]+ cycles|uJ| ms", text)


def test_solve_writes_it(cli: Cli, tmp_path: Path) -> None:
    """Catches an option that writes nothing, a folder without its report, and a run that the report does not show."""
    (model,) = zoo.save(tmp_path, ("fc_autoencoder",))
    shown = cli("solve", model, "--run", "--report", tmp_path / "r.html", "--out", tmp_path / "out")
    assert "report written to" in shown.out
    for path in (tmp_path / "r.html", tmp_path / "out" / "report.html"):
        text = _Reader(path.read_text(encoding="utf-8")).text
        assert "every byte and every access is as promised" in text
        assert "stock-prefetch" in text
    cli("solve", "gemm", "8x27x8", "--report", tmp_path / "g.html", "--out", tmp_path / "gemm")
    assert (tmp_path / "g.html").read_bytes() == (tmp_path / "gemm" / "report.html").read_bytes()
    assert "a report is of one" in cli.refused("solve", "--suite", "tinyml", "--report", tmp_path / "s.html")


@pytest.mark.parametrize(("chip", "place"), [("stm32l4r5", "qspi"), ("stm32l4r5", "sram"), ("nrf5340", "sram")])
def test_the_page_of_a_product(chip: str, place: str) -> None:
    """Catches a figure, a buffer or a section that is missing, cycles that nobody timed, a page not whole."""
    machine = mcu(chip).with_sizes(sram=16 << 10)
    made = certify(Gemm(m=16, k=64, n=16, placement={"a": place, "b": place, "c": place}), machine)
    text = html_report(made)
    read = _Reader(text)
    assert made.sha256 in read.text
    assert f"{made.traffic.register_bytes:,} bytes" in read.text
    assert f"{made.bounds.register_bytes:,}" in read.text
    for name, access in made.traffic.buffers.items():
        assert name in read.text
        assert f"{access.load_bytes:,}" in read.text
    sections = {attributes["id"] for tag, attributes in read.tags if tag == "section"}
    links = {str(attributes["href"]).removeprefix("#") for tag, attributes in read.tags if tag == "a"}
    assert links == sections == {"traffic", "accesses", "schedule", "variants", "certificate"}
    assert "<script" not in text
    assert machine.core.is_timed or not re.search(r"[\d,]+ cycles| ms", read.text)


def test_a_notebook_shows_the_page(made: NetworkCertificate) -> None:
    """Catches a result that a notebook shows as another thing than its report."""
    for what in (made, made.plan, certify(Gemm(m=4, k=4, n=4), MCU)):
        read = _Reader(what._repr_html_())
        (frame,) = [attributes["srcdoc"] for tag, attributes in read.tags if tag == "iframe"]
        assert frame == html_report(what)
    assert "iframe" not in NetworkCertificate.from_json(made.to_json())._repr_html_(), "its model is not at hand"
    with pytest.raises(InputError, match="a certificate or a plan is expected, not str"):
        html_report("x")  # type: ignore[arg-type]


_MEASURE = """<script>
const all = [...document.querySelectorAll("a, [tabindex='0']")];
const reached = all.filter(e => { e.focus(); return document.activeElement === e; });
const cut = [...document.querySelectorAll(".wide")].filter(e => e.scrollWidth > e.clientWidth).length;
const root = document.documentElement;
parent.document.title = [root.scrollWidth, window.innerWidth, reached.length, all.length, cut].join(" ");
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("scheme", "what"), [("light", "network"), ("dark", "network"), ("light", "gemm")])
def test_in_a_browser(width: int, scheme: str, what: str, made: NetworkCertificate, tmp_path: Path) -> None:
    """Catches a page that is wider than a phone, an error on the console, what no key reaches, and a table or a picture
    of which a desk's screen shows a part."""
    assert CHROMIUM is not None
    file = tmp_path / "page.html"
    # In a frame of that width: a window has a least one of its own.
    text = html.escape(
        html_report(made if what == "network" else certify(Gemm(m=8, k=27, n=8), MCU)).replace("</body>", _MEASURE)
    )
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{text}"></iframe>'
    file.write_text(f"<!DOCTYPE html><title></title><body>{frame}</body>", encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", "--dump-dom"]
    command += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = subprocess.run([*command, f"file://{file}"], capture_output=True, text=True, timeout=60, check=False)
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+) (\d+)</title>", done.stdout)
    assert title is not None, done.stderr
    wide, window, reached, there, cut = map(int, title.groups())
    assert wide <= window == width
    assert reached == there > 5
    assert cut == 0 or width < 1000
    assert "CONSOLE" not in done.stderr
