"""What an operator is: its attributes, and every part that the reader, the checks, the executor, the rewrites, the
memory plan and the writer ask it for.

An operator is one small frozen class in a module named after it. What its kind has in common is in its base:
:class:`~.unary.Unary`, :class:`~.pairwise.Pairwise`, :class:`~.weighted.Weighted`, :class:`~.pool.Pool2D`,
:class:`~.moving.Moving`. A part that nobody wrote is an error where the class is first used. Four parts alone have a
default, which is never wrong and may miss something: ``links``, ``in_place``, ``is_identity`` and ``words``; a test
finds operators that could say more.

Indices in ``inputs`` and ``outputs`` point into the graph's tensors. Only data are inputs: axes, paddings,
permutations and the like are attributes here, whatever tensors held them in the file. Windows carry explicit
padding, so SAME and VALID exist only in the file.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from memaopt.errors import UnsupportedModelError
from memaopt.networks.graph import DType, Graph, Tensor
from memaopt.networks.operators.form import Form, Options
from memaopt.networks.operators.source import Source
from memaopt.problems.layers import Layer

Array = npt.NDArray[Any]
Links = dict[int, npt.NDArray[np.int64]]
Shape = tuple[int, ...]


class Lowered(NamedTuple):
    """A layer, called ``batch`` times on consecutive parts of ``inputs`` (tensors) and of the output."""

    layer: Layer
    inputs: tuple[int, ...]
    batch: int = 1


class Operator(BaseModel, ABC):
    """One node. ``location`` is its place in the file's execution order, for messages and reports."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: ClassVar[str]
    """Its name in TFLite, or a name of our own where no file has it."""
    version: ClassVar[int] = 1
    """The version in which TFLite's operator learned int8; 0 where no file has it."""
    options: ClassVar[Options | None] = None
    """Its options table in a .tflite file."""
    arity: ClassVar[tuple[int, int]] = (1, 1)
    """The least and the most inputs."""
    dtypes: ClassVar[tuple[DType, ...]] = (DType.INT8,)
    """What its inputs may be; its output is of the first one's type."""
    counts_scale: ClassVar[bool] = True
    """Whether it computes with the scales of its inputs and output."""
    micro: ClassVar[bool] = False
    """Whether it is computed as TFLite Micro does, and LiteRT's reference kernels do something else or lack it."""
    unsigned: ClassVar[bool] = True
    """Whether LiteRT has it of uint8, in integers."""
    keeps_state: ClassVar[bool] = False
    """Whether a file's operator of this kind has tensors that are variable."""
    alias: ClassVar[bool] = False
    """Whether its output is its input's bytes, where they lie."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    location: int = Field(default=0, ge=0)

    @property
    def input(self) -> int:
        return self.inputs[0]

    @property
    def output(self) -> int:
        return self.outputs[0]

    @property
    def fused(self) -> bool:
        """Whether it stands for several operators of a file, so that no file has a form for it."""
        return self.version == 0

    @classmethod
    @abstractmethod
    def read(cls, source: Source) -> Self:
        """The operator of a file; UnsupportedModelError for an attribute that is not supported."""

    @classmethod
    def read_as(cls, source: Source) -> type["Operator"]:
        """The class that reads it: this one, or that of another operator that it is with such operands."""
        return cls

    @classmethod
    def known(cls, source: Source) -> Array | None:
        """What it writes, where integers that are known before the network runs decide that; then no network has it."""
        return None

    @abstractmethod
    def write(self, graph: Graph) -> Form:
        """Its operands and options in a file, for an operator that is not ``fused``; InputError if there are none."""

    @abstractmethod
    def output_shape(self, graph: Graph) -> Shape:
        """The shape of its output; UnsupportedModelError if its inputs do not go together.

        Operators that may give any shape of as many elements return the output's own.
        """

    @abstractmethod
    def check_arithmetic(self, graph: Graph) -> None:
        """UnsupportedModelError unless its arithmetic is defined for its scales and constants. Shapes are right."""

    @abstractmethod
    def evaluate(self, graph: Graph, arguments: Sequence[Array]) -> Array:
        """The values of its output as TFLite's reference kernel computes them, in any integer type and a shape of as
        many elements, for the values of its inputs."""

    @abstractmethod
    def lower(self, graph: Graph) -> Lowered | None:
        """The layer that computes it; None for one that moves nothing (a reshape of an activation)."""

    def links(self, graph: Graph) -> Links | None:
        """For each input tensor, on which of its channels each output channel depends, as long as it is an int8
        activation; None if channels mix."""
        return None

    def in_place(self, graph: Graph) -> tuple[int, ...]:
        """The positions of the inputs over which its output may be written element by element."""
        return ()

    def is_identity(self, graph: Graph) -> bool:
        """Whether its output has its input's bytes, in their order, whatever they are, at a cost that can be saved."""
        return False

    def words(self, graph: Graph) -> tuple[str, ...]:
        """Its attributes in a few words, as in ``3x3 /2 same relu``."""
        return ()

    def macs(self, graph: Graph) -> int:
        """Multiply-accumulates of one inference, padding included; 0 for operators without weights."""
        return 0

    def work(self, graph: Graph) -> int:
        """What one inference costs the reference, in multiply-accumulates."""
        return self.macs(graph)

    def check_operands(self, graph: Graph) -> None:
        """UnsupportedModelError unless types, scales and constants are supported. Shapes may be anything."""
        self.check_types(graph)
        self.check_scales(graph, self.inputs)

    def check_types(self, graph: Graph) -> None:
        for index in self.inputs:
            self.expect(graph, index, "input", *self.dtypes)
        self.expect(graph, self.output, "output", graph.tensor_of(self).dtype)

    def check_scales(self, graph: Graph, operands: tuple[int, ...]) -> None:
        """One scale and an int8 zero point for each of the operands and the output, where they count; and no scale
        of anything that is not a positive number."""
        for tensor in (graph.tensors[index] for index in (*operands, self.output)):
            if not tensor.dtype.is_byte or not self.counts_scale:
                continue
            if len(tensor.scales) != 1:
                raise self.refuse(
                    graph, f"tensor {tensor.name!r} has {len(tensor.scales)} scales; activations need exactly one"
                )
            if not np.iinfo(tensor.dtype.value).min <= tensor.zero_point <= np.iinfo(tensor.dtype.value).max:
                raise self.refuse(graph, f"zero point {tensor.zero_point} of {tensor.name!r} is not {tensor.dtype}")
        for tensor in (graph.tensors[index] for index in (*self.inputs, self.output)):
            if tensor.dtype.is_byte and not (np.isfinite(tensor.scales).all() and (tensor.scales > 0).all()):
                raise self.refuse(graph, f"a scale of {tensor.name!r} is not a positive number")

    def check_one_quantization(self, graph: Graph) -> None:
        """UnsupportedModelError unless inputs and output mean the same by the same bytes."""
        for index in self.inputs:
            if not graph.tensors[index].same_quantization(graph.output_of(self)):
                raise self.refuse(
                    graph,
                    f"input {graph.tensors[index].name!r} and the output have different quantisation; "
                    "equal ones are supported, as in TFLite",
                )

    def expect(self, graph: Graph, index: int, role: str, *allowed: DType) -> None:
        """UnsupportedModelError unless the tensor has one of the types."""
        tensor = graph.tensors[index]
        if tensor.dtype not in allowed:
            problem = f"{role} {tensor.name!r} is {tensor.dtype}; {' or '.join(allowed)} is supported"
            raise self.refuse(graph, problem, f"{tensor.dtype} in {self.kind}")

    def refuse(self, graph: Graph, problem: str, subject: str = "") -> UnsupportedModelError:
        return UnsupportedModelError(f"{graph.place(self)}: {problem}", subject)

    def on_every_byte(self, graph: Graph) -> Array:
        """The 256 outputs where its one input runs from -128 to 127 along the first axis. For operators that treat
        every element alike."""
        x, y = graph.tensor_of(self), graph.output_of(self)
        shapes = [(256,) + (1,) * (len(tensor.shape) - 1) for tensor in (x, y)]
        tensors = list(graph.tensors)
        tensors[self.input] = dataclasses.replace(x, shape=shapes[0], data=None)
        tensors[self.output] = dataclasses.replace(y, shape=shapes[1])
        small = Graph(graph.name, tuple(tensors), (self,), (self.input,), (self.output,))
        return self.evaluate(small, [EVERY_INT8.reshape(shapes[0])]).reshape(-1)


EVERY_INT8 = np.arange(-128, 128).astype(np.int8)


def depth(tensor: Tensor) -> int:
    """The channels of a tensor: the size of its last axis."""
    return tensor.shape[-1] if tensor.shape else 1


def check_rank(where: str, shape: Shape, expected: int) -> None:
    """Raise UnsupportedModelError unless the shape has that many dimensions."""
    if len(shape) != expected:
        raise UnsupportedModelError(f"{where}: a shape of {expected} dimensions is needed, not {list(shape)}")


def plain(value: object) -> str:
    """An attribute in words: ``[[0,0],[0,1]]``."""
    if isinstance(value, tuple):
        return "[" + ",".join(plain(v) for v in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
