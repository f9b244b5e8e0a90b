"""The verbs of the public interface: products, layers, networks and files are certified, written, checked and run."""

from pathlib import Path

import numpy as np
import pytest

import memaopt
from memaopt import Conv2D, DepthwiseConv2D, FullyConnected, Gemm, InputError, UnsupportedModelError
from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph
from memaopt.networks.operators import Activation
from memaopt.networks.zoo.builder import Builder

MCU = memaopt.mcu("stm32l4r5")


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-90, 91, shape).astype(np.int8)


def _graph() -> Graph:
    builder = Builder("two", (1, 6, 5, 3), 4)
    x = builder.depthwise_conv_2d(0, Activation.RELU)
    return builder.finish(builder.fully_connected(builder.average_pool(x), 4))


LAYERS = {
    "conv_2d": Conv2D(
        input=(7, 6, 4), weights=_weights(5, 3, 3, 4), scales=(0.05, 0.01, 0.2), zero_points=(3, -4), stride=(2, 1)
    ),
    "valid": Conv2D(
        input=(7, 6, 4), weights=_weights(5, 3, 2, 4), scales=(0.05, 0.01, 0.2), padding="valid", activation="relu6"
    ),
    "depthwise": DepthwiseConv2D(input=(7, 6, 4), weights=_weights(1, 3, 3, 8), scales=(0.05, (0.01, 0.02) * 4, 0.2)),
    "rows": FullyConnected(input=(3, 16), weights=_weights(6, 16), bias=np.arange(6), scales=(0.05, 0.01, 0.2)),
    "one_row": FullyConnected(input=(16,), weights=_weights(6, 16), scales=(0.05, 0.01, 0.2), activation="relu"),
}


