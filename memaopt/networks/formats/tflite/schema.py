"""The part of TFLite's schema that memaopt reads and writes: slots and limits. Operators say their own options.

Slot numbers are the positions of the fields in schema.fbs (public, part of TensorFlow Lite and LiteRT).
"""

from __future__ import annotations

from memaopt.networks import limits
from memaopt.networks.formats.tflite.flatbuffer import Child, Scalar, Slot, String, Table, Tables, Vector
from memaopt.networks.formats.tflite.flow import FLOW
from memaopt.networks.operators.form import Field
from memaopt.networks.operators.registry import READ

IDENTIFIER = b"TFL3"
VERSION = 3

_SHORT = 64  # shapes and the like: more than any rank, so that the rank itself can be reported
#: Formats of a field's bytes.
_FORMATS = {1: "b", 4: "i", 8: "q"}

_QUANTIZATION = Table(
    "QuantizationParameters",
    {
        2: Vector("scale", "f", limits.MAX_CHANNELS),
        3: Vector("zero_point", "q", limits.MAX_CHANNELS),
        4: Scalar("details_type", "B"),
        6: Scalar("quantized_dimension", "i"),
    },
)
_SPARSITY = Table("SparsityParameters", {})
_TENSOR = Table(
    "Tensor",
    {
        0: Vector("shape", "i", _SHORT),
        1: Scalar("type", "b"),
        2: Scalar("buffer", "I"),
        3: String("name"),
        4: Child("quantization", _QUANTIZATION),
        5: Scalar("is_variable", "?"),
        6: Child("sparsity", _SPARSITY),
        7: Vector("shape_signature", "i", _SHORT),
        10: Scalar("external_buffer", "I"),
    },
)


def _slot(field: Field) -> Slot:
    if field.text:
        return String(field.name)
    number = "f" if field.real else _FORMATS[field.width]
    return Vector(field.name, number, _SHORT) if field.vector else Scalar(field.name, number, field.default)


_BUILTIN_OPTIONS = {
    options.number: Table(options.name, dict(enumerate(map(_slot, options.fields))))
    for options in (*(op.options for op in READ.values()), *FLOW.values())
    if options is not None
}

_OPERATOR = Table(
    "Operator",
    {
        0: Scalar("opcode_index", "I"),
        1: Vector("inputs", "i", limits.MAX_OPERANDS),
        2: Vector("outputs", "i", limits.MAX_OPERANDS),
        3: Scalar("builtin_options_type", "B"),
        5: Vector("custom_options", "B", limits.MAX_OPTIONS),
        8: Vector("intermediates", "i", limits.MAX_OPERANDS),
    },
    union=(3, _BUILTIN_OPTIONS),
)
_OPERATOR_CODE = Table(
    "OperatorCode",
    {
        0: Scalar("deprecated_builtin_code", "b"),
        1: String("custom_code"),
        2: Scalar("version", "i", 1),
        3: Scalar("builtin_code", "i"),
    },
)
_SUBGRAPH = Table(
    "SubGraph",
    {
        0: Tables("tensors", _TENSOR, limits.MAX_ENTRIES),
        1: Vector("inputs", "i", limits.MAX_OPERANDS),
        2: Vector("outputs", "i", limits.MAX_OPERANDS),
        3: Tables("operators", _OPERATOR, limits.MAX_OPERATORS),
        4: String("name"),
    },
)
_BUFFER = Table(
    "Buffer", {0: Vector("data", "B", limits.MAX_FILE_BYTES), 1: Scalar("offset", "Q"), 2: Scalar("size", "Q")}
)
_SIGNATURE = Table("SignatureDef", {2: String("signature_key"), 4: Scalar("subgraph_index", "I")})
MODEL = Table(
    "Model",
    {
        0: Scalar("version", "I"),
        1: Tables("operator_codes", _OPERATOR_CODE, limits.MAX_ENTRIES),
        2: Tables("subgraphs", _SUBGRAPH, limits.MAX_ENTRIES),
        3: String("description"),
        4: Tables("buffers", _BUFFER, limits.MAX_ENTRIES),
        7: Tables("signature_defs", _SIGNATURE, limits.MAX_ENTRIES),
    },
)
