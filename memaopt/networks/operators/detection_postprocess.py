"""DETECTION_POSTPROCESS, TFLite's custom operator at the end of a detector: boxes that the scores leave, in float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from memaopt.errors import UnsupportedModelError
from memaopt.networks import flexbuffer
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.of_no_file import OfNoFile
from memaopt.networks.operators.operator import Array, Lowered, Operator, Shape, check_rank
from memaopt.networks.operators.several import Several, in_block
from memaopt.networks.operators.source import Source
from memaopt.problems.detection import Detection, Floats

_COORDINATES = 4
_MOST = 1 << 12
#: What an option is that a file leaves out, where that is not 0.
_DEFAULTS = {"detections_per_class": 100}
_COUNTS = ("num_classes", "max_detections", "max_classes_per_detection", "detections_per_class")
_THRESHOLDS = ("nms_score_threshold", "nms_iou_threshold")
_SCALES = ("y_scale", "x_scale", "h_scale", "w_scale")


class DetectionPostprocess(OfNoFile, Several):
    """Inputs are encodings of boxes, scores and anchors (constant); the output is a block of boxes' corners, classes,
    scores and their number. ``box_bits``, ``score_bits``: the floats of an int8 input, as unsigned integers, where they
    are not those of its own scale."""

    kind: ClassVar[str] = "DETECTION_POSTPROCESS"
    custom: ClassVar[str] = "TFLite_Detection_PostProcess"
    arity: ClassVar[tuple[int, int]] = (3, 3)
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8, DType.FLOAT32)

    classes: int
    most: int
    each: int
    per_class: int
    regular: bool
    score_threshold: float
    overlap_threshold: float
    scales: tuple[float, float, float, float]
    box_bits: tuple[int, ...] | None = None
    score_bits: tuple[int, ...] | None = None

    @classmethod
    def parts(cls, source: Source) -> list[Operator]:
        if len(source.inputs) != 3 or len(source.outputs) != 4:
            raise source.refuse(f"{len(source.inputs)} inputs and {len(source.outputs)} outputs; 3 and 4 are supported")
        try:
            values = {**_DEFAULTS, **flexbuffer.numbers(source.custom)}
        except UnsupportedModelError as error:
            raise source.refuse(str(error)) from None
        read = cls(**source.common(source.inputs), **_attributes(source, values))
        slots = read.most * read.each
        shapes = ((1, slots, 4), (1, slots), (1, slots), (1,))
        offsets = (0, 16 * slots, 20 * slots, 24 * slots)
        for index, shape in zip(source.outputs, shapes, strict=True):  # whatever the file says, as LiteRT does
            source.tensors[index] = replace(source.tensors[index], shape=shape, dtype=DType.FLOAT32)
        return in_block(read, source.outputs, offsets, 24 * slots + 4, source.tensors)

    def layer(self, graph: Graph) -> Detection:
        """What is computed; UnsupportedModelError for shapes that do not go together."""
        boxes, scores, anchors = (graph.tensors[index] for index in self.inputs)
        for tensor, rank in ((boxes, 3), (scores, 3), (anchors, 2)):
            check_rank(graph.place(self), tensor.shape, rank)
        count, length, classes = boxes.shape[1], boxes.shape[2], scores.shape[2]
        offset = classes - self.classes
        if (boxes.shape[0], scores.shape[:2], anchors.shape) != (1, (1, count), (count, 4)) or length < _COORDINATES:
            shapes = ", ".join(t.describe() for t in (boxes, scores, anchors))
            raise self.refuse(graph, f"{shapes}; boxes [1,N,4], scores [1,N,classes] and anchors [N,4] are supported")
        if offset not in (0, 1):
            raise self.refuse(graph, f"{classes} scores a box for {self.classes} classes; as many, or one more, are")
        return Detection(
            count,
            length,
            self.classes,
            offset,
            self.most,
            self.each,
            self.per_class,
            self.regular,
            self.score_threshold,
            self.overlap_threshold,
            self.scales,
            _reals(anchors, anchors.values),
            _table(boxes, self.box_bits),
            _table(scores, self.score_bits),
        )

    def output_shape(self, graph: Graph) -> Shape:
        self.layer(graph)
        return graph.output_of(self).shape

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", *self.dtypes)
        anchors = graph.tensor_of(self, 2)
        if not anchors.is_constant:
            raise self.refuse(graph, f"anchors {anchors.name!r} are computed; a constant is supported")
        for index in self.inputs:
            tensor = graph.tensors[index]
            if tensor.dtype is DType.INT8 and len(tensor.scales) != 1:
                raise self.refuse(graph, f"tensor {tensor.name!r} has {len(tensor.scales)} scales; one is supported")

    def check_arithmetic(self, graph: Graph) -> None:
        layer = self.layer(graph)
        if not (np.isfinite(layer.anchors).all() and (layer.anchors[:, 2:] >= 0).all()):
            raise self.refuse(graph, "an anchor has a size below 0, or is no number: TFLite stops there")

    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        found: Array = self.layer(graph).apply(arguments[0], arguments[1]).view(np.int8)
        return found

    def lower(self, graph: Graph) -> Lowered | None:
        return Lowered(self.layer(graph), self.inputs[:2])

    def work(self, graph: Graph) -> int:
        layer = self.layer(graph)
        return layer.boxes * (layer.classes + 20 * layer.rounds * (layer.classes if layer.regular else 1))

    def words(self, graph: Graph) -> tuple[str, ...]:
        return (f"{self.most} of {self.classes} classes", "each class by itself" if self.regular else "all classes")


def _attributes(source: Source, values: Mapping[str, float]) -> dict[str, object]:
    """The attributes that options say; UnsupportedModelError for those with which TFLite does not run."""
    odd = next((name for name, value in values.items() if not math.isfinite(value)), None)
    if odd is not None:
        raise source.refuse(f"{odd} is {values[odd]:g}; finite numbers are supported")
    counts = {name: int(values.get(name, 0)) for name in _COUNTS}
    regular = bool(values.get("use_regular_nms", 0))
    for name, count in counts.items():
        least = 0 if name == "detections_per_class" and not regular else 1
        if not least <= count <= _MOST:
            raise source.refuse(f"{name} is {count}; {least} to {_MOST} are supported")
    with np.errstate(over="ignore"):
        scales = tuple(float(np.float32(values.get(name, 0))) for name in _SCALES)
        score, overlap = (float(np.float32(values.get(name, 0))) for name in _THRESHOLDS)
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise source.refuse(f"its scales are {', '.join(f'{s:g}' for s in scales)}; numbers above 0 are supported")
    if not math.isfinite(score):
        raise source.refuse(f"nms_score_threshold is {score:g}; a float32 is supported")
    if not 0 < overlap <= 1:
        raise source.refuse(f"nms_iou_threshold is {overlap:g}; above 0 and up to 1 is supported, as in TFLite")
    return {
        "classes": counts["num_classes"],
        "most": counts["max_detections"],
        "each": counts["max_classes_per_detection"],
        "per_class": counts["detections_per_class"],
        "regular": regular,
        "score_threshold": score,
        "overlap_threshold": overlap,
        "scales": scales,
    }


def _reals(tensor: Tensor, values: Array) -> Floats:
    """Floats, or those that int8 mean, by one subtraction and one product in float."""
    if tensor.dtype is DType.FLOAT32:
        return np.asarray(values, np.float32)
    found: Floats = (values.astype(np.float32) - np.float32(tensor.zero_point)) * tensor.scale
    return found


def _table(tensor: Tensor, bits: tuple[int, ...] | None) -> Floats | None:
    """The floats of an int8 tensor's values; None for one of floats."""
    if bits is not None:
        return np.array(bits, np.uint32).view(np.float32)
    return None if tensor.dtype is DType.FLOAT32 else _reals(tensor, np.arange(-128, 128))
