"""Several networks in one library: one arena, kernels and tables once, and each still computes what it did alone."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from cli_helpers import Cli
from emit_helpers import host_compilers
from network_helpers import MCU, WARNINGS

import memaopt
from memaopt.certificates.bundle import BundleCertificate, certify, verify
from memaopt.choice.bundle import BundlePlan, compile_bundle, together
from memaopt.choice.compile import compile_network
from memaopt.choice.placement import NetworkPlacement
from memaopt.emit import folder
from memaopt.errors import FalseClaimError, InfeasibleError, InputError, WrongLibraryError
from memaopt.interrupts import run as command
from memaopt.machines.mcu import mcu
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import firmware, library
from memaopt.trials.measurement import make
from memaopt.writer import write_scratch


def network(name: str, classes: int, *, more: bool) -> Graph:
    """One backbone, and different heads: ``more`` is a larger one."""
    b = Builder(name, (1, 8, 8, 4), 3)
    x = b.conv_2d(0, 8, Size2D(3, 3), Activation.RELU)
    x = b.conv_2d(x, 24, Size2D(1, 1)) if more else x
    return b.finish(b.fully_connected(b.average_pool(x), classes))


def listening() -> Graph:
    """One for a window that slides."""
    b = Builder("listening", (1, 6, 1, 8), 3)
    return b.finish(b.fully_connected(b.flatten(b.conv_2d(0, 4, Size2D(3, 1), same=False)), 2))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A large one and a small one."""
    made = tmp_path_factory.mktemp("models")
    for graph in (network("large", 4, more=True), network("lesser", 6, more=False), listening()):
        (made / f"{graph.name}.tflite").write_bytes(Model.of(graph).data)
    return [made / "large.tflite", made / "lesser.tflite"]


@pytest.fixture(scope="module")
def plan(models: list[Path]) -> BundlePlan:
    return compile_bundle(models, MCU, within=0.5)


def test_what_they_share_is_there_once(plan: BundlePlan, models: list[Path]) -> None:
    """Catches a kernel, a table or an arena of each network's own, and promises of bytes that are not there."""
    alone = [compile_network(model, MCU, within=0.5) for model in models]
    assert plan.arena_bytes == alone[0].arena_bytes > alone[1].arena_bytes
    assert plan.stack_bytes == max(each.stack_bytes for each in alone)
    assert plan.flash_bytes < sum(each.flash_bytes for each in alone)
    files = library.files_of_bundle(certify(plan))
    text = str(files[folder.source(plan.name)])
    kernels = re.findall(r"^KERNEL static \w+ (\w+)\(", text, re.MULTILINE)
    assert kernels
    assert len(set(kernels)) == len(kernels)
    assert len(re.findall(r"_static_arena\[", text)) == 1
    shared = re.findall(r"^#define lesser_(\w+) large_\1$", text, re.MULTILINE)
    assert shared, "the backbone's weights"
    assert not [name for name in shared if f" lesser_{name}[" in text]


def test_a_smaller_network_has_what_the_arena_leaves(plan: BundlePlan, models: list[Path]) -> None:
    """Catches a network that goes without bytes that nobody else needs while it runs."""
    lean = compile_network(models[1], MCU, within=0.5)
    lesser = plan.plans[1]
    assert lean.arena_bytes < lesser.arena_bytes <= plan.arena_bytes
    assert lesser.machine_cycles < lean.machine_cycles
    bounded = compile_network(models[1], MCU, arena=plan.arena_bytes)
    assert lesser.machine_cycles == bounded.machine_cycles
    least = compile_bundle(models, MCU, "ram")
    assert least.arena_bytes < plan.arena_bytes
    tight = compile_bundle(models, MCU, sram=plan.arena_bytes + plan.stack_bytes - 16)
    assert tight.arena_bytes + tight.stack_bytes < plan.arena_bytes + plan.stack_bytes


@pytest.mark.slow
def test_built_and_compared(plan: BundlePlan, tmp_path: Path) -> None:
    """Catches a library that does not compile without a warning, and a network's wrong output after another's run."""
    files = library.files_of_bundle(certify(plan))
    assert library.check_bundle(plan, files).host
    source = tmp_path / "several.c"
    source.write_text(str(files[folder.source(plan.name)]))
    (tmp_path / f"{plan.name}.h").write_text(str(files[folder.header(plan.name)]))
    flags = ["-std=c11", *WARNINGS, "-fsyntax-only", str(source)]
    status, _, errors = command([*host_compilers()[0], *flags], tmp_path)
    assert status == 0, errors
    wrong = str(files[folder.source(plan.name)]).replace("(base + LESSER_", "(base + 16 + LESSER_", 1)
    with pytest.raises(WrongLibraryError, match="differ"):
        library.check_bundle(plan, {**files, folder.source(plan.name): wrong})


