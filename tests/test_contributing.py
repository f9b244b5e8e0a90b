"""The recipes of CONTRIBUTING.md, each followed with something trivial."""

import ast
import dataclasses
import re
from pathlib import Path

import jinja2
import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt import Gemm, certify, emit, mcu, run, verify
from memaopt.access import loads, stores
from memaopt.fixedpoint import wrap_int32
from memaopt.kernels import registry
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.gemm import families
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text import templates
from memaopt.kernels.text.c import Array
from memaopt.networks.formats import model
from memaopt.networks.reading import Reading, Wanted
from memaopt.networks.zoo import zoo
from memaopt.problems import reference
from memaopt.problems.dtypes import ELEMENT_TYPES
from memaopt.problems.layers import Lookup

_ROOT = Path(__file__).parents[1]
_TEXT = (_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

_BACKWARDS = """\
    (void)scratch;
    for (int32_t i = {{ layer.elements }}; i-- > 0;) {
        store_s8(out + i, load_s8(&{{ at.table }}[load_s8(in + i) + 128]));
    }
"""


class _Backwards:
    """Elements through a table, from the last to the first."""

    name = "backwards"
    computes = Lookup

    def plans(self, layer: Lookup) -> tuple[Plan, ...]:
        n = layer.elements
        promise = Promise((loads(n, 1),), stores(n, 1), loads(n, 1))
        return (Plan(self.name, "", cycles=9 * n, promise=promise, data_bytes=256, code_bytes=40),)

    def emit(self, layer: Lookup, plan: Plan, name: str) -> Emitted:
        table = [Array("int8_t", f"{name}_table", layer.table, "output of each input, from -128 up")]
        return emitted(unary(name), plan, "a table, backwards", "backwards.c.j2", table, layer=layer)


def test_a_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step between a family and its counted C that the recipe does not name."""
    _with_templates(monkeypatch, {"backwards.c.j2": _BACKWARDS})
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, _Backwards()))
    monkeypatch.setattr(registry, "plans", registry.plans.__wrapped__)
    rng = np.random.default_rng(0)
    layer = Lookup(37, rng.integers(-128, 128, 256).astype(np.int8))
    (plan,) = (plan for plan in registry.plans(layer) if plan.family == "backwards")
    made = {"table": (layer, registry.emit(layer, plan, "table"))}
    h.check_on_host(tmp_path, made, rng)
    h.check_on_board(tmp_path, made, rng, compilers()[0], kinds=["random"])


def test_a_front_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a kind of file that is known in more places than the recipe names."""

    def examine(data: bytes, name: str, asked: Wanted) -> Reading:
        graph = zoo.build(data.decode().removeprefix("zoo:"))
        return Reading(graph, graph.inputs, graph.outputs, unread=(), refusals=())

    known = model.FileFormat("zoo", lambda data: data.startswith(b"zoo:"), examine)
    monkeypatch.setattr(model, "FORMATS", (known, *model.FORMATS))
    (tmp_path / "net.zoo").write_bytes(b"zoo:ds_cnn")
    read = model.Model.read(tmp_path / "net.zoo")
    assert read.graph.operators
    assert read.data == b"zoo:ds_cnn"


#: Where other dtypes are told apart than the recipe says: formats of activations have one of the names, a Gemm its
#: default; the door's and the plots' words are for readers.
_OTHER_NAMES = {f"memaopt/{name}.py" for name in ("kernels/plan", "problems/gemm", "__init__", "bench/plots")}


def test_a_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a list of dtypes, or a place that tells them apart, that the recipe does not name: one that rounds down
    where q15 rounds to nearest is added, certified, written, compared on the host and counted on the board."""
    row = dataclasses.replace(ELEMENT_TYPES["q15"], arithmetic="c = saturate16(a b >> 15), the sum modulo 2^32.")
    monkeypatch.setitem(ELEMENT_TYPES, "t15", row)

    def truncated(problem: Gemm, data: reference.GemmData) -> reference.Array:
        sums = wrap_int32(data.a.astype(np.int64) @ data.b.astype(np.int64))
        return np.clip(sums >> 15, -32768, 32767).astype(np.int16)

    monkeypatch.setitem(reference.ARITHMETIC, "t15", reference.Arithmetic(truncated, reference.q15_operands))
    family = families.BY_NAME["q15-c"]._replace(name="t15-c", dtype="t15")
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, family))
    monkeypatch.setitem(families.BY_NAME, family.name, family)
    assembly, portable = (templates.source(f"kernels/gemm/q15{ending}.j2") for ending in ("_c.s", ".c"))
    made = {
        "kernels/gemm/t15_c.s.j2": assembly.replace("#0x4000", "#0"),
        "kernels/gemm/t15.c.j2": portable.replace("1 << 14", "0"),
    }
    _with_templates(monkeypatch, made)

    certificate = certify(Gemm(m=9, k=21, n=7, dtype="t15"), mcu("stm32l4r5"))
    verify(certificate)
    emit(certificate, tmp_path / "out")  # compared with numpy, by this computer's compiler
    assert run(tmp_path / "out").passed


@pytest.mark.slow
def test_what_tells_dtypes_apart() -> None:
    """Catches a file that tells dtypes apart and is not in the recipe, or one in it that no longer does."""
    section = _TEXT.split("## Add a dtype")[1].split("\n## ")[0]
    named = set(re.findall(r"`(memaopt/[\w/.]+\.(?:py|j2))`", section))
    # What a kernel does to the stack has a function for each template, whatever the dtype.
    assert named - {"memaopt/kernels/gemm/stack_words.py"} == _telling_dtypes_apart() - _OTHER_NAMES


def _telling_dtypes_apart() -> set[str]:
    dtypes = {"f32", "q15", "s8"}
    told = {
        str(path.relative_to(_ROOT))
        for path in (_ROOT / "memaopt").rglob("*.j2")
        if any(f'"{dtype}"' in path.read_text(encoding="utf-8") for dtype in dtypes)
    }
    return told | {
        str(path.relative_to(_ROOT))
        for path in (_ROOT / "memaopt").rglob("*.py")
        if any(
            isinstance(node, ast.Constant) and node.value in dtypes
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }


def _with_templates(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    """Templates beside those of the package."""
    environment = templates._environment()
    assert environment.loader is not None
    loader = jinja2.ChoiceLoader([jinja2.DictLoader(texts), environment.loader])
    monkeypatch.setattr(environment, "loader", loader)


def test_every_path_that_it_names_exists() -> None:
    """Catches a recipe that sends the reader to a file that has moved."""
    for path in re.findall(r"`((?:memaopt|tests|docs)/[\w/.]+)`", _TEXT):
        assert (_ROOT / path).exists(), path
