"""What people see of a network: tables of its operators, of its plan, of a run. At most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaopt.access import Access
from memaopt.certificates.push import claim as push_claim
from memaopt.choice.elsewhere import Elsewhere
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.placement import sites
from memaopt.choice.traffic import compulsory_bytes, describe, layer_traffic, network_traffic
from memaopt.machines.core import ORDERED
from memaopt.machines.energy import energy, told
from memaopt.machines.mcu import beyond_preset
from memaopt.networks.chains import space_of
from memaopt.networks.summary import Summary
from memaopt.printable import counted
from memaopt.report.console import Fact, print_facts, table
from memaopt.report.rounding import why_exact

if TYPE_CHECKING:
    from memaopt.trials.network import NetworkTrial

_PROOFS = {
    "enumeration": "the best of all that fit {space}, proven by an exhaustive search",
    "solver": "the best of all that fit {space}, by CP-SAT",
    "none": "not proven to be the best: none that fits {space} has fewer than {bound:,}",
}
_BY = {"cycles": "by predicted cycles", "energy": "by modelled energy", "bytes": "by promised bytes"}
#: How near to the prediction what was counted needs no explanation.
_NEAR = 0.03
_NAMES = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "fully connected",
    "AVERAGE_POOL_2D": "average pool",
    "MAX_POOL_2D": "max pool",
}


def print_summary(console: Console, summary: Summary) -> None:
    """The graph, an operator a line; what is not supported is marked, and said below."""
    made = table(("", "operator", "", "input", "output", "weights", "MAC"), words=range(1, 5))
    for row in summary.rows:
        inputs = " + ".join(_short(text) for text in row.inputs)
        made.add_row(
            str(row.index),
            _name(row.kind),
            row.detail if row.supported else Text("not supported", style="red"),
            inputs,
            " + ".join(map(_short, row.output.split(" + "))),
            _count(row.weight_bytes),
            _count(row.macs),
        )
    console.print(Text(summary.name, style="bold"))
    for kind, texts in (("input", summary.inputs), ("output", summary.outputs)):
        for text in texts:
            console.print(f"{kind:<7}{text}", highlight=False, markup=False)
    console.print(made)
    console.print(
        f"{counted(len(summary.rows), 'operator')}, {summary.macs:,} multiply-accumulates, "
        f"{summary.weight_bytes:,} bytes of weights and biases",
        highlight=False,
    )
    for text in summary.notes:
        console.print(text, highlight=False, markup=False)
    for text in summary.refusals:
        console.print(text, style="red", highlight=False, markup=False)


def print_plan(
    console: Console, plan: NetworkPlan, trial: NetworkTrial | None, others: Sequence[Elsewhere] = ()
) -> None:
    """A layer a line, then the totals, what is proven, and what other settings would give.

    Cycles are those with the machine's wait states, as in the report of a GEMM.
    """
    console.print(Text.assemble((plan.name, "bold"), f" on {plan.mcu.title}"))
    console.print(_layers(plan, trial))
    print_facts(console, (Fact(*fact) for fact in (*_setting_facts(plan, others), *_facts(plan, trial))))


def _layers(plan: NetworkPlan, trial: NetworkTrial | None) -> Table:
    timed = plan.mcu.core.is_timed
    columns = ["", "operator", "shape", "kernel", "moved", "x least", *(("cycles", "/MAC", "share") if timed else ())]
    columns += ["counted"] if trial and timed else []
    made = table((*columns, *([""] if trial else [])), words=(1, 2, 3, len(columns)))
    for number, layer in enumerate(plan.layers):
        cells: list[str | Text] = [
            str(number),
            operator_name(layer),
            layer_shape(plan, layer),
            kernel_name(layer),
            *(
                ("", "")
                if layer.plan.without
                else (f"{layer.traffic.bytes:,}", f"{layer_traffic(plan, layer).gap + 1:.1f}")
            ),
        ]
        if timed and layer.plan.without:
            cells += ["its own", "", ""]
        elif timed:
            cells += [
                f"{layer.machine_cycles:,}",
                f"{layer.machine_cycles / layer.macs:.2f}" if layer.macs else "",
                f"{100 * layer.machine_cycles / max(plan.machine_cycles, 1):.1f}%",
            ]
        if trial is not None:
            found = trial.layers[number]
            what = "" if found.passed else f"{found.wrong} wrong" if found.wrong else "accesses"
            cells += [] if found.cycles is None else [f"{found.cycles:,}"]
            cells.append(Text("ok", style="green") if not what else Text(what, style="red"))
        made.add_row(*cells)
    return made


def _setting_facts(plan: NetworkPlan, others: Sequence[Elsewhere]) -> list[tuple[str, str, str]]:
    """The setting that the figures are for, and those of the others."""
    setting = plan.mcu.setting
    copied = [(setting.code_in_ram, "code"), (setting.constants_in_ram, "constants")]
    budgets = [f"up to {budget:,} bytes of {what} in RAM" for budget, what in copied if budget]
    facts = [("setting", f"{setting.name}: {setting.title}", "")]
    facts += [("", f"budgets: {', '.join(budgets)}", "")] if budgets else []
    facts += [("", f"supposed: {more}", "yellow")] if (more := beyond_preset(plan.mcu)) else []
    if others:
        facts.append(("elsewhere", "; ".join(other.describe() for other in others) + " (predicted)", ""))
    return facts


def _facts(plan: NetworkPlan, trial: NetworkTrial | None) -> list[tuple[str, str, str]]:
    memory = plan.memory
    live_set = f"the largest live set is {memory.lower_bound:,}"
    proof = {
        "live set": f"it equals the largest live set ({memory.lower_bound:,})",
        "search": f"proven least by an exhaustive search; {live_set}",
        "solver": f"proven least by CP-SAT; {live_set}",
        "none": f"not proven least; {live_set}",
    }
    facts = [
        *_predicted(plan),
        *((name, text, "") for name, text in plan.custom_facts),
        (
            "arena",
            f"{plan.arena_bytes:,} bytes: tensors {plan.tensor_bytes:,}, scratch {plan.scratch_bytes:,} more; "
            + proof[memory.proof],
            "" if memory.proof != "none" else "yellow",
        ),
        ("moved", describe(network_traffic(plan)), ""),
        ("", f"no order of the layers' rows moves fewer than {compulsory_bytes(plan):,} bytes", ""),
        ("stack", f"{plan.stack_bytes:,} bytes, estimated", ""),
        ("flash", f"{plan.constant_bytes:,} bytes of constants, about {plan.code_bytes:,} of code", ""),
        ("", _left(plan), ""),
        *_outside(plan),
        *_in_ram(plan),
        *([("input", "by rows: no memory of the library's holds it whole", "")] if plan.graph.by_rows else []),
        *_kept(plan),
        (
            "kernels",
            f"of this version's kernels in this setting{_bounded(plan)}, {_by(plan)}: {_proof(plan)}",
            "" if plan.choice.proof != "none" else "yellow",
        ),
        ("rounding", f"exact: {why_exact(plan)}", ""),
        *([("onnx", plan.model.fidelity, "")] if plan.model is not None and plan.model.fidelity else []),
    ]
    facts += _neighbours(plan)
    if plan.steps:
        rewrites = counted(len(plan.steps), "rewrite")
        facts.append(("simplified", f"{rewrites}, {plan.macs:,} multiply-accumulates are left", ""))
    if trial is None:
        if plan.mcu.core.is_timed:
            facts.append(("energy", told(plan.mcu, energy(plan.mcu, plan.machine_cycles, {}).total_uj), ""))
        return facts
    facts += [
        *_counted(plan, trial),
        *_image(trial),
        *([] if trial.energy_uj is None else [("energy", told(plan.mcu, trial.energy_uj), "")]),
        ("stack", f"{trial.stack_bytes:,} bytes used{_around(trial)}", ""),
        ("flash", f"{trial.flash_bytes:,} bytes linked", ""),
        _verdict(trial),
    ]
    return facts


def _kept(plan: NetworkPlan) -> list[tuple[str, str, str]]:
    """What is kept from run to run, and what a push takes."""
    if not plan.graph.states:
        return []
    found = push_claim(plan)
    texts = [] if found is None or plan.slides is None else [plan.slides.describe(), *found.describe()]
    facts = [("push" if not i else "", text, "") for i, text in enumerate(texts)]
    together = f"{plan.state_bytes + plan.arena_bytes:,} with the arena"
    return [("state", f"{plan.state_bytes:,} bytes, the caller's; {together}", ""), *facts]


def _bounded(plan: NetworkPlan) -> str:
    """The budget of the arena, if there is one."""
    return "" if plan.budgets.arena is None else f" and {plan.budgets.arena:,} bytes of arena"


def _proof(plan: NetworkPlan) -> str:
    """What is proven of the choice."""
    return _PROOFS[plan.choice.proof].format(bound=plan.choice.bound, space=space_of(plan.chains))


def _neighbours(plan: NetworkPlan) -> list[tuple[str, str, str]]:
    """What the arena was chosen by, and what more or less of it would give."""
    if plan.within is None:
        return []
    least = f"layer by layer, of all arenas the least that costs at most {100 * plan.within:g}% more than the best"
    facts = [("front", least, "")]
    for other in plan.neighbours:
        more = 100 * (other.machine_cycles / max(plan.machine_cycles, 1) - 1)
        price = f" for {more:+.1f}% of cycles" if plan.mcu.core.is_timed else ""
        what = "would do" if other.arena_bytes < plan.arena_bytes else "would be the best's"
        facts.append(("", f"{other.arena_bytes:,} bytes of arena {what}{price}", ""))
    return facts


def _by(plan: NetworkPlan) -> str:
    """What the kernels were chosen by."""
    return ORDERED if plan.mcu.core.only_orders(plan.objective) else _BY.get(plan.objective, f"by {plan.objective}")


def _predicted(plan: NetworkPlan) -> list[tuple[str, str, str]]:
    if not plan.mcu.core.is_timed:
        return [("time", f"not shown: {plan.mcu.core.untimed}", "")]
    said = f"{plan.machine_cycles:,} predicted{plan.behind}, {_ms(plan.machine_cycles, plan.mcu.clock_hz)}"
    return [("cycles", said, ""), *_without_waits(plan.cycles, plan.machine_cycles)]


def _counted(plan: NetworkPlan, trial: NetworkTrial) -> list[tuple[str, str, str]]:
    if trial.cycles is None or trial.ideal_cycles is None:
        return []
    said = f"{trial.cycles:,} cycles, {_ms(trial.cycles, plan.mcu.clock_hz)}"
    facts = [("counted", said, ""), *_without_waits(trial.ideal_cycles, trial.cycles)]
    far = plan.promises_cycles and abs(trial.cycles / plan.machine_cycles - 1) > _NEAR
    if far and "gcc" not in trial.compiler:
        told = f"predicted is what GCC 12.2 makes of plain C at -O3; this was built by {trial.compiler}"
        facts.append(("", told, ""))
    return facts


def _left(plan: NetworkPlan) -> str:
    """What the budget of flash leaves to the project."""
    size, budget = plan.mcu.memory("flash").size, plan.budgets.flash
    assert budget is not None
    return f"within {budget:,}: {size - budget:,} of the chip's {size:,} are left to its project and a test vector"


def _without_waits(ideal: int, cycles: int) -> list[tuple[str, str, str]]:
    """The figure of an ideal core beside the machine's, where they differ."""
    return [("", f"{ideal:,} without wait states", "")] if ideal != cycles else []


