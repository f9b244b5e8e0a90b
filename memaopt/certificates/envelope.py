"""What every certificate is as a file: JSON of one model, strictly read, signed over its canonical form."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from memaopt.errors import InputError
from memaopt.files import CERTIFICATE_BYTES, parse_json, read_text
from memaopt.inputs import told
from memaopt.machines.mcu import Mcu, mcu, preset_names

_Model = TypeVar("_Model", bound=BaseModel)


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of a certificate's JSON object without its ``sha256``, keys sorted, no spaces."""
    rest = {key: value for key, value in data.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_json(certificate: BaseModel) -> str:
    """JSON text, indented, in the order of the fields."""
    return json.dumps(certificate.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


class Verified(NamedTuple):
    """What a certificate that holds takes as given, and which of its claims were not proven again without a solver."""

    premises: tuple[str, ...]
    unproven: tuple[str, ...] = ()


def parse(model: type[_Model], text: str, where: str, what: str, form: str) -> _Model:
    """The certificate in ``text``, unverified; InputError names ``where`` and the line or the field if it is malformed.

    ``what`` names the kind of certificate, ``form`` is the only format that is read.
    """
    data = parse_json(text, where)
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, str) and found != form and found.rstrip("0123456789") == form.rstrip("0123456789"):
        raise InputError(f"{where}: {found} is of another version of memaopt, which reads {form}: solve again")
    try:
        json.loads(text, object_pairs_hook=_once)
        read = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InputError(f"{where}: not {what}: {told(error)}") from None
    except ValueError as error:
        raise InputError(f"{where}: not {what}: {error}") from None
    # What is signed is what was read; where that is more than is written, something was left to be filled in.
    for difference in differences(data, read.model_dump(mode="json")):
        raise InputError(f"{where}: not {what}: {difference}")
    return read


def kind_of(path: str | Path) -> str:
    """The format that a JSON file says it has, without its number; empty if it says none."""
    data = parse_json(read_text(path, CERTIFICATE_BYTES), str(path))
    found = data.get("format") if isinstance(data, dict) else None
    return found.rstrip("0123456789") if isinstance(found, str) else ""


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
def _presets() -> dict[str, str]:
    """The presets in their settings, by digest."""
    return {
        digest(
            mcu(name).in_setting(setting.name).model_dump(mode="json")
        ): f"{name}, as it comes with memaopt, in setting {setting.name}"
        for name in preset_names()
        for setting in mcu(name).settings
    }


def machine_premise(machine: Mcu) -> str:
    """The machine as a premise: the preset that it is, or the digest that tells it from others."""
    whole = digest(machine.model_dump(mode="json"))
    found = whole[:16]
    if whole in _presets():
        return f"machine {_presets()[whole]} (digest {found})"
    if machine.name in preset_names():
        return f"machine {machine.name}, not as it comes with memaopt (digest {found})"
    return f"machine {machine.name} of the certificate (digest {found})"
