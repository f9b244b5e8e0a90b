"""Operators of a file's own that the user's C computes: planned, certified, emitted, run; and no figure pretends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from board_helpers import compilers
from cli_helpers import Cli
from custom_helpers import HEADER, NODES, SOURCE, TENSORS, write_own, write_simple
from tflite_helpers import Node, file_of

from memaopt.api import certify, emit, verify
from memaopt.certificates.network import NetworkCertificate
from memaopt.errors import BuildError, FalseClaimError, InputError, UnsupportedModelError
from memaopt.host_compiler import host_compiler
from memaopt.machines.mcu import mcu
from memaopt.networks import limits, reference
from memaopt.networks.custom_files import read_customs
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.reading import Wanted
from memaopt.problems.custom import RANK
from memaopt.trials import measurement
from memaopt.trials import network as network_trial

pytestmark = pytest.mark.skipif(host_compiler() is None, reason="its C is run here, which takes a compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an operator of its own, and that one's C."""
    where = tmp_path_factory.mktemp("custom")
    write_own(where / "net.tflite")
    return where


@pytest.fixture(scope="module")
def certificate(folder: Path) -> NetworkCertificate:
    custom = f"Rasp={folder / 'rasp.h'},{folder / 'rasp.c'}"
    made = certify(folder / "net.tflite", mcu("stm32l4r5"), custom=[custom])
    assert isinstance(made, NetworkCertificate)
    return made


def test_its_own_c_is_the_reference(certificate: NetworkCertificate) -> None:
    """Catches operands out of order, an output at another's place, and a description that is not the file's."""
    x = np.arange(-9, 9).reshape(1, 6, 3).astype(np.int8)
    graph = certificate.plan.source
    _, y = [value for _, value in reference.layers(graph, [x])][:2]
    assert y.dtype == np.int8  # the block of all outputs
    relu, means, seen = reference.run(graph, [x])
    taken = np.maximum((x.astype(int) - 3) * 2 - 5, -5).clip(-128, 127)
    np.testing.assert_allclose(means[0], (taken[0] + 5).sum(0) * np.float32(0.25))
    assert seen.tolist() == [2000 + 300 + 10 * 3 + 2]
    written = (taken ^ np.array([1, 2, 300]) ^ 9).astype(np.int8).astype(int)
    np.testing.assert_array_equal(relu, np.maximum((written - 3) * 2 - 5, -5).clip(-128, 127))


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(certificate: NetworkCertificate, compiler: str) -> None:
    """Catches a function that is given other addresses than the arena plan's, on either compiler; an access of it that
    is held against a promise which nobody made; and one of any other layer that is not."""
    found = network_trial.run(certificate.plan, 2, compiler=compiler, layout="stm32cube")
    assert found.passed
    own = [layer for layer in found.layers if layer.custom]
    assert [layer.custom for layer in own] == ["Rasp"]
    assert own[0].counted["output"].stores > 0
    assert own[0].predicted_cycles is None
    assert "but for Rasp, of which none is" in dict(found.facts())["accesses"]


@pytest.mark.slow
def test_no_figure_pretends(certificate: NetworkCertificate, folder: Path, tmp_path: Path, cli: Cli) -> None:
    """Catches cycles, stack or code that are printed, certified or compiled in as if Rasp's were in them."""
    plan = certificate.plan
    assert "predicted without Rasp's" in dict(certificate.facts())["cycles"]
    assert "no predicted figure has its cycles" in dict(certificate.facts())["custom"]
    claims = json.loads(certificate.to_json())["layers"]
    assert [claim["without"] for claim in claims if claim["without"] is not None] == ["Rasp"]
    assert [claim["promised"] for claim in claims if claim["without"]] == [{}]
    emit(certificate, tmp_path)
    header = (tmp_path / "include" / "net.h").read_text()
    assert "PROMISED_CYCLES" not in header
    assert len(re.findall(r"without Rasp's", header)) == 3
    assert "stack without Rasp's" in (tmp_path / "README.md").read_text()
    custom = f"Rasp={folder / 'rasp.h'},{folder / 'rasp.c'}"
    shown = cli("solve", folder / "net.tflite", "--custom", custom)
    assert f"{plan.machine_cycles:,} predicted without Rasp's" in shown.out
    assert "its own" in shown.out
    page = (tmp_path / "report.html").read_text()
    assert "cycles predicted without Rasp" in page
    assert "cycles promised" not in page


