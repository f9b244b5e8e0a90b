"""What every certificate is as a file: JSON of one model, strictly read, signed over its canonical form."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ValidationError

from memaopt.arguments import public
from memaopt.errors import FalseClaimError, InputError
from memaopt.files import CERTIFICATE_BYTES, parse_json, read_text
from memaopt.inputs import Input, told
from memaopt.machines.mcu import Mcu, mcu, preset_names
from memaopt.networks.formats.model import names_model
from memaopt.overview import Overview
from memaopt.spelling import either
from memaopt.writer import write_file

#: The certificate's name in a project's folder.
FILE = "certificate.json"


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of a certificate's JSON object without its ``sha256``, keys sorted, no spaces."""
    rest = {key: value for key, value in data.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_Kind = TypeVar("_Kind", bound="Envelope")


class Verified(Overview, frozen=True):
    """What a certificate that holds takes as given, and which of its claims were not proven again without a solver."""

    subject: str
    premises: tuple[str, ...]
    unproven: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """That all of it holds, with what was not proven again."""
        but = f" but, not proven again, {' and '.join(self.unproven)}" if self.unproven else ""
        return f"every claim holds{but}"

    def headline(self) -> str:
        """The network or product and the machine, and the verdict."""
        return f"{self.subject}: {self.verdict}"

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the claims hold for."""
        return tuple(("" if number else "given", premise) for number, premise in enumerate(self.premises))


class Envelope(Input, Overview):
    """What every certificate is: of a format, about a machine, signed. A kind of certificate adds what it claims.

    ``sha256`` is over the canonical JSON of all other fields.
    """

    #: What it is called where it is none.
    what: ClassVar[str]

    format: str
    machine: Mcu
    sha256: str = ""

    @classmethod
    def form(cls) -> str:
        """The only format that is read."""
        return str(cls.model_fields["format"].default)

    @property
    def subject(self) -> str:
        """What it speaks of, for messages."""
        raise NotImplementedError

    def to_json(self) -> str:
        """JSON text, indented, in the order of the fields."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    @public
    def from_json(cls, text: str, where: str = "certificate") -> Self:
        """The certificate in ``text``, unverified; InputError names ``where`` and the line or field if it is malformed.

        That of another version is refused by its format.
        """
        data, form = parse_json(text, where), cls.form()
        found = data.get("format") if isinstance(data, dict) else None
        if isinstance(found, str) and found != form and _unnumbered(found) == _unnumbered(form):
            raise InputError(f"{where}: {found} is of another version of memaopt, which reads {form}: solve again")
        try:
            json.loads(text, object_pairs_hook=_once)
            read = cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise InputError(f"{where}: not {cls.what}: {told(error)}") from None
        except ValueError as error:
            raise InputError(f"{where}: not {cls.what}: {error}") from None
        # What is signed is what was read; where that is more than is written, something was left to be filled in.
        for difference in differences(data, read.model_dump(mode="json")):
            raise InputError(f"{where}: not {cls.what}: {difference}")
        return read

    @classmethod
    @public
    def read(cls, path: str | Path) -> Self:
        """The certificate in the file at ``path``, unverified; InputError if there is none that can be read."""
        return cls.found(read_text(path, CERTIFICATE_BYTES), path)

    @classmethod
    def found(cls, text: str, path: str | Path) -> Self:
        """The certificate in the text of the file at ``path``."""
        return cls.from_json(text, str(path))

    @public
    def write(self, path: str | Path) -> None:
        """Write the certificate to ``path``, all of it or nothing; InputError if that cannot be done."""
        write_file(path, self.to_json().encode())

    def signed(self) -> Self:
        """With the digest that its content has."""
        return self.model_copy(update={"sha256": digest(self.model_dump(mode="json"))})

    def refuse_false(self, claims: Iterable[str]) -> None:
        """Raise FalseClaimError if the digest is not the content's, or for the first of the false ``claims``."""
        found = digest(self.model_dump(mode="json"))
        if self.sha256 != found:
            raise FalseClaimError(f"{self.subject}: sha256: the digest of its content is {found}, not {self.sha256}")
        for claim in claims:
            raise FalseClaimError(f"{self.subject}: {claim}")


class Named(Envelope):
    """What speaks of a network by its name, or of several by theirs together."""

    name: str

    @property
    def subject(self) -> str:
        """The name and the machine."""
        return f"{self.name} on {self.machine.name}"


def read(path: str | Path, *kinds: type[_Kind]) -> _Kind:
    """The certificate in a file, unverified: of the kind that its format says, of the last if it says none of them."""
    if names_model(path):
        makes = either(f"memaopt solve makes one, {FILE} in its --out", f"emit writes one, {FILE} in its folder")
        raise InputError(f"{path}: a model, and no certificate: {makes}")
    text = read_text(path, CERTIFICATE_BYTES)
    data = parse_json(text, str(path))
    found = data.get("format") if isinstance(data, dict) else None
    said = [kind for kind in kinds if isinstance(found, str) and _unnumbered(found) == _unnumbered(kind.form())]
    return [*said, kinds[-1]][0].found(text, path)


def _unnumbered(form: str) -> str:
    """A format without the number of its version."""
    return form.rstrip("0123456789")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; which of two equal names counts would be anybody's guess."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice in one object")
    return found


def differences(claimed: Any, derived: Any, place: str = "") -> Iterator[str]:
    """Where two JSON values differ, leaf by leaf: what is claimed, and what it is."""
    if isinstance(claimed, dict) and isinstance(derived, dict):
        for key in [*derived, *(key for key in claimed if key not in derived)]:
            inside = f"{place}.{key}" if place else str(key)
            if key not in derived or key not in claimed:
                yield f"{inside} is {'claimed, but there is none' if key in claimed else 'not claimed'}"
            else:
                yield from differences(claimed[key], derived[key], inside)
    elif isinstance(claimed, list) and isinstance(derived, list) and len(claimed) == len(derived):
        for i, (one, other) in enumerate(zip(claimed, derived, strict=True)):
            yield from differences(one, other, f"{place}.{i}")
    elif claimed != derived or type(claimed) is not type(derived):
        yield f"{place} is claimed to be {_short(claimed)}, but it is {_short(derived)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else text[:117] + "..."


@functools.cache
def _settings(name: str, dma: bool) -> dict[str, str]:
    """A preset in its settings, by digest; none if it has no DMA and one is asked for."""
    try:
        preset, also = mcu(name, dma=dma), " and with its DMA" if dma else ""
    except InputError:
        return {}
    return {
        digest(
            preset.in_setting(setting.name).model_dump(mode="json")
        ): f"{name}, as it comes with memaopt, in setting {setting.name}{also}"
        for setting in preset.settings
    }


def machine_premise(machine: Mcu) -> str:
    """The machine as a premise: the preset that it is, or the digest that tells it from others."""
    whole = digest(machine.model_dump(mode="json"))
    found = whole[:16]
    if machine.name in preset_names():
        if whole in (known := _settings(machine.name, machine.dma is not None)):
            return f"machine {known[whole]} (digest {found})"
        return f"machine {machine.name}, not as it comes with memaopt (digest {found})"
    return f"machine {machine.name} of the certificate (digest {found})"
