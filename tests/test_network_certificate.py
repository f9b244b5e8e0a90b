"""Certificates of networks: what is claimed is derived again, and every changed claim is found."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from network_helpers import MCU

from memaopt.errors import FalseClaimError, InputError, MemaoptError
from memaopt.networks import certificate, zoo
from memaopt.networks.certificate import NetworkCertificate
from memaopt.networks.compile import compile_network


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NetworkCertificate]:
    folder = tmp_path_factory.mktemp("zoo")
    (path,) = zoo.save(folder, ("ds_cnn",))
    return path, certificate.certify(compile_network(path, MCU.in_setting("ram")), path.name)


def test_a_true_certificate_survives_json_and_verifies(signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a field that JSON changes, and a check that fails on the truth."""
    path, cert = signed
    again = NetworkCertificate.from_json(cert.to_json())
    assert again == cert
    certificate.verify(again, path)
    file = path.parent / "certificate.json"
    file.write_text(cert.to_json())
    certificate.verify_file(file)


_CHANGES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "another kernel's cycles": (("layers", 0, "cycles"), 5),
    "a promise with a load less": (("layers", 2, "promised", "parameters"), [1, 2, 3, 4]),
    "a kernel that does not exist": (("layers", 1, "family"), "magic"),
    "a proof of rounding that was not made": (("layers", 0, "requantization"), "proven by decree"),
    "less scratch": (("layers", 1, "scratch_bytes"), 0),
    "a format that the reader does not read": (("layers", 4, "output_format"), {"s8": "raw", "raw": "s8"}),
    "constants in flash": (("layers", 0, "data_in_ram"), False),
    "a smaller arena": (("memory", "arena_bytes"), 8_000),
    "a lower bound below the truth": (("memory", "lower_bound"), 15_000),
    "a tensor on top of another": (("memory", "buffers", 1, "offset"), 16),
    "a setting without copies in RAM": (("machine", "setting", "constants_in_ram"), 0),
    "a budget of RAM for code that is too small": (("machine", "setting", "code_in_ram"), 4),
    "another order of layers": (("memory", "order", 0), 1),
    "a cheaper price": (("choice", "price"), 1),
    "a bound below the price": (("choice", "bound"), 1),
    "less SRAM than the layers need": (("choice", "sram_limit"), 20_000),
    "fewer multiply-accumulates": (("totals", "macs"), 1),
    "less flash": (("totals", "flash_bytes"), 1),
    "a flash that is too small": (("flash_bytes",), 40_000),
    "another model": (("model_sha256",), "0" * 64),
    "a rewrite that was not made": (("simplified",), ["operator 3: dropped"]),
    "a name that is no identifier": (("name",), "x-y"),
}  # fmt: skip


@pytest.mark.parametrize("what", _CHANGES)
def test_every_false_claim_is_found(what: str, signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a claim that nothing checks: each is changed, with a digest that fits, and must be found."""
    path, cert = signed
    data = copy.deepcopy(json.loads(cert.to_json()))
    place, value = _CHANGES[what]
    at = data
    for key in place[:-1]:
        at = at[key]
    value = value[at[place[-1]]] if isinstance(value, dict) else value
    assert at[place[-1]] != value, "the change changes nothing"
    at[place[-1]] = value
    changed = NetworkCertificate.from_json(json.dumps(data))
    with pytest.raises(FalseClaimError, match="digest"):
        certificate.verify(changed, path)
    resigned = changed.model_copy(update={"sha256": certificate.digest(changed)})
    with pytest.raises(FalseClaimError) as found:
        certificate.verify(resigned, path)
    assert "\n" not in str(found.value)
    assert "digest" not in str(found.value)


def test_another_model_beside_it_is_found(signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a certificate that verifies against whatever lies beside it."""
    path, cert = signed
    (other,) = zoo.save(path.parent, ("fc_autoencoder",))
    with pytest.raises(FalseClaimError, match="not the model that was certified"):
        certificate.verify(cert, other)


_NO_CERTIFICATES = ["", "{", "[]", "{}", "null", '{"format": "memaopt-network-certificate-1"}', "[" * 9999]


@pytest.mark.parametrize("text", _NO_CERTIFICATES)
def test_what_is_no_certificate_is_refused_in_one_line(text: str) -> None:
    """Catches a traceback on a damaged file."""
    with pytest.raises(InputError) as found:
        NetworkCertificate.from_json(text)
    assert "\n" not in str(found.value)


def test_model_must_lie_beside_the_certificate(tmp_path: Path, signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a certificate that names a file elsewhere, and a missing model."""
    cert = signed[1]
    for name in ("../model.tflite", "/etc/passwd", "missing.tflite"):
        file = tmp_path / "certificate.json"
        file.write_text(cert.model_copy(update={"model": name}).to_json())
        with pytest.raises(MemaoptError):
            certificate.verify_file(file)


def test_network_without_a_file_has_no_certificate() -> None:
    """Catches a certificate that nobody could verify."""
    with pytest.raises(InputError, match="not compiled from"):
        certificate.certify(compile_network(zoo.build("fc_autoencoder"), MCU))
