"""Every operator of this folder, found: a new one is a new module, and no list changes."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import ChainMap
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from memaopt.networks import operators
from memaopt.networks.operators import sixteen
from memaopt.networks.operators.folded import Folded
from memaopt.networks.operators.keeping import Keeping
from memaopt.networks.operators.kept import Kept
from memaopt.networks.operators.operator import Operator
from memaopt.networks.operators.parted import Parted
from memaopt.networks.operators.several import Several


def load(folders: Iterable[str]) -> dict[str, type[Operator]]:
    """The operators of this package's modules that lie in some folders, by kind, but for those that no file has.

    TypeError for one that lacks a part.
    """
    return {kind: cls for kind, cls in _classes(folders, Operator).items() if cls.version}


def _classes(
    folders: Iterable[str],
    base: type[Operator | Folded | Parted | Kept | Keeping | Several],
    package: str = operators.__name__,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cls in _kinds(tuple(folders), package):
        if base in cls.__mro__:  # which takes no time, as asking an abstract class does
            if inspect.isabstract(cls):
                raise TypeError(f"{cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}")
            found[cls.kind] = cls
    return dict(sorted(found.items()))


@lru_cache(maxsize=2)
def _kinds(folders: tuple[str, ...], package: str) -> tuple[Any, ...]:
    """Every class with a kind of its own, in the modules of some folders."""
    names = [module.name for module in pkgutil.iter_modules(folders, f"{package}.") if not module.ispkg]
    return tuple(
        cls
        for name in names
        for cls in vars(importlib.import_module(name)).values()
        if isinstance(cls, type) and cls.__module__ == name and "kind" in vars(cls)
    )


OPERATORS = load(operators.__path__)
"""Every operator of a file that is supported, by its TFLite name."""
SIXTEEN: dict[str, type[Operator]] = _classes(sixteen.__path__, Operator, sixteen.__name__)
"""Those of int16 activations."""
FOLDED: dict[str, type[Folded]] = _classes(operators.__path__, Folded)
"""Every operator of a file that reading computes, by its TFLite name."""
PARTED: dict[str, type[Parted]] = _classes(operators.__path__, Parted)
"""Every operator of a file that is read as others, by its TFLite name."""
KEPT: dict[str, type[Kept]] = _classes(operators.__path__, Kept)
"""Every operator of a file about what it keeps from run to run, by its TFLite name."""
KEEPING: dict[str, type[Keeping]] = _classes(operators.__path__, Keeping)
"""Every operator of a file that keeps a tensor of its own and is read as others, by its TFLite name."""
SEVERAL: dict[str, type[Several]] = _classes(operators.__path__, Several)
"""Every operator of a file that is read as one which writes all its outputs into a block."""
CUSTOM: Mapping[str, str] = {cls.custom: kind for kind, cls in SEVERAL.items() if cls.custom}
"""The kinds of operators that are none of TFLite's builtin ones, by what a file calls them."""
READ: Mapping[str, type[Operator | Folded | Parted | Kept | Keeping | Several]] = ChainMap[str, Any](
    OPERATORS, FOLDED, PARTED, KEPT, KEEPING, SEVERAL
)
"""All of them."""
NOWHERE: Mapping[str, str] = {
    "CONV_3D": "neither LiteRT nor TFLite Micro has it of int8; a convolution over two axes they have",
    "WHERE": "the size of what it gives depends on values, and an arena is laid out before; SELECT_V2 has a size",
}
"""Operators that no network of integers can have, and why."""
