"""Compiled templates, kept where Python keeps compiled modules: each takes 25 ms to compile, 1 ms to read."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket


class TemplateCache(jinja2.BytecodeCache):
    """Templates' bytecode in ``__pycache__``, or in what stands for it, or nowhere if Python is told to write none.

    ``settings``: what beside its own text decides how a template is compiled. What cannot be read or written is
    compiled again.
    """

    def __init__(self, settings: bytes) -> None:
        self._settings = settings

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        # A module may be called like the template.
        return "" if filename is None else importlib.util.cache_from_source(f"{filename}.py")

    def get_source_checksum(self, source: str) -> str:
        return hashlib.sha256(self._settings + source.encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key:
            with suppress(OSError), open(bucket.key, "rb") as file:
                bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not bucket.key or sys.dont_write_bytecode:
            return
        path = Path(bucket.key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                bucket.write_bytecode(file)
            os.replace(beside, path)
