"""TFLite_Detection_PostProcess: boxes from their encodings by anchors, and those of them that the scores leave.

LiteRT's kernel, in float, as its interpreter of version 2.3 computes it, with what its C++ library does where scores of
several classes of a box are equal: they are ordered by a heap. What it leaves of outputs as it was is 0 here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from memaopt.problems.content import ByContent
from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand, Operands

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 as two numbers; the first times an integer below 2^20 is exact."""
COEFFICIENTS = tuple(1 / math.factorial(n) for n in range(13, -1, -1))
"""Of the exponential's series, the last first: beyond them, below ln 2 / 2, are 5e-18 of it."""


def exponential(x: npt.ArrayLike) -> Doubles:
    """e^x in double as the emitted C has it, within an ulp or so."""
    given = np.clip(np.asarray(x, np.float64), -800.0, 800.0)
    steps = np.trunc(given * (1 / math.log(2)) + np.where(given < 0, -0.5, 0.5))
    rest = (given - steps * LN2_HIGH) - steps * LN2_LOW
    sum_ = np.full_like(rest, COEFFICIENTS[0])
    for coefficient in COEFFICIENTS[1:]:
        sum_ = sum_ * rest + coefficient
    first = np.trunc(steps / 2)
    with np.errstate(over="ignore", under="ignore"):
        found: Doubles = sum_ * np.exp2(first) * np.exp2(steps - first)
    return found


