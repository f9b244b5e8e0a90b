"""Reads the tensors of a ``.tflite`` file: types, shapes, scales, and the data of constants."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, UnsupportedModelError
from memaopt.networks import limits
from memaopt.networks.formats.tflite import unsigned
from memaopt.networks.formats.tflite.enumerations import TENSOR_TYPES, name_of
from memaopt.networks.formats.tflite.record import Record
from memaopt.networks.formats.tflite.values import indices, line
from memaopt.networks.graph import DType, Tensor
from memaopt.networks.operators.operator import Shape
from memaopt.networks.refusals import Refusal, collected

_DTYPES = {dtype.name: dtype for dtype in DType}


class TensorReader:
    """The tensors of one subgraph, as they are read. ``refusals``: what is not supported of each; ``kept``: those that
    keep their values from one call to the next; ``open``: the axes whose sizes the file leaves open, which are 1, or
    what their operator makes of that; ``constant_bytes`` of all that were read."""

    def __init__(self, name: str, buffers: Sequence[Record]) -> None:
        self.name = name
        self.buffers = buffers
        self.constant_bytes = 0
        self.refusals: dict[int, list[Refusal]] = {}
        self.kept: set[int] = set()
        self.open: dict[int, tuple[int, ...]] = {}

    def read(self, accessor: Record, index: int) -> Tensor:
        """A tensor; one that no operator can use is refused where operators use it, and has neither scales nor data."""
        name = line(accessor.text("name")) or f"tensor {index}"
        kind = name_of(TENSOR_TYPES, accessor.number("type"), "type")
        halves = kind == "INT4" and self._has_data(accessor)
        dtype = DType.INT8 if halves else _DTYPES.get(kind, DType.OPAQUE)
        shape = indices(accessor, "shape")
        if shape[:1] == (-1,):  # a batch that is left open
            shape = (1, *shape[1:])
        signed = [s for field in ("shape", "shape_signature") if len(s := indices(accessor, field)) == len(shape)]
        self.open[index] = tuple(axis for axis in range(len(shape)) if any(s[axis] == -1 for s in signed))
        refused = self.refusals.setdefault(index, [])
        with collected(refused):
            if dtype is DType.OPAQUE:
                raise UnsupportedModelError(f"tensor {index} ({name!r}) is {kind}, which is not supported")
            if accessor.number("is_variable"):
                self.kept.add(index)
            if accessor.record("sparsity") is not None or accessor.number("external_buffer"):
                raise UnsupportedModelError(
                    f"tensor {index} ({name!r}) is sparse or stored outside the file, which is not supported"
                )
            if len(shape) > limits.MAX_RANK or any(size < 0 for size in shape):
                raise UnsupportedModelError(
                    f"tensor {index} ({name!r}) has the shape {list(shape)}; "
                    f"up to {limits.MAX_RANK} dimensions, none negative, are supported"
                )
            scales, zero_points, dimension = self._quantization(accessor, index, name)
            data = self._data(accessor, index, name, shape, dtype, halves)
            return Tensor(name, shape, dtype, scales, zero_points, dimension, data)
        return Tensor(name, shape, dtype)

    def settle(self, index: int, sizes: Shape, tensors: list[Tensor]) -> None:
        """Give what the file leaves open of an output's shape the sizes that its operator finds."""
        output, left = tensors[index], self.open[index]
        if not output.is_constant and len(sizes) == len(output.shape):
            shape = tuple(sizes[axis] if axis in left else size for axis, size in enumerate(output.shape))
            tensors[index] = dataclasses.replace(output, shape=shape)

    def _has_data(self, accessor: Record) -> bool:
        """Whether a tensor is a constant; what is no buffer is told of where its data are read."""
        index = accessor.number("buffer")
        return index < len(self.buffers) and len(self.buffers[index].numbers("data")) > 0

    def _quantization(
        self, accessor: Record, index: int, name: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
        quantization = accessor.record("quantization")
        if quantization is None or not len(quantization.numbers("scale")):
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if quantization.number("details_type") != 0:
            raise UnsupportedModelError(
                f"tensor {index} ({name!r}) has custom quantisation; scales and zero points are supported"
            )
        scales = np.array(quantization.numbers("scale"), np.float32)
        zero_points, given = np.zeros(len(scales), np.int64), quantization.numbers("zero_point")
        if len(given) in (1, len(scales)):
            zero_points[:] = given
        elif len(given):
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) has {len(scales)} scales "
                f"and {len(given)} zero points"
            )
        unsigned.frozen(scales)
        unsigned.frozen(zero_points)
        return scales, zero_points, int(quantization.number("quantized_dimension"))

    def _data(
        self, accessor: Record, index: int, name: str, shape: tuple[int, ...], dtype: DType, halves: bool
    ) -> npt.NDArray[Any] | None:
        """The constant's elements, or None for an activation (whose buffer is empty); ``halves``: two lie in a byte."""
        number = accessor.number("buffer")
        if number >= len(self.buffers):
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) is in buffer {number} of "
                f"{len(self.buffers)}"
            )
        buffer = self.buffers[number]
        if buffer.number("offset") > 1 or buffer.number("size") > 1:
            raise UnsupportedModelError(f"tensor {index} ({name!r}) is stored behind the model, which is not supported")
        raw = buffer.numbers("data")
        if not len(raw):
            return None
        elements = math.prod(shape)
        expected = (elements + 1) // 2 if halves else elements * dtype.itemsize
        if len(raw) != expected:
            raise InputError(
                f"{self.name} is not a valid .tflite file: tensor {index} ({name!r}) needs {expected} bytes "
                f"and has {len(raw)}"
            )
        self.constant_bytes += elements * dtype.itemsize
        if halves:
            nibbles = np.stack([raw << 4, raw & 0xF0], axis=-1).reshape(-1)[:elements]
            return unsigned.frozen((nibbles.view(np.int8) >> 4).reshape(shape))
        data = np.frombuffer(raw.tobytes(), dtype.numpy).reshape(shape)
        return unsigned.frozen(data.astype(dtype.value))