@pytest.mark.slow
@pytest.mark.board
def test_its_folder_holds_all(certificate: NetworkCertificate, tmp_path: Path) -> None:
    """Catches a folder that cannot be verified, measured or built without the files that it was made from; and C that
    is not what was certified."""
    emit(certificate, tmp_path)
    verified = verify(tmp_path / "certificate.json")
    assert any(premise.startswith("custom operator Rasp: rasp.h") for premise in verified.premises)
    again = NetworkCertificate.read(tmp_path / "certificate.json")
    assert measurement.measure(again.plan, tmp_path).passed
    for path in ("CMakeLists.txt", "Makefile", "zephyr/CMakeLists.txt", "memaopt.net.pdsc", "extras/firmware/Makefile"):
        assert "src/rasp.c" in (tmp_path / path).read_text(), path
    (tmp_path / "src" / "rasp.c").write_text(SOURCE.replace("int sum = 0", "int sum = 1"))
    with pytest.raises(FalseClaimError, match=r"src/rasp\.c is not the file that was certified"):
        verify(tmp_path / "certificate.json")


def _solved(folder: Path, *files: tuple[str, str], name: str = "Rasp") -> Graph:
    for file, text in files:
        (folder / file).write_text(text)
    custom = f"{name}={','.join(str(folder / file) for file, _ in files)}"
    return Model.read(folder.parent / "net.tflite", Wanted(read_customs([custom]))).graph


@pytest.mark.parametrize(
    ("header", "source", "told"),
    [
        (HEADER, "", "undefined reference to `Rasp'; it is called as void Rasp.const int8_t .x0, const int16_t .x1"),
        ("int Rasp;", "", "error: "),
        (HEADER, SOURCE.replace("int sum = 0", "int sum = 0; __builtin_trap()"), "a call ends by signal"),
    ],
)
def test_c_that_does_not_do(folder: Path, header: str, source: str, told: str) -> None:
    """Catches C that does not build or crashes and takes memaopt with it, or ends in a traceback."""
    where = folder / "wrong"
    where.mkdir(exist_ok=True)
    graph = _solved(where, ("rasp.h", header), *([("rasp.c", source)] if source else []))
    with pytest.raises(BuildError, match=f"custom operator Rasp: .*{told}"):
        reference.run(graph, [np.zeros((1, 6, 3), np.int8)])


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--custom", "Rasp"], "--custom Rasp: give NAME=header.h or NAME=header.h,source.c"),
        (["--custom", "Rasp=rasp.c"], "'rasp.c' is no name of a .h file"),
        (["--custom", "a*/b=rasp.h"], "--custom 'a*/b': no comment in C can hold that name"),
        (["--custom", "Grate=rasp.h"], "net.tflite has no operator of that name; its custom operators are Rasp"),
        (["--custom", "Rasp=none.h"], "none.h: cannot be read"),
        (["--custom", "Rasp=rasp.h", "--custom", "Rasp=rasp.h"], "it is given twice"),
        (["--custom", "Rasp=rasp.h", "--stream", "rows"], "Rasp, the user's C: which frames it reads nobody knows"),
        (
            ["--custom", "Rasp=rasp.h", "--place", "activations=fmc", "--mcu", "stm32f469"],
            "Rasp, the user's C: what it reads there nobody knows",
        ),
        ([], "is CUSTOM Rasp, which is not supported, but by C of yours: solve --custom Rasp=header.h"),
    ],
)
def test_what_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli, option: list[str], told: str) -> None:
    """Catches a combination that would be computed or priced wrongly, and a refusal that does not say what would do."""
    monkeypatch.chdir(folder)
    refused = cli("solve", "net.tflite", *option)
    assert refused.code == 2
    assert told in refused.err


