"""What layers compute, in plain numpy."""

import math

import numpy as np

from memaopt import fixedpoint, fixedpoint16
from memaopt.kernels.text.standard import WARNINGS as WARNINGS
from memaopt.problems.binary import Binary
from memaopt.problems.embedding import Embedding
from memaopt.problems.joined import JoinedDepthwise
from memaopt.problems.layers import (
    ArgExtreme,
    Conv,
    ConvDepthwise,
    Depthwise,
    Dequantize,
    Extreme,
    FloatLookup,
    FullyConnected,
    L2Norm,
    Layer,
    Lookup,
    MatMul,
    Mean,
    Pool,
    PoolKind,
    Quantize,
    Softmax,
)
from memaopt.problems.resize import Resize
from memaopt.problems.selection import Selection
from memaopt.problems.sixteen import (
    Binary16,
    Conv16,
    Depthwise16,
    FullyConnected16,
    Pool16,
)
from memaopt.problems.step_functions import Requantization


def unrounded(channels: int) -> Requantization:
    """In the place of a layer's rounding, while only its accumulators are asked for."""
    return Requantization(0, multipliers=np.zeros(channels, np.int64), shifts=np.zeros(channels, np.int64))


def as_conv(layer: Depthwise) -> Conv:
    """The grouped convolution that a depthwise one is."""
    w = layer.weights.transpose(2, 0, 1)[..., None]
    return Conv(
        layer.shape,
        layer.output,
        w,
        layer.bias,
        layer.window,
        layer.input_zero_point,
        layer.requantization,
        layer.shape.channels,
    )


def conv_accumulators(layer: Conv, image: np.ndarray) -> np.ndarray:
    """Accumulators [height, width, M], tap by tap, with the padding taken as x = zero point."""
    view, (height, width, outputs) = layer.window, layer.output
    centred = image.astype(np.int64) - layer.input_zero_point
    below = (height - 1) * view.stride.height + (view.kernel.height - 1) * view.dilation.height + 1
    right = (width - 1) * view.stride.width + (view.kernel.width - 1) * view.dilation.width + 1
    size = (max(below, layer.shape.height + view.padding.top), max(right, layer.shape.width + view.padding.left))
    padded = np.zeros((*size, layer.shape.channels), np.int64)
    padded[view.padding.top :, view.padding.left :][: layer.shape.height, : layer.shape.width] = centred
    total = np.broadcast_to(layer.bias, (height, width, outputs)).astype(np.int64)
    depth, per_group = layer.weights.shape[3], outputs // layer.groups
    for ky in range(view.kernel.height):
        for kx in range(view.kernel.width):
            top, left = ky * view.dilation.height, kx * view.dilation.width
            part = padded[
                top : top + (height - 1) * view.stride.height + 1 : view.stride.height,
                left : left + (width - 1) * view.stride.width + 1 : view.stride.width,
            ]
            for g in range(layer.groups):
                w = layer.weights[g * per_group : (g + 1) * per_group, ky, kx].astype(np.int64)
                total[..., g * per_group : (g + 1) * per_group] += part[..., g * depth : (g + 1) * depth] @ w.T
    return total


