"""ADD of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.add import Add
from memaopt.networks.operators.sixteen.addition import Addition16


class Add16(Addition16, Add):
    kind: ClassVar[str] = "ADD"
