"""The model of waiting, held to the board's rules (docs/timing.md) and to the text that is emitted."""

import numpy as np
import pytest
from layers_helpers import conv, depthwise, fully_connected
from layers_run_helpers import COMPILER

from memaopt.bench.waits import ALL, NINE_IN_TEN, runs_of, study
from memaopt.board import build
from memaopt.kernels.assembly_code import parse
from memaopt.kernels.code import REWIND, TABLE, Call, Constants, Literal, Loop, Small, Staged, Straight, TableLoads
from memaopt.kernels.executed import body_of, cycles_of
from memaopt.kernels.registry import emit, plans, source_file
from memaopt.machines.mcu import mcu
from memaopt.models.outside import seeks
from memaopt.models.passages import passages
from memaopt.models.waits import timing, waiting
from memaopt.problems.geometry import Image, Padding, Pair, Window
from memaopt.problems.layers import Lookup, Mean, Pool, PoolKind, Softmax
from memaopt.problems.movement import Movement, box
from memaopt.problems.step_functions import Requantization

L4R5 = mcu("stm32l4r5")
STOCK, PREFETCH = timing(L4R5.in_setting("stock")), timing(L4R5.in_setting("stock-prefetch"))


def straight(words, loads=0):
    return Straight((1.0,) * words, (loads,) * words)


@pytest.mark.parametrize(
    ("machine", "straight_line", "beyond"), [(STOCK, 3.5, 3.51), (PREFETCH, 3.0, 3.03)], ids=["stock", "prefetch"]
)
def test_each_instruction_of_32_bits(machine, straight_line, beyond):
    """Straight code, a loop that the cache holds and one that it does not, as the board counts them."""
    assert waiting((straight(4000),), machine) / 4000 + 1 == pytest.approx(straight_line, abs=0.01)
    fits, exceeds = ((Loop((Straight((1.0,) * (n - 1) + (2.0,), (0,) * n),), 100),) for n in (225, 275))
    assert waiting(fits, machine) / 22500 + 1 == pytest.approx(1.02, abs=0.01)
    assert waiting(exceeds, machine) / 27500 + 1 == pytest.approx(beyond, abs=0.01)


def test_constants_wait_once_for_each_read_of_the_array():
    """A stream of words costs a read for each two of them; what the data cache holds is read once."""
    stream = (Loop((straight(50, 1),), 20),)
    cold = waiting((straight(50),), STOCK)
    assert (waiting(stream, STOCK) - cold) / 1000 == pytest.approx(2.5, rel=0.05)
    again = Loop((Straight((0.0,), (-1,)), straight(50, 1)), 20)
    assert waiting((again,), STOCK) < 300


def test_nothing_waits_on_an_ideal_machine():
    ideal = timing(L4R5.with_wait_states(0))
    assert waiting((straight(4000, 1),), ideal) == 0


def test_code_is_fetched_while_constants_come_from_outside_the_chip():
    """Catches what constants from outside take and what code waits beside them as a sum: a chain's bands took a fifth
    more than the board counts."""
    chip = mcu("stm32l4s5")
    machine = timing(chip, chip.memory("qspi"))
    body = (straight(2000, 1), Loop((straight(300, 1),), 10))
    assert waiting(body, machine) < 0.1 * waiting((straight(2000), Loop((straight(300),), 10)), machine)
    assert waiting((Staged(body),), machine) == pytest.approx(waiting((straight(5000),), machine), rel=0.02)


@pytest.mark.parametrize("kind", ["depthwise", "conv"])
def test_constants_here_and_there_follow_one_another_where_they_do(kind):
    """Catches weights of generic kernels that wait outside the chip as if read in order: those of a depthwise layer's
    channel lie apart, and a chain with one took less than half of what the board counts."""
    rng = np.random.default_rng(3)
    layer = depthwise(rng, (6, 7, 4)) if kind == "depthwise" else conv(rng, (6, 7, 4), 5, (3, 3))
    plan = next(plan for plan in plans(layer) if plan.family == "generic")
    channels, following, sought = layer.output.channels, -1, 0
    read = []  # the address and the bytes of each load, as the kernel makes them
    for y, x, c in np.ndindex(6, 7, channels):
        read.append((1 << 20 | 12 * c, 4))
        for i, j in np.ndindex(3, 3):
            if 0 <= y + i - 1 < 6 and 0 <= x + j - 1 < 7:
                tap = 3 * i + j
                at = [tap * channels + c] if kind == "depthwise" else [4 * (9 * c + tap) + d for d in range(4)]
                read += [(address, 1) for address in at]
        read += [(1 << 20 | 12 * c + 4, 4), (1 << 20 | 12 * c + 8, 4)]
    for address, size in read:
        sought += address != following
        following = address + size
    assert plan.promise.parameters.loads == len(read)
    assert seeks(plan.code) == pytest.approx(sought, rel=0.02)


