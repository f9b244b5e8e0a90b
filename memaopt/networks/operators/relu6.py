"""RELU6, on its own."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.attributes import Activation
from memaopt.networks.operators.relu import Relu


class Relu6(Relu):
    kind: ClassVar[str] = "RELU6"
    clamps_to: ClassVar[Activation] = Activation.RELU6
