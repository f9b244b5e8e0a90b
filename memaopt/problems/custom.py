"""An operator that a network's file names and a C function of the user's computes: what is known of it.

Shapes, types, scales and options are the file's; the C is the user's. What it costs and what it accesses nobody knows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from memaopt.problems.layer import Layer
from memaopt.problems.operands import Operand, Operands

#: Axes that a description of a tensor has room for (:data:`memaopt.networks.limits.MAX_RANK`).
RANK = 8
DESCRIPTION = "memaopt_custom.h"
"""The name of the header that declares what a function is told."""
DESCRIPTION_TEXT = f"""\
/* What the function of a custom operator is told beside pointers to its tensors: by memaopt, for the user's C. */
#ifndef MEMAOPT_CUSTOM_H
#define MEMAOPT_CUSTOM_H

#include <stdint.h>

/* real value = scale * (value - zero_point); a scale of 0: it has none, or one for each channel. */
typedef struct {{
    int32_t rank;
    int32_t shape[{RANK}];
    float scale;
    int32_t zero_point;
}} memaopt_tensor;

/* The tensors are the inputs, then the outputs; options are the bytes that the model has of the operator. */
typedef struct {{
    int32_t inputs;
    int32_t outputs;
    const memaopt_tensor *tensors;
    int32_t option_bytes;
    const uint8_t *options;
}} memaopt_custom;

#endif
"""


class CodeFile(NamedTuple):
    """A file of the user's: its name, without a folder, and its text."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class CustomCode:
    """The C that computes the operator ``name`` of a model: ``function`` is declared in the first of ``files``, a
    header, and defined there or in the second, a source."""

    name: str
    function: str
    files: tuple[CodeFile, ...]

    @property
    def header(self) -> CodeFile:
        return self.files[0]

    @property
    def sources(self) -> tuple[CodeFile, ...]:
        return self.files[1:]


class CustomTensor(NamedTuple):
    """A tensor as the function sees it: its elements' type in C and in numpy, shape, scale (0: none, or several), zero
    point."""

    type: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0

    @property
    def operand(self) -> Operand:
        """As whoever calls the function sees it."""
        return Operand(self.shape, self.dtype)


@dataclass(frozen=True)
class CustomLayer(Layer):
    """``code``'s function on these operands. Several outputs lie in one block, each at one of ``offsets``."""

    code: CustomCode
    inputs: tuple[CustomTensor, ...]
    outputs: tuple[CustomTensor, ...]
    options: bytes

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each output begins in the block, in bytes: those of larger elements first, so that all are aligned and
        nothing lies between them."""
        found, end = [0] * len(self.outputs), 0
        for number in sorted(range(len(self.outputs)), key=lambda i: -_size(self.outputs[i])):
            found[number] = end
            end += self.outputs[number].operand.bytes
        return tuple(found)

    @property
    def takes(self) -> tuple[Operand, ...]:
        return tuple(each.operand for each in self.inputs)

    @property
    def gives(self) -> Operand:
        if len(self.outputs) == 1:
            return self.outputs[0].operand
        return Operand((sum(output.operand.bytes for output in self.outputs),))

    @property
    def operands(self) -> Operands:
        """What the user's C does without, nobody knows."""
        return Operands((0,) * len(self.inputs), 0)

    @property
    def declared(self) -> str:
        """The prototype that the user's header has to have, or one that takes the same."""
        inputs = [f"const {each.type} *x{i}" for i, each in enumerate(self.inputs)]
        outputs = [f"{each.type} *y{i}" for i, each in enumerate(self.outputs)]
        return f"void {self.code.function}({', '.join([*inputs, *outputs])}, const memaopt_custom *node)"

    def call(self, inputs: tuple[str, ...], output: str) -> str:
        """C statements that call the function on these pointers to bytes, indented as in a function's body."""
        tensors = ",\n".join(f"        {_described(each)}" for each in (*self.inputs, *self.outputs))
        options = ", ".join(str(byte) for byte in self.options)
        given = [f"(const {each.type} *)(const void *){at}" for each, at in zip(self.inputs, inputs, strict=True)]
        places = zip(self.outputs, self.offsets, strict=True)
        given += [f"({each.type} *)(void *)({output} + {at})" for each, at in places]
        lines = ["    static const memaopt_tensor tensors[] = {", f"{tensors},", "    };"]
        lines += [f"    static const uint8_t options[] = {{{options}}};"] if self.options else []
        node = f"{len(self.inputs)}, {len(self.outputs)}, tensors, {len(self.options)}, "
        lines.append(f"    static const memaopt_custom node = {{{node}{'options' if self.options else '0'}}};")
        lines.append(f"    {self.code.function}({', '.join(given)}, &node);")
        return "\n".join(lines) + "\n"


def _size(tensor: CustomTensor) -> int:
    """Bytes of an element."""
    return Operand((), tensor.dtype).bytes


def _described(tensor: CustomTensor) -> str:
    """A tensor as C initialises its description; the scale in as many digits as tell all floats apart."""
    digits = f"{tensor.scale:.9g}"
    number = digits if set(digits) & set(".e") else f"{digits}.0"
    shape = ", ".join(map(str, tensor.shape)) or "0"
    return f"{{{len(tensor.shape)}, {{{shape}}}, {number}f, {tensor.zero_point}}}"
