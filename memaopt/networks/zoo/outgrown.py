"""Networks that outgrow a chip: weights beyond its flash, activations beyond its SRAM, as people keep them in memories
outside. Both have the shapes of the published models, 1000 classes included.
"""

from __future__ import annotations

from collections.abc import Callable

from memaopt.networks.graph import Graph
from memaopt.networks.zoo import mobilenets
from memaopt.networks.zoo.builder import Builder

_SAMPLES = 2  # images that scales follow from: more would take seconds each


def mobilenet_v1_050_224() -> Graph:
    """1.3 million weights."""
    return mobilenets.v1(Builder("mobilenet_v1_050_224", (1, 224, 224, 3), seed=10, samples=_SAMPLES), 16)


def mobilenet_v2_100_224() -> Graph:
    """3.5 million weights."""
    stages = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
    return mobilenets.v2(Builder("mobilenet_v2_100_224", (1, 224, 224, 3), seed=11, samples=_SAMPLES), 32, stages)


NETWORKS: dict[str, Callable[[], Graph]] = {
    "mobilenet_v1_050_224": mobilenet_v1_050_224,
    "mobilenet_v2_100_224": mobilenet_v2_100_224,
}
