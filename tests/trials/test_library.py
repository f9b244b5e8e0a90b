"""No wrong library is written: what is emitted is compared first, by a host compiler or by execution in Python."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Cli
from network_helpers import MCU
from networks_helpers import CASES, inputs

from memaopt.certificates.gemm import Certificate
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.cli.main import main
from memaopt.emit import folder as emitted
from memaopt.emit import gemm
from memaopt.emit import network as emit
from memaopt.errors import BuildError, WrongLibraryError
from memaopt.kernels.registry import Format
from memaopt.networks import checks, reference
from memaopt.networks.zoo import zoo
from memaopt.trials import library as library_check


@pytest.fixture(scope="module")
def plan() -> NetworkPlan:
    return compile_network(zoo.build("ds_cnn"), MCU)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer without any compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys.modules["memaopt.board.build"], "find_spec", lambda name: None)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")
def test_a_wrong_table_in_the_c_is_found(plan: NetworkPlan) -> None:
    """Catches a comparison that says nothing of the C that is written, or a compiler's error that is passed over."""
    files = emit.files(plan)
    found = library_check.check(plan, files)
    assert found.host
    name = emitted.source(plan.name)
    # Another place of an input: what the emission of a layer might get wrong.
    changed = files[name].replace("(base + ", "(base + 16 + ", 1)
    with pytest.raises(WrongLibraryError, match="differ"):
        library_check.check(plan, {**files, name: changed})
    with pytest.raises(BuildError, match=r"ds_cnn\.c:.*error.*nothing is written"):
        library_check.check(plan, {**files, name: files[name] + "int x = y;\n"})


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")
def test_solve_writes_nothing_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a library that is written before it is compared, and an exit code of 0 for it."""
    (model,) = zoo.save(tmp_path / "zoo", ("ds_cnn",))
    files = emit.files

    def wrong(plan: NetworkPlan, **given: Sequence[str]) -> dict[str, str]:
        made = files(plan, **given)
        name = emitted.source(plan.name)
        return {**made, name: made[name].replace("(base + ", "(base + 16 + ", 1)}

    monkeypatch.setattr(emit, "files", wrong)
    with pytest.raises(SystemExit) as ended:
        main(["solve", str(model), "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_plan_is_executed(plan: NetworkPlan) -> None:
    """Catches a plan that loses a tensor or misreads it, which would pass where nothing compiles it."""
    files = emit.files(plan)
    found = library_check.check(plan, files)
    assert (found.host, found.target) == ("", "")
    assert all("not " in line for line in found.describe())
    memory, first = plan.memory, plan.layers[0]
    scratch = tuple(s.model_copy(update={"offset": plan.place(first.op.input)}) for s in memory.scratch)
    other = Format.S8 if first.plan.output_format is Format.RAW else Format.RAW
    for wrong in (
        dataclasses.replace(plan, memory=memory.model_copy(update={"scratch": scratch})),
        dataclasses.replace(plan, layers=plan.layers[1:]),
        dataclasses.replace(plan, layers=(_stores(first, other), *plan.layers[1:])),
    ):
        with pytest.raises(WrongLibraryError, match="nothing is written"):
            library_check.check(wrong, files)


def _stores(layer: LayerPlan, layout: Format) -> LayerPlan:
    return dataclasses.replace(layer, plan=dataclasses.replace(layer.plan, output_format=layout))


@pytest.mark.parametrize("kind", CASES)
def test_execution_in_python_is_the_reference(kind: str) -> None:
    """Catches a format, a place, an offset or a table that the executor reads otherwise than the C does."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        graph = CASES[kind](rng)
        checks.check(graph)
        made = compile_network(graph, MCU)
        for values in inputs(rng, graph):
            for found, wanted in zip(library_check.execute(made, values), reference.run(graph, values), strict=True):
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")
@pytest.mark.parametrize("dtype", ["f32", "q15", "s8"])
def test_a_wrong_gemm_is_not_written(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """Catches a GEMM that is written before its C is compared, for every dtype, and an exit code of 0 for it."""
    out = tmp_path / "out"
    right = cli("solve", "gemm", "16x9x5", "--dtype", dtype, "--out", out, "--json")
    assert right.json["check"]["host"]
    shutil.rmtree(out)
    files = gemm.files

    def wrong(made: Certificate) -> dict[str, str]:
        texts = files(made)
        name = emitted.source(gemm.name_of(made))
        return {**texts, name: texts[name].replace("for (; i + MR <= mc;", "for (i = MR; i + MR <= mc;")}

    monkeypatch.setattr(gemm, "files", wrong)
    line = cli.refused("solve", "gemm", "16x9x5", "--dtype", dtype, "--out", out, code=1)
    assert "nothing is written" in line
    assert not out.exists()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_a_gemm_is_written_and_it_is_said_that_nothing_was_compared(
    tmp_path: Path, cli: Cli
) -> None:
    """Catches a project that looks checked where nothing checked it."""
    said = cli("solve", "gemm", "6x9x5", "--out", tmp_path / "out")
    assert said.code == 0
    assert "compared with nothing" in said.out
    assert "not built for the chip" in said.out
    assert (tmp_path / "out" / "certificate.json").is_file()