def test_a_loop_costs_the_same_whether_it_is_executed_or_scaled():
    """That turns settle: a hundred turns cost as much as ten times ten, and ninety times what one more costs."""
    body = (straight(30, 1), Loop((straight(20),), 3))
    whole = waiting((Loop(body, 100),), STOCK)
    assert whole == pytest.approx(waiting((Loop((Loop(body, 10),), 10),), STOCK), rel=0.02)
    ten, twenty = (waiting((Loop(body, turns),), STOCK) for turns in (10, 20))
    assert whole - ten == pytest.approx(9 * (twenty - ten), rel=0.01)


@pytest.mark.parametrize("machine", [STOCK, PREFETCH, timing(mcu("stm32f407"))], ids=["stock", "prefetch", "f407"])
def test_what_is_remembered_changes_nothing(machine):
    """A price may not depend on what was priced before: each of many trees costs the same first, last and alone."""
    loading = Straight((1.0, 2.0, 1.0) * 30, (0, 1, 0) * 30)
    texts = [straight(70), straight(9, 1), loading, Straight((0.7,) * 40, (0,) * 40)]
    rewound = Straight((1.0,) * 30, (1, 0, -1, 1, 1, 0) * 5)
    trees = [
        (Straight((1.0,) * shift, (0,) * shift), Loop((first, Loop((second, rewound), 3, 2.0)), 4), third)
        for shift in (1, 2, 5)
        for first in texts
        for second in texts
        for third in texts[:2]
    ]
    alone = []
    for tree in trees:
        passages(machine).clear()
        alone.append(waiting.__wrapped__(tree, machine))
    assert [waiting.__wrapped__(tree, machine) for tree in trees] == alone
    assert [waiting.__wrapped__(tree, machine) for tree in reversed(trees)] == alone[::-1]


def test_words_of_one_load_come_a_cycle_after_each_other():
    """Catches a load of many that waits as if all its words were asked for at once, where no cache holds any."""
    machine = timing(mcu("nrf52840"))
    loads = Straight((9.0,) * 100, (8,) * 100)
    assert machine.data_lines == 0
    each = (waiting((loads,), machine) - waiting((loads._replace(loads=(0,) * 100),), machine)) / 800
    assert each == pytest.approx(machine.first, abs=0.3)


def test_loads_of_code_in_ram_wait_where_they_are():
    """Catches loads that all wait at the end of a run, each for the array that the last one has just left."""
    machine = timing(mcu("stm32f303", "ram"))
    assert machine.data_lines == machine.ram == 0
    assert waiting((Straight((1.0, 2.0) * 50, (0, 1) * 50),), machine, True) == 50 * machine.first


def test_the_target_of_a_branch_is_waited_for_though_its_line_is_all_there_is():
    """Catches code of a line each that never waits, since the cache has the line as soon as it is asked for."""
    machine = timing(mcu("lpc54114"))
    calls = tuple(Call(Small(f"small_{i}", 16, (straight(4),))) for i in range(machine.instruction_lines + 2))
    each = waiting((Loop(calls, 100),), machine) / 100 / len(calls)
    assert each == pytest.approx(machine.first, abs=1)
    assert waiting((Loop(calls[:2], 100),), machine) / 200 < 0.2


def test_constants_of_a_loop_go_on_from_where_they_were():
    """Catches turns that are remembered from another place in a line, so that 63 words seem more than the cache holds,
    or from when nothing was cached."""
    turn = (Straight((1.0,) * 4, (1, 0, 0, 0)), Loop((straight(6, 1),), 3), straight(2, 1))
    few, many = (waiting((Loop((Straight((2.0,), (REWIND,)), Loop(turn, 3)), n),), STOCK) for n in (3, 30))
    assert few == many


def test_what_untried_turns_read_stays_cached():
    """Catches constants of a loop of more turns than are tried that push out those of its first turns, though the cache
    holds them all: read again, they cost as much as the first time."""
    once, often = (
        waiting((Loop((Straight((2.0,), (REWIND,)), Loop((straight(1, 1),), 48)), n),), STOCK) for n in (1, 20)
    )
    assert often == pytest.approx(once, abs=20)


