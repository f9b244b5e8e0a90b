"""Export every model of the list, or those named, and quantise it: ``python -m tests.torch_models [NAME ...]``."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from tests.torch_models.models import MODELS

FILES = Path(__file__).parent / "files"
_SAMPLES = 24


class _Samples(CalibrationDataReader):
    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(7)
        self._rest = iter([{"input": rng.normal(0, 1, (1, *shape)).astype(np.float32)} for _ in range(_SAMPLES)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)


def _settled(model: torch.nn.Module) -> None:
    """Statistics of a normalisation as training leaves them: neither 0 nor 1."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2)
        if name.endswith("running_var"):
            buffer.uniform_(0.6, 1.4)


def _bare(model: onnx.ModelProto) -> bytes:
    """The file without what the exporter notes of the program that made it: half of its bytes, with paths."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return bytes(model.SerializeToString())


def convert(name: str) -> str:
    """What became of a model, in one line; its file, of int8 or of uint8 by turns, where there is one."""
    torch.manual_seed(sorted(MODELS).index(name))
    model, shape = MODELS[name]()
    _settled(model)
    kind = (QuantType.QInt8, QuantType.QUInt8)[sorted(MODELS).index(name) % 2]
    with tempfile.TemporaryDirectory() as folder:
        first, ready, made = (Path(folder) / f"{what}.onnx" for what in ("model", "ready", "made"))
        try:
            torch.onnx.export(
                model.eval(),
                (torch.randn(1, *shape),),
                first,
                dynamo=True,
                input_names=["input"],
                external_data=False,
                verbose=False,
            )
            quant_pre_process(first, ready)
            quantize_static(
                ready,
                made,
                _Samples(shape),
                quant_format=QuantFormat.QDQ,
                activation_type=kind,
                per_channel=True,
            )
        except Exception as error:  # whatever the exporter raises
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        data = _bare(onnx.load(made))
    (FILES / f"{name}.onnx").write_bytes(data)
    return f"{len(data)} bytes, {kind.name}"


def main(names: list[str]) -> None:
    """Convert them, each said in a line."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    FILES.mkdir(exist_ok=True)
    for name in names or MODELS:
        print(f"{name}: {convert(name)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
