"""Certificates of staged networks: what is claimed is derived again, and every changed claim is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mutations
import pytest

import memaopt
from memaopt.certificates import staging
from memaopt.certificates.staging import StagingCertificate
from memaopt.errors import FalseClaimError, InfeasibleError, InputError, MemaoptError
from memaopt.machines.mcu import mcu
from memaopt.networks import operators as ops
from memaopt.networks.formats.model import Model
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder

_MCU = mcu("stm32l4r5")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A network with a short cut in so little SRAM that tensors leave it, and its certificate as JSON."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    b = Builder("tiny", (1, 6, 5, 2), seed=4)
    x = b.conv_2d(b.input, 4, Size2D(3, 3), Activation.RELU)
    y = b.conv_2d(b.depthwise_conv_2d(x, Activation.RELU), 4, ops.ONE, Activation.NONE)
    path.write_bytes(writer.write(b.finish(b.add(x, y))))
    made = staging.certify(Model.read(path), _MCU, sram=200, file=path.name)
    return path, json.loads(made.to_json())


def _holds(path: Path, data: dict[str, Any]) -> bool:
    """Whether it verifies; what is refused is refused in one line."""
    try:
        staging.verify(StagingCertificate.from_json(json.dumps(data)), Model.read(path))
    except MemaoptError as error:
        return False if "\n" not in str(error) else pytest.fail(f"more than a line: {error}")
    return True


def test_a_true_certificate_survives_json_and_verifies(tmp_path: Path) -> None:
    """Catches a field that JSON changes, a check that fails on the truth, and a file that `verify` does not know."""
    (path,) = zoo.save(tmp_path, ("resnet8",))
    made = staging.certify(Model.read(path), _MCU, sram=32 << 10, file=path.name)
    assert StagingCertificate.from_json(made.to_json()) == made
    assert made.moved == made.walked == sum(each.moved + each.evicted + each.fetched for each in made.layers)
    assert made.packed_bytes <= made.sram_bytes
    made.write(tmp_path / "staging.json")
    told = " ".join(memaopt.verify(tmp_path / "staging.json").premises)
    assert "32,768 bytes of SRAM" in told
    assert f"{made.moved:,}" in made.summary()
    with pytest.raises(InputError, match="not a certificate"):
        memaopt.run(tmp_path / "staging.json")


def test_every_leaf_is_derived_or_a_premise(tiny: tuple[Path, dict[str, Any]]) -> None:
    """Catches a field that nobody checks: each leaf is changed in several ways and signed again. It is refused, or it
    is a premise of which all else is true as well."""
    path, data = tiny
    assert _holds(path, data)
    assert any(each["moved"] for each in data["layers"])
    for place, old in mutations.leaves({key: value for key, value in data.items() if key not in ("sha256", "machine")}):
        for value in mutations.values(old):
            changed = mutations.changed(data, place, value)
            if _holds(path, changed):
                assert place[0] in staging.PREMISES, (place, value)
    del data["layers"][0]["gap"]
    with pytest.raises(InputError, match=r"layers\.0\.gap"):
        StagingCertificate.from_json(json.dumps(data))


def test_another_model_and_more_sram_are_found(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Catches a certificate taken for that of another file, one without its model, and SRAM that no chip has."""
    path, _ = tiny
    made = staging.certify(Model.read(path), _MCU, sram=400, file=path.name)
    (other,) = zoo.save(tmp_path, ("ds_cnn",))
    with pytest.raises(FalseClaimError, match="not the model that was certified"):
        staging.verify(made, Model.read(other))
    with pytest.raises(InputError, match="its model is not at hand"):
        staging.verify(StagingCertificate.from_json(made.to_json()))
    small = made.model_copy(update={"machine": _MCU.with_sizes(sram=4096), "sram_bytes": 5000}).signed()
    with pytest.raises(FalseClaimError, match="the machine has 4,096"):
        staging.verify(small, Model.read(path))
    with pytest.raises(InfeasibleError, match="bytes of SRAM for its rows"):
        staging.certify(Model.read(path), _MCU, sram=10)