@pytest.mark.parametrize(
    "kind", ["gemm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in (*LAYERS, "graph", "file", "several"))]
)
def test_certified_written_verified_and_run(kind: str, tmp_path: Path) -> None:
    """Catches a verb that knows only some kinds of problems, and a folder that the next verb cannot use."""
    several = [_graph(), LAYERS["one_row"].graph()]
    others = {"graph": several[0], "gemm": Gemm(m=5, k=9, n=4, dtype="s8"), "several": several}
    problem: object = LAYERS.get(kind) or others.get(kind)
    if problem is None:
        problem = tmp_path / "two.tflite"
        problem.write_bytes(writer.write(_graph()))
    certificate = memaopt.certify(problem, MCU, "cycles")
    main = memaopt.emit(certificate, tmp_path / "out")
    assert main.is_file()
    read = memaopt.read(main.parents[1])
    assert read == certificate
    verified = memaopt.verify(certificate)
    assert memaopt.verify(read) == memaopt.verify(main.parents[1] / "certificate.json") == verified
    trial = memaopt.run(main.parents[1])
    assert trial.passed
    cycles = dict(trial.facts()).get("cycles")
    assert dict(memaopt.run(certificate).facts()).get("cycles") == cycles
    if kind in ("conv_2d", "graph", "file", "gemm", "several"):
        assert memaopt.verify(problem, objective="cycles") == verified
        assert dict(memaopt.run(problem, MCU, objective="cycles").facts()).get("cycles") == cycles
        again = memaopt.emit(problem, tmp_path / "again", MCU, objective="cycles")
        assert again.read_bytes() == main.read_bytes()
    for result in (certificate, verified, trial):
        assert result.summary().splitlines()[0] in repr(result)
        assert result._repr_html_().startswith("<table>")
        assert result.to_dict()


@pytest.mark.parametrize("machine", ["stm32f746", "stm32wle5"])
@pytest.mark.parametrize("objective", ["bytes", "cycles"])
def test_results_show_no_cycles_that_nobody_validated(machine: str, objective: str) -> None:
    """Catches a result that cannot show itself where no cycles are known, or that shows those of another core."""
    for problem in (Gemm(m=5, k=9, n=4, dtype="q15"), LAYERS["conv_2d"]):
        certificate = memaopt.certify(problem, memaopt.mcu(machine), objective)
        for result in (certificate, memaopt.run(certificate)):
            assert result.headline() in repr(result)
            assert result._repr_html_()
            facts = dict(result.facts())
            assert not {"cycles", "energy"} & facts.keys()
            if objective == "cycles" and "objective" in facts:
                assert facts["objective"].startswith("cycles, ordered by the Cortex-M4's timing")
                assert not any(letter.isdigit() for letter in facts["objective"].replace("Cortex-M4", ""))


def test_a_plan_shows_itself() -> None:
    """Catches a plan that shows nothing of itself, or other things than solve --json."""
    plan = memaopt.compile_network(_graph(), MCU)
    assert repr(plan).startswith(f"<NetworkPlan: {plan.summary().splitlines()[0]}")
    assert f"{plan.arena_bytes:,} bytes" in plan.summary()
    assert plan.to_dict()["totals"]["machine_cycles"] == plan.machine_cycles


def test_a_layer_computes_what_tflite_would(tmp_path: Path) -> None:
    """Catches weights, scales, padding or zero points that become others on the way into a network."""
    from memaopt.networks import reference
    from memaopt.networks.formats.tflite.oracle import Oracle

    rng = np.random.default_rng(2)
    for name, layer in LAYERS.items():
        graph = layer.graph()
        x = rng.integers(-128, 128, graph.tensors[0].shape).astype(np.int8)
        (found,), (wanted,) = reference.run(graph, [x]), Oracle(writer.write(graph)).run([x])
        np.testing.assert_array_equal(found, wanted, err_msg=name)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Conv2D(input=(7, 6, 4), weights=_weights(5, 3, 3, 3), scales=(1, 1, 1)).graph(),
            "do not go with input",
        ),
        (
            lambda: Conv2D(input=(7, 6), weights=_weights(5, 3, 3, 3), scales=(1, 1, 1)).graph(),
            "height, width, channels",
        ),
        (
            lambda: Conv2D(input=(7, 6, 3), weights=_weights(5, 3, 3, 3) * 2.0, scales=(1, 1, 1)).graph(),
            "integers of int8",
        ),
        (
            lambda: Conv2D(
                input=(7, 6, 3), weights=_weights(5, 3, 3, 3), bias=np.ones(4, int), scales=(1, 1, 1)
            ).graph(),
            "bias of shape",
        ),
        (
            lambda: Conv2D(input=(7, 6, 3), weights=_weights(5, 3, 3, 3), scales=(1, (1, 2), 1)).graph(),
            "2 scales of weights",
        ),
        (
            lambda: Conv2D(input=(7, 6, 3), weights=_weights(5, 3, 3, 3), scales=(1, 1, 1), padding="full").graph(),
            "padding should be 'same' or 'valid'",
        ),
        (
            lambda: FullyConnected(input=(4,), weights=_weights(5, 4), scales=(1, 1, 1), activation="x").graph(),
            "activation should be 'none'",
        ),
        (lambda: memaopt.certify(Gemm(m=4, k=4, n=4), MCU, arena=100), "arena has no effect on a Gemm"),
        (lambda: memaopt.certify(LAYERS["rows"], MCU, buffering="double"), "buffering has no effect on a network"),
        (lambda: memaopt.certify(LAYERS["rows"], MCU, "speed"), "no objective 'speed'"),
        (lambda: memaopt.run(memaopt.certify(Gemm(m=4, k=4, n=4), MCU), inputs=2), "inputs has no effect on a Gemm"),
        (
            lambda: memaopt.emit(Gemm(m=3000, k=3000, n=3000), "x", MCU),
            "its test vector would have 27,000,000 elements",
        ),
    ],
)
def test_bad_requests_are_one_line(make: object, said: str) -> None:
    """Catches a traceback, or an option that is silently ignored."""
    with pytest.raises((InputError, UnsupportedModelError)) as caught:
        make()  # type: ignore[operator]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_certificate_without_its_model(tmp_path: Path) -> None:
    """Catches a plan made of another model than the one certified, and a traceback where there is none."""
    certificate = memaopt.certify(LAYERS["rows"], MCU)
    alone = memaopt.NetworkCertificate.from_json(certificate.to_json())
    with pytest.raises(InputError, match="not at hand"):
        memaopt.emit(alone, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"no certificate\.json there"):
        memaopt.read(tmp_path)
