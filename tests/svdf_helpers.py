"""Files of SVDFs, which keep a state of int8 or int16."""

from __future__ import annotations

import flatbuffers
import numpy as np
from tflite_helpers import Node, file_of, schema

from memaopt.networks.graph import DType, Tensor

Rng = np.random.Generator


def _tensor(
    name: str, shape: tuple[int, ...], dtype: DType, scale: float, point: int = 0, data: object = None
) -> Tensor:
    values = None if data is None else np.asarray(data).astype(dtype.value)
    return Tensor(name, shape, dtype, np.array([scale], np.float32), np.array([point], np.int64), data=values)


def svdf_file(
    rng: Rng, wide: bool, *, rank: int | None = None, activation: int = 1, unsigned: bool = False, count: int = 1
) -> bytes:
    """``count`` random SVDFs, one behind the other. Features leave the state's range now and then, where a zero point
    makes bytes wrap round."""
    ranks = [int(rng.integers(1, 4)) if rank is None else rank for _ in range(count)]
    batch, _, _, inputs = (int(v) for v in rng.integers([1, 1, 1, 1], [3, 6, 9, 13]))
    kept, state = DType.INT16 if wide else DType.INT8, 0.0005 if wide else float(rng.choice([0.01, 0.05]))
    step, y = (0.0005, 0.05) if wide else (0.01, 0.1)
    reach = 9000 if wide else 128
    tensors = [_tensor("x", (batch, inputs), DType.INT8, 0.05, int(rng.integers(-128, 128)))]
    nodes, states = list[Node](), list[int]()
    for i, of in enumerate(ranks):
        units, memory, first = int(rng.integers(1, 6)), int(rng.integers(1, 9)), len(tensors)
        filters = units * of
        tensors += [
            _tensor(
                f"features{i}", (filters, inputs), DType.INT8, 0.01, data=rng.integers(-127, 128, (filters, inputs))
            ),
            _tensor(f"time{i}", (filters, memory), kept, step, data=rng.integers(1 - reach, reach, (filters, memory))),
            _tensor(f"bias{i}", (units,), DType.INT32, state * step, data=rng.integers(-2000, 2000, units)),
            _tensor(f"state{i}", (batch, filters * memory), kept, state, 0 if wide else int(rng.integers(-60, 60))),
            _tensor(f"y{i}", (batch, units), DType.INT8, y, int(rng.integers(-128, 20))),
        ]
        options = {"rank": of, "fusedActivationFunction": activation}
        nodes.append(Node("SVDF", [first - 1, *range(first, first + 4)], [first + 4], "SVDFOptions", options, 3))
        states.append(first + 3)
        inputs = units
    data = file_of(tensors, nodes, [0], [len(tensors) - 1])
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for index in states:
        model.subgraphs[0].tensors[index].isVariable = True
    for tensor in model.subgraphs[0].tensors if unsigned else ():
        tensor.type = schema.TensorType.UINT8 if tensor.type == schema.TensorType.INT8 else tensor.type
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
