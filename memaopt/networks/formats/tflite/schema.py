"""The part of TFLite's schema that memaopt reads: slots and limits, for the verifier. Operators say their own options.

Slot numbers are the positions of the fields in schema.fbs (public, part of TensorFlow Lite and LiteRT).
"""

from __future__ import annotations

from types import ModuleType

from memaopt.errors import MissingToolError
from memaopt.networks import limits
from memaopt.networks.formats.tflite.flatbuffer import Scalar, Table, Tables, Vector
from memaopt.networks.operators.form import Field
from memaopt.networks.operators.registry import READ

IDENTIFIER = b"TFL3"
VERSION = 3

_STRING = Vector(1, limits.MAX_NAME_BYTES)
_SHORT = Vector(4, 64)  # shapes and the like: more than any rank, so that the rank itself can be reported

_QUANTIZATION = Table(
    "QuantizationParameters",
    {
        2: Vector(4, limits.MAX_CHANNELS),  # scale
        3: Vector(8, limits.MAX_CHANNELS),  # zero_point
        4: Scalar(1),  # details_type
        6: Scalar(4),  # quantized_dimension
    },
)
_SPARSITY = Table("SparsityParameters", {})
_TENSOR = Table(
    "Tensor",
    {
        0: _SHORT,  # shape
        1: Scalar(1),  # type
        2: Scalar(4),  # buffer
        3: _STRING,  # name
        4: _QUANTIZATION,
        5: Scalar(1),  # is_variable
        6: _SPARSITY,
        7: _SHORT,  # shape_signature
        10: Scalar(4),  # external_buffer
    },
)


def _slot(field: Field) -> Vector | Scalar:
    return Vector(field.width, _SHORT.limit) if field.vector else Scalar(field.width)


_BUILTIN_OPTIONS = {
    options.number: Table(options.name, dict(enumerate(map(_slot, options.fields))))
    for options in (op.options for op in READ.values())
    if options is not None
}

_OPERATOR = Table(
    "Operator",
    {
        0: Scalar(4),  # opcode_index
        1: Vector(4, limits.MAX_OPERANDS),  # inputs
        2: Vector(4, limits.MAX_OPERANDS),  # outputs
        3: Scalar(1),  # builtin_options_type
    },
    union=(3, _BUILTIN_OPTIONS),
)
_OPERATOR_CODE = Table("OperatorCode", {0: Scalar(1), 1: _STRING, 2: Scalar(4), 3: Scalar(4)})
_SUBGRAPH = Table(
    "SubGraph",
    {
        0: Tables(_TENSOR, limits.MAX_ENTRIES),
        1: Vector(4, limits.MAX_OPERANDS),  # inputs
        2: Vector(4, limits.MAX_OPERANDS),  # outputs
        3: Tables(_OPERATOR, limits.MAX_OPERATORS),
        4: _STRING,
    },
)
_BUFFER = Table("Buffer", {0: Vector(1, limits.MAX_FILE_BYTES), 1: Scalar(8), 2: Scalar(8)})
MODEL = Table(
    "Model",
    {
        0: Scalar(4),  # version
        1: Tables(_OPERATOR_CODE, limits.MAX_ENTRIES),
        2: Tables(_SUBGRAPH, limits.MAX_ENTRIES),
        3: _STRING,  # description
        4: Tables(_BUFFER, limits.MAX_ENTRIES),
    },
)


def schema() -> ModuleType:
    """The accessors that flatc generated, from ai-edge-litert; MissingToolError if it is not installed."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingToolError(
            "reading and writing .tflite files needs ai-edge-litert: pip install 'memaopt[tflite]'"
        ) from error
    module: ModuleType = schema_py_generated
    return module


def names(enumeration: type) -> dict[int, str]:
    """The names of an enumeration of the schema, by value."""
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
