"""Random networks on windows of a signal, and the check that pushes give what the whole window does.

As a program it compares pushes of a model with TFLite's interpreter: on every window of a stream, or run by run where
the model keeps a state itself. ``python -m tests.streams_helpers MODEL.tflite --count 500 [--axis rows] [--hop 1]``;
with ``--library`` its library is built here and pushed as often, with ``--board`` on the virtual board.
With ``random`` for the model it builds the libraries of so many random networks, here or with ``--board`` for the
virtual board, and compares each push with the whole network on its window.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import network as emit
from memaopt.emit.folder import source
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks import reference
from memaopt.networks.formats.model import Model
from memaopt.networks.graph import Graph, Tensor
from memaopt.networks.operators import Activation, Size2D
from memaopt.networks.streaming.push import Push
from memaopt.networks.streaming.window import Stream, streamed
from memaopt.networks.zoo.builder import Builder
from memaopt.problems.words import AXES, Axis, Fill
from memaopt.trials import network as network_trial
from memaopt.trials.pushes import expected
from memaopt.writer import write_scratch
from tests.fuzz.host import compilers

Rng = np.random.Generator
Array = np.ndarray[Any, Any]


def random_stream(rng: Rng, name: str = "stream") -> Graph:
    """A network on a window of 12 to 40 frames: convolutions with every kind of padding along time, strides, dilation,
    residuals, pools, and an end that reads all that is left of time, or its last step. One in four is separable, looks
    back in time alone, and begins with frames of one column."""
    if rng.integers(4) == 0:
        return _separable(rng, name)
    frames, width, channels = int(rng.integers(12, 41)), int(rng.choice([1, 1, 4, 5])), int(rng.integers(1, 9))
    b = Builder(name, (1, frames, width, channels), seed=int(rng.integers(1 << 30)))
    x = b.input
    for _ in range(int(rng.integers(1, 5))):
        x = _layer(b, x, rng)
    end = int(rng.integers(4))
    if end == 0 and b.tensors[x].shape[2] == 1:
        x = b.last_step(x)
    elif end == 1:
        x = b.average_pool(x)
    elif end == 2:
        x = b.mean(x)
    else:
        x = b.flatten(x)
    return b.finish(b.fully_connected(x, int(rng.integers(1, 7))))


def _separable(rng: Rng, name: str) -> Graph:
    """Depthwise convolutions without padding, each behind a convolution of one frame."""
    b = Builder(name, (1, int(rng.integers(24, 41)), 1, int(rng.integers(1, 9))), seed=int(rng.integers(1 << 30)))
    x = b.input
    for _ in range(int(rng.integers(1, 4))):
        x = b.conv_2d(x, int(rng.choice([4, 8, 12, 6])), Size2D(1, 1))
        most = min(int(rng.choice([4, 8, 20])), b.tensors[x].shape[1] - 1)
        x = b.depthwise_conv_2d(
            x, Activation.NONE, kernel=Size2D(int(rng.integers(2, max(most, 2) + 1)), 1), same=False
        )
    x = b.last_step(x) if rng.integers(2) else b.mean(x)
    return b.finish(b.fully_connected(x, int(rng.integers(1, 7))))


def _layer(b: Builder, x: int, rng: Rng) -> int:
    """One more layer on an image, if what it has of time is enough for it."""
    _, height, width, channels = b.tensors[x].shape
    kernel = Size2D(int(rng.integers(1, 6)), int(rng.integers(1, min(width, 3) + 1)))
    dilation = Size2D(int(rng.choice([1, 1, 1, 2, 3])), 1)
    reach = (kernel.height - 1) * dilation.height
    stride = Size2D(int(rng.choice([1, 1, 1, 2])), 1)
    activation = Activation(str(rng.choice([Activation.NONE, Activation.RELU])))
    kind = int(rng.integers(7))
    padding = int(rng.integers(3))
    if kind == 5 and height >= 4:
        return b.max_pool(x, Size2D(2, 1))
    if kind == 6 and channels > 1:
        y = b.conv_2d(x, channels, Size2D(1, 1))
        return b.add(x, b.conv_2d(y, channels, Size2D(3, 1)), activation)
    if padding == 0 and height < reach + 2:
        padding = 1
    if padding == 2:
        x = b.pad(x, ((0, 0), (reach, 0), (0, 0), (0, 0)))
    same = padding == 1
    if kind == 4 and (same or height >= 4) and width >= 3:
        return b.depthwise_conv_2d(x, activation, same=same)
    if kind in (3, 4) and width == 1 and b.tensors[x].shape[1] >= kernel.height:
        x = x if channels % 4 == 0 else b.conv_2d(x, 4 * int(rng.integers(1, 4)), Size2D(1, 1))
        return b.depthwise_conv_2d(x, activation, kernel=kernel, same=same)
    outputs = int(rng.integers(2, 9))
    return b.conv_2d(x, outputs, kernel, activation, stride=stride, dilation=dilation, same=same)


def stream_of(graph: Graph, hop: int | None = None) -> Push | None:
    """A stream along rows by so many frames, or the fewest that one phase does with; None where there is none, which
    says what would do."""
    try:
        return streamed(graph, Stream(axis="rows", hop=hop))[0]
    except InputError as error:
        if "would do" not in str(error):
            raise
    return None


def random_pushes(push: Push, rng: Rng, count: int) -> list[list[Array]]:
    """New frames for so many pushes: random, constant and extreme ones."""
    shape = push.graph.tensors[push.graph.given[0]].shape
    styles = [
        lambda: rng.integers(-128, 128, shape),
        lambda: np.full(shape, rng.integers(-128, 128)),
        lambda: rng.choice([-128, 127], shape),
    ]
    return [[styles[int(rng.choice([0, 0, 0, 1, 2]))]().astype(np.int8)] for _ in range(count)]


def pushed(push: Push, pushes: list[list[Array]], kept: list[Array] | None = None) -> Iterator[list[Array]]:
    """The outputs of one push after the other, by the reference executor."""
    for _, found in reference.runs(push.graph, pushes, kept):
        yield found[: len(push.graph.wanted)]


def check_pushes(push: Push, whole: Graph, rng: Rng, count: int) -> int:
    """Assert that each push gives, bit for bit, what the whole network gives on its window; how many outputs differ
    from each other, so that a constant proves nothing."""
    pushes = random_pushes(push, rng, count)
    seen = set()
    windows = push.windows(frames for (frames,) in pushes)
    for number, (found, window) in enumerate(zip(pushed(push, pushes), windows, strict=True)):
        wanted = reference.run(whole, [np.ascontiguousarray(window)])
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other, f"push {number}")
        seen.add(found[0].tobytes())
    return len(seen)


def compare(path: Path, axis: Axis, hop: int | None, count: int, seed: int) -> tuple[int, int]:
    """How many of so many pushes differ from TFLite's interpreter, and how many different outputs there were. Of a
    model with states all tensors that both have by name are compared: an output may say little of them."""
    from memaopt.networks.formats.tflite.oracle import Oracle

    data = path.read_bytes()
    graph, oracle, rng = Model.read(path).graph, Oracle(data), np.random.default_rng(seed)
    wrong, seen = 0, set[bytes]()
    if graph.states:
        numbers = tensors_of(data)
        for given, _ in reference.runs(graph, signal(graph.tensors[graph.given[0]], rng, count)):
            oracle.run(given[:1])
            same, values = True, bytearray()
            for op, made in reference.layers(graph, given):
                key = graph.output_of(op).name, made.shape
                if key in numbers:
                    wanted = oracle.tensor(numbers[key])
                    top = 128 if wanted.dtype == np.uint8 and made.dtype == np.int8 else 0
                    same &= np.array_equal(wanted.astype(np.int64) - top, made)
                    values += made.tobytes()
            assert values, "no tensor is in both"
            wrong += not same
            seen.add(bytes(values))
        return wrong, len(seen)
    push, _ = streamed(graph, Stream(axis=axis, hop=hop))
    pushes = list(signal(push.graph.tensors[push.graph.given[0]], rng, count))
    windows = push.windows(frames for (frames,) in pushes)
    for found, window in zip(pushed(push, pushes), windows, strict=True):
        wrong += not np.array_equal(found[0], oracle.run([np.ascontiguousarray(window)])[0])
        seen.add(found[0].tobytes())
    return wrong, len(seen)


def tensors_of(data: bytes) -> dict[tuple[str, tuple[int, ...]], int]:
    """The tensors of a file by name and shape, but for those that are not the only one."""
    from ai_edge_litert.interpreter import Interpreter

    load: Any = Interpreter
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for detail in load(model_content=data).get_tensor_details():
        found.setdefault((detail["name"], tuple(map(int, detail["shape"]))), []).append(int(detail["index"]))
    return {key: numbers[0] for key, numbers in found.items() if len(numbers) == 1}


def check_library(plan: NetworkPlan, folder: Path, rng: Rng) -> None:
    """Build a stream's library with this computer's compiler, and push from a reset until beyond a full window."""
    assert plan.push is not None
    check_library_on(plan, folder, random_pushes(plan.push, rng, plan.push.warming + 3))


def check_library_on(plan: NetworkPlan, folder: Path, pushes: list[list[Array]]) -> None:
    """The library of what keeps a state, built here with the undefined-behaviour sanitizer, and pushed from a reset."""
    write_scratch(emit.files(plan), folder)
    built, name = folder / "library.so", plan.name
    checked = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-fno-sanitize=alignment"]
    command = [*compilers()[0], "-std=c11", "-O1", *checked, "-shared", "-fPIC", "-I", str(folder / "include")]
    subprocess.run([*command, str(folder / source(name)), "-o", str(built)], check=True)
    library = ctypes.CDLL(str(built))
    kept = np.full(plan.state_bytes // 8, 0x5A5A, np.int64)
    state = ctypes.c_void_p(kept.ctypes.data)
    library[f"{name}_reset"](state)
    for number, ((frames,), wanted) in enumerate(zip(pushes, expected(plan, pushes), strict=True)):
        found = [np.zeros_like(value) for value in wanted]
        given = np.ascontiguousarray(frames)
        pointers = [ctypes.c_void_p(value.ctypes.data) for value in (given, *found)]
        assert library[f"{name}_push"](state, *pointers) == 0
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other, f"push {number}")


def check_random(seed: int, board: bool) -> bool:
    """The library of a random stream, on this computer or on the board; False where a network is no stream."""
    rng = np.random.default_rng(seed)
    model = Model.of(random_stream(rng, f"stream_{seed}"))
    push = stream_of(model.graph, int(rng.integers(1, 4)))
    if push is None:
        return False
    fill: Fill = "first" if rng.integers(4) == 0 else "zero"
    asked = Stream(axis="rows", hop=push.hop, fill=fill)
    plan = compile_network(model, mcu("stm32l4r5"), stream=asked)
    if board:
        assert plan.push is not None
        assert network_trial.run(plan, plan.push.warming + 3).passed, seed
    else:
        with tempfile.TemporaryDirectory() as folder:
            check_library(plan, Path(folder), rng)
    return True


def check_built(path: Path, axis: Axis, hop: int | None, count: int, seed: int, board: bool) -> None:
    """So many pushes of a model's library, here or on the board, each layer's accesses there too."""
    keeps = Model.read(path).graph.states
    plan = compile_network(path, mcu("stm32l4r5"), stream=None if keeps else Stream(axis=axis, hop=hop))
    pushes = list(signal(plan.graph.tensors[plan.graph.given[0]], np.random.default_rng(seed), count))
    if board:
        assert network_trial.run(plan, pushes).passed
        print(f"{path.name}: on the board every byte is right and every access as promised")
        return
    with tempfile.TemporaryDirectory() as folder:
        check_library_on(plan, Path(folder), pushes)
    print(f"{path.name}: built here every byte is right")


def signal(tensor: Tensor, rng: Rng, count: int) -> Iterator[list[Array]]:
    """Frames for so many pushes: noise in the first half, then a signal that wanders, and bursts of extremes."""
    ends = np.iinfo(tensor.dtype.numpy)
    shape, reach, level = tensor.shape, float(ends.max), np.zeros(tensor.shape)
    for number in range(count):
        if number < count // 2:
            yield [rng.integers(ends.min, ends.max + 1, shape).astype(ends.dtype)]
            continue
        level = np.clip(level + rng.normal(0, 0.1 * reach, shape), -1.25 * reach, 1.25 * reach)
        burst = rng.integers(20) == 0
        values = rng.choice([ends.min, ends.max], shape) if burst else np.clip(level, ends.min, ends.max)
        yield [values.astype(ends.dtype)]


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description="Pushes against TFLite's interpreter.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--axis", choices=AXES, default="rows")
    parser.add_argument("--hop", type=int)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", action="store_true")
    parser.add_argument("--board", action="store_true")
    given = parser.parse_args()
    if str(given.model) == "random":
        seeds = range(given.seed, given.seed + given.count)
        print(f"{sum(check_random(seed, given.board) for seed in seeds)} streams of {given.count} networks are right")
        return
    wrong, different = compare(given.model, given.axis, given.hop, given.count, given.seed)
    print(f"{given.model.name}: {given.count} pushes, {wrong} differ from TFLite, {different} different outputs")
    if given.library or given.board:
        check_built(given.model, given.axis, given.hop, given.count, given.seed, given.board)
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