def first_of(values: Sequence[float] | Floats, wanted: int) -> list[int]:
    """The indices of the ``wanted`` greatest values, in descending order: the first of equal ones where one is wanted,
    else what a heap of so many, kept with the least on top and then emptied, makes of equal ones."""
    count = len(values)
    if wanted == 1:
        return [max(range(count), key=lambda i: (values[i], -i))]
    heap = list(range(count))

    def settle(hole: int, size: int, index: int) -> None:
        top, child = hole, hole
        while child < (size - 1) // 2:
            child = 2 * (child + 1)
            if values[heap[child]] > values[heap[child - 1]]:
                child -= 1
            heap[hole] = heap[child]
            hole = child
        if size % 2 == 0 and child == (size - 2) // 2:
            child = 2 * child + 1
            heap[hole] = heap[child]
            hole = child
        while hole > top and values[heap[(hole - 1) // 2]] > values[index]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = index

    for parent in range((wanted - 2) // 2, -1, -1):
        settle(parent, wanted, heap[parent])
    for i in range(wanted, count):
        if values[heap[i]] > values[heap[0]]:
            index, heap[i] = heap[i], heap[0]
            settle(0, wanted, index)
    for last in range(wanted - 1, 0, -1):
        index, heap[last] = heap[last], heap[0]
        settle(0, last, index)
    return heap[:wanted]


@dataclass(frozen=True, eq=False)
class Detection(Layer, ByContent):
    """``boxes`` encodings of ``length`` elements, the first four y, x, height, width in units of ``scales``, and scores
    of ``classes`` behind ``offset`` (1 where there is a background). ``most`` boxes go out, each with ``each`` classes;
    ``regular``: those of each class by themselves, at most ``per_class``, then the best of all, with one class each.

    Floats of int8 inputs are those of ``box_values`` and ``score_values`` (256 from -128 up); inputs are float32 where
    they are None. ``anchors``: centres y, x, heights, widths.
    """

    boxes: int
    length: int
    classes: int
    offset: int
    most: int
    each: int
    per_class: int
    regular: bool
    score_threshold: float
    overlap_threshold: float
    scales: tuple[float, float, float, float]
    anchors: Floats
    box_values: Floats | None = None
    score_values: Floats | None = None

    @property
    def slots(self) -> int:
        """Boxes of the output."""
        return self.most * self.each

    @property
    def ranked(self) -> int:
        """Classes of a box that go out, where boxes are not those of one class."""
        return min(self.each, self.classes)

    @property
    def rounds(self) -> int:
        """How often a box is chosen, of those of a class if ``regular``."""
        return min(self.per_class, self.boxes) if self.regular else self.most

    @property
    def takes(self) -> tuple[Operand, ...]:
        types = ("float32" if values is None else "int8" for values in (self.box_values, self.score_values))
        shapes = (self.boxes, self.length), (self.boxes, self.classes + self.offset)
        return tuple(Operand(shape, dtype) for shape, dtype in zip(shapes, types, strict=True))

    @property
    def gives(self) -> Operand:
        """Corners of all boxes, their classes, their scores, and how many there are, one behind the other."""
        return Operand((6 * self.slots + 1,), "float32")

    @property
    def operands(self) -> Operands:
        """What is not read of a row counts for nothing."""
        boxes, scores = self.takes
        read = boxes.bytes // self.length * 4, scores.bytes // (self.classes + self.offset) * self.classes
        return Operands(read, self.gives.bytes, self.anchors.nbytes)

    @cached_property
    def centres(self) -> tuple[Doubles, Doubles]:
        """Of an int8, what y and x come to in heights and widths of anchors."""
        assert self.box_values is not None
        found = [self.box_values.astype(np.float64) / np.float64(scale) for scale in self.scales[:2]]
        return found[0], found[1]

    @cached_property
    def halves(self) -> tuple[Doubles, Doubles]:
        """Half the height and the width likewise; by the C library's exponential, as LiteRT has it."""
        assert self.box_values is not None
        found = [
            np.array([0.5 * _exp(float(value) / scale) for value in self.box_values.astype(np.float64)])
            for scale in self.scales[2:]
        ]
        return found[0], found[1]

    def apply(self, boxes: Array, scores: Array) -> Floats:
        """The output for inputs of the types that are taken."""
        corners = self._corners(boxes.reshape(self.boxes, self.length)[:, :4])
        graded = _floats(scores, self.score_values).reshape(self.boxes, -1)[:, self.offset :]
        made = np.zeros((self.slots, 6), np.float32)
        if self.regular:
            kept = self._by_class(corners, graded)
            for slot, (box, class_) in enumerate(kept):
                made[slot] = (*corners[box], class_, graded[box, class_])
            found = len(kept)
        else:
            selected = self._selected(corners, graded.max(axis=1))
            for number, box in enumerate(selected):
                for rank, class_ in enumerate(first_of(graded[box], self.ranked)):
                    made[number * self.each + rank] = (*corners[box], class_, graded[box, class_])
            found = len(selected)
        parts = made[:, :4].reshape(-1), made[:, 4], made[:, 5], np.array([found], np.float32)
        return np.concatenate(parts)

    def _corners(self, boxes: Array) -> Floats:
        """ymin, xmin, ymax, xmax of every box, in float, from products and sums in double."""
        if self.box_values is None:
            given = boxes.astype(np.float64)
            places = [given[:, i] / np.float64(self.scales[i]) for i in (0, 1)]
            sizes = [0.5 * exponential(given[:, i] / np.float64(self.scales[i])) for i in (2, 3)]
        else:
            at = boxes.astype(np.int64) + 128
            places = [table[at[:, i]] for i, table in enumerate(self.centres)]
            sizes = [table[at[:, 2 + i]] for i, table in enumerate(self.halves)]
        anchors = self.anchors.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            centres = [(places[i] * anchors[:, 2 + i] + anchors[:, i]).astype(np.float32) for i in (0, 1)]
            halves = [(sizes[i] * anchors[:, 2 + i]).astype(np.float32) for i in (0, 1)]
            ends = [centres[i] - halves[i] for i in (0, 1)] + [centres[i] + halves[i] for i in (0, 1)]
        return np.stack(ends, axis=1)

    def _selected(self, corners: Floats, scores: Floats) -> list[int]:
        """The boxes that stay, best first: each takes those away that it overlaps too much."""
        active = scores >= np.float32(self.score_threshold)
        selected: list[int] = []
        while active.any() and len(selected) < self.rounds:
            best = int(np.argmax(np.where(active, scores, -np.inf)))
            selected.append(best)
            active[best] = False
            active &= ~(_overlaps(corners[best], corners) > np.float32(self.overlap_threshold))
        return selected

    def _by_class(self, corners: Floats, graded: Floats) -> list[tuple[int, int]]:
        """The best of all classes, box and class, after each class by itself."""
        kept: list[tuple[int, int]] = []
        for class_ in range(self.classes):
            kept += [(box, class_) for box in self._selected(corners, graded[:, class_])]
            kept = sorted(kept, key=lambda at: -float(graded[at]))[: self.most]
        return kept


def _floats(values: Array, table: Floats | None) -> Floats:
    return values.astype(np.float32) if table is None else table[values.astype(np.int64) + 128]


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _overlaps(box: Floats, corners: Floats) -> Floats:
    """Intersection over union of a box with each, 0 for one without an area."""
    with np.errstate(all="ignore"):
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        area = (box[2] - box[0]) * (box[3] - box[1])
        low, high = np.maximum(box[:2], corners[:, :2]), np.minimum(box[2:], corners[:, 2:])
        sides = np.maximum(high - low, np.float32(0))
        shared = sides[:, 0] * sides[:, 1]
        ratio = shared / (area + areas - shared)
        found: Floats = np.where((area <= 0) | (areas <= 0), np.float32(0), ratio).astype(np.float32)
    return found
