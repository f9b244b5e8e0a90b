"""TFLite_Detection_PostProcess: read, computed as LiteRT does, in C on the host and on the board."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from layers_run_helpers import UNDEFINED, Host, OnBoard, counted
from tflite_helpers import Node, file_of

from memaopt.choice.compile import compile_network
from memaopt.errors import UnsupportedModelError
from memaopt.kernels.registry import Emitted, emit, plans
from memaopt.machines.mcu import mcu
from memaopt.networks import flexbuffer, reference
from memaopt.networks.formats.tflite import reader
from memaopt.networks.formats.tflite.oracle import Oracle
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.detection_postprocess import DetectionPostprocess
from memaopt.networks.simplify import simplify
from memaopt.problems.detection import Detection, exponential
from memaopt.trials import network as network_trial

flexbuffers = pytest.importorskip("flatbuffers.flexbuffers")

Rng = np.random.Generator
#: Files that are compared with LiteRT.
_SEEDS = int(os.environ.get("MEMAOPT_REFERENCE_SEEDS", 40))
_OUTPUTS = (3, 4, 5, 6)


class Case(NamedTuple):
    """A file, and inputs for it."""

    data: bytes
    inputs: list[np.ndarray[Any, Any]]


def _options(**values: float) -> bytes:
    """A FlexBuffer with a map, each number as its type is."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in values.items():
            builder.Key(name)
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](value)
    return bytes(builder.Finish())


def _case(rng: Rng, how: str = "", **fixed: float) -> Case:
    """Boxes and scores in float, in ``uint8``, or in float that ``int8`` decide; many scores are equal."""
    how = how or str(rng.choice(["float", "uint8", "int8"]))
    boxes, length, classes = (int(rng.integers(*span)) for span in ((1, 30), (4, 7), (1, 6)))
    options = {
        "max_detections": int(rng.integers(1, 12)),
        "max_classes_per_detection": int(rng.integers(1, 4)),
        "detections_per_class": int(rng.integers(1, 20)),
        "use_regular_nms": bool(rng.integers(2)),
        "nms_score_threshold": float(rng.random() * 0.6),
        "nms_iou_threshold": float(0.1 + rng.random() * 0.9),
        "num_classes": classes,
        "y_scale": 10.0,
        "x_scale": float(rng.choice([10.0, 8.0])),
        "h_scale": 5.0,
        "w_scale": float(rng.choice([5.0, 4.0])),
    } | fixed
    columns = classes + int(rng.integers(2))
    shapes = [(1, boxes, length), (1, boxes, columns), (boxes, 4)]
    slots = int(options["max_detections"]) * int(options["max_classes_per_detection"])
    ends = [(1, slots, 4), (1, slots), (1, slots), (1,)]
    if how == "float":
        given = [rng.normal(0, 6, shapes[0]), rng.integers(0, 8, shapes[1]) / 8, rng.random(shapes[2])]
        values = [each.astype(np.float32) for each in given]
        tensors = [Tensor(name, shape, DType.FLOAT32) for name, shape in zip("bs", shapes[:2], strict=True)]
        tensors.append(Tensor("anchors", shapes[2], DType.FLOAT32, data=values[2]))
    else:
        scales = (float(rng.uniform(0.05, 0.15)), float(rng.uniform(0.003, 0.004)), 0.004)
        points = (int(rng.integers(256)), 0, 3)
        given = [rng.integers(0, 256, shapes[0]), rng.integers(0, 8, shapes[1]) * 30, rng.integers(3, 256, shapes[2])]
        values = [each.astype(np.uint8) for each in given]
        tensors = [
            Tensor(name, shape, DType.UINT8, np.array([scale], np.float32), np.array([point]))
            for name, shape, scale, point in zip("bsa", shapes, scales, points, strict=True)
        ]
        tensors[2] = Tensor("a", shapes[2], DType.UINT8, tensors[2].scales, tensors[2].zero_points, 0, values[2])
    tensors += [Tensor(f"end{i}", shape, DType.FLOAT32) for i, shape in enumerate(ends)]
    nodes = [Node("CUSTOM", (0, 1, 2), _OUTPUTS, custom="TFLite_Detection_PostProcess", data=_options(**options))]
    inputs = values[:2]
    ends_in = [0, 1]
    if how == "int8":
        values = [(each.astype(np.int16) - 128).astype(np.int8) for each in values]
        inputs, ends_in = values[:2], [7, 8]
        for i in (0, 1):
            of = tensors[i]
            tensors[i] = Tensor(of.name, of.shape, DType.FLOAT32)
            tensors.append(Tensor(f"q{i}", of.shape, DType.INT8, of.scales, of.zero_points - 128))
        anchors = rng.random(shapes[2]).astype(np.float32)
        tensors[2] = Tensor("a", shapes[2], DType.FLOAT32, data=anchors)
        nodes = [Node("DEQUANTIZE", (7,), (0,), version=2), Node("DEQUANTIZE", (8,), (1,), version=2), *nodes]
    return Case(file_of(tensors, nodes, ends_in, _OUTPUTS), inputs)


