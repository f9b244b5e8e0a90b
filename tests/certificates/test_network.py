"""Certificates of networks: what is claimed is derived again, and every changed claim is found."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mutations
import pytest
from network_helpers import MCU

import memaopt
from memaopt import Gemm, certify
from memaopt.certificates import network as certificate
from memaopt.certificates import network_check
from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.compile import compile_network
from memaopt.choice.placement import NetworkPlacement
from memaopt.errors import FalseClaimError, InputError, MemaoptError
from memaopt.machines.mcu import mcu
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder

_ROOT = str(Path(__file__).parents[2])


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
    network_check.verify(again, Model.read(path))
    file = path.parent / "certificate.json"
    file.write_text(cert.to_json())
    memaopt.verify(file)


_CHANGES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "another kernel's cycles": (("layers", 0, "cycles"), 5),
    "a promise with a load less": (("layers", 2, "promised", "parameters", "loads"), 1),
    "a kernel that does not exist": (("layers", 1, "family"), "magic"),
    "a proof of rounding that was not made": (("layers", 0, "requantization"), "proven by decree"),
    "less scratch": (("layers", 0, "scratch_bytes"), 0),
    "a format that the reader does not read": (("layers", 4, "output_format"), {"s8": "raw", "raw": "s8"}),
    "constants elsewhere": (("layers", 0, "data_in_ram"), {False: True, True: False}),
    "a smaller arena": (("memory", "arena_bytes"), 8_000),
    "a lower bound below the truth": (("memory", "lower_bound"), 15_000),
    "a tensor on top of another": (("memory", "buffers", 1, "offset"), 16),
    "a setting without copies in RAM": (("machine", "setting", "constants_in_ram"), 0),
    "a budget of RAM for code that is too small": (("machine", "setting", "code_in_ram"), 4),
    "another order of layers": (("memory", "order", 0), 1),
    "a cheaper price": (("choice", "price"), 1),
    "a bound below the price": (("choice", "bound"), 1),
    "less SRAM than the layers need": (("sram_bytes",), 20_000),
    "more SRAM than the machine has": (("sram_bytes",), 655_361),
    "more flash than the machine has": (("flash_bytes",), 1 << 30),
    "channels in multiples of 4": (("multiple",), 4),
    "no proof": (("choice", "proof"), "none"),
    "a proof by a solver": (("choice", "proof"), "solver"),
    "a buffer that lives longer": (("memory", "buffers", 0, "last"), 9),
    "a larger arena": (("memory", "arena_bytes"), 16_384),
    "another alignment": (("memory", "alignment"), 8),
    "an arena that is not proven": (("memory", "proof"), "none"),
    "an order that is not proven": (("memory", "order_proven"), False),
    "scratch of an operator that does not exist": (("memory", "scratch", 0, "operator"), 99),
    "fewer multiply-accumulates": (("totals", "macs"), 1),
    "less flash": (("totals", "flash_bytes"), 1),
    "a flash that is too small": (("flash_bytes",), 40_000),
    "another model": (("model_sha256",), "0" * 64),
    "a rewrite that was not made": (("simplified",), ["operator 3: dropped"]),
    "a name that is no identifier": (("name",), "x-y"),
}


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
        network_check.verify(changed, Model.read(path))
    resigned = changed.signed()
    with pytest.raises(FalseClaimError) as found:
        network_check.verify(resigned, Model.read(path))
    assert "\n" not in str(found.value)
    assert "digest" not in str(found.value)


@pytest.fixture(scope="module")
def outside() -> tuple[Model, dict[str, Any]]:
    """A network with some constants outside the chip, and its certificate as JSON."""
    made = Builder("outside", (1, 6, 6, 4), 5)
    graph = made.finish(made.conv_2d(made.conv_2d(0, 16, Size2D(3, 3)), 8, Size2D(1, 1)))
    model, place = Model.of(graph), NetworkPlacement(weights="auto")
    free = compile_network(model, MCU, place=place)
    plan = compile_network(model, MCU, flash=free.flash_bytes - free.constant_bytes // 3, place=place)
    assert {layer.where.outside for layer in plan.layers} == {False, True}
    return model, json.loads(certificate.certify(plan).to_json())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("placement", "weights"), "flash"),
        (("placement", "weights"), "qspi"),
        (("layers", 0, "data_outside"), {False: True, True: False}),
        (("layers", 0, "traffic", "memories", "qspi", "bytes"), {}),
        (("totals", "traffic", "memories", "qspi", "least"), {}),
        (("totals", "outside", "bytes"), {}),
        (("totals", "outside", "crc32"), {}),
        (("totals", "outside", "memory"), "flash"),
        (("totals", "outside"), None),
        (("totals", "constant_bytes"), {}),
    ],
)
def test_every_false_claim_of_what_lies_outside_is_found(
    place: tuple[Any, ...], value: Any, outside: tuple[Model, dict[str, Any]]
) -> None:
    """Catches a claim of the memory outside the chip that nothing checks. No value: one more than is true."""
    _refuses(outside, place, value)


def _refuses(of: tuple[Model, dict[str, Any]], place: tuple[Any, ...], value: Any) -> None:
    """A true certificate verifies, and one with another value in its place does not."""
    model, data = of[0], copy.deepcopy(of[1])
    network_check.verify(NetworkCertificate.from_json(json.dumps(data)), model)
    at = data
    for key in place[:-1]:
        at = at[key]
    true = at[place[-1]]
    at[place[-1]] = value.get(true, true + 1) if isinstance(value, dict) else value
    assert at[place[-1]] != true
    with pytest.raises((FalseClaimError, InputError)) as found:
        network_check.verify(NetworkCertificate.from_json(json.dumps(data)).signed(), model)
    assert "digest" not in str(found.value)


@pytest.fixture(scope="module")
def tensors_outside() -> tuple[Model, dict[str, Any]]:
    """A network with some tensors outside the chip, and its certificate as JSON."""
    made = Builder("outside", (1, 12, 12, 8), 5)
    x = made.depthwise_conv_2d(made.conv_2d(0, 16, Size2D(3, 3)), Activation.RELU)
    model = Model.of(made.finish(made.conv_2d(made.conv_2d(x, 16, Size2D(1, 1)), 4, Size2D(1, 1))))
    machine, place = mcu("stm32f469"), NetworkPlacement(activations="fmc")
    plan = compile_network(model, machine, sram=3600, place=place)
    assert plan.away
    return model, json.loads(certificate.certify(plan).to_json())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("placement", "activations"), "sram"),
        (("placement", "input"), "fmc"),
        (("room",), None),
        (("room",), 2_000),
        (("room",), 200_000),
        (("outer",), None),
        (("outer", "arena_bytes"), {}),
        (("outer", "lower_bound"), {}),
        (("outer", "buffers", 0, "offset"), 8),
        (("outer", "buffers", 0, "size"), {}),
        (("outer", "order", 0), 1),
        (("totals", "outer_bytes"), {}),
        (("totals", "traffic", "memories", "fmc", "bytes"), {}),
        (("layers", 0, "traffic", "memories", "fmc", "least"), {}),
        (("layers", 0, "stall_cycles"), {}),
    ],
)
def test_every_false_claim_of_tensors_outside_is_found(
    place: tuple[Any, ...], value: Any, tensors_outside: tuple[Model, dict[str, Any]]
) -> None:
    """Catches a claim of tensors outside the chip that nothing checks. No value: one more than is true."""
    _refuses(tensors_outside, place, value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A network of three layers in a tight arena, and its certificate as JSON."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    b = Builder("tiny", (1, 5, 5, 3), 4)
    x = b.conv_2d(0, 6, Size2D(3, 3), Activation.RELU)
    x = b.depthwise_conv_2d(x, Activation.RELU)
    path.write_bytes(writer.write(b.finish(b.conv_2d(x, 4, ops.ONE, Activation.NONE))))
    free = compile_network(path, MCU)
    plan = compile_network(path, MCU, arena=free.arena_bytes - 16, flash=free.flash_bytes - 16)
    return path, json.loads(certificate.certify(plan, path.name).to_json())


#: What may be otherwise without being false: what a certificate takes as given, and where tensors lie.
_OPEN = re.compile(rf"({'|'.join(certificate.PREMISES)})(\.|$)|memory\.(buffers|scratch)\.\d+\.offset$")


def _holds(path: Path, data: dict[str, Any]) -> NetworkCertificate | None:
    """The certificate if it verifies, None if it is refused in one line."""
    try:
        cert = NetworkCertificate.from_json(json.dumps(data))
        network_check.verify(cert, Model.read(path))
    except MemaoptError as error:
        return None if "\n" not in str(error) else pytest.fail(f"more than a line: {error}")
    return cert


def test_what_is_left_out_is_not_filled_in(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Catches a field that has a default, in a tuple or in the machine: the file would not say what is signed."""
    data = copy.deepcopy(tiny[1])
    del data["layers"][0]["promised"]["parameters"]["stores"]
    with pytest.raises(InputError, match=r"layers\.0\.promised\.parameters\.stores is not claimed"):
        NetworkCertificate.from_json(json.dumps(data))
    data = copy.deepcopy(tiny[1])
    del data["machine"]["memories"][0]["executable"]
    with pytest.raises(InputError, match=r"machine\.memories\.0\.executable is not claimed"):
        NetworkCertificate.from_json(json.dumps(data))


