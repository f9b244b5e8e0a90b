"""Constants copied into scratch first: the same outputs, the accesses promised, and a price that holds."""

from collections.abc import Iterator
from pathlib import Path

import layers_helpers as h
import numpy as np
import pytest
from board_helpers import compilers

from memaopt.choice.compile import compile_network
from memaopt.kernels.packing import ChainPacking, TapPacking
from memaopt.kernels.registry import Emitted, Plan, by_dma, emit, fetched, in_parts, packed, plans, slid, staged
from memaopt.machines.mcu import mcu
from memaopt.networks.zoo import zoo
from memaopt.problems.layers import Layer, Lookup
from memaopt.trials import network as network_trial

RNG = np.random.default_rng(3)


def _layers() -> dict[str, Layer]:
    rng = np.random.default_rng(0)
    return {
        "pointwise": h.conv(rng, (5, 5, 8), 14),
        "strips": h.conv(rng, (7, 6, 5), 12, (3, 3), zero_point=3, output_zero_point=5),
        "winograd": h.conv(rng, (5, 9, 4), 16, (3, 3)),
        "walk": h.depthwise(rng, (12, 12, 8), zero_point=-3),
        "walk_valid": h.depthwise(rng, (6, 5, 4), padding="valid"),
        "walk_even": h.depthwise(rng, (6, 6, 4), stride=(2, 2)),
        "walk_odd": h.depthwise(rng, (6, 5, 4), stride=(2, 2)),
        "taps": h.depthwise(rng, (9, 7, 5), (5, 3)),
        "rows": h.fully_connected(rng, 40, 7, rows=5),
        "fused": h.conv_depthwise(rng, (9, 6, 8), 6),
        "sums": h.conv(rng, (3, 3, 232), 5, (3, 3)),
        "fused_first": h.conv_depthwise(rng, (13, 12, 3), 6, (3, 3), conv_stride=(2, 2), zero_point=-1),
    }


def _ways(layer: Layer, plan: Plan) -> Iterator[tuple[str, Plan]]:
    """A plan's copies of constants: whole, packed, and both in blocks of channels; with strips that slide, and with
    a copy of its input."""
    whole, narrow, apart = staged(plan), packed(plan), packed(plan, True)
    yield from [("staged", whole)] if whole else []
    yield from [("packed", narrow)] if narrow else []
    yield from [("apart", apart)] if apart else []
    once = slid(layer, plan)
    yield from [("slid", once), ("slid_staged", staged(once) or once)] if once else []
    size = layer.takes[0].bytes
    for way, made in ("streamed", plan), ("apart", apart):
        whole_input = made and fetched(made, size)
        yield from [(f"{way}_fetched", whole_input)] if whole_input else []
    for part in (*in_parts(layer, plan), *(in_parts(layer, once) if once else ())):
        way = f"blocks_{part.block}_{'apart' if part.channel_bytes else 'packed' if part.packed else 'staged'}"
        yield way + "_slid" * part.slides, part
    # Here, without a channel, the core copies them.
    for part in by_dma(layer, plan):
        yield f"dma_{'_'.join(str(words) for words in part.dma)}", part


def _emitted() -> dict[str, tuple[Layer, Emitted]]:
    """Each layer with a plan of every family and size of scratch, in every way that its constants are copied."""
    chosen: dict[str, tuple[Layer, Emitted]] = {}
    for name, layer in _layers().items():
        seen = set()
        for number, plan in enumerate(plans(layer)):
            for way, copied in _ways(layer, plan):
                once = copied.slides or copied.fetched is not None or bool(copied.dma)
                key = way, plan.family, 0 if once else plan.scratch_bytes
                if key not in seen:
                    seen.add(key)
                    symbol = f"{name}_{number}_{way}"
                    chosen[symbol] = (layer, emit(layer, copied, symbol))
        assert seen, name
    return chosen


def test_on_the_host(tmp_path: Path) -> None:
    """A constant that is not copied, a copy over the layer's own scratch, or a pointer that still is the array's."""
    h.check_on_host(tmp_path, _emitted(), RNG)


