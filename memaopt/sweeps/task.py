"""One question of a sweep, and the row that answers it. Both are plain data: they cross between processes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from memaopt.version import __version__

Kind = Literal["gemm", "network"]
Status = Literal["solved", "infeasible", "failed", "died"]


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

    @cached_property
    def key(self) -> str:
        """The digest of all that the answer depends on: equal questions are solved once."""
        return digest_of(canonical({"memaopt": __version__, **asdict(self)}).encode())


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