def test_every_leaf_is_derived_or_a_premise(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Catches a field that nobody checks: each leaf is changed in several ways and signed again. It is refused, or it
    belongs to what the certificate takes as given, and then what it claims is what compiling for that gives."""
    path, data = tiny
    assert _holds(path, data) is not None
    tried = set()
    for place, old in mutations.leaves({key: value for key, value in data.items() if key != "sha256"}):
        tried.add(place[0])
        name = ".".join(map(str, place))
        for value in mutations.values(old)[: 1 if place[0] == "machine" else None]:
            cert = _holds(path, mutations.changed(data, place, value))
            if cert is None:
                continue
            assert _OPEN.match(name), f"{name}: {value!r} is accepted"
            if place[0] == "memory" or isinstance(value, str):
                continue
            again = compile_network(
                path,
                cert.machine,
                cert.objective,
                name=cert.name,
                sram=cert.sram_bytes,
                flash=cert.flash_bytes,
                arena=cert.arena_bytes,
                formats=cert.formats,
            )
            assert again.choice.price == cert.choice.price, name
    assert tried == set(NetworkCertificate.model_fields) - {"sha256"}


def test_no_field_more_or_less(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Catches a field that is ignored, and one that has a default."""
    path, data = tiny
    for what, made in mutations.structures(data):
        if "machine" not in what:
            assert _holds(path, made) is None, what


def test_premises_are_told(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Catches a premise that a reader is not told of: the machine with its digest, the objective, the budgets."""
    path, data = tiny
    cert = NetworkCertificate.from_json(json.dumps(data))
    told = " ".join(network_check.verify(cert, Model.read(path)).premises)
    for word in ("tiny.tflite", "as it comes with memaopt", "cycles", f"{cert.flash_bytes:,}", f"{cert.arena_bytes:,}"):
        assert word in told
    other = cert.machine.model_copy(update={"power_mw": 1.0})
    changed = mutations.changed(data, ("machine",), other.model_dump(mode="json"))
    told = " ".join(network_check.verify(NetworkCertificate.from_json(json.dumps(changed)), Model.read(path)).premises)
    assert "not as it comes" in told


def test_a_budget_that_was_not_used_up_cannot_be_raised(signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a choice certified for a budget that it was not chosen for."""
    path, _ = signed
    ram = mcu("stm32l4r5", "ram")
    small = certificate.certify(compile_network(path, ram, sram=30_000), path.name)
    network_check.verify(small, Model.read(path))
    large = small.model_copy(update={"sram_bytes": 655_360})
    with pytest.raises(FalseClaimError, match="nothing is cheaper"):
        network_check.verify(large.signed(), Model.read(path))


def test_verify_does_without_the_solver(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Catches a proof that only the solver can replay, and an import of it, in a process that verifies both kinds."""
    path, data = tiny
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "network.json").write_text(json.dumps(data))
    certify(Gemm(m=3, k=4, n=5), MCU).write(tmp_path / "gemm.json")
    code = (
        "import sys, memaopt;"
        "memaopt.verify('network.json'); memaopt.verify('gemm.json');"
        "assert not any(name.split('.')[0] == 'ortools' for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": _ROOT})


def test_old_certificates_are_refused_by_their_format() -> None:
    """Catches a certificate of another version that is read as if it were of this one."""
    with pytest.raises(InputError, match=r"certificate-1 is of another version of memaopt, which reads .*-11"):
        NetworkCertificate.from_json('{"format": "memaopt-network-certificate-1"}')


def test_no_name_twice() -> None:
    """Catches JSON whose reader decides which of two values counts."""
    with pytest.raises(InputError, match="twice"):
        NetworkCertificate.from_json('{"format": "memaopt-network-certificate-11", "format": "x"}')


def test_another_model_beside_it_is_found(signed: tuple[Path, NetworkCertificate]) -> None:
    """Catches a certificate that verifies against whatever lies beside it."""
    path, cert = signed
    (other,) = zoo.save(path.parent, ("fc_autoencoder",))
    with pytest.raises(FalseClaimError, match="not the model that was certified"):
        network_check.verify(cert, Model.read(other))


_NO_CERTIFICATES = ["", "{", "[]", "{}", "null", '{"format": "memaopt-network-certificate-11"}', "[" * 9999]


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
            memaopt.verify(file)


def test_network_without_a_file_has_no_certificate() -> None:
    """Catches a certificate that nobody could verify."""
    with pytest.raises(InputError, match="not compiled from"):
        certificate.certify(compile_network(zoo.build("fc_autoencoder"), MCU))
