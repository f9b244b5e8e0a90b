"""Tables on a console that is narrower than they are."""

import io

from rich.console import Console

from memaopt.report.console import print_whole, table


def test_a_wide_table_is_printed_whole() -> None:
    """Catches figures that are clipped to the console's width, or shortened to an ellipsis."""
    console, names = Console(file=io.StringIO(), width=40), [f"column {number}" for number in range(12)]
    made = table(names)
    made.add_row(*(f"{10**number:,}" for number in range(12)))
    print_whole(console, made)
    heading, _, row = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(name in heading for name in names)
    assert row.split() == [f"{10**number:,}" for number in range(12)]
