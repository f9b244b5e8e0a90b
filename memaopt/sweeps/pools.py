"""Who solves batches: processes of this computer, or the workers of a Dask cluster. Both give futures."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from memaopt import spelling
from memaopt.errors import InputError, MemaoptError, MissingToolError
from memaopt.sweeps import worker

_T = TypeVar("_T")


class Workers:
    """Workers that take calls. ``size``: how many there are. ``renew`` replaces them where they are broken."""

    size: int
    _executor: Executor

    def submit(self, function: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """The future result of a call of a function that workers can import."""
        return self._executor.submit(spelling.as_here(function), *arguments)

    def result(self, future: Future[_T]) -> _T:
        """What a call that lets no error out gave; MemaoptError if its worker ended first."""
        try:
            return future.result()
        except Exception as error:
            raise MemaoptError(
                f"a worker gave no answer ({type(error).__name__}): if it ran out of memory, give fewer --workers"
            ) from None

    def renew(self) -> None:
        """Nothing: what is broken is not replaced here."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._executor.shutdown(cancel_futures=True)


class Processes(Workers):
    """Processes of this computer. They are forked from one that has imported what they need, and end with us."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or os.cpu_count() or 1
        # Ended by a signal, nothing is left behind: the tracker takes the semaphores away, and need not say so.
        sys.warnoptions.append("ignore:resource_tracker")
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            multiprocessing.set_forkserver_preload([worker.__name__])
        self.renew()

    def renew(self) -> None:
        self._executor = ProcessPoolExecutor(self.size, mp_context=self._context, initializer=worker.start)


#: Who logs tracebacks of its own where a scheduler or a worker ends: what came of it is told in our words.
_LOGGERS = ("distributed", "distributed.client", "tornado.application")


class Dask(Workers):
    """A Dask cluster: one of ``size`` processes that is started here (``local``), or the one at an address."""

    def __init__(self, address: str, size: int | None = None) -> None:
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise MissingToolError("--scheduler needs Dask: pip install 'memaopt[dask]'") from None
        self._cluster = None
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        _set_levels(dict.fromkeys(_LOGGERS, logging.CRITICAL))
        if address == "local":
            self._cluster = LocalCluster(
                n_workers=size or os.cpu_count() or 1, threads_per_worker=1, dashboard_address=None
            )
        try:
            self._client = Client(self._cluster or address, timeout=10)
        except (OSError, ValueError) as error:
            _set_levels(self._levels)
            raise InputError(f"--scheduler {address}: no scheduler answers there: {error}") from None
        self.size = max(1, sum(self._client.nthreads().values()))
        self._executor = self._client.get_executor(retries=2)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        _set_levels(self._levels)


def _set_levels(levels: dict[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def workers_of(scheduler: str | None, size: int | None) -> Workers:
    """The workers that were asked for."""
    return Processes(size) if scheduler is None else Dask(scheduler, size)