def _detecting(graph: Graph) -> DetectionPostprocess:
    return next(op for op in graph.operators if isinstance(op, DetectionPostprocess))


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_as_litert(seed: int) -> None:
    """Catches boxes, an order of equal scores, or a count that LiteRT does not give; what it leaves as it was is 0."""
    case = _case(np.random.default_rng(seed))
    graph = reader.parse(case.data)
    layer = _detecting(graph).layer(graph)
    found, wanted = reference.run(graph, case.inputs), Oracle(case.data).run(case.inputs)
    count = int(wanted[3][0])
    slots = np.arange(layer.slots)
    written = (
        slots < layer.most if layer.regular else (slots // layer.each < count) & (slots % layer.each < layer.ranked)
    )
    for made, oracle in zip(found[:3], wanted[:3], strict=True):
        np.testing.assert_array_equal(made[0][written], oracle[0][written])
        assert not made[0][~written].any()
    assert found[3][0] == count
    simple = simplify.simplify(graph).graph
    assert not any(op.kind == "DEQUANTIZE" for op in simple.operators)
    for one, other in zip(reference.run(simple, case.inputs), found, strict=True):
        np.testing.assert_array_equal(one, other)


def _layers() -> Iterator[tuple[Emitted, Detection, list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]]:
    """Layers as C, with inputs and what they are to give."""
    for seed in range(12):
        case = _case(np.random.default_rng([seed, 2]), how=("float", "uint8", "int8")[seed % 3])
        graph = simplify.simplify(reader.parse(case.data)).graph
        op = _detecting(graph)
        layer = op.layer(graph)
        inputs = [each.view(np.int8) ^ np.int8(-128) if each.dtype == np.uint8 else each for each in case.inputs]
        yield emit(layer, plans(layer)[0], f"d{seed}"), layer, inputs, layer.apply(*inputs)


@pytest.mark.slow
@pytest.mark.board
def test_in_c(tmp_path: Path) -> None:
    """Catches C that computes something else here or on the board, accesses that depend on values, and undefined C."""
    made = list(_layers())
    host = Host(tmp_path, [each for each, *_ in made], flags=[*UNDEFINED, "-fno-sanitize=alignment"])
    board = OnBoard(tmp_path, [each for each, *_ in made])
    for emitted, layer, inputs, wanted in made:
        np.testing.assert_array_equal(host.run(emitted, inputs, wanted), wanted)
        for values in (inputs, [np.zeros_like(each) for each in inputs]):
            got, run = board.run(emitted, values, wanted)
            np.testing.assert_array_equal(got, layer.apply(*values))
            assert counted(emitted, run) == emitted.plan.promise.buffers


@pytest.mark.slow
@pytest.mark.board
def test_on_the_board(tmp_path: Path) -> None:
    """Catches a detector whose outputs are not moved out of their block, or cycles far from those predicted."""
    case = _case(np.random.default_rng(3), how="int8", max_detections=5, use_regular_nms=False)
    plan = compile_network(reader.parse(case.data), mcu("stm32l4r5"))
    assert [layer.kind for layer in plan.layers] == ["DETECTION_POSTPROCESS", *["BLOCK_OUTPUT"] * 4]
    found = network_trial.run(plan, [case.inputs, [np.full_like(each, -128) for each in case.inputs]], folder=None)
    assert found.passed
    assert found.cycles is not None
    assert abs(plan.machine_cycles / found.cycles - 1) < 0.15


def test_the_exponential() -> None:
    """Catches a series that is cut short or a power of two that is wrong, by the C library's within an ulp or two."""
    x = np.concatenate([np.linspace(-740, 709, 4001), np.linspace(-1, 1, 2001), [0.0, -800.0, 800.0, 1e9, -1e9]])
    with np.errstate(over="ignore"):
        found, wanted = exponential(x), np.exp(np.clip(x, -800, 800))
    normal = (wanted > 1e-300) & np.isfinite(wanted)
    assert np.abs(found[normal] / wanted[normal] - 1).max() < 5e-16
    np.testing.assert_array_equal(np.isinf(found), np.isinf(wanted))
    np.testing.assert_array_equal(found == 0, wanted == 0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"nms_iou_threshold": 0.0}, "nms_iou_threshold is 0; above 0 and up to 1 is supported"),
        ({"max_detections": 0}, "max_detections is 0; 1 to 4096 are supported"),
        ({"h_scale": 0.0}, "its scales are 10, "),
        ({"num_classes": 40}, "scores a box for 40 classes"),
        ({"num_classes": float("nan")}, "num_classes is nan; finite numbers are supported"),
        ({"nms_score_threshold": float("inf")}, "nms_score_threshold is inf; finite numbers are supported"),
    ],
)
def test_what_is_refused(changed: dict[str, float], told: str) -> None:
    """Catches options with which TFLite stops or divides by 0."""
    with pytest.raises(UnsupportedModelError, match=told):
        reader.parse(_case(np.random.default_rng(1), **changed).data)


def test_options_that_are_broken() -> None:
    """Catches bytes of a FlexBuffer that are read outside of it, or end in a traceback: each is cut and changed."""
    whole = _options(max_detections=300, nms_iou_threshold=0.5, use_regular_nms=True, y_scale=-70000.5, tiny=-3)
    read = {"max_detections": 300, "nms_iou_threshold": 0.5, "use_regular_nms": 1, "y_scale": -70000.5, "tiny": -3}
    assert flexbuffer.numbers(whole) == pytest.approx(read)
    rng = np.random.default_rng(0)
    broken = [whole[:n] for n in range(len(whole))]
    for _ in range(2000):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        broken.append(bytes(data))
    for data in broken:
        with suppress(UnsupportedModelError):
            flexbuffer.numbers(data)
