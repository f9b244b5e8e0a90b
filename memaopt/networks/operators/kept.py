"""Operators of a file about what it keeps from run to run: reading resolves them, and no network has them.

A network has states instead (:class:`memaopt.networks.graph.State`): what a run reads of a variable is an input, what
the last assignment leaves in it an output.
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from memaopt.networks.operators.form import Options


class Kept(ABC):
    """What :mod:`memaopt.networks.formats.tflite.variables` resolves."""

    kind: ClassVar[str]
    options: ClassVar[Options | None] = None
