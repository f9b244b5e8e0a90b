"""Tables on a console that is narrower than they are, and what a run says beside the prediction."""

import io

import pytest
from choice_helpers import network
from rich.console import Console

from memaopt.access import Access
from memaopt.choice.compile import compile_network
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.zoo import zoo
from memaopt.report.console import print_whole, table
from memaopt.report.network import print_plan
from memaopt.trials.layer import LayerTrial
from memaopt.trials.network import NetworkTrial


def test_a_wide_table_is_printed_whole() -> None:
    """Catches figures that are clipped to the console's width, or shortened to an ellipsis."""
    console, names = Console(file=io.StringIO(), width=40), [f"column {number}" for number in range(12)]
    made = table(names)
    made.add_row(*(f"{10**number:,}" for number in range(12)))
    print_whole(console, made)
    heading, _, row = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(name in heading for name in names)
    assert row.split() == [f"{10**number:,}" for number in range(12)]


@pytest.mark.parametrize(
    ("compiler", "share", "told"),
    [("clang version 20.1.2", 0.8, True), ("clang version 20.1.2", 1.01, False), ("arm-none-eabi-gcc 14", 0.8, False)],
)
def test_a_run_that_another_compiler_made_says_so(compiler: str, share: float, told: bool) -> None:
    """Catches cycles that a reader takes for a fault of the prediction, where Clang made what GCC was predicted for."""
    plan = compile_network(network(3), mcu("stm32l4r5"))
    figures = {"cycles": int(share * plan.machine_cycles), "ideal_cycles": 1, "stack_bytes": 8}
    layer = LayerTrial(name="", wrong=0, promised={}, counted={}, around=Access(), predicted_cycles=1, **figures)
    rest = {"inputs": 1, "wrong": 0, "instructions": 1, "energy_uj": 1.0, "flash_bytes": 1, "flags": (), "seconds": 0.1}
    trial = NetworkTrial(layers=(layer,) * len(plan.layers), compiler=compiler, **figures, **rest)
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, plan, trial)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert (f"what GCC 12.2 makes of plain C at -O3; this was built by {compiler}" in said) == told


def test_a_choice_says_what_it_is_the_best_of_and_a_chain_how_its_layers_round() -> None:
    """Catches "the best of all that fit" of layers by themselves where depth first is faster, and a chain's layers that
    are left out, or told of as not proven, where rounding is said to be exact."""
    graph, machine = zoo.build("cnn_1d"), mcu("stm32l4r5")
    alone = compile_network(graph, machine, sram=1136, within=0.004, chains={1: (), 2: ()})
    deep = compile_network(graph, machine, sram=1136, within=0.004)
    assert deep.choice.price == compile_network(graph, machine, sram=1136, arena=480).choice.price
    assert deep.machine_cycles < alone.machine_cycles
    said = []
    for plan in (alone, deep):
        console = Console(file=io.StringIO(), width=200)
        print_plan(console, plan, None)
        said.append(" ".join(console.file.getvalue().split()))  # type: ignore[attr-defined]
    assert "the best of all that fit layer by layer in this order, proven" in said[0]
    assert "front layer by layer, of all arenas" in said[0]
    assert "the best of all that fit in this order, layer by layer or depth first, proven" in said[1]
    assert "proven for every accumulator in 4 layers energy" in said[1]
    assert "front layer by layer" not in said[1]


def test_what_a_machine_has_beyond_its_preset_or_not_at_all_is_said() -> None:
    """Catches a plan for memory that the chip in its title lacks, and an energy of 0 where no power is known."""
    chip = mcu("stm32l432").with_sizes(sram=1 << 20).model_copy(update={"power_mw": 0.0})
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, compile_network(network(3), chip), None)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "supposed: 1,048,576 bytes of sram where stm32l432 has 65,536" in said
    assert "energy not known: the machine stm32l432 has no power_mw" in said
    with pytest.raises(InputError, match="energy is not known"):
        compile_network(network(3), chip, "energy")
    console = Console(file=io.StringIO(), width=200)
    print_plan(console, compile_network(network(3), mcu("stm32l432")), None)
    assert "supposed" not in console.file.getvalue()  # type: ignore[attr-defined]