def test_the_certificate(plan: BundlePlan, models: list[Path], tmp_path: Path) -> None:
    """Catches a claim about one network, or about all of them, that nobody derives again."""
    signed = certify(plan)
    assert verify(signed).premises[-1].startswith("together: ")
    (tmp_path / "certificate.json").write_text(signed.to_json())
    for model in models:
        (tmp_path / model.name).write_bytes(model.read_bytes())
    read = memaopt.read(tmp_path)
    assert read == signed
    assert memaopt.verify(tmp_path / "certificate.json") == verify(signed)
    assert isinstance(read, BundleCertificate)
    assert read.plan.flash_bytes == plan.flash_bytes
    lower = signed.totals.model_copy(update={"flash_bytes": signed.totals.flash_bytes - 1})
    first = signed.networks[0].model_copy(update={"flash_bytes": 1}).signed()
    for changed, said in (
        ({"totals": lower}, r"totals\.flash_bytes is claimed"),
        ({"networks": (first, signed.networks[1])}, "networks: large on"),
        ({"sram_bytes": plan.arena_bytes}, "bytes of SRAM for arena and stack, more than"),
        ({"name": "other"}, "name is claimed"),
    ):
        with pytest.raises(FalseClaimError, match=said):
            verify(signed.model_copy(update=changed).signed())


@pytest.mark.slow
def test_solve_and_run(models: list[Path], cli: Cli, tmp_path: Path) -> None:
    """Catches a command that takes the first model alone, or writes what the next one does not know; and on the board
    a network that reads another's constants or places, or that is wrong in an image where another has run before; in
    RAM, a kernel that is in two places, and what nobody copies there.
    """
    out = tmp_path / "out"
    three = [*models, models[0].with_name("listening.tflite")]
    stream = ("--stream", "hear=rows", "--fill", "first")
    ram = ("--setting", "ram", "--ram-for-code", "2000", "--ram-for-constants", "1000")
    solved = cli("solve", *three, "--names", "left,right,hear", *stream, *ram, "--out", out, "--json").json
    assert solved["together"]["proof"] == "enumeration"
    assert 1000 < solved["totals"]["ram_bytes"] <= 3000
    assert [each["name"] for each in solved["networks"]] == ["left", "right", "hear"]
    assert solved["totals"]["state_bytes"] == solved["networks"][2]["totals"]["state_bytes"] > 0
    assert {"left.tflite", "right.tflite", "report.html", "certificate.json"} <= {each.name for each in out.iterdir()}
    ran = cli("run", out, "--json").json
    assert (ran["name"], ran["passed"]) == ("left_right_hear", True)
    for each in ran["networks"]:
        assert each["trial"]["image"]["wrong"] == 0
        assert 0.7 < each["trial"]["flash_bytes"] / ran["totals"]["flash_bytes"] <= 1
    assert "every claim holds" in cli("verify", out / "certificate.json").out
    measured = cli("measure", out, "--json").json
    assert measured["passed"]
    for each, claimed in zip(measured["networks"], solved["networks"], strict=True):
        assert each["name"] == claimed["name"]
        assert each["virtual"] == pytest.approx(each["promised"], rel=0.2)  # the third has a few hundred instructions


def test_chosen_at_once(models: list[Path]) -> None:
    """Catches a budget of RAM that each network has for itself, and a claim about all of them that nobody derives."""
    machine = mcu("stm32l4r5", setting="ram").with_ram(code=0, constants=1100)
    plan = compile_bundle(models, machine, arena=2048)
    assert plan.together is not None

    def price(number: int, most: int) -> int:
        return compile_network(models[number], machine.with_ram(constants=most), arena=2048).choice.price

    best = min(price(0, 1100 - taken) + price(1, taken) for taken in (0, 208, 736, 944))  # all that pays there
    assert plan.together.price == plan.together.bound == best > price(0, 1100) + price(1, 1100)
    signed = certify(plan)
    assert verify(signed)
    assert signed.together is not None
    for changed, said in (
        ({"price": best - 1}, r"together\.price is claimed"),
        ({"bound": best - 1}, r"together\.bound is claimed"),
        ({"proof": "solver"}, r"together\.proof is claimed"),
        ({"flash_bytes": plan.flash - 1}, r"together\.flash_bytes is"),
        ({"arena_bytes": 1024}, "was not chosen within the budgets"),
    ):
        with pytest.raises(FalseClaimError, match=said):
            verify(signed.model_copy(update={"together": signed.together.model_copy(update=changed)}).signed())
    with pytest.raises(FalseClaimError, match="networks: large"):
        verify(signed.model_copy(update={"together": None}).signed())
    with pytest.raises(InputError, match="several networks: give two or more"):
        together(plan.plans[:1], plan.sram, plan.flash)


