"""What a layer moves as others compute it where nothing is staged: counts of loads and stores that reach the memory in
which its operands lie, by what their published sources do. Modelled, not run.
"""

from __future__ import annotations

from memaopt.networks.operators.operator import Lowered
from memaopt.problems.layers import Conv, Depthwise, FullyConnected, Pool

_BIAS_BYTES = 4
_COLUMNS = 2


def reference_bytes(lowered: Lowered) -> int:
    """As the reference kernels of TFLite Micro do it, with the arena and the model outside SRAM: each product loads its
    input and its weight, each output its bias, and each output is stored once. Other operators: every element once.
    """
    layer = lowered.layer
    if isinstance(layer, Conv | Depthwise):
        inner = layer.weights.shape[-1] * len(layer.weights) if isinstance(layer, Conv) else layer.output.channels
        products = layer.window.taps(layer.shape, layer.output) * inner
        return lowered.batch * (2 * products + (_BIAS_BYTES + 1) * layer.output.elements)
    if isinstance(layer, FullyConnected):
        return lowered.batch * (2 * layer.macs + (_BIAS_BYTES + 1) * layer.rows * len(layer.weights))
    if isinstance(layer, Pool):
        taps = layer.window.taps(layer.shape, layer.output) * layer.shape.channels
        return lowered.batch * (taps + layer.output.elements)
    return lowered.batch * layer.operands.bytes


def im2col_bytes(lowered: Lowered) -> int:
    """Layer by layer as CMSIS-NN's convolutions do it, with what they gather in SRAM and all operands outside: each
    position's patch is read once, weights and biases once for every two positions (arm_convolve_s8), in depthwise
    layers for each position (arm_depthwise_conv_s8_opt), in fully connected ones for each row. Others: as above.
    """
    layer = lowered.layer
    if isinstance(layer, Conv | Depthwise):
        patches = layer.window.taps(layer.shape, layer.output) * layer.shape.channels
        columns = _COLUMNS if isinstance(layer, Conv) else 1
        readings = -(-layer.output.positions // columns)
        constants = layer.weights.size + _BIAS_BYTES * layer.bias.size
        return lowered.batch * (patches + readings * constants + layer.output.elements)
    if isinstance(layer, FullyConnected):
        needed = layer.operands
        constants = layer.weights.size + _BIAS_BYTES * layer.bias.size
        return lowered.batch * (sum(needed.inputs) + layer.rows * constants + needed.output)
    return reference_bytes(lowered)