def _outside(plan: NetworkPlan) -> list[tuple[str, str, str]]:
    """What lies outside the chip, of how much, and how it comes in."""
    memory, where = plan.outside, sites(plan.placement, plan.mcu)
    told = []
    if where.tensors is not None and plan.away:
        ends = f", {plan.ends_away} among them" if plan.ends_away else ""
        outer = f"{plan.outer_bytes:,} bytes of tensors: {len(plan.away)} of them, whole{ends}"
        told.append((where.tensors.name, outer, ""))
        told += [("", _sets(plan), "")] if where.between else []
    if memory is None:
        return told
    layers = [layer for layer in plan.layers if layer.where.outside]
    if not layers:
        return [*told, (memory.name, "no layer's constants are there: none need to be", "")]
    staged = sum(layer.plan.streams is not None for layer in layers)
    parted = sum(layer.plan.block > 0 for layer in layers)
    by_dma = sum(bool(layer.plan.dma) for layer in layers)
    blocks = f" ({parted} in blocks of channels{f', {by_dma} of these by DMA' * bool(by_dma)})" if parted else ""
    once = f"copied into SRAM once an inference{blocks}"
    how = f"constants of {counted(len(layers), 'layer')}, {staged} of them {once}, the others streamed"
    size, bound = plan.image.nbytes, network_traffic(plan).memories[memory.name].least
    return [
        *told,
        (memory.name, f"{size:,} bytes of {memory.size:,}: {how}; CRC-32 {plan.image.checksum:08x}", ""),
        ("", f"no kernels read fewer than {bound:,} bytes of weights there", ""),
    ]


