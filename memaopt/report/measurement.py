"""A measurement as a table: cycles promised, on the virtual board, on silicon, a layer a line."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from memaopt.report.console import Fact, print_facts, print_whole, table
from memaopt.trials.measurement import LayerMeasurement, Measurement


def print_measurement(console: Console, found: Measurement) -> None:
    """A layer a line, the call below, then what is not as the certificate says."""
    console.print(Text.assemble((found.name, "bold"), f" on {found.machine}"))
    chip = ("silicon", "silicon / promised") if found.silicon is not None else ()
    made = table(("layer", "promised", "virtual", *chip, ""), words=("layer", ""))
    for layer in found.layers:
        made.add_row(layer.name, *_cells(layer), _verdict(layer.right))
    made.add_row("the whole call", *_cells(found), _verdict(found.passed))
    print_whole(console, made)
    said = [Fact("finding", text, "red") for text in found.findings]
    print_facts(console, said or [Fact("checked", _checked(found), "green")])


def _cells(row: LayerMeasurement | Measurement) -> list[str]:
    cells = ["" if cycles is None else f"{cycles:,}" for cycles in (row.promised, row.virtual)]
    if row.silicon is not None:
        cells += [f"{row.silicon:,}", f"{100 * (row.silicon / row.promised - 1):+.1f}%" if row.promised else ""]
    return cells


def _checked(found: Measurement) -> str:
    if not found.exact:
        return "every element is the reference's, within what other roundings of its sum leave"
    return "every " + ("layer's output" if found.layers else "element") + " is the reference's, bit for bit"


def _verdict(right: bool) -> Text:
    return Text("ok", style="green") if right else Text("differs", style="red")
