"""UNIDIRECTIONAL_SEQUENCE_LSTM of int8 with cells of int16. Each run starts from a state of zeros."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from memaopt import fixedpoint16
from memaopt.fixedpoint import Int64Array
from memaopt.networks.graph import DType, Graph, Tensor, int8_tensor
from memaopt.networks.operators.form import ACTIVATION, Field, Form, Options
from memaopt.networks.operators.layered import Layered
from memaopt.networks.operators.operator import Links, Shape, check_rank
from memaopt.networks.operators.quantization import SAFE, Meaning, checked_left_shift, rescale
from memaopt.networks.operators.source import Source
from memaopt.problems.lstm import GATES, Lstm
from memaopt.problems.step_functions import Rescale

#: Operands of the file: weights, recurrent weights and biases of the four gates, the state's output and cell.
_WEIGHTS, _RECURRENT, _BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
_STATE, _CELL, _OPERANDS = 18, 19, 24
_HIDDEN = 4
"""Of the intermediate values that which is an output before it is stored."""


class UnidirectionalSequenceLstm(Layered):
    """Inputs are (input, weights, recurrent weights, biases), of the gates input, forget, cell, output each.

    What a run would leave to the next is not kept, as if ``reset_all_variables`` came before each.
    """

    kind: ClassVar[str] = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    unsigned: ClassVar[bool] = False
    version: ClassVar[int] = 3
    options: ClassVar[Options | None] = Options(
        "UnidirectionalSequenceLSTMOptions", 71,
        (ACTIVATION, Field("cellClip", 4, real=True), Field("projClip", 4, real=True), Field("timeMajor", 1),
         Field("asymmetricQuantizeInputs", 1), Field("diagonalRecurrentTensors", 1)),
    )  # fmt: skip
    arity: ClassVar[tuple[int, int]] = (13, 13)
    keeps_state: ClassVar[bool] = True

    time_major: bool = False
    cell_clip: float = 0.0
    state: Meaning
    cell: Meaning
    hidden: Meaning

    @classmethod
    def read(cls, source: Source) -> Self:
        source.expect(_OPERANDS, _OPERANDS)
        options = source.required("UnidirectionalSequenceLSTMOptions")
        used = (0, *_WEIGHTS, *_RECURRENT, *_BIASES)
        others = [p for p in range(_OPERANDS) if p not in (*used, _STATE, _CELL) and source.inputs[p] >= 0]
        if others or any(source.inputs[p] < 0 for p in used):
            raise source.refuse("peepholes, projections, layer norms or coupled gates; none of them is supported")
        if options[ACTIVATION.name] != "TANH" or options["diagonalRecurrentTensors"]:
            raise source.refuse(f"activation {options[ACTIVATION.name]}, or diagonal tensors; TANH is supported")
        if len(source.intermediates) <= _HIDDEN or source.intermediates[_HIDDEN] < 0:
            raise source.refuse("no scale of its hidden values, as of int8; int8 is supported")
        hidden = source.tensors[source.intermediates[_HIDDEN]]
        return cls(
            **source.common(tuple(source.inputs[p] for p in used)),
            time_major=bool(options["timeMajor"]),
            cell_clip=options["cellClip"],
            state=Meaning.of(source.tensor(_STATE)),
            cell=Meaning.of(source.tensor(_CELL)),
            hidden=Meaning.of(hidden),
        )

    def write(self, graph: Graph) -> Form:
        order = [-1] * _OPERANDS
        for number, position in enumerate((0, *_WEIGHTS, *_RECURRENT, *_BIASES, _STATE, _CELL)):
            order[position] = number
        batch, units = self._batch(graph), graph.output_of(self).shape[-1]
        cell = Tensor(
            "cell", (batch, units), DType.INT16, np.array([self.cell.scale], np.float32), np.zeros(1, np.int64)
        )
        return Form(
            options={
                ACTIVATION.name: "TANH",
                "cellClip": self.cell_clip,
                "projClip": 0.0,
                "timeMajor": self.time_major,
            },
            order=tuple(order),
            states=(int8_tensor("state", (batch, units), *self.state), cell),
            intermediates=tuple(int8_tensor(f"intermediate_{n}", (1,), *self.hidden) for n in range(_HIDDEN + 1)),
        )

    def _batch(self, graph: Graph) -> int:
        return graph.tensor_of(self).shape[1 if self.time_major else 0]

    def _gates(self, graph: Graph, first: int) -> list[Tensor]:
        """The tensors of the gates, from one of the operands on."""
        return [graph.tensor_of(self, first + gate) for gate in range(GATES)]

    def check_types(self, graph: Graph) -> None:
        for position, index in enumerate(self.inputs):
            self.expect(graph, index, "input", DType.INT32 if position > 2 * GATES else DType.INT8)
        self.expect(graph, self.output, "output", DType.INT8)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        super().check_scales(graph, operands[: 2 * GATES + 1])
        for tensor in (t for first in (1, 5, 9) for t in self._gates(graph, first)):
            if not tensor.is_constant:
                raise self.refuse(graph, f"{tensor.name!r} is computed; constants are supported")
            if tensor.dtype is DType.INT8 and tensor.zero_point:
                raise self.refuse(graph, f"weights {tensor.name!r} have a zero point; 0 is supported")

    def output_shape(self, graph: Graph) -> Shape:
        shape = graph.tensor_of(self).shape
        check_rank(graph.place(self), shape, 3)
        units = graph.tensor_of(self, 1).shape[:1]
        wanted = (*units, shape[2]), units * 2, units
        for first, expected in zip((1, 5, 9), wanted, strict=True):
            for tensor in self._gates(graph, first):
                if tensor.shape != expected:
                    raise self.refuse(graph, f"{tensor.name!r} is {list(tensor.shape)}, not {list(expected)}")
        return (*shape[:2], *units)

    def check_arithmetic(self, graph: Graph) -> None:
        y = graph.output_of(self)
        if (float(y.scale), y.zero_point) != self.state:
            raise self.refuse(graph, "its output and its state have different quantisation")
        exponent = math.log2(self.cell.scale) if self.cell.scale > 0 else math.inf
        if abs(exponent - round(exponent)) > 1e-3 or not 0 <= 15 + round(exponent) <= fixedpoint16.MOST_BITS:
            problem = (
                f"cells have the scale {self.cell.scale:g}; 2^-15 to 2^{fixedpoint16.MOST_BITS - 15} are supported"
            )
            raise self.refuse(graph, problem)
        layer = self.layer(graph)
        checked_left_shift(graph, self, layer.hidden, 1 << 30)
        ends = (
            (layer.weights, layer.bias, layer.rescales),
            (layer.recurrent, layer.recurrent_bias, layer.recurrent_rescales),
        )
        for weights, bias, factors in ends:
            # The bias has the zero point's part in it already: with that, an input counts for 128 at most.
            widest = 128 * np.abs(weights.astype(np.int64)).sum(axis=1) + np.abs(bias)
            for gate, factor in enumerate(factors):
                checked_left_shift(graph, self, factor, int(widest[:, gate].max()))
            if widest.max() > SAFE:
                raise self.refuse(graph, f"a gate's sum can reach {widest.max()}, which does not fit 32 bits")

    def _factor(self, graph: Graph, real: np.float32) -> Rescale:
        return rescale(graph, self, float(real))

    def layer(self, graph: Graph) -> Lstm:
        """Scales are multiplied in float, as TFLite's Prepare does."""
        x, weights, recurrent = graph.tensor_of(self), self._gates(graph, 1), self._gates(graph, 5)
        state, cell, hidden = (np.float32(one.scale) for one in (self.state, self.cell, self.hidden))
        gate, unit = np.float32(2.0**-12), np.float32(2.0**-15)
        bias = np.stack([tensor.values.astype(np.int64) for tensor in self._gates(graph, 9)], axis=-1)
        both = [np.stack([tensor.values for tensor in tensors], axis=-1) for tensors in (weights, recurrent)]
        sums: list[Int64Array] = [one.sum(axis=1, dtype=np.int64) for one in both]
        steps = float(np.float32(self.cell_clip) / cell)
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            factors = [
                [self._factor(graph, t.scale * scale / gate) for t in tensors]
                for tensors, scale in ((weights, x.scale), (recurrent, state))
            ]
            left = self._factor(graph, unit / hidden * unit)
        return Lstm(
            batch=self._batch(graph),
            steps=x.shape[0 if self.time_major else 1],
            time_major=self.time_major,
            weights=both[0],
            recurrent=both[1],
            bias=bias - x.zero_point * sums[0],
            recurrent_bias=-self.state.zero_point * sums[1],
            rescales=tuple(factors[0]),
            recurrent_rescales=tuple(factors[1]),
            cell_bits=15 + round(math.log2(self.cell.scale)),
            clip=max(int(min(steps, 32767.0)), 0),
            hidden=left,
            hidden_zero_point=self.hidden.zero_point,
        )

    def macs(self, graph: Graph) -> int:
        steps, batch, inputs = graph.tensor_of(self).shape
        units = graph.output_of(self).shape[-1]
        return steps * batch * GATES * units * (inputs + units)

    def links(self, graph: Graph) -> Links | None:
        return None

    def in_place(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def is_identity(self, graph: Graph) -> bool:
        return False

    def words(self, graph: Graph) -> tuple[str, ...]:
        units = graph.output_of(self).shape[-1]
        return (f"{units} units", *(["time first"] if self.time_major else []))
