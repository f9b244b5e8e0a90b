"""Which chip? as a table of text and as one self-contained page of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Console

from memaopt.choice.customs import custom_facts
from memaopt.machines import dma
from memaopt.printable import printable
from memaopt.report.console import print_whole, table
from memaopt.sweeps.fit import Fit

_HEADINGS = ("chip", "setting", "verdict", "ms", "mJ", "SRAM", "left", "flash", "left")
_NOTE = (
    "Latency (ms) is predicted with the chip's wait states, energy (mJ) modelled: power times time. SRAM and flash are "
    "the library's bytes; left is what it and the project leave free."
)
_TOO_LARGE = (
    "Of what is too large: bytes that would do layer by layer, each without a limit of the other, and how many are "
    "missing (-); depth first less SRAM may do."
)
_OUTSIDE = "Outside are the bytes in memories outside the chip; no memory: the chip has none such."
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse; width: 100% } caption { text-align: left; font-weight: bold; padding: 1em 0 .3em }
th, td { padding: .2em .6em; text-align: right; border-bottom: 1px solid #ddd }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left }
.fits { background: #e6f4e6 } .large, .memory, .failed { background: #f9e4e4 }
.slow, .energy, .unknown { background: #fbf3d9 }
"""


def print_fits(console: Console, fits: Sequence[Fit]) -> None:
    """A table for each model, and the reasons of what failed."""
    for model in dict.fromkeys(each.model for each in fits):
        console.print(model, style="bold", highlight=False, soft_wrap=True)
        made = table(_headings(fits), words=range(3), blanks=1)
        for each in fits:
            if each.model == model:
                cells = _cells(each, outside=_placed(fits))
                made.add_row(*("too much" if cell == "too much energy" else cell for cell in cells))
        print_whole(console, made)
    for each in fits:
        if each.verdict in ("failed", "unknown"):
            console.print(f"{each.model} on {each.machine}: {each.reason}", soft_wrap=True)
    console.print(_note(fits))
    for told in _customs(fits):
        console.print(told, soft_wrap=True, markup=False, highlight=False)


def html(fits: Sequence[Fit]) -> str:
    """The page: no scripts, nothing from elsewhere."""
    parts = []
    for model in dict.fromkeys(each.model for each in fits):
        heading = "".join(f"<th>{escape(name)}</th>" for name in _headings(fits))
        rows = "\n".join(_html_row(each, outside=_placed(fits)) for each in fits if each.model == model)
        parts.append(f"<table><caption>{escape(model)}</caption>\n<tr>{heading}</tr>\n{rows}\n</table>")
    parts += [f"<p>{escape(told)}</p>" for told in _customs(fits)]
    body = "\n".join(parts)
    return printable(
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Which chip?</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Which chip?</h1>\n<p>{escape(_note(fits))}</p>\n"
        f"{body}\n</body>\n</html>\n"
    )


def _placed(fits: Sequence[Fit]) -> bool:
    """Whether something may lie outside the chip."""
    return any(each.outside_bytes is not None or each.verdict == "no memory" for each in fits)


def _headings(fits: Sequence[Fit]) -> tuple[str, ...]:
    return (*_HEADINGS, "outside" if _placed(fits) else "proof")


def _note(fits: Sequence[Fit]) -> str:
    large = any(each.verdict == "too large" for each in fits)
    told = (_NOTE, *[_TOO_LARGE] * large, *[_OUTSIDE] * _placed(fits), *[dma.MODELLED] * any(each.dma for each in fits))
    return " ".join(told)


def _customs(fits: Sequence[Fit]) -> list[str]:
    """What is to be said of operators that no figure has."""
    return [told for _, told in custom_facts(dict.fromkeys(name for each in fits for name in each.without))]


def _html_row(fit: Fit, *, outside: bool) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(fit, outside=outside))
    title = escape(f"{fit.title}. {fit.reason}", quote=True)
    return f'<tr class="{fit.verdict.split()[-1]}" title="{title}">{cells}</tr>'


def _cells(fit: Fit, *, outside: bool) -> tuple[str, ...]:
    """A row; its last cell says how much is outside the chip, where something may be, else how it was proven."""
    beyond = "" if fit.outside_bytes is None else f"{fit.outside_bytes:,}"
    return (
        fit.machine,
        fit.setting,
        fit.verdict,
        "" if fit.latency_ms is None else f"{fit.latency_ms:,.{3 if fit.latency_ms < 10 else 1}f}",
        "" if fit.energy_mj is None else f"{fit.energy_mj:,.3f}",
        *_memory(fit.sram_bytes, fit.sram_left, fit.sram_short),
        *_memory(fit.flash_bytes, fit.flash_left, fit.flash_short),
        beyond if outside else fit.proof or "",
    )


def _memory(taken: int | None, left: int | None, short: int | None) -> tuple[str, str]:
    """What is taken, and what is left or missing."""
    free = "" if left is None else f"{left:,}"
    return "" if taken is None else f"{taken:,}", f"-{short:,}" if short else free
