"""SVDF: one product of each input with a filter's features, kept for a while, and a filter over time of what is kept.

Read as a convolution at one position (the features), a concatenation with the rows that were kept, and a convolution
along time: depthwise, or of groups where several filters (the rank) make an output. A row holds all filters at one
time, so it is shifted by nothing but a slice. Where the state is int16, both have operators of their own. Scales are
multiplied in float, as TFLite Micro's Prepare has them; it adds the state's zero point after the clamp to int8, modulo
256.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from memaopt.errors import UnsupportedModelError
from memaopt.networks.graph import DType, State, Tensor
from memaopt.networks.operators.attributes import Activation, Slice
from memaopt.networks.operators.concatenation import Concatenation
from memaopt.networks.operators.conv_2d import Conv2D
from memaopt.networks.operators.depthwise_conv_2d import DepthwiseConv2D
from memaopt.networks.operators.form import ACTIVATION, Field, Options
from memaopt.networks.operators.keeping import Keeping, Remembered
from memaopt.networks.operators.lookup import Lookup
from memaopt.networks.operators.operator import EVERY_INT8, Operator, check_rank
from memaopt.networks.operators.reshape import Reshape
from memaopt.networks.operators.source import Source
from memaopt.networks.operators.strided_slice import StridedSlice
from memaopt.networks.operators.svdf_features import SvdfFeatures
from memaopt.networks.operators.svdf_filter import SvdfFilter


class Svdf(Keeping):
    kind: ClassVar[str] = "SVDF"
    unsigned: ClassVar[bool] = False
    options: ClassVar[Options | None] = Options(
        "SVDFOptions", 6, (Field("rank", 4), ACTIVATION, Field("asymmetricQuantizeInputs", 1))
    )

    @classmethod
    def parts(cls, source: Source) -> Remembered:
        source.expect(5, 5)
        options = source.required("SVDFOptions")
        if source.activation(options) is not Activation.RELU:
            raise source.refuse("its activation is not RELU, the only one that TFLite has of int8")
        return _Parts(source, options["rank"]).read()


class _Parts:
    """One SVDF as it is read."""

    def __init__(self, source: Source, rank: int) -> None:
        self.source, self.tensors = source, source.tensors
        self.x, self.features, self.time, self.state = (source.tensor(i) for i in (0, 1, 2, 4))
        self.y = source.output()
        self._check(rank)
        self.rank, (self.filters, self.memory) = rank, self.time.shape
        self.operators: list[Operator] = []

    def _check(self, rank: int) -> None:
        """Types and shapes; what the parts can check themselves is left to them."""
        source, x, y = self.source, self.x, self.y
        if source.tensors[source.inputs[4]].is_constant:
            raise source.refuse(f"its state {self.state.name!r} is a constant")
        byte, either = (DType.INT8,), (DType.INT8, DType.INT16)
        types = (("input", x, byte), ("features", self.features, byte), ("output", y, byte),
                 ("state", self.state, either), ("weights over time", self.time, (self.state.dtype,)))  # fmt: skip
        for role, tensor, allowed in types:
            if tensor.dtype not in allowed:
                problem = (
                    f"{source.place}: {role} {tensor.name!r} is {tensor.dtype}; {' or '.join(allowed)} is supported"
                )
                raise UnsupportedModelError(problem, f"{tensor.dtype} in SVDF")
        for tensor in (self.features, self.time):
            check_rank(source.place, tensor.shape, 2)
            if not tensor.is_constant or len(tensor.scales) != 1:
                raise source.refuse(f"weights {tensor.name!r} are not constants with one scale")
        check_rank(source.place, x.shape, 2)
        filters, memory = self.time.shape
        if rank < 1 or filters % rank or min(filters, memory) < 1:
            raise source.refuse(f"{filters} filters over {memory} steps, of rank {rank}, do not go together")
        batch = x.shape[0]
        shapes = ((self.features, (filters, x.shape[1])), (self.state, (batch, filters * memory)),
                  (y, (batch, filters // rank)))  # fmt: skip
        for tensor, shape in shapes:
            if tensor.shape != shape:
                raise source.refuse(f"{tensor.name!r} is {list(tensor.shape)}, not {list(shape)}")
        least = -128 if self.state.dtype is DType.INT8 else 0
        if len(self.state.scales) != 1 or not least <= self.state.zero_point <= -least:
            raise source.refuse(f"state {self.state.name!r} has not one scale and a zero point of its type")

    def read(self) -> Remembered:
        row = self._wide_row() if self.wide else self._row()
        return Remembered(self.operators, self._over_time(row))

    @property
    def wide(self) -> bool:
        """Whether the state is int16."""
        return self.state.dtype is DType.INT16

    def _wide_row(self) -> int:
        """The features of this step, of int16."""
        row = self._tensor(self.state, "features", (self.x.shape[0], 1, 1, self.filters))
        self._append(SvdfFeatures, self.source.inputs[:2], row)
        return row

    def _row(self) -> int:
        """The features of this step."""
        batch, point = self.x.shape[0], self.state.zero_point
        image = self._tensor(self.x, "image", (batch, 1, 1, self.x.shape[1]))
        self._append(Reshape, (self.source.inputs[0],), image)
        centred = dataclasses.replace(self.state, zero_points=np.zeros(1, np.int64))
        row = self._tensor(centred if point else self.state, "features", (batch, 1, 1, self.filters))
        weights = self._constant(self.features, self.features.values[:, None, None, :])
        self._append(Conv2D, (image, weights), row, single=True)
        if point:
            wrapped = (EVERY_INT8.astype(np.int64) + point + 128) % 256 - 128
            centred_row, row = row, self._tensor(self.state, "row", (batch, 1, 1, self.filters))
            self._append(Lookup, (centred_row,), row, values=tuple(wrapped.tolist()), of="ZERO POINT")
        return row

    def _over_time(self, row: int) -> tuple[State, ...]:
        batch, kept, rows = self.x.shape[0], self.memory - 1, row
        states: tuple[State, ...] = ()
        if kept:
            shape = (batch, kept, 1, self.filters)
            before = self._tensor(self.state, "kept", shape)
            rows = self._tensor(self.state, "rows", (batch, self.memory, 1, self.filters))
            self._append(Concatenation, (before, row), rows, axis=1)
        self._filter(rows)
        if kept:
            after = self._tensor(self.state, "next", shape)
            later = (Slice(0, 1, batch), Slice(1, 1, kept), Slice(0, 1, 1), Slice(0, 1, self.filters))
            self._append(StridedSlice, (rows,), after, slices=later)
            states = (State(before, after, np.full(shape, self.state.zero_point, self.state.dtype.value)),)
        return states

    def _filter(self, rows: int) -> None:
        """The output, of all rows."""
        steps, units = self.time.values, self.filters // self.rank
        out = self._tensor(self.y, "outputs", (self.x.shape[0], 1, 1, units))
        bias = self.source.inputs[3:4] if self.source.inputs[3] >= 0 else ()
        if self.wide:
            weights = self._constant(self.time, steps.T)
            self._append(SvdfFilter, (rows, weights, *bias), out, rank=self.rank)
        elif self.rank == 1:
            weights = self._constant(self.time, steps.T[None, :, None, :])
            self._append(DepthwiseConv2D, (rows, weights, *bias), out, single=True)
        else:
            grouped = steps.reshape(units, self.rank, self.memory).transpose(0, 2, 1)[:, :, None, :]
            self._append(Conv2D, (rows, self._constant(self.time, grouped), *bias), out, single=True)
        self._append(Reshape, (out,), self.source.outputs[0])

    def _tensor(self, like: Tensor, what: str, shape: tuple[int, ...]) -> int:
        self.tensors.append(dataclasses.replace(like, name=f"{self.y.name}/{what}", shape=shape, data=None))
        return len(self.tensors) - 1

    def _constant(self, like: Tensor, data: npt.NDArray[Any]) -> int:
        values = np.ascontiguousarray(data)
        values.setflags(write=False)
        self.tensors.append(dataclasses.replace(like, shape=values.shape, data=values))
        return len(self.tensors) - 1

    def _append(self, op: type[Operator], inputs: tuple[int, ...], output: int, **attributes: Any) -> None:
        self.operators.append(op(inputs=inputs, outputs=(output,), location=self.source.location, **attributes))
