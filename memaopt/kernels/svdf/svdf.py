"""SVDF whose state is int16, element by element: its features, and its filters over time."""

import numpy as np

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array
from memaopt.problems.svdf import SvdfFeatures, SvdfFilter

#: What GCC 12.2 makes at -O3 of a product of the features, and of a feature besides.
_PRODUCT, _FEATURE = Compiled(16, 9), Compiled(110, 26)
#: Likewise of a product over time, of a step besides, both also where products are a loop, and of an output.
_OVER_TIME, _STEP = Compiled(12, 4.7), Compiled(16, 3)
_OVER_TIME_IN_LOOP, _STEP_AROUND, _OUTPUT = Compiled(16, 7.2), Compiled(24, 9), Compiled(130, 22)
_WRITTEN_OUT = 4  # filters of a unit, at most
#: Bytes of code at most (`tests/kernels/test_frames.py`).
_FEATURES_CODE, _FILTERS_CODE = 384, 644


class GenericFeatures:
    """Any sizes."""

    name = "generic"
    computes = SvdfFeatures

    def plans(self, layer: SvdfFeatures) -> tuple[Plan, ...]:
        filters, inputs = layer.weights.shape
        n = layer.rows * filters
        promise = Promise((loads(n * inputs, 1),), stores(n, 2), loads(n * inputs, 1) + loads(n, 4))
        code = (*around.entry(), Loop((piece(_FEATURE), Loop((piece(_PRODUCT),), inputs)), n))
        return (plain(code, promise, _FEATURES_CODE, alignment=2, arrays=_feature_arrays(layer, "")),)

    def emit(self, layer: SvdfFeatures, plan: Plan, name: str) -> Emitted:
        filters, inputs = layer.weights.shape
        return emitted(
            f"void {name}(const int8_t *in, int16_t *out, void *scratch)",
            plan,
            f"features of SVDF, {layer.rows}x{inputs} -> {layer.rows}x{filters} of int16",
            "kernels/svdf/features.c.j2",
            arrays=_feature_arrays(layer, name),
            layer=layer,
        )


class GenericFilter:
    """Any sizes."""

    name = "generic"
    computes = SvdfFilter

    def plans(self, layer: SvdfFilter) -> tuple[Plan, ...]:
        n, products = layer.batch * layer.units, layer.macs
        promise = Promise((loads(products, 2),), stores(n, 1), loads(products, 2) + loads(n, 4))
        looped = layer.rank > _WRITTEN_OUT
        product, around_it = (_OVER_TIME_IN_LOOP, _STEP_AROUND) if looped else (_OVER_TIME, _STEP)
        step = (piece(around_it), Loop((piece(product),), layer.rank))
        code = (*around.entry(), Loop((piece(_OUTPUT), Loop(step, len(layer.weights))), n))
        return (plain(code, promise, _FILTERS_CODE, alignment=2, arrays=_filter_arrays(layer, "")),)

    def emit(self, layer: SvdfFilter, plan: Plan, name: str) -> Emitted:
        steps, filters = layer.weights.shape
        return emitted(
            f"void {name}(const int16_t *in, int8_t *out, void *scratch)",
            plan,
            f"filters of SVDF over {steps} steps of {filters} features of int16, rank {layer.rank}",
            "kernels/svdf/filter.c.j2",
            arrays=_filter_arrays(layer, name),
            layer=layer,
            written_out=layer.rank <= _WRITTEN_OUT,
        )


def _feature_arrays(layer: SvdfFeatures, name: str) -> list[Array]:
    bias = -layer.input_zero_point * layer.weights.sum(axis=1, dtype=np.int64)
    return [
        Array("int8_t", f"{name}_weights", layer.weights, "weights, in the order of the model"),
        Array("int32_t", f"{name}_bias", bias, "of each filter: the input's zero point"),
    ]


def _filter_arrays(layer: SvdfFilter, name: str) -> list[Array]:
    return [
        Array("int16_t", f"{name}_weights", layer.weights, "of each step, for each filter"),
        Array("int32_t", f"{name}_bias", layer.bias, "bias of each output"),
    ]


FAMILIES = (GenericFeatures(), GenericFilter())
