"""One question of a sweep, and the row that answers it. Both are plain data: they cross between processes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from memaopt.errors import InputError
from memaopt.extensions import KERNELS
from memaopt.inputs import told
from memaopt.version import __version__

Kind = Literal["gemm", "network"]
_T = TypeVar("_T")
_NO_OTHERS = ConfigDict(extra="forbid")
Status = Literal["solved", "infeasible", "failed", "died"]

#: What another try may answer: all else follows from the question.
FAILED: tuple[Status, ...] = ("failed", "died")


def canonical(data: Any) -> str:
    """JSON text that is the same for the same data."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Task:
    """A product or a network, on a machine in a setting, under an objective and budgets.

    ``problem`` is the Gemm as canonical JSON, or the digest of the model's bytes. ``machine`` is the digest of the
    machine's canonical JSON: in its setting and, for a Gemm, with its memories resized. ``sram``, ``flash`` and
    ``arena`` are the budgets, in bytes; those that say nothing to a Gemm are None.
    """

    __pydantic_config__: ClassVar = _NO_OTHERS

    kind: Kind
    name: str
    problem: str
    machine: str
    machine_name: str
    setting: str
    objective: str
    buffering: str | None
    proof: str | None
    sram: int | None = None
    flash: int | None = None
    arena: int | None = None

    @classmethod
    def of(cls, data: Any, where: str) -> Task:
        """The question in data that was read from ``where``; InputError if it is none."""
        return _checked(_TASK, data, where)

    @cached_property
    def key(self) -> str:
        """The digest of all that the answer depends on: equal questions are solved once."""
        kernels = KERNELS.origins()  # of others: one more, or another version of it, may be the better answer
        added = {"kernels": kernels} if kernels else {}
        return digest_of(canonical({"memaopt": __version__, **added, **asdict(self)}).encode())


class Batch(NamedTuple):
    """Tasks that are solved together, with the machines and models that they name by digest."""

    tasks: tuple[Task, ...]
    machines: dict[str, str]
    models: dict[str, bytes]


@dataclass(frozen=True)
class SweepRow:
    """The answer to the task of that ``key``: figures of its certificate, or why there is none.

    Bytes and cycles are those of the schedule or the library; ``cost`` is the objective's value, most important part
    first. ``certificate`` is compressed (:mod:`memaopt.sweeps.packed`).
    """

    __pydantic_config__: ClassVar = _NO_OTHERS

    key: str
    status: Status
    message: str = ""
    schedule: str | None = None
    cost: tuple[int, ...] | None = None
    external_bytes: int | None = None
    register_bytes: int | None = None
    gap: float | None = None
    register_gap: float | None = None
    cycles: int | None = None
    arena_bytes: int | None = None
    sram_bytes: int | None = None
    flash_bytes: int | None = None
    proven: str | None = None
    certificate: bytes | None = None

    @classmethod
    def of(cls, data: Any, where: str) -> SweepRow:
        """The row in data that was read from ``where``; InputError if it is none."""
        return _checked(_ROW, data, where)


_TASK, _ROW = TypeAdapter(Task), TypeAdapter(SweepRow)


def _checked(kind: TypeAdapter[_T], data: Any, where: str) -> _T:
    try:
        return kind.validate_python(data)
    except (ValidationError, TypeError) as error:
        raise InputError(f"{where}: {told(error) if isinstance(error, ValidationError) else error}") from None
