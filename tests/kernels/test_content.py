"""Layers are known by their content: what follows from it is computed once, and is what a first computation gives."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from layers_helpers import conv, conv_depthwise, depthwise, fully_connected

from memaopt import kernels
from memaopt.kernels.registry import Layer, emit, plans
from memaopt.problems.content import ByContent
from memaopt.problems.layers import Lookup, Mean
from memaopt.problems.movement import Movement, Piece
from memaopt.problems.step_functions import Requantization


def _rng() -> np.random.Generator:
    return np.random.default_rng(11)


LAYERS: dict[str, Callable[[], Layer]] = {
    "conv": lambda: conv(_rng(), (9, 8, 6), 8, kernel=(3, 3)),
    "pointwise": lambda: conv(_rng(), (6, 5, 8), 10, kernel=(1, 1)),
    "depthwise": lambda: depthwise(_rng(), (14, 9, 6)),
    "taps": lambda: depthwise(_rng(), (9, 9, 4), kernel=(5, 3)),
    "fused": lambda: conv_depthwise(_rng(), (8, 9, 4), 6),
    "fully connected": lambda: fully_connected(_rng(), 24, 10),
    "mean": lambda: Mean((4, 4, 8), (0, 1), 3, Requantization(1, scales=np.array([0.25]))),
    "lookup": lambda: Lookup(40, np.arange(-128, 128, dtype=np.int8)),
    "movement": lambda: Movement("copy", 6, (Piece(0, (6,), (np.arange(6),), (np.arange(6),)),)),
}


def _caches() -> Iterator[Any]:
    """Every cached function of the kernel families."""
    for module in pkgutil.walk_packages(kernels.__path__, "memaopt.kernels."):
        found = importlib.import_module(module.name)
        yield from (f for _, f in inspect.getmembers(found) if hasattr(f, "cache_clear"))
    yield plans


@pytest.mark.parametrize("name", LAYERS)
def test_cached_plans_and_text_are_those_of_a_first_computation(name: str) -> None:
    """Catches a cache whose key leaves out something that plans, proofs or text depend on."""
    made = LAYERS[name]
    for other in LAYERS.values():
        plans(other())  # fills the caches with other layers' results
    layer = made()
    cached = plans(layer)
    text = [emit(layer, plan, "layer").source for plan in cached]
    assert plans(made()) is cached, "an equal layer is planned again"
    for cache in _caches():
        cache.cache_clear()
    assert plans(made()) == cached
    assert [emit(made(), plan, "layer").source for plan in cached] == text


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_equal_by_content_alone(name: str) -> None:
    """Catches a field that equality leaves out: each is changed a little."""
    layer = LAYERS[name]()
    assert layer == LAYERS[name]()
    assert hash(layer) == hash(LAYERS[name]())
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, np.ndarray):
            changed: object = value.copy()
            changed.flat[-1] ^= 1
        elif isinstance(value, ByContent):
            part = dataclasses.fields(value)[0].name
            changed = dataclasses.replace(value, **{part: _other(getattr(value, part))})
        else:
            changed = _other(value)
        assert dataclasses.replace(layer, **{field.name: changed}) != layer, field.name


def _other(value: Any) -> Any:
    """A value that differs."""
    match value:
        case str():
            return value + "x"
        case np.ndarray():
            return value + 1
        case Piece() | Requantization():
            return dataclasses.replace(value, **{dataclasses.fields(value)[0].name: 7})
        case tuple() if hasattr(value, "_replace"):
            return value._replace(**{value._fields[0]: _other(value[0])})
        case tuple():
            return (*value[:-1], _other(value[-1]))
        case _ if dataclasses.is_dataclass(value):
            name = dataclasses.fields(value)[0].name
            return dataclasses.replace(value, **{name: _other(getattr(value, name))})
        case _:
            return value + 1


def test_arrays_of_other_shape_or_type_differ() -> None:
    """Catches a digest over bytes alone."""
    table = np.zeros(256, np.int8)
    assert Lookup(1, table) != Lookup(1, table.view(np.int16))
    assert Lookup(1, table) != Lookup(1, table.reshape(2, 128))
    assert Piece(0, (1, 2), (), ()) != Piece(0, (12,), (), ())
    assert Piece(0, (), (table,), ()) != Piece(0, (), (), (table,))


@pytest.mark.parametrize("name", [name for name, made in LAYERS.items() if hasattr(made(), "weights")])
def test_no_plan_keeps_a_weight_in_less_than_a_byte(name: str) -> None:
    """Catches a kernel with which a network fits that is refused because of its weights alone."""
    layer = LAYERS[name]()
    assert all(plan.data_bytes >= layer.weights.size for plan in plans(layer))