def expected(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    """The layer's output, flat, by numpy and memaopt.fixedpoint alone."""
    first = inputs[0]
    match layer:
        case Conv():
            return layer.requantization.apply(conv_accumulators(layer, first.reshape(layer.shape))).ravel()
        case Depthwise():
            image = first.reshape(layer.shape)
            return layer.requantization.apply(conv_accumulators(as_conv(layer), image)).ravel()
        case JoinedDepthwise():
            return expected(layer.depthwise, np.concatenate([first.ravel(), inputs[1].ravel()]))
        case ConvDepthwise():
            return expected(layer.depthwise, expected(layer.conv, first))
        case FullyConnected():
            rows = first.reshape(layer.rows, -1).astype(np.int64) - layer.input_zero_point
            return layer.requantization.apply(rows @ layer.weights.T.astype(np.int64) + layer.bias).ravel()
        case Selection():
            condition, a, b = (x.reshape(s) for x, s in zip(inputs, layer.shapes, strict=True))
            return np.where(condition != 0, a, b).ravel()
        case Binary16():
            return expected(layer.pairs, *inputs)
        case Binary():
            return layer.apply(first.reshape(layer.first_shape), inputs[1].reshape(layer.second_shape)).ravel()
        case Pool():
            return _pooled(layer, first.reshape(layer.shape)).ravel()
        case Extreme():
            x = first.reshape(layer.shape)
            found = x.max(axis=layer.axes) if layer.kind is PoolKind.MAX else x.min(axis=layer.axes)
            return found.clip(layer.minimum, layer.maximum).ravel()
        case Resize():
            return _resized(layer, first.reshape(layer.shape)).ravel()
        case MatMul():
            a, b = (
                x.reshape(shape).astype(np.int64) - zero
                for x, shape, zero in zip(
                    inputs,
                    (layer.first_shape, layer.second_shape),
                    (layer.first_zero_point, layer.second_zero_point),
                    strict=True,
                )
            )
            a, b = (x.swapaxes(-1, -2) if turned else x for x, turned in zip((a, b), layer.transposed, strict=True))
            return np.clip(layer.result.apply(a @ b) + layer.zero_point, -128, 127).ravel()
        case L2Norm():
            rows = first.reshape(layer.rows, layer.depth).astype(np.int64) - layer.input_zero_point
            out = np.zeros(rows.shape, np.int64)
            for row, total in enumerate((rows * rows).sum(axis=1)):
                multiplier, shift = fixedpoint.inverse_square_root(max(int(total), 1))
                out[row] = fixedpoint.multiply_by_quantized_multiplier(rows[row], multiplier, shift + 7)
            return np.clip(out, -128, 127).ravel()
        case Embedding():
            wanted = first + layer.rows * (first < 0) if layer.from_end else first
            return layer.table[wanted.clip(0, layer.rows - 1)].ravel()
        case Conv16() | Depthwise16() | Pool16():
            return _of_16(layer, first.reshape(layer.shape)).ravel()
        case FullyConnected16():
            sums = first.reshape(layer.rows, -1).astype(np.int64) @ layer.weights.T.astype(np.int64) + layer.bias
            return np.clip(fixedpoint.requantize_in_double(sums, layer.scales), *layer.clamp).ravel()
        case ArgExtreme():
            x = first.reshape(layer.shape)
            return (x.argmax(axis=1) if layer.kind is PoolKind.MAX else x.argmin(axis=1)).ravel()
        case Mean():
            total = (first.reshape(layer.shape).astype(np.int64) - layer.input_zero_point).sum(axis=layer.axes)
            return layer.requantization.apply(total[..., None]).ravel()
        case Lookup():
            return layer.table[first.astype(np.int64) + 128].ravel()
        case FloatLookup():
            return layer.table[first.astype(np.int64) + 128].ravel()
        case Softmax():
            return _softmax(layer, first.reshape(layer.rows, layer.depth)).ravel()
        case Quantize():
            with np.errstate(over="ignore"):
                ratio = np.nan_to_num(np.float32(first) / np.float32(layer.scale), nan=0.0).clip(-1e4, 1e4)
            rounded = np.rint(ratio) if layer.even else fixedpoint.round_half_away_from_zero(ratio)
            return np.clip(rounded + layer.zero_point, -128, 127).ravel()
        case Dequantize():
            product = np.float64(np.float32(layer.scale)) * (first.astype(np.float64) - layer.zero_point)
            return product.astype(np.float32).ravel()
    return layer.apply(*inputs).ravel()


def _resized(layer: Resize, image: np.ndarray) -> np.ndarray:
    """Each output by its four neighbours, in 1/1024 of a position."""
    out, unit = np.zeros(layer.output, np.int64), 1024
    start = [step // 2 - unit // 2 if layer.half_pixels else 0 for step in layer.step]
    for y in range(layer.output.height):
        for x in range(layer.output.width):
            sides = []
            for index, step, first, size in zip((y, x), layer.step, start, layer.shape[:2], strict=True):
                at = index * step + first
                low = max(math.trunc(at / unit), 0)
                sides.append((low, min(math.trunc((at + unit - 1) / unit), size - 1), at - low * unit))
            (top, bottom, below), (left, right, behind) = sides
            corners = image[[[top, top], [bottom, bottom]], [[left, right], [left, right]]].astype(np.int64)
            weights = np.outer([unit - below, below], [unit - behind, behind])
            total = (corners * weights[..., None]).sum(axis=(0, 1))
            out[y, x] = np.sign(total) * ((np.abs(total) + unit * unit // 2) // unit**2)
    return out


def _of_16(layer: Conv16 | Depthwise16 | Pool16, image: np.ndarray) -> np.ndarray:
    """A convolution or maxima of int16, position by position."""
    window, out = layer.window, np.zeros(layer.output, np.int64)
    for y, x in np.ndindex(layer.output[:2]):
        taps = [
            (ky, kx, image[row, column].astype(np.int64))
            for ky, kx in np.ndindex(*window.kernel)
            for row in [y * window.stride.height + ky * window.dilation.height - window.padding.top]
            for column in [x * window.stride.width + kx * window.dilation.width - window.padding.left]
            if 0 <= row < layer.shape.height and 0 <= column < layer.shape.width
        ]
        if isinstance(layer, Pool16):
            elements = np.array([element for _, _, element in taps])
            total, count = elements.sum(axis=0), len(taps)
            mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
            out[y, x] = mean if layer.average else elements.max(axis=0)
            continue
        if isinstance(layer, Conv16):
            sums = layer.bias + sum(layer.weights[:, ky, kx].astype(np.int64) @ element for ky, kx, element in taps)
        else:
            each = (layer.weights[ky, kx] * element.repeat(layer.multiplier) for ky, kx, element in taps)
            sums = layer.bias + sum(each)
        scaled = fixedpoint.multiply_by_quantized_multiplier if layer.narrow else fixedpoint16.multiply_wide
        out[y, x] = scaled(sums, layer.multipliers, layer.shifts)
    return np.clip(out, *layer.clamp)


def _pooled(layer: Pool, image: np.ndarray) -> np.ndarray:
    view, out = layer.window, np.zeros(layer.output, np.int64)
    for y in range(layer.output.height):
        for x in range(layer.output.width):
            top, left = y * view.stride.height - view.padding.top, x * view.stride.width - view.padding.left
            part = image[max(top, 0) : top + view.kernel.height, max(left, 0) : left + view.kernel.width]
            if layer.kind is not PoolKind.AVERAGE:
                out[y, x] = (part.max if layer.kind is PoolKind.MAX else part.min)(axis=(0, 1))
            else:
                total, count = part.astype(np.int64).sum(axis=(0, 1)), part.shape[0] * part.shape[1]
                away = np.sign(total) * ((np.abs(total) + count // 2) // count)
                out[y, x] = (2 * total + count) // (2 * count) if layer.ties_up else away
    return np.clip(out, layer.minimum, layer.maximum)


def _softmax(layer: Softmax, rows: np.ndarray) -> np.ndarray:
    out = np.zeros(rows.shape, np.int64)
    for r, row in enumerate(rows.astype(np.int64)):
        exps = layer.exponentials[row.max() - row]
        total = int(fixedpoint.rounding_divide_by_pot(exps, 12).sum())
        over = total.bit_length() - 20
        scale = fixedpoint.one_over_one_plus_x((total << (11 - over + 1)) - (1 << 31))
        product = fixedpoint.saturating_rounding_doubling_high_mul(scale, exps)
        low, high = layer.output_bounds
        outputs = fixedpoint.rounding_divide_by_pot(product, over + 31 - layer.output_bits) + low
        out[r] = np.clip(outputs, low, high)
    return out
