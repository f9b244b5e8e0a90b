"""SUB of int16 activations."""

from __future__ import annotations

from typing import ClassVar

from memaopt.networks.operators.sixteen.addition import Addition16
from memaopt.networks.operators.sub import Sub


class Sub16(Addition16, Sub):
    kind: ClassVar[str] = "SUB"
