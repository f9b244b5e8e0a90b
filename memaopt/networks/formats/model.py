"""A model's file, read once: its bytes, what they hold, and their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from memaopt.files import read_bytes
from memaopt.networks import limits
from memaopt.networks.formats import converting
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.schema import IDENTIFIER
from memaopt.networks.graph import Graph
from memaopt.networks.reading import Reading


class FileFormat(NamedTuple):
    """A kind of file: how its bytes are told from others', and what reads them."""

    name: str
    recognises: Callable[[bytes], bool]
    examine: Callable[[bytes, str], Reading]


_TFLITE = FileFormat("tflite", lambda data: data[4:8] == IDENTIFIER, reader.examine)
FORMATS: tuple[FileFormat, ...] = (_TFLITE,)


@dataclass(frozen=True, eq=False)
class Model:
    """The bytes of a file and the network that they hold."""

    data: bytes
    graph: Graph

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def read(cls, path: str | Path) -> Model:
        """The model in a file. Raises InputError (not readable, not valid) or UnsupportedModelError."""
        return cls.parsed(_bytes(path), path)

    @classmethod
    def parsed(cls, data: bytes, name: str | Path) -> Model:
        """The model in the bytes of a file of that name. Raises InputError or UnsupportedModelError."""
        return cls(data, _examined(data, name).whole())

    @classmethod
    def of(cls, graph: Graph) -> Model:
        """The model of a network that came from no file. Its operators stand where they stand in the file."""
        data = writer.write(graph)
        return cls(data, reader.parse(data, graph.name))


def examine(path: str | Path) -> Reading:
    """What a file holds, supported or not. Raises InputError (not readable, not valid)."""
    return _examined(_bytes(path), path)


def _bytes(path: str | Path) -> bytes:
    converting.refuse(path)
    return read_bytes(Path(path), limits.MAX_FILE_BYTES)


def _examined(data: bytes, path: str | Path) -> Reading:
    # What no format recognises is refused by the reader of .tflite files, which says what is wrong with it.
    found = next((known for known in FORMATS if known.recognises(data)), None)
    if found is None:
        converting.refuse(path, lambda: data)
        found = _TFLITE
    return found.examine(data, Path(path).name)
