"""A library's folder as the one archive that an ecosystem's own tool installs. The same files, the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

from memaopt.emit.folder import VENDOR
from memaopt.errors import InputError
from memaopt.version import __version__


class _Form(NamedTuple):
    """How an ecosystem's archive is called, and the folder in it that holds everything, if one does."""

    file: str
    top: str = ""


_VALUES = {"vendor": VENDOR, "version": __version__}
#: Ecosystem, and its archive: ``.zip`` and ``.pack`` are zip files, the others compressed tar files.
_FORMS = {
    "arduino": _Form("{name}.zip", "{name}/"),
    "zephyr": _Form("{name}-zephyr-{version}.tar.gz", "{name}/"),
    "platformio": _Form("{name}-platformio-{version}.tar.gz"),
    "cmsis-pack": _Form("{vendor}.{name}.{version}.pack"),
    "cmake": _Form("{name}-{version}.tar.gz", "{name}-{version}/"),
}
KINDS = tuple(_FORMS)
#: The time of every entry: the first that a zip file can state.
_TIME = (1980, 1, 1, 0, 0, 0)
_SECONDS = 315532800


def demand_kind(kind: str) -> None:
    """InputError for an ecosystem that is not known."""
    if kind not in _FORMS:
        raise InputError(f"--package {kind}: there are {', '.join(KINDS)}")


def archive(kind: str, name: str, files: Mapping[str, str | bytes]) -> tuple[str, bytes]:
    """The name and the bytes of the archive of a library's ``files``, by path, for one of :data:`KINDS`."""
    demand_kind(kind)
    file, top = (text.format(name=name, **_VALUES) for text in _FORMS[kind])
    contents = {top + path: data.encode() if isinstance(data, str) else data for path, data in sorted(files.items())}
    return file, _tar(contents) if file.endswith(".tar.gz") else _zip(contents)


def _zip(contents: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, data in contents.items():
            entry = zipfile.ZipInfo(path, _TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # on every system the same
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _tar(contents: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for path, data in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(data), _SECONDS
            packed.addfile(entry, io.BytesIO(data))
    return gzip.compress(made.getvalue(), mtime=0)
