"""Operators on int16 in a random network: a part of its own, from int16 or int8 to an end, or to int8 for others."""

from __future__ import annotations

import dataclasses

from sixteen_cases_helpers import SIXTEEN_CASES, int16_tensor

from memaopt.networks import operators as ops
from memaopt.networks.graph import DType
from memaopt.networks.operators.registry import SIXTEEN
from tests.fuzz.growing import Growing, pick, random_zero_point


class GrowingSixteen(Growing):
    """Puts one of the operators of the tests' cases at a time."""

    def sixteen(self) -> None:
        rng = self.rng
        part = SIXTEEN_CASES[str(pick(rng, list(SIXTEEN_CASES)))](rng)
        (op,) = part.operators
        places: dict[int, int] = {}
        for index, tensor in enumerate(part.tensors):
            places[index] = len(self.tensors)
            self.tensors.append(dataclasses.replace(tensor, name=self._called(tensor.name)))
        for given in part.inputs:
            self._given(places[given])
        ends = {"inputs": tuple(places[i] for i in op.inputs), "outputs": tuple(places[i] for i in op.outputs)}
        self.operators.append(op.model_copy(update={**ends, "location": len(self.operators)}))
        self._left(places[op.output])

    def _given(self, index: int) -> None:
        """An input of int16, or what QUANTIZE makes of one of int8."""
        tensor = self.tensors[index]
        if tensor.dtype is not DType.INT16 or self.rng.integers(2):
            self.inputs.append(index)
            return
        scale = float(tensor.scale) * 256 * float(self.rng.uniform(0.3, 3))
        narrow = self._tensor("input", tensor.shape, scale, random_zero_point(self.rng))
        self.inputs.append(narrow)
        made = SIXTEEN["QUANTIZE"](inputs=(narrow,), outputs=(index,), location=len(self.operators))
        self.operators.append(made)

    def _left(self, index: int) -> None:
        """What is int16 may move and become int8; everything else is an end."""
        rng, tensor = self.rng, self.tensors[index]
        if tensor.dtype is not DType.INT16 or rng.integers(3) == 0:
            self.final.append(index)
            return
        if rng.integers(2) and tensor.shape:
            shape = (2 * tensor.shape[0], *tensor.shape[1:])
            self.tensors.append(int16_tensor(self._called("twice"), shape, float(tensor.scale)))
            both = ops.Concatenation(
                inputs=(index, index), outputs=(len(self.tensors) - 1,), location=len(self.operators), axis=0
            )
            self.operators.append(both)
            index, tensor = len(self.tensors) - 1, self.tensors[-1]
        scale = float(tensor.scale) * 256 * float(rng.uniform(0.3, 3))
        narrow = self._tensor("narrow", tensor.shape, scale, random_zero_point(rng))
        self.operators.append(SIXTEEN["QUANTIZE"](inputs=(index,), outputs=(narrow,), location=len(self.operators)))
        self.ready.append(narrow)