def test_files_of_one_name(folder: Path, tmp_path: Path) -> None:
    """Catches a header of the user's in the place of the library's own."""
    for name in ("net.h", "memaopt_custom.h"):
        (tmp_path / name).write_text(HEADER)
    with pytest.raises(InputError, match=r"another file is called memaopt_custom\.h"):
        read_customs([f"Rasp={tmp_path / 'memaopt_custom.h'}"])
    custom = [f"Rasp={tmp_path / 'net.h'},{folder / 'rasp.c'}"]
    (tmp_path / "net.h").write_text(HEADER)
    certificate = certify(folder / "net.tflite", mcu("stm32l4r5"), custom=custom)
    assert isinstance(certificate, NetworkCertificate)
    with pytest.raises(InputError, match=r"another file is called net\.h in the library"):
        emit(certificate, tmp_path / "out")


def test_a_source_called_program(folder: Path) -> None:
    """Catches files of the user's in the place of those that the reference is built of."""
    where = folder / "program"
    where.mkdir()
    graph = _solved(where, ("program.h", HEADER), ("program.c", SOURCE.replace("rasp.h", "program.h")))
    reference.run(graph, [np.zeros((1, 6, 3), np.int8)])


def test_bytes_that_are_unsigned(folder: Path) -> None:
    """Catches a function that is given int8 where its file has uint8: alone it is given those, shared it is refused."""
    tensors = [
        Tensor(t.name, t.shape, DType.UINT8, t.scales, t.zero_points + 128) if t.dtype is DType.INT8 else t
        for t in TENSORS
    ]
    customs = read_customs([f"Rasp={folder / 'rasp.h'}"])
    alone = file_of(tensors, [Node("CUSTOM", (0, 2), (3, 4, 5), custom="Rasp")], [0], [3, 4, 5])
    graph = Model.parsed(alone, "alone.tflite", Wanted(customs)).graph
    assert [graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)][:2] == [DType.UINT8] * 2
    shared = file_of(tensors, NODES, [0], [6, 4, 5])
    with pytest.raises(UnsupportedModelError, match="uint8"):
        Model.parsed(shared, "shared.tflite", Wanted(customs))


def test_a_description_has_room() -> None:
    """Catches a limit of dimensions that is raised beyond what the function is told."""
    assert limits.MAX_RANK <= RANK


def test_every_command_takes_them(tmp_path: Path, cli: Cli) -> None:
    """Catches a command that does not know the user's C, its source left out of a build, a latency that is met without
    the operator's cycles, and figures that do not say whose they leave out."""
    model = tmp_path / "net.tflite"
    custom = write_simple(model)
    samples, plan = tmp_path / "samples.npy", tmp_path / "plan.json"
    values = np.random.default_rng(0).normal(0, 20, (3, 12)).astype(np.float32)
    np.save(samples, values)
    assert cli("validate", model, samples, *custom, "--library", "--board", 2).code == 0
    assert "Flip" in cli("pareto", model, *custom).out
    fitted = cli("fit", model, *custom, "--mcus", "stm32l4r5", "--latency", "5ms")
    assert fitted.code == 1
    assert "its figures are without Flip's" in fitted.out
    assert "too slow" in cli("fit", model, *custom, "--mcus", "stm32l4r5", "--latency", "0.1us").out
    assert cli("solve", model, *custom, "--out", tmp_path / "library").code == 0
    judged = cli("evaluate", model, tmp_path / "library" / "certificate.json", *custom)
    assert "Flip: C of the user's" in judged.out
    for words in (("fit", model, model.with_name("other.tflite")), ("evaluate", "gemm", "8x8x8", plan)):
        assert "--custom" in cli.refused(*words, *custom)
