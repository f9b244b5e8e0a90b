"""TFLite itself, for comparison: runs a file in ai-edge-litert's interpreter with its reference kernels.

Only for files that memaopt has read without complaint: the interpreter aborts the process on some invalid ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from memaopt.errors import InputError, MissingToolError

Array = npt.NDArray[Any]


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
            self._interpreter: Any = Interpreter(
                model_content=data,
                experimental_op_resolver_type=kernels,
                experimental_preserve_all_tensors=True,
                num_threads=1,
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"TFLite does not load the network: {' '.join(str(error).split())}") from error
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
