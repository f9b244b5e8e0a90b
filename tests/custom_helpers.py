"""A model with an operator of its own, and the C that computes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tflite_helpers import Node, file_of

from memaopt.networks.graph import DType, Tensor, int8_tensor

HEADER = """\
#include "memaopt_custom.h"
void Rasp(const int8_t *x, const int16_t *table, int8_t *y, float *means, int32_t *seen, const memaopt_custom *node);
"""
SOURCE = """\
#include "rasp.h"
void Rasp(const int8_t *x, const int16_t *table, int8_t *y, float *means, int32_t *seen, const memaopt_custom *node)
{
    const memaopt_tensor *in = &node->tensors[0], *out = &node->tensors[2];
    const int rows = in->shape[1], channels = in->shape[2];
    for (int k = 0; k < channels; k++) {
        int sum = 0;
        for (int i = 0; i < rows; i++) {
            y[i * channels + k] = (int8_t)(x[i * channels + k] ^ table[k] ^ node->options[1]);
            sum += x[i * channels + k] - in->zero_point;
        }
        means[k] = (float)sum * in->scale;
    }
    seen[0] = node->inputs * 1000 + node->outputs * 100 + out->rank * 10 + node->option_bytes;
}
"""
TENSORS = [
    int8_tensor("in", (1, 6, 3), 0.5, 3),
    int8_tensor("relu", (1, 6, 3), 0.25, -5),
    Tensor("table", (3,), DType.INT16, data=np.array([1, 2, 300], np.int16)),
    int8_tensor("y", (1, 6, 3), 0.5, 3),
    Tensor("means", (1, 3), DType.FLOAT32),
    Tensor("seen", (1,), DType.INT32),
    int8_tensor("out", (1, 6, 3), 0.25, -5),
]
NODES = [
    Node("RELU", (0,), (1,)),
    Node("CUSTOM", (1, 2), (3, 4, 5), custom="Rasp", data=b"\x07\x09"),
    Node("RELU", (3,), (6,)),
]


def write_own(model: Path) -> None:
    """Write the model, and its operator's rasp.h and rasp.c beside it."""
    model.write_bytes(file_of(TENSORS, NODES, [0], [6, 4, 5]))
    model.with_name("rasp.h").write_text(HEADER)
    model.with_name("rasp.c").write_text(SOURCE)


def write_simple(model: Path) -> list[str]:
    """Write a model of one input and one output whose middle operator is Flip, with its C; the option that says so."""
    tensors = [int8_tensor(name, (1, 12), 0.5, 3) for name in ("in", "relu", "flipped", "out")]
    nodes = [
        Node("RELU", (0,), (1,)),
        Node("CUSTOM", (1,), (2,), custom="Flip"),
        Node("RELU", (2,), (3,)),
    ]
    model.write_bytes(file_of(tensors, nodes, [0], [3]))
    header, source = model.with_name("flip.h"), model.with_name("flip.c")
    header.write_text(
        '#include "memaopt_custom.h"\nvoid Flip(const int8_t *x, int8_t *y, const memaopt_custom *node);\n'
    )
    source.write_text(
        '#include "flip.h"\nvoid Flip(const int8_t *x, int8_t *y, const memaopt_custom *node)\n'
        "{\n    for (int i = 0; i < node->tensors[0].shape[1]; i++)\n        y[i] = (int8_t)(6 - x[i]);\n}\n"
    )
    return ["--custom", f"Flip={header},{source}"]