def test_behind_a_return_a_word_more_is_fetched():
    """Catches a call in a loop that seems to fit the cache, though what is fetched behind its return needs a line."""
    loops = []
    for last in (7.0, 12.0):
        called = Call(Small("called", 4 * 205, (Straight((1.0,) * 204 + (last,), (0,) * 205),)))
        other = Call(Small("other", 4 * 40, (straight(40),)))
        loops.append(waiting((Loop((called, straight(42)), 50), other), STOCK))
    assert loops[1] > 5 * loops[0]


def test_loads_of_a_table_wait_where_they_are():
    """Catches a table whose loads do not throw away what was read ahead, and one that is waited for twice."""
    cached, uncached = timing(L4R5), timing(mcu("stm32f303"))
    nodes = parse("1:\nldrb r4, [r0], #1\nldrb r4, [r3, r4]\nbne 1b", (Constants("r3", "", table=True),))
    assert nodes[0].body[0].loads == (0, TABLE + 1, 0)
    marked, apart = TableLoads(256, 900, 900, marked=True), TableLoads(256, 900)
    bare = Loop((nodes[0].body[0]._replace(loads=(0, 0, 0)),), 900)
    loads = Loop(nodes[0].body, 900)
    assert waiting((loads, marked), cached) == waiting((bare, apart), cached)
    assert waiting((loads, marked), uncached) == waiting((loads,), uncached) > waiting((bare, apart), uncached)
    assert waiting((loads, marked), uncached, False, True) == waiting((bare,), uncached)