@pytest.mark.parametrize("compiler", compilers())
def test_on_the_board(compiler: str, tmp_path: Path) -> None:
    """Constants read more than once, or accesses of the copy that were not promised."""
    emitted = _emitted()
    families = {e.plan.family for _, e in emitted.values()}
    assert families >= {"raw pairs", "winograd", "depthwise walk", "depthwise taps", "raw rows", "fused planes"}
    narrow = {e.plan.family for _, e in emitted.values() if e.plan.packed}
    assert narrow == {"chained channels", "chained sums", "fused planes", "depthwise walk"}
    blocks = {e.plan.family for _, e in emitted.values() if e.plan.block}
    assert blocks == {"chained channels", "winograd", "depthwise walk"}
    h.check_on_board(tmp_path, emitted, RNG, compiler, kinds=["random"])
    for _, e in emitted.values():
        if e.plan.streams is None:
            continue
        assert e.plan.promise.parameters.load_bytes == e.plan.data_bytes
        assert e.plan.promise.channels.load_bytes == e.plan.channel_bytes
        assert sum(array.nbytes for array in e.constants if not array.stays) == e.plan.data_bytes
        assert sum(array.nbytes for array in e.constants if array.stays) == e.plan.channel_bytes
        packings = e.plan.packings if e.plan.packed else ()
        for number, symbol in enumerate(array.symbol for array in e.constants if not array.stays):
            packing = packings[number] if number < len(packings) else None
            way = {ChainPacking: "expand_chains", TapPacking: "expand_taps"}.get(type(packing), "copy_words")
            way += "_apart" * (packing is not None and packing.apart)
            way = "dma_start" if e.plan.dma else way
            place = "block" if e.plan.block else f"staged{symbol.removeprefix(e.name)}"
            assert f"{way}({place}, " in e.source
    tapped = {packing for _, e in emitted.values() for packing in e.plan.packings if isinstance(packing, TapPacking)}
    assert {(packing.odd, packing.sets) for packing in tapped} == {(0, 1), (1, 1), (0, 2), (1, 2)}
    assert {e.plan.block for _, e in emitted.values()} == {0, 4, 8, 10, 12}
    assert {len(e.plan.dma) for _, e in emitted.values()} == {0, 2, 3}


def test_only_what_is_read_again_in_words() -> None:
    """A table or int8 weights staged, which are read by bytes; or constants that are read once."""
    rng = np.random.default_rng(0)
    table = Lookup(64, np.arange(-128, 128).astype(np.int8))
    conv, once = h.conv(rng, (5, 5, 8), 10), h.fully_connected(rng, 40, 7)
    beside = h.depthwise(rng, (13, 1, 1), (1, 6), multiplier=3, dilation=(3, 3))  # no weight meets an element often
    for layer, family in ((table, None), (conv, "generic"), (beside, "generic"), (once, None)):
        offered = [plan for plan in plans(layer) if family in (None, plan.family)]
        assert offered
        assert not any(staged(plan) for plan in offered)


def test_networks_stage_where_flash_is_slow() -> None:
    """No staging where each reading waits, or cycles and places that are not those counted."""
    graph, machine = zoo.build("ds_cnn"), mcu("stm32l4r5", "ram").with_ram(constants=0)
    at_once = compile_network(graph, machine.with_wait_states(0))
    plan = compile_network(graph, machine)
    assert sum(layer.plan.streams is not None for layer in plan.layers) >= 5
    assert plan.machine_cycles < 1.03 * at_once.cycles
    trial = network_trial.run(plan, 1)
    assert trial.passed
    assert abs(plan.machine_cycles / trial.cycles - 1) < 0.03
    # Less RAM for a while, and the copies go where they pay least.
    tight = compile_network(graph, machine, sram=20_000)
    assert plan.machine_cycles < tight.machine_cycles
    assert tight.sram_bytes <= 20_000
