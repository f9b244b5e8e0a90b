"""TFLite itself, for comparison: runs a file in ai-edge-litert's interpreter with its reference kernels.

Only for files that memaopt has read without complaint: the interpreter aborts the process on some invalid ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError

Array = npt.NDArray[Any]
#: Where the table of an OperatorCode has the offset of its version.
_VERSION = 8


class Oracle:
    """A file loaded in the interpreter, every tensor kept.

    ``reference``: by its reference kernels (BUILTIN_REF), or else by the optimised ones: there are more of float.
    """

    def __init__(self, data: bytes, *, reference: bool = True) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise MissingToolError(
                "comparing with TFLite needs ai-edge-litert: pip install 'memaopt[tflite]'"
            ) from error
        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter: Any = _loaded(
                data,
                lambda content: Interpreter(
                    model_content=content,
                    experimental_op_resolver_type=kernels,
                    experimental_preserve_all_tensors=True,
                    num_threads=1,
                ),
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            whose = "TFLite's reference kernels do" if reference else "TFLite does"
            raise InputError(f"{whose} not load the network: {' '.join(str(error).split())}") from error
        self.inputs: list[int] = [int(d["index"]) for d in self._interpreter.get_input_details()]
        self.outputs: list[int] = [int(d["index"]) for d in self._interpreter.get_output_details()]

    @classmethod
    def of_floats(cls, data: bytes) -> Self:
        """By the reference kernels if those know all operators of the file, or else by the optimised ones."""
        try:
            return cls(data)
        except InputError:
            return cls(data, reference=False)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs, of variable tensors that are reset; afterwards :meth:`tensor` gives every tensor."""
        self._interpreter.reset_all_variables()
        for index, value in zip(self.inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self.tensor(index) for index in self.outputs]

    def tensor(self, index: int) -> Array:
        """The value of the file's tensor after the last run."""
        return np.array(self._interpreter.get_tensor(index))


def _loaded(data: bytes, load: Callable[[bytes], Any]) -> Any:
    """An interpreter. The list of reference kernels stops at versions below those of the same kernels elsewhere (TILE,
    DEPTH_TO_SPACE), so versions that it misses are lowered, down to the first.
    """
    while True:
        try:
            return load(data)
        except ValueError as error:
            missing = re.search(r"builtin opcode '(\w+)' version '(\d+)'", str(error))
            if missing is None or int(missing[2]) == 1:
                raise
            lower = _lowered(data, missing[1], int(missing[2]))
            if lower == data:
                raise
            data = lower


def _lowered(data: bytes, kind: str, version: int) -> bytes:
    """The file with an operator of one version less."""
    from ai_edge_litert import schema_py_generated as schema

    lower, model, number = bytearray(data), schema.Model.GetRootAs(data, 0), getattr(schema.BuiltinOperator, kind)
    for code in (model.OperatorCodes(i) for i in range(model.OperatorCodesLength())):
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == number and code.Version() == version:
            place = code._tab.Pos + code._tab.Offset(_VERSION)
            lower[place : place + 4] = (version - 1).to_bytes(4, "little")
    return bytes(lower)
