"""The public interface: whatever is wrong with what it is given is a MemaoptError, in one line that names it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import memaopt
from memaopt import (
    Certificate,
    Gemm,
    InputError,
    Mcu,
    MemaoptError,
    Placement,
    Schedule,
    certify,
    compile_network,
    emit,
    mcu,
    run,
    verify,
)
from memaopt.networks.zoo import zoo
from memaopt.problems.suites import read_problems, suite

_MCU = mcu("stm32l4r5")
_GEMM = Gemm(m=4, k=4, n=4)
_NET = zoo.build("cnn_1d")
#: Arguments of every kind that none of the functions takes.
_BAD: tuple[object, ...] = (None, 3, -1.5, b"x", [], {}, object(), "no such thing", "", Path("/no/such/file"), "a\0b")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Gemm(m=0, k=1, n=1), "Gemm: m should be greater than or equal to 1"),
        (lambda: Gemm(m="64", k=1, n=1), "Gemm: m should be a valid integer"),
        (lambda: Gemm(m=True, k=1, n=1), "Gemm: m should be a valid integer"),
        (lambda: Gemm(m=1.0, k=1, n=1), "Gemm: m should be a valid integer"),
        (lambda: Gemm(k=1, n=1), "Gemm: m: Field required"),
        (lambda: Gemm(4, 4, 4), "Gemm: give its fields by name"),
        (lambda: Gemm(m=1, k=1, n=1, x=1), "Gemm: x is no field: there are m, k, n, dtype"),
        (lambda: Gemm(m=1, k=1, n=1, placement={"d": "x"}), "placement.d is no field"),
        (lambda: Placement(a=3), "Placement: a should be a valid string"),
        (lambda: Schedule(), "Schedule: order: Field required"),
        (lambda: Mcu(name="x"), "Mcu: title: Field required"),
        (lambda: certify(), "certify: missing a required argument: 'problem'"),
        (lambda: certify(_GEMM, _MCU, goal="bytes"), "certify: got an unexpected keyword argument 'goal': there are"),
        (lambda: certify(_GEMM, mcu="stm32l4r5"), "argument 'mcu': did you mean machine, which takes the Mcu?"),
        (lambda: certify(_GEMM, objectiv="ram"), "argument 'objectiv': did you mean objective?"),
        (lambda: certify(_GEMM, "stm32l4r5"), "should be an instance of Mcu, as memaopt.mcu('stm32l4r5') makes"),
        (lambda: certify(_GEMM, _MCU, "speed"), "no objective 'speed'"),
        (lambda: certify(3), "certify: problem should be a Gemm, a Conv2D, a DepthwiseConv2D"),
        (lambda: certify(_NET, sram=10**7), "sram is 10,000,000 bytes; stm32l4r5 has 655,360: resize it by with_sizes"),
        (lambda: certify(_NET, arena=-5), "arena is -5 bytes; give 0 or more"),
        (lambda: certify(_NET, within=float("nan")), "within is nan: give a fraction from 0 to 10"),
        (lambda: certify(_NET, arena=5000, within=0.1), "within has no effect on a network whose arena is bounded"),
        (lambda: emit(), "emit: missing a required argument: 'what'"),
        (
            lambda: emit(_MCU, "x"),
            "emit: what should be a NetworkCertificate, a BundleCertificate, a Certificate, a Gemm",
        ),
        (lambda: emit(_GEMM, "x", goal="bytes"), "certify: got an unexpected keyword argument 'goal'"),
        (lambda: run("no.tflite", _MCU), "no.tflite: cannot be read: No such file"),
        (lambda: verify(certify(_GEMM), _MCU), "verify: machine has no effect on a certificate, which has its own"),
        (lambda: _MCU.memory(), "memory: missing a required argument: 'name'"),
        (lambda: _MCU.memory("x"), "has no memory 'x'"),
        (lambda: _MCU.with_sizes(sram="16KiB"), "with_sizes: sram should be a valid integer"),
        (lambda: _MCU.with_sizes(sram=-1), "size should be greater than 0"),
        (lambda: _MCU.with_wait_states(1 << 40), "first should be less than or equal to 10000"),
        (lambda: _MCU.in_setting("x"), "has no setting 'x'"),
        (lambda: compile_network(), "compile_network: missing a required argument: 'network'"),
        (lambda: compile_network("x.tflite", _MCU, sram="x"), "compile_network: sram should be a valid integer"),
        (lambda: Certificate.from_json("{}"), "not a certificate: machine: Field required"),
        (lambda: Certificate.from_json(3), "from_json: text should be a valid string"),
        (lambda: suite("x"), "no suite 'x'"),
        (lambda: read_problems(), "read_problems: missing a required argument: 'path'"),
    ],
)
def test_said_in_one_line(call: Callable[[], object], said: str) -> None:
    """Catches pydantic's errors and Python's own where memaopt's are promised."""
    with pytest.raises(InputError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


#: What functions give back, and nobody makes; errors take anything.
_RESULTS = {
    "Asked",
    "BundleCertificate",
    "BundleTrial",
    "GemmTrial",
    "Given",
    "Graph",
    "NetworkCertificate",
    "NetworkPlan",
    "NetworkTrial",
    "Verified",
}


#: What is right as a second argument, after a problem: no machine, and a folder.
_RIGHT = {"certify": (type(None),), "emit": (str, Path), "run": (type(None),), "verify": (type(None),)}


@pytest.mark.parametrize("name", [n for n in memaopt.__all__ if n not in _RESULTS and not n.endswith("Error")])
def test_anything_else_is_an_error_of_ours(name: str) -> None:
    """Catches an exception of another tree, for any number of arguments of any kind."""
    function = getattr(memaopt, name)
    for bad in _BAD:
        second = () if isinstance(bad, _RIGHT.get(name, ())) else ((_GEMM, bad),)
        for arguments in ((bad,), (bad, bad), *second, (bad, _MCU), (bad, bad, bad, bad, bad)):
            with pytest.raises(MemaoptError):
                function(*arguments)
        with pytest.raises(MemaoptError):
            function(nonsense=bad)


def test_verify_of_what_is_none() -> None:
    """Catches a folder, or an object, that ends in an error of the operating system."""
    for bad in (*_BAD, Path("/")):
        with pytest.raises(InputError):
            verify(bad)
