"""What a network's header has besides the call: conversions, the greatest element, labels, promised figures."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from emit_helpers import WARNINGS, host_compilers
from network_helpers import MCU

from memaopt.board import Board, build
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.errors import InputError
from memaopt.networks import operators as ops
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.zoo import zoo
from memaopt.networks.zoo.builder import Builder, int8_tensor

LABELS = ("cat", 'a "dog"\\', "??/ caf\u00e9", "7")


def small(scale: float = 0.1, zero_point: int = 3) -> NetworkPlan:
    b = Builder("small", (1, 6), 0)
    b.tensors[0] = int8_tensor("input", (1, 6), scale, zero_point)
    return compile_network(b.finish(b.fully_connected(0, 4)), MCU)


def built(plan: NetworkPlan, folder: Path, labels: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The library for this computer; its helpers, which are inline, as functions that others see."""
    for path, text in emit.files(plan, labels=labels).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "seen.c").write_text(
        f'#include "{plan.name}.h"\nint8_t quantize(float x);\nfloat dequantize(int8_t x);\n'
        "int32_t argmax(const int8_t *x);\n"
        f"int8_t quantize(float x)\n{{\n    return {plan.name}_quantize(x);\n}}\n"
        f"float dequantize(int8_t x)\n{{\n    return {plan.name}_dequantize(x);\n}}\n"
        f"int32_t argmax(const int8_t *x)\n{{\n    return {plan.name}_argmax(x);\n}}\n"
    )
    sources = [str(folder / "seen.c"), str(folder / library.source(plan.name))]
    command = [*host_compilers()[0], "-std=c11", "-O1", *WARNINGS, f"-I{folder / 'include'}", "-shared", "-fPIC"]
    subprocess.run([*command, *sources, "-o", str(folder / "seen.so")], check=True)
    seen = ctypes.CDLL(str(folder / "seen.so"))
    seen.quantize.argtypes, seen.quantize.restype = [ctypes.c_float], ctypes.c_int8
    seen.dequantize.argtypes, seen.dequantize.restype = [ctypes.c_int8], ctypes.c_float
    return seen


@pytest.mark.parametrize(("scale", "zero_point"), [(0.1, 3), (0.0078125, -128), (3.7e-5, 127)])
def test_quantize_is_tflites(scale: float, zero_point: int, tmp_path: Path) -> None:
    """Catches a tie rounded to even or towards 0, a sum that rounds 0.49999997 up, and values beyond the range."""
    seen = built(small(scale, zero_point), tmp_path)
    step = np.float32(scale)
    around = np.arange(-300, 300).astype(np.float32) * step / 2
    edges = np.concatenate([np.nextafter(around, np.float32(end)) for end in (-np.inf, np.inf)])
    wild = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-45], np.float32)
    random = np.random.default_rng(0).normal(0, 90 * step, 4000)
    values = np.concatenate([around, edges, wild, random]).astype(np.float32)
    floats = Tensor("floats", values.shape, DType.FLOAT32)
    quantize = ops.Quantize(inputs=(0,), outputs=(1,))
    graph = Graph("ends", (floats, int8_tensor("steps", values.shape, scale, zero_point)), (quantize,), (0,), (1,))
    wanted = quantize.evaluate(graph, [values])
    np.testing.assert_array_equal([seen.quantize(float(x)) for x in values], wanted)


def test_dequantize_and_argmax(tmp_path: Path) -> None:
    """Catches a product of other rounding than TFLite's, and the last of several greatest elements."""
    plan = small()
    seen = built(plan, tmp_path)
    output = plan.graph.tensors[plan.graph.outputs[0]]
    every = np.arange(-128, 128).astype(np.int8)
    wanted = (np.float64(output.scale) * (every.astype(np.int64) - output.zero_point)).astype(np.float32)
    np.testing.assert_array_equal(np.array([seen.dequantize(int(x)) for x in every], np.float32), wanted)
    rng = np.random.default_rng(0)
    for values in (np.array([-128] * 4, np.int8), *rng.integers(-3, 4, (50, 4)).astype(np.int8)):
        assert seen.argmax(values.ctypes.data_as(ctypes.c_char_p)) == int(np.argmax(values))


def test_labels(tmp_path: Path) -> None:
    """Catches a label that ends its string, starts a trigraph or is shifted by one, and labels of another network."""
    plan = small()
    seen = built(plan, tmp_path, LABELS)
    label = getattr(seen, f"{plan.name}_label")
    label.restype = ctypes.c_char_p
    assert [label(i) for i in range(-1, 5)] == [None, *(text.encode() for text in LABELS), None]
    with pytest.raises(InputError, match="3 labels for an output of 4 elements: give one for each"):
        emit.files(plan, labels=LABELS[:3])


@pytest.mark.slow
def test_the_promise_of_each_setting(tmp_path: Path) -> None:
    """Catches a macro that promises what another library, or the chip set up otherwise, would take."""
    plan = compile_network(zoo.build("ds_cnn"), MCU)
    emit.write(plan, tmp_path)
    text = (tmp_path / library.header(plan.name)).read_text()
    found = {name: int(n) for name, n in re.findall(r"define DS_CNN_(\w+) (\d+)$", text, re.MULTILINE)}
    assert found["PROMISED_CYCLES"] == found["PROMISED_CYCLES_STOCK"] == plan.machine_cycles
    assert (found["RAM_BYTES"], found["STACK_BYTES"]) == (plan.arena_bytes, plan.stack_bytes)
    elf = build([tmp_path / library.source(plan.name)], tmp_path / "n.elf", MCU)
    for setting in MCU.settings:
        ran = Board(MCU.in_setting(setting.name)).load(elf).call("ds_cnn_invoke", 0, 0)
        assert ran.cycles is not None
        promised = found[f"PROMISED_CYCLES_{setting.name.upper().replace('-', '_')}"]
        assert abs(ran.cycles / promised - 1) < 0.03, setting.name
