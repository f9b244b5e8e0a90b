"""Outputs that overlap their input: each plan's lead against every distance, on the host and on the board."""

import ctypes
from functools import cache
from pathlib import Path

import layers_helpers as h
import layers_reference_helpers as oracle
import layers_run_helpers as running
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.kernels import leads
from memaopt.kernels.registry import Emitted, Format, emit, plans
from memaopt.problems import layers
from memaopt.problems.geometry import Image, Padding, Pair, Window

_ROOM = 4096  # bytes on either side of the input


def _layers() -> dict[str, layers.Layer]:
    rng = np.random.default_rng(0)
    image, three = Image(7, 6, 8), ((3, 3), (2, 2), (1, 1), "same")
    view, height, width = h.window(image, *three)
    odd, odd_height, odd_width = h.window(Image(5, 6, 3), *three)
    # Outputs that are seldom cut off show every input that was lost.
    zero = {"zero_point": 3, "output_zero_point": 5}
    return {
        "wider": h.conv(rng, (4, 5, 4), 10, **zero),
        "narrower": h.conv(rng, (5, 5, 12), 4, **zero),
        "same": h.conv(rng, (5, 4, 8), 8, **zero),
        "strided": h.conv(rng, (7, 8, 4), 6, stride=(2, 2), padding="valid", **zero),
        "valid": h.conv(rng, (7, 6, 4), 5, (3, 2), padding="valid", **zero),
        "padded": h.conv(rng, (7, 6, 4), 4, (3, 3), **zero),
        "padded_parts": h.conv(rng, (5, 8, 4), 9, (3, 3), **zero),
        "padded_strided": h.conv(rng, (9, 6, 3), 7, (3, 3), stride=(2, 2), **zero),
        "rows": h.conv(rng, (5, 12, 3), 5, (3, 3), **zero),
        "rows_strided": h.conv(rng, (6, 24, 3), 7, (3, 3), stride=(2, 2), **zero),
        "tall": h.conv(rng, (9, 3, 2), 2, (5, 1), dilation=(2, 1), **zero),
        "winograd": h.conv(rng, (9, 11, 4), 8, (3, 3), **zero),
        "grouped": h.conv(rng, (4, 3, 8), 8, (3, 3), groups=2, **zero),
        "few": h.conv(rng, (5, 6, 2), 3, **zero),
        "few_padded": h.conv(rng, (5, 4, 2), 2, (3, 3), **zero),
        "halfwords": h.conv(rng, (5, 4, 4), 3, (3, 3), **zero),
        "depthwise": h.depthwise(rng, (9, 6, 6), **zero),
        "depthwise_strided": h.depthwise(rng, (19, 6, 8), stride=(2, 2), **zero),
        "depthwise_walk": h.depthwise(rng, (18, 6, 6), zero_point=3),
        "depthwise_taps": h.depthwise(rng, (18, 4, 5), (5, 3), padding="valid", **zero),
        "depthwise_multiplied": h.depthwise(rng, (5, 4, 3), multiplier=2, **zero),
        "fused": h.conv_depthwise(rng, (9, 6, 8), 6, zero_point=3),
        "fused_strided": h.conv_depthwise(rng, (14, 12, 3), 4, (3, 3), conv_stride=(2, 1), stride=(2, 2)),
        "average": layers.Pool(layers.PoolKind.AVERAGE, image, Image(height, width, 8), view),
        "columns": layers.Pool(layers.PoolKind.MAX, Image(6, 11, 3), Image(3, 5, 3), Window(Pair(2, 2), Pair(2, 2))),
        "greatest": layers.Pool(layers.PoolKind.MAX, Image(5, 6, 3), Image(odd_height, odd_width, 3), odd),
        "dequantize": layers.Dequantize(13, 0.5, 3),
        "quantize": layers.Quantize(13, 0.5, 3),
    }


@cache
def _emitted(where: str) -> dict[str, tuple[layers.Layer, Emitted]]:
    """Each layer with each plan that has a lead, formats and loops apart."""
    chosen = {}
    for name, layer in _layers().items():
        seen = set()
        for number, plan in enumerate(plans(layer)):
            if name.startswith("rows") and plan.family != "shared rows":
                continue
            key = (plan.family, plan.lead, plan.lead_step, plan.scratch_bytes)
            raw = Format.RAW in (plan.input_format, plan.output_format)
            if plan.lead is None or key in seen or raw:
                continue
            seen.add(key)
            chosen[f"{where}_{name}_{number}"] = (layer, emit(layer, plan, f"{where}_{name}_{number}"))
        assert seen or name == "depthwise_multiplied", name
    return chosen


