"""One operator a file, whole: what a new one may not lack."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from networks_helpers import CASES
from tensors_helpers import activation, single

from memaopt.networks import operators
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Operator, registry
from memaopt.networks.operators.folded import Folded
from memaopt.networks.operators.keeping import Keeping
from memaopt.networks.operators.kept import Kept
from memaopt.networks.operators.parted import Parted
from memaopt.networks.operators.registry import CUSTOM, OPERATORS, READ
from memaopt.networks.operators.several import Several

_ROOT = Path(__file__).parents[3]
_NETWORKS = _ROOT / "memaopt" / "networks"


def test_an_operator_is_a_file() -> None:
    """Catches two operators in a file, one that no file is named after, and one that the registry misses."""
    homes = {}
    for module in pkgutil.iter_modules(operators.__path__):
        own = importlib.import_module(f"{operators.__name__}.{module.name}")
        bases = Operator | Folded | Parted | Kept | Keeping | Several
        kinds = [
            cls.kind
            for cls in vars(own).values()
            if isinstance(cls, type)
            and cls.__module__ == own.__name__
            and issubclass(cls, bases)
            and "kind" in vars(cls)
        ]
        homes.update(dict.fromkeys(kinds, module.name))
        assert inspect.getdoc(own), module.name
    assert homes == {
        kind: kind.lower()
        for kind in (
            *READ,
            "LOOKUP",
            "FLOAT_LOOKUP",
            "INTERLEAVE",
            "SVDF_FEATURES",
            "SVDF_FILTER",
            "CUSTOM",
            "BLOCK_OUTPUT",
        )
    }


def test_every_operator_is_tested_and_told_of() -> None:
    """Catches an operator that no test compares with TFLite, and one that the documents leave out."""
    assert {*CASES} == {*OPERATORS}
    told = {*re.findall(r"[A-Z][A-Z0-9_]+", (_ROOT / "docs" / "networks.md").read_text(encoding="utf-8"))}
    assert {*READ} <= told


def test_options_are_those_of_the_schema() -> None:
    """Catches a name or number of a table, a field or an enumeration that TFLite's schema does not have."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    for kind, cls in READ.items():
        assert kind in CUSTOM.values() or hasattr(schema.BuiltinOperator, kind)
        if cls.options is None:
            continue
        assert getattr(schema.BuiltinOptions, cls.options.name) == cls.options.number
        table, given = getattr(schema, cls.options.name), getattr(schema, f"{cls.options.name}T")()
        for field in filter(lambda field: field.name, cls.options.fields):
            assert hasattr(table, field.name[0].upper() + field.name[1:]), (kind, field.name)
            assert hasattr(given, field.name), (kind, field.name)
            assert not field.enumeration or hasattr(schema, field.enumeration)


@pytest.mark.parametrize("part", sorted(Operator.__abstractmethods__))
def test_a_part_that_is_missing_is_an_error(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an operator that is taken although nobody wrote one of its parts."""
    lacking = {name for name in Operator.__abstractmethods__ if name != part}
    methods = "".join(f"    def {name}(self, *_: object) -> None: ...\n" for name in sorted(lacking))
    name = f"without_{part}"
    (tmp_path / f"{name}.py").write_text(
        f"from memaopt.networks.operators import Operator\n\n\nclass Lacking(Operator):\n    kind = 'X'\n{methods}",
        encoding="utf-8",
    )
    monkeypatch.setattr(operators, "__path__", [*operators.__path__, str(tmp_path)])
    with pytest.raises(TypeError, match=f"Lacking lacks {part}$"):
        registry.load([str(tmp_path)])


def _could_say(graph: Graph, op: Operator) -> set[str]:
    """The parts whose defaults an operator has, although there is more to say."""
    kept = {part for part in ("links", "in_place", "is_identity", "words") if vars(Operator)[part] is _part(op, part)}
    found = {"words"} if type(op).model_fields.keys() - Operator.model_fields.keys() else set()
    x, y = graph.tensor_of(op), graph.output_of(op)
    if len(op.inputs) == 1 and not op.alias and (x.dtype, x.shape) == (y.dtype, y.shape) and y.dtype.is_byte:
        rng, apart, same = np.random.default_rng(1), True, True
        for _ in range(20):
            before = rng.integers(-128, 128, x.shape).astype(np.int8)
            changed = before.copy()
            changed.flat[rng.integers(x.elements)] ^= rng.integers(-128, 128)
            first, second = (
                np.clip(op.evaluate(graph, [each]), -128, 127).reshape(x.shape) for each in (before, changed)
            )
            apart &= not ((first != second) & (before == changed)).any()
            same &= np.array_equal(first, before)
        found |= {"is_identity"} if same else {"links", "in_place"} if apart else set()
    return kept & found


def _part(op: Operator, part: str) -> object:
    return next(vars(cls)[part] for cls in type(op).__mro__ if part in vars(cls))


@pytest.mark.parametrize("kind", sorted(OPERATORS))
def test_no_operator_could_say_more(kind: str) -> None:
    """Catches an operator, element by element, an identity or with attributes, that left a part to its default."""
    graph = CASES[kind](np.random.default_rng(3))
    for op in graph.operators:
        assert not _could_say(graph, op), op.kind


def test_a_default_that_says_too_little_is_found() -> None:
    """Catches a search above that finds nothing."""

    class Untold(OPERATORS["LEAKY_RELU"]):  # type: ignore[misc, name-defined]
        links, in_place, words = Operator.links, Operator.in_place, Operator.words

    class Unmoved(OPERATORS["TRANSPOSE"]):  # type: ignore[misc, name-defined]
        is_identity = Operator.is_identity

    x, y = activation("x", (1, 3, 4, 2), 0.1, 3), activation("y", (1, 3, 4, 2), 0.1, 3)
    for op, attributes, lacking in (
        (Untold, {"alpha": 0.5}, {"links", "in_place", "words"}),
        (Unmoved, {"permutation": (0, 1, 2, 3)}, {"is_identity"}),
    ):
        graph = single(op, [x, y], 1, **attributes)
        assert _could_say(graph, graph.operators[0]) == lacking


def test_nothing_switches_over_operators() -> None:
    """Catches a part of an operator that is written elsewhere, where a new one falls through silently."""
    for path in (_ROOT / "memaopt").rglob("*.py"):
        assert "match op:" not in path.read_text(encoding="utf-8"), path
    for path in _NETWORKS.rglob("*.py"):
        assert "case _" not in path.read_text(encoding="utf-8"), path