def _sets(plan: NetworkPlan) -> str:
    """What is known of other tensors outside."""
    price, bound = plan.choice.price, plan.outer_bound
    if bound is None:
        sets = "none, for each eighth of the SRAM those that leave that much room, and all that may be"
        return f"among those tried, with the best kernels each: {sets}"
    chains = " with these chains" if plan.chains else ""
    if bound == price:
        told = f"no others outside would do better{chains} in this order, as a shortest path over where each is shows"
    else:
        told = f"no others outside would do better{chains} in this order by more than {(price - bound) / price:.1%}"
    least = plan.chained_bound
    if least is None:
        return told
    far = "" if least == price else f" by more than {(price - least) / price:.1%}"
    return f"{told}; no chains, with whatever tensors outside, in that of the file{far}"


def _in_ram(plan: NetworkPlan) -> list[tuple[str, str, str]]:
    texts = []
    if plan.ram_bytes:
        code = sum(layer.where.code for layer in plan.layers)
        data = sum(layer.where.data for layer in plan.layers)
        texts.append(
            f"{plan.ram_bytes:,} bytes kept for copies: kernels of {counted(code, 'layer')}, constants of {data}"
        )
    staged = sum(layer.plan.streams is not None for layer in plan.layers)
    if staged:
        runs = "they run" if staged > 1 else "it runs"
        texts.append(f"constants of {counted(staged, 'layer')} copied into scratch while {runs}")
    return [("" if i else "RAM", text, "") for i, text in enumerate(texts)]


