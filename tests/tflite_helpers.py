"""Files of networks with something changed that the writer would not write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from memaopt.networks.formats.tflite import writer
from memaopt.networks.graph import Graph

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def changed(graph: Graph, change: Callable[[Any], None]) -> bytes:
    """The file of a graph with its object tree changed."""
    data = writer.write(graph)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def put(path: str, value: Any) -> Callable[[Any], None]:
    """Set a field of the object tree, as in ``subgraphs[0].tensors[1].shape``."""

    def change(model: Any) -> None:
        node: Any = model
        *parents, last = re.findall(r"\w+", path)
        for name in parents:
            node = node[int(name)] if name.isdigit() else getattr(node, name)
        if last.isdigit():
            node[int(last)] = value
        else:
            setattr(node, last, value)

    return change
