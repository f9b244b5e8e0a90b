"""A network's file, read once: its bytes, their digest, and the network that they hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from memaopt.files import read_bytes
from memaopt.networks import limits
from memaopt.networks.formats.tflite import reader as tflite
from memaopt.networks.graph import Graph


class Model(NamedTuple):
    """What a file held when it was read; whatever happens to the file, the three belong together."""

    data: bytes
    sha256: str
    graph: Graph


def read_model(path: str | Path) -> Model:
    """The model in a file. Raises InputError (not readable, not valid) or UnsupportedModelError."""
    file = Path(path)
    data = read_bytes(file, limits.MAX_FILE_BYTES)
    return Model(data, hashlib.sha256(data).hexdigest(), tflite.parse(data, file.name))