def _around(trial: NetworkTrial) -> str:
    """What the code around the kernels does to the stack, which nobody promises."""
    moved = sum((layer.around for layer in trial.layers), Access()).bytes
    return f"; compiled code around the kernels moves {moved:,} bytes there, promised by nobody" if moved else ""


def _image(trial: NetworkTrial) -> list[tuple[str, str, str]]:
    """What a whole image of the chip's usual project took, if one was made."""
    if trial.no_image:
        return [("from reset", f"not run, its project cannot be linked: {trial.no_image}", "red")]
    if trial.image is None:
        return []
    from memaopt.board.projects import TITLES  # a report without a run needs no board

    image = trial.image
    what = f"from reset in a project as {TITLES[image.layout]}'s"
    said = f"run {what}" if image.cycles is None else f"{image.cycles:,} cycles {what}, by the core's cycle counter"
    if image.right:
        return [("", said, "")]
    return [("", f"{said}: {image.wrong} bytes wrong, status -{image.status}", "red")]


def _verdict(trial: NetworkTrial) -> tuple[str, str, str]:
    wrong = sum(layer.wrong for layer in trial.layers) + trial.wrong
    unequal = [layer.name for layer in trial.layers if not layer.equal]
    inputs = trial.tried_on
    if trial.passed:
        promised = f"every access counted was promised{trial.unpromised}"
        text = f"every layer's output equals the reference's on {inputs}; {promised}"
        return "checked", text, "green"
    parts = [f"{wrong} bytes differ from the reference's on {inputs}"] if wrong else []
    parts += [f"accesses of {', '.join(unequal)} are not those promised"] if unequal else []
    parts += ["a stock project with it cannot be linked"] if trial.no_image else []
    parts += ["from reset it is wrong"] if trial.image is not None and not trial.image.right else []
    return "FAILED", "; ".join(parts), "red"


def operator_name(layer: LayerPlan) -> str:
    """What a layer computes, in short."""
    return _name(layer.kind)


def kernel_name(layer: LayerPlan) -> str:
    """Its kernel family and tile, in short."""
    return f"{layer.plan.family} {layer.plan.tile.split(', ')[0].removesuffix(' channels')}".strip()


def layer_shape(plan: NetworkPlan, layer: LayerPlan) -> str:
    """The shape of its input and, where another, of its output."""
    shapes = [plan.graph.tensors[t].shape for t in (layer.lowered.inputs[0], layer.op.output)]
    texts = ["x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)) or "1" for shape in shapes]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} → {texts[1]}"


def _name(kind: str) -> str:
    if " + " in kind:
        return " + ".join(_name(part) for part in kind.split(" + "))
    if not kind.isupper():  # the name of an operator of someone's own
        return kind
    return _NAMES.get(kind, kind.lower().replace("_2d", "").replace("_", " "))


def _short(text: str) -> str:
    """``int8[1,49,10,1]`` as ``1x49x10x1``; other types keep their name."""
    return text.removeprefix("int8").strip("[]").replace(",", "x") if text.startswith("int8[") else text


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _ms(cycles: int, clock: int) -> str:
    return f"{1000 * cycles / clock:,.2f} ms at {clock / 1e6:g} MHz"