@pytest.mark.slow
def test_outside_the_chip(models: list[Path], cli: Cli, tmp_path: Path) -> None:
    """Catches constants of one network that lie where another's are, an arena outside for each, and bytes for that
    memory's programmer which are not those that the library checks.
    """
    out, place = tmp_path / "out", ("--place", "weights=qspi,activations=fmc", "--mcu", "stm32f469", "--sram", "1536")
    totals = cli("solve", *models, *place, "--out", out, "--json").json["totals"]
    ran = cli("run", out, "--json").json
    assert ran["passed"]
    assert all(each["trial"]["image"]["wrong"] == 0 for each in ran["networks"])
    image = (out / "extras" / "large_lesser_external.bin").read_bytes()
    assert (len(image), zlib.crc32(image)) == (totals["outside"]["bytes"], totals["outside"]["crc32"])
    signed = memaopt.read(out)
    assert isinstance(signed, BundleCertificate)
    apart = [each.totals for each in signed.networks]
    of_each = [each.outside.bytes for each in apart if each.outside]
    assert max(of_each) < len(image) < sum(of_each), "the backbone's weights are there once"
    assert totals["outer_bytes"] == max(each.outer_bytes for each in apart) > 0
    assert "every claim holds" in cli("verify", out / "certificate.json").out
    chip = mcu("stm32f469")
    plans = [
        compile_network(models[i], chip, place=NetworkPlacement.asked(("", "input=fmc")[i] or None)) for i in (0, 1)
    ]
    with pytest.raises(FalseClaimError, match="buffers of one may live where those of another may not"):
        verify(certify(together(plans, chip.sram.size, chip.memory("flash").size)))
    (out / "extras" / "large_lesser_external.bin").write_bytes(image[:-1] + b"x")
    assert "has other bytes than its library" in cli.refused("run", out)


@pytest.mark.slow
def test_in_an_image_of_ones_own(plan: BundlePlan, tmp_path: Path, cli: Cli) -> None:
    """Catches a network that is looked for under the library's name, and a fault of one that is laid on another."""
    write_scratch(library.files_of_bundle(certify(plan)), tmp_path)
    make(plan.plans, tmp_path, tmp_path / "own.elf")
    found = firmware.check_all(plan.plans, tmp_path / "own.elf")
    assert [(each.name, each.findings) for each in found] == [("large", ()), ("lesser", ())]
    assert all(each.counted is not None for each in found)
    assert {place.memory for place in found[1].places} == {"flash", "sram"}
    text = (tmp_path / folder.source(plan.name)).read_text()
    array = next(a for a in plan.plans[1].layers[-1].emitted.arrays if not a.of)
    start = text.index("{", text.index(f" {array.name}[")) + 1
    number = re.compile(r"-?(0x)?[0-9a-f]+").search(text, start)
    assert number is not None
    changed = text[: number.start()] + str(int(number[0], 0) ^ 64) + text[number.end() :]
    (tmp_path / folder.source(plan.name)).write_text(changed)
    make(plan.plans, tmp_path, tmp_path / "own.elf")
    shown = cli("check", tmp_path / "own.elf", "--certificate", tmp_path / "certificate.json")
    assert shown.code == 1
    assert "large in " in shown.out
    assert f"a patched constant: {array.name} differs in 1 bytes" in shown.out
    assert shown.out.count("finding ") == shown.out.split("lesser in ")[1].count("finding ") > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--names", "one"), "1 name for 2 networks"),
        (("--names", "same,same"), "two networks are called same: give each a name of its own, as in --names same_0,"),
        (("--stream", "rows"), "--stream rows: of several networks say which slide, as in wake=rows"),
        (("--stream", "door=rows"), "no network is called door: there are large, lesser"),
        (("--hop", "2"), "--hop has no effect without --stream"),
        (("--place", "weights=qspi", "--objective", "ram"), "no --place"),
        (("--dtype", "s8"), "--dtype has no effect on a network"),
    ],
)
def test_what_is_refused(models: list[Path], cli: Cli, options: tuple[str, ...], said: str) -> None:
    """Catches an option that is ignored, or taken for one network's."""
    assert said in cli.refused("solve", *models, *options)


def test_what_does_not_fit(models: list[Path], plan: BundlePlan) -> None:
    """Catches networks that fit one by one and not together, and names that one file cannot have."""
    with pytest.raises(InfeasibleError, match="together the networks take"):
        compile_bundle(models, MCU, flash=plan.flash_bytes // 2)
    with pytest.raises(InputError, match="the library would be called kws_measure"):
        library.files_of_bundle(certify(compile_bundle(models, MCU, names=["kws", "measure"])))
    with pytest.raises(InputError, match="0 inputs: give 1 or more"):
        memaopt.run(certify(plan), inputs=0)
    clash = compile_bundle(models, MCU, names=["kws", "kws_test"])
    with pytest.raises(InputError, match="kws and kws_test would both have KWS_TEST_"):
        library.files_of_bundle(certify(clash))