@pytest.mark.parametrize("name", ["stm32l4r5", "stm32f446"])
@pytest.mark.parametrize(("size", "row"), [(256, 0), (512, 0), (1024, 0), (6144, 24), (1024, 4), (2048, 8)])
def test_of_a_table_the_cache_keeps_what_its_lines_hold(name, size, row):
    """Catches a line that seems to come in whole, though it has the one read that was missed, and rows of several words
    each of which seems a read of its own."""
    machine, rng = timing(mcu(name)), np.random.default_rng(0)
    count, words = 4000, max(row // 4, 1)
    held, missed = dict[int, set[int]](), 0
    for start in rng.integers(size // (4 * words), size=count) * words:
        for word in range(start, start + words):
            read = word // machine.read
            reads = held.pop(read // (machine.line // machine.read), set())
            missed += read not in reads
            held[read // (machine.line // machine.read)] = reads | {read}
            if len(held) > machine.data_lines:
                del held[next(iter(held))]
    waited = waiting((TableLoads(size, count * words, row=row),), machine)
    assert waited == pytest.approx(missed * machine.first, rel=0.05)


def test_loads_at_any_address_hide_what_the_next_words_wait():
    """Catches unaligned loads whose cycles are priced beside the code, as if the next words waited all the same."""
    machine, taps = timing(mcu("stm32f303")), "\n".join("sxtab16 r4, r4, r3" for _ in range(6))
    text = f"1:\nldr r3, [r0]\nldr r3, [sp, #4]\nldr r3, [r2]\nldrb r3, [r0]\n{taps}\nsubs r5, r5, #1\nbne 1b"
    aligned, anywhere = (parse(text, (Constants("r2", "[sp, #4]"),), slow=slow) for slow in (0.0, 1.5))
    (plain,), (slower,) = aligned[0].body, anywhere[0].body
    assert [b - a for a, b in zip(plain.cycles, slower.cycles, strict=True)][:4] == [1.5, 0, 1.5, 0]
    hidden = waiting((Loop((plain,), 100),), machine) - waiting((Loop((slower,), 100),), machine)
    assert hidden > 50


def test_code_that_loads_a_word_beside_itself_waits_for_it():
    """Catches addresses in literal pools, which are read from flash wherever the constants themselves lie."""
    for data_in_ram in (False, True):
        alone = waiting((straight(20),), STOCK, False, data_in_ram)
        assert 5 <= waiting((straight(20), Literal()), STOCK, False, data_in_ram) - alone <= 12


def test_loops_of_assembly_are_its_backward_branches():
    nodes = parse("mov r2, #3\n1:\nldr r3, [r0], #4\n.rept 2\nadd r1, r1, r3\n.endr\nsubs r2, r2, #1\nbne 1b\nbx lr")
    assert [type(node) for node in nodes] == [Straight, Loop, Straight]
    assert nodes[1].body[0].cycles == (2, 1, 1, 1, 2)


def test_constants_are_read_where_an_offset_says():
    """Catches parameters far behind a start that are taken to be read again from there, so that they seem cached."""
    text = "ldr r9, [sp, #8]\nldr r9, [r9, #24]\nldr r12, [sp, #8]\nldr r0, [sp]\nadd r12, r12, #28\nldmia r12, {r2-r4}"
    (run,) = parse(text, (Constants("r9", "[sp, #8]"), Constants("r12", "[sp, #8]")))
    assert run.loads == (REWIND - 6, 1, REWIND - 7, 0, 0, 3)
    (double,) = parse("ldr r12, [sp, #8]\nldrd r2, r3, [r12]", (Constants("r12", "[sp, #8]"),))
    assert double.loads == (REWIND, 2)
    near, far = (Straight((9.0,) * 80, (REWIND - at, 1) * 40) for at in (0, 100))
    there = Straight((9.0,) * 80, (REWIND, 1, REWIND - 100, 1) * 20)
    assert waiting((near,), STOCK) == waiting((far,), STOCK) < waiting((there,), STOCK)


def test_a_branch_that_is_not_taken_has_its_target_fetched():
    """Catches loops of few turns that seem to wait less where nothing is cached: a read more occupies the array."""
    machine = timing(mcu("nrf52840", "reset"))
    straight_on = (straight(8), straight(8))
    looped = (Loop((straight(8),), 1), straight(8))
    assert waiting(looped, machine) > waiting(straight_on, machine)
    assert waiting(looped, timing(mcu("nrf52840"))) == waiting(straight_on, timing(mcu("nrf52840")))


def _pool(kind, size):
    """Stride 2, and at size 3 a window that reaches beyond the image."""
    window = Window(Pair(size, size), Pair(2, 2), padding=Padding(0, size - 2))
    return Pool(kind, Image(9, 8, 12), Image(4, 4, 12), window)


def test_random_layers_are_predicted_within_ten_percent():
    """Kernels of every kind, chosen and counted in every setting: a wrong price makes a wrong choice."""
    rng = np.random.default_rng(5)
    halved = Requantization(0, multipliers=np.array([1 << 30]), shifts=np.array([-2]))
    layers = [
        ("1x5", conv(rng, (5, 20, 8), 8, (1, 5), padding="same")),
        ("3x3", conv(rng, (12, 16, 8), 8, (3, 3))),
        ("dilated", conv(rng, (12, 7, 4), 6, (3, 3), dilation=(2, 2))),
        ("depthwise 3x3", depthwise(rng, (20, 20, 8))),
        ("depthwise 5x5", depthwise(rng, (16, 9, 8), (5, 5))),
        ("multiplier 8", depthwise(rng, (9, 9, 2), multiplier=8)),
        ("groups", conv(rng, (7, 6, 12), 8, (3, 3), groups=4)),
        ("chained in groups", conv(rng, (3, 4, 28), 16, (3, 3), groups=4)),
        ("sets of columns", depthwise(rng, (3, 4, 6), multiplier=2, dilation=(2, 2), padding="same")),
        ("one channel", depthwise(rng, (7, 9, 1), multiplier=2, stride=(2, 2))),
        *((f"{kind} {size}", _pool(kind, size)) for kind in PoolKind for size in (2, 3)),
        (
            "cut off",
            Pool(
                PoolKind.AVERAGE, Image(5, 17, 6), Image(3, 9, 6), Window(Pair(3, 3), Pair(2, 2), padding=Padding(1, 1))
            ),
        ),
        ("beside", depthwise(rng, (4, 5, 4), (7, 7), dilation=(2, 2))),
        ("few cycles", fully_connected(rng, 13, 8)),
        ("small table", Lookup(37, rng.integers(-128, 128, 256).astype(np.int8))),
        ("two a row", Softmax(9, 2, 1 << 30, 22, -124)),
        ("one row", Softmax(1, 3, 1 << 30, 22, -124)),
        ("two rows by words", Softmax(2, 20, 1 << 30, 22, -124)),
        ("a row that is summed", Mean((1, 20), (1,), 3, halved)),
        ("more than the cache", conv(rng, (3, 20, 48), 5, stride=(2, 2))),
        ("mean", Mean((6, 9, 16), (1,), 3, halved)),
        ("pad", Movement("PAD", 10 * 6 * 5, (box(0, (8, 4, 5), (10, 6, 5), shape=(8, 4, 5), output_start=(1, 1, 0)),))),
    ]
    found = study(L4R5, layers, COMPILER)
    assert {run.setting for run in found.runs} == {"stock", "stock-prefetch", "ram"}
    # Each branch waits where nothing is cached, each load of a table where what was read ahead is all that there is,
    # and code in RAM for data that come through its port.
    table = rng.integers(-128, 128, 256).astype(np.int8)
    elsewhere = [
        ("nrf52840", "reset", _pool(PoolKind.MAX, 2)),
        ("nrf52840", "reset", Softmax(11, 9, 1 << 30, 22, -124)),
        ("nrf52840", "reset", Softmax(8, 32, 1 << 30, 22, -124)),
        ("nrf52840", "reset", Mean((4, 4), (1,), 3, halved)),
        ("lpc54114", "stock", Softmax(28, 72, 1 << 30, 22, -124)),
        ("stm32f303", "stock", Lookup(250, table)),
        (
            "stm32f303",
            "stock",
            Movement("TRANSPOSE", 288, (box(0, (6, 6, 8), (6, 6, 8), shape=(6, 6, 8), permutation=(1, 0, 2)),)),
        ),
        ("atsamd51", "ram", _pool(PoolKind.MAX, 2)),
    ]
    others = [run for name, setting, one in elsewhere for run in runs_of(name, one, [mcu(name, setting)], COMPILER)]
    for run in (*found.runs, *others):
        assert abs(run.error) <= ALL, run


@pytest.mark.parametrize(("family", "option"), [("few channels", ("strip", 4)), ("halfword rows", ("loop", 1))])
def test_layers_of_few_outputs_are_predicted_in_every_setting(family, option, monkeypatch):
    """Catches code that just misses the cache, and constants that just fit theirs, on the wrong side."""
    rng = np.random.default_rng(0)
    if family == "few channels":
        layer = conv(rng, (12, 12, 32), 16, (3, 3), groups=8, output_zero_point=3)
    else:
        layer = conv(rng, (5, 5, 4), 3, (3, 3))
    offered = [plan for plan in plans(layer) if plan.family == family and option in plan.options]
    monkeypatch.setattr("memaopt.bench.waits.plans", lambda _: offered)
    monkeypatch.setattr("memaopt.bench.waits.staged", lambda _: None)
    for run in study(L4R5, [(family, layer)], COMPILER).runs:
        assert abs(run.error) <= NINE_IN_TEN, run


def routines(nodes):
    for node in nodes:
        if isinstance(node, Call):
            yield node
            if isinstance(node.routine, Small):
                yield from routines(node.routine.body)
        elif isinstance(node, Loop):
            yield from routines(node.body)


def test_the_tree_has_every_word_of_the_emitted_kernels(tmp_path):
    """What is priced is the text that is emitted: as many bytes as the linked kernel, as many cycles as it promises."""
    rng = np.random.default_rng(3)
    layers = [
        conv(rng, (6, 9, 8), 8, (3, 3)),
        conv(rng, (5, 12, 4), 6),
        depthwise(rng, (9, 14, 4), (5, 5)),
        depthwise(rng, (14, 10, 8)),
    ]
    chosen = [(layer, plan) for layer in layers for plan in plans(layer)]
    emitted = [emit(layer, plan, f"layer_{i}") for i, (layer, plan) in enumerate(chosen)]
    (tmp_path / "layers.c").write_text(source_file(emitted))
    program = build([tmp_path / "layers.c"], tmp_path / "layers.elf", L4R5, compiler=COMPILER)
    sizes = symbol_sizes(program.elf)
    checked = 0
    for _, plan in chosen:
        for call in routines(plan.code):
            if not isinstance(call.routine, Small):
                assert 4 * words(body_of(call)) == sizes[call.routine.name], call.routine.name
                checked += 1
        if plan.kernels:
            assert cycles_of(plan.code) == pytest.approx(plan.cycles, rel=0.1), (plan.family, plan.tile)
    assert checked > 20


def words(nodes):
    return sum(len(node.cycles) if isinstance(node, Straight) else words(node.body) for node in nodes)


def symbol_sizes(elf):
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return {symbol.name: symbol["st_size"] for symbol in symbols}


@pytest.mark.parametrize("clamp", [(-128, 127), (-60, -34), (0, 127), (-128, -1)])
def test_outputs_are_priced_by_the_instructions_that_clamp_them(clamp):
    """Catches clamps below or at 0 that are priced as others: one of five instructions, or one of one."""
    rng = np.random.default_rng(1)
    for layer in (conv(rng, (4, 6, 8), 16, clamp=clamp), depthwise(rng, (9, 14, 4), clamp=clamp)):
        for plan in plans(layer):
            if plan.family in ("raw pairs", "depthwise") and "taps" not in plan.tile:
                assert cycles_of(plan.code) == pytest.approx(plan.cycles, rel=0.035), plan.tile


def test_a_layer_of_many_constants_is_counted_on_a_small_machine():
    """Catches operands put behind copies of constants that are not in RAM, and so beyond its end."""
    layer = fully_connected(np.random.default_rng(0), 900, 80)
    for run in study(mcu("stm32f446"), [("many constants", layer)], COMPILER).runs:
        assert abs(run.error) <= ALL, run
