"""Convert every model of the list, or those named, with TensorFlow: ``python -m tests.keras_models [NAME ...]``."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tests.keras_models.catalogue import MODELS
from tests.keras_models.converting import FILES, converted, load


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def main(names: list[str]) -> None:
    """Convert them, each said in a line; a process that TensorFlow takes with it is begun anew."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    load()
    print(f"{len(MODELS)} models", flush=True)
    FILES.mkdir(exist_ok=True)
    pool = _pool()
    for name in names or MODELS:
        try:
            said = pool.submit(converted, name).result()
        except BrokenProcessPool:
            said, pool = "TensorFlow crashed", _pool()
        print(f"{name}: {said}", flush=True)
    pool.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
