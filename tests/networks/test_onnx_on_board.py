"""The library of an ONNX network on the virtual board."""

from pathlib import Path

import numpy as np
import pytest
from onnx_helpers import Sketch, network

import memaopt
from memaopt import mcu
from memaopt.choice.compile import compile_network
from memaopt.trials import network as trial


@pytest.mark.slow
def test_counted_is_promised(tmp_path: Path) -> None:
    """Catches an access of an ONNX network's library that was not promised, and a certificate of another file."""
    path, machine = tmp_path / "net.onnx", mcu("stm32l4r5")
    path.write_bytes(network(Sketch(np.random.default_rng(3), unsigned=True)).SerializeToString())
    plan = compile_network(path, machine)
    assert trial.run(plan).passed
    signed = memaopt.certify(path, machine)
    assert plan.model is not None
    assert (signed.model, signed.model_sha256) == ("net.onnx", plan.model.sha256)
