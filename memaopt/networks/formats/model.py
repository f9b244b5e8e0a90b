"""A model's file, read once: its bytes, what they hold, and their digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from memaopt.errors import InputError
from memaopt.files import first_bytes, read_bytes
from memaopt.networks import limits
from memaopt.networks.formats import converting
from memaopt.networks.formats.tflite import reader, writer
from memaopt.networks.formats.tflite.schema import IDENTIFIER
from memaopt.networks.graph import Graph
from memaopt.networks.reading import PLAIN, Reading, Wanted
from memaopt.spelling import option


class FileFormat(NamedTuple):
    """A kind of file, by the name that its files end in: how its bytes are told from others', and what reads them."""

    name: str
    recognises: Callable[[bytes], bool]
    examine: Callable[[bytes, str, Wanted], Reading]


def _is_onnx(data: bytes) -> bool:
    from memaopt.networks.formats.onnx import reader as onnx  # a .tflite file does without

    return onnx.recognises(data)


def _examine_onnx(data: bytes, name: str, asked: Wanted) -> Reading:
    from memaopt.networks.formats.onnx import reader as onnx

    if asked.customs:
        given = option("custom", [asked.customs[0].name])
        raise InputError(f"{given}: {name} is ONNX; it is for operators of a .tflite file")
    if asked.subgraph:
        raise InputError(f"{option('subgraph', asked.subgraph)}: {name} is ONNX, which has one graph")
    return onnx.examine(data, name)


_TFLITE = FileFormat("tflite", lambda data: data[4:8] == IDENTIFIER, reader.examine)
_ONNX = FileFormat("onnx", _is_onnx, _examine_onnx)
FORMATS: tuple[FileFormat, ...] = (_TFLITE, _ONNX)


@dataclass(frozen=True, eq=False)
class Model:
    """The bytes of a file and the network that they hold; ``notes``: where it may differ from what the file's format
    says; ``subgraph``: which of several it is, as it was asked for."""

    data: bytes
    graph: Graph
    format: str = _TFLITE.name
    notes: tuple[str, ...] = ()
    subgraph: str = ""

    @cached_property
    def sha256(self) -> str:
        """The digest of the bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def read(cls, path: str | Path, asked: Wanted = PLAIN) -> Model:
        """The model in a file. Raises InputError (not readable, not valid, without what is asked of it) or
        UnsupportedModelError."""
        return cls.parsed(read_file(path), path, asked)

    @classmethod
    def parsed(cls, data: bytes, name: str | Path, asked: Wanted = PLAIN) -> Model:
        """The model in the bytes of a file of that name. Raises InputError or UnsupportedModelError."""
        found = format_of(data, name)
        reading = found.examine(data, Path(name).name, asked)
        return cls(data, reading.whole(), found.name, reading.notes, asked.subgraph)

    @property
    def fidelity(self) -> str:
        """How near what is computed is to what an ONNX file says; empty for a .tflite file, which is exact."""
        if self.format == _TFLITE.name:
            return ""
        if not self.notes:
            return "every node as ONNX has it, exactly"
        kinds = Counter(note.split("(")[1].split(")")[0].split()[0] for note in self.notes)
        named = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
        return f"every node as ONNX has it, but for {len(self.notes)}, at most one step apart by themselves: {named}"

    def file(self, name: str) -> str:
        """The name of a file of it."""
        return f"{name}.{self.format}"

    @classmethod
    def of(cls, graph: Graph) -> Model:
        """The model of a network that came from no file. Its operators stand where they stand in the file."""
        data = writer.write(graph)
        return cls(data, reader.parse(data, graph.name))


def examine(path: str | Path, asked: Wanted = PLAIN) -> Reading:
    """What a file holds, supported or not. Raises InputError (not readable, not valid, without what is asked of it)."""
    return examine_bytes(read_file(path), path, asked)


def examine_bytes(data: bytes, name: str | Path, asked: Wanted = PLAIN) -> Reading:
    """What the bytes of a file of that name hold, supported or not. Raises InputError as :func:`examine`."""
    return format_of(data, name).examine(data, Path(name).name, asked)


def read_file(path: str | Path) -> bytes:
    """The bytes of a model's file. Raises InputError (not readable, too large, of a kind that is not read)."""
    converting.refuse(path)
    return read_bytes(Path(path), limits.MAX_FILE_BYTES)


def format_of(data: bytes, path: str | Path) -> FileFormat:
    """By content, else by name. What no format recognises is refused by the reader of .tflite files, which says what is
    wrong with it."""
    found = next((known for known in FORMATS if known.recognises(data)), None)
    if found is None:
        converting.refuse(path, lambda: data)
        suffix = Path(path).suffix.lower()
        found = next((known for known in FORMATS if suffix == f".{known.name}"), _TFLITE)
    return found


def names_model(path: str | Path) -> bool:
    """Whether a path is that of a model, by its ending or by how the file begins, and of a kind that is read or not."""
    if converting.recognises(path) or Path(path).suffix.lower() in {f".{known.name}" for known in FORMATS}:
        return True
    start = first_bytes(path, 8)
    return any(known.recognises(start) for known in FORMATS)
