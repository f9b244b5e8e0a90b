"""The network that a kind of operator and a seed stand for, one in five with extreme scales."""

from __future__ import annotations

import dataclasses
import math
import zlib
from typing import NamedTuple

import numpy as np
from networks_helpers import CASES
from tensors_helpers import Rng

from memaopt.errors import UnsupportedModelError
from memaopt.networks import checks
from memaopt.networks.graph import Graph, Tensor

#: Operators whose C in TFLite is undefined at such scales: a quotient or a float beyond 2^31 steps.
_UNDEFINED = ("DIV", "QUANTIZE")


class Case(NamedTuple):
    """A network, and what makes its inputs."""

    graph: Graph
    rng: Rng


def case_of(kind: str, seed: int) -> Case:
    """The case of a kind of :data:`CASES`, from its name and the seed alone."""
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    graph = CASES[kind](rng)
    defined = not any(op.kind in _UNDEFINED for op in graph.operators)
    return Case(_stretched(rng, graph) if seed % 5 == 1 and defined else graph, rng)


def _stretched(rng: Rng, graph: Graph) -> Graph:
    """The network with scales from 1e-9 to 1e5, as far as its operator takes them: those that are equal stay so, a bias
    keeps the product of its input's and its weights', and outputs of another scale are now and then all clamped or all
    equal.
    """
    factor = float(np.exp(rng.uniform(math.log(1e-7), math.log(1e5))))
    apart = factor * float(np.exp(rng.uniform(-6, 6)))
    op, last = graph.operators[0], graph.outputs[0]
    alike = any(np.array_equal(graph.tensors[last].scales, graph.tensors[i].scales) for i in op.inputs)
    for by in (factor if alike else apart, 1.0):
        scales = [by if index == last else factor for index in range(len(graph.tensors))]
        made = graph.replace(tensors=[_scaled(t, s) for t, s in zip(graph.tensors, scales, strict=True)])
        try:
            checks.check(made)
        except UnsupportedModelError:
            continue
        return made
    return graph


def _scaled(tensor: Tensor, by: float) -> Tensor:
    """A tensor of another scale, if it has one and is no weights."""
    kept = not len(tensor.scales) or tensor.name == "weights"
    return tensor if kept else dataclasses.replace(tensor, scales=(tensor.scales * by).astype(np.float32))