def _distances(e: Emitted, input_bytes: int, output_bytes: int, least: int) -> tuple[list[int], list[int]]:
    """Distances (multiples of ``least``) that the lead allows and at which bytes are shared, and the nearest below."""
    lead, step = e.plan.lead, int(np.lcm(e.plan.lead_step, least))
    assert lead is not None
    allowed = range(-(-lead // step) * step, output_bytes, step)
    below = (lead - 1) // step * step
    # The last byte of a float's fraction, which QUANTIZE would lose, is too little to show.
    shows = -input_bytes < below < output_bytes and e.plan.family != "quantize"
    return list(allowed), [below] if shows else []


def test_every_distance_on_the_host(tmp_path: Path) -> None:
    """A lead that lets an output overtake its input, in the plain C; and one byte less, which must be wrong, so that
    no lead is greater than it has to be."""
    rng = np.random.default_rng(1)
    emitted = _emitted("host")
    host = running.Host(tmp_path, [e for _, e in emitted.values()])
    tight = set()
    for name, (layer, e) in emitted.items():
        function, scratch = getattr(host._library, name), np.zeros(e.plan.scratch_bytes + 16, np.uint8)
        memory = np.zeros(3 * _ROOM, np.uint8)
        memory = memory[-memory.ctypes.data % 16 :]
        cases = [(x, oracle.expected(layer, x)) for (x,) in (h.inputs_of(rng, layer) for _ in range(24))]
        raw = [(x.tobytes(), wanted.astype(h.output_of(layer).dtype).tobytes()) for x, wanted in cases]
        # Floats must be aligned.
        least = max(x.itemsize for x in (cases[0][0], h.output_of(layer)))
        allowed, below = _distances(e, len(raw[0][0]), len(raw[0][1]), least)
        assert allowed, name
        for distance in [*allowed, *below]:
            wrong = 0
            # A byte overwritten too early need not change an output: more inputs show that it may.
            for data, wanted in raw if distance in below else raw[:2]:
                memory[_ROOM : _ROOM + len(data)] = np.frombuffer(data, np.uint8)
                pointers = memory.ctypes.data + _ROOM, memory.ctypes.data + _ROOM - distance, scratch.ctypes.data
                function(*map(ctypes.c_void_p, pointers))
                got = memory[_ROOM - distance : _ROOM - distance + len(wanted)].tobytes()
                wrong += got != wanted
                if wrong:
                    break
            assert (wrong == 0) == (distance in allowed), (name, e.plan.lead, distance)
            if wrong:
                tight.add(e.plan.family)
    assert tight >= {
        "raw pairs",
        "winograd",
        "few channels",
        "halfword rows",
        "fused planes",
        "generic",
        "shared rows",
        "words",
        "depthwise walk",
        "depthwise taps",
        "dequantize",
    }


@pytest.mark.parametrize(
    ("compiler", "define"),
    [*((compiler, {}) for compiler in compilers()), (running.COMPILER, {"MEMAOPT_NO_ASM": 1})],
    ids=[*compilers(), "without assembly"],
)
def test_nearest_distances_on_the_board(compiler: str, define: dict[str, str | int], tmp_path: Path) -> None:
    """Assembly or intrinsics that read later or write earlier than the plain C, and a lead too small or too great."""
    rng = np.random.default_rng(2)
    emitted = _emitted("board")
    board = running.OnBoard(tmp_path, [e for _, e in emitted.values()], compiler, define=define).board
    at, scratch = running.MCU.sram.base + 0x4000, running.MCU.sram.base + 0x8000
    for name, (layer, e) in emitted.items():
        output = h.output_of(layer)
        cases = [(x.tobytes(), oracle.expected(layer, x)) for (x,) in (h.inputs_of(rng, layer) for _ in range(16))]
        allowed, below = _distances(e, len(cases[0][0]), output.nbytes, max(e.plan.alignment, 4))
        for distance in [*allowed[:2], *allowed[-1:], *below]:
            wrong = 0
            for data, wanted in cases if distance in below else cases[:2]:
                board.write(at, data)
                board.call(name, at, at - distance, scratch)
                got = np.frombuffer(board.read(at - distance, output.nbytes), output.dtype)
                wrong += not np.array_equal(got, wanted)
                if wrong:
                    break
            assert (wrong == 0) == (distance in allowed), (name, e.plan.lead, distance)


def test_lead_by_hand() -> None:
    """A wrong end, a step that counts its own reads, or one that nothing reads after."""
    assert leads.lead_of([0, 4, 8], [6, 12, 18], 12) == 4
    assert leads.lead_of([0, 4, 0], [6, 12, 18], 12) == 12
    assert leads.lead_of([0, 12], [6, 12], 12) == -12
    assert leads.lead_of([0], [100], 12) == -12
    # 3x3, stride 1, four columns of one channel: the output (1, 0) needs the input's first row again.
    window = Window(Pair(3, 3), padding=Padding(1, 1))
    shape = Image(3, 4, 1)
    np.testing.assert_array_equal(leads.lowest(window, shape, shape), [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6]])
    assert leads.window_lead(window, shape, shape, [0], 1) == 5


def test_plans_without_a_lead() -> None:
    """A lead where outputs of one channel lie on others that are still to be read."""
    layer = h.depthwise(np.random.default_rng(3), (5, 4, 3), multiplier=2)
    assert all(plan.lead is None for plan in plans(layer) if plan.family != "generic")
