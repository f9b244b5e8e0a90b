"""Every template of memaopt and the one environment that fills them: ``render("kernels/sums/sum.c.j2", name=...)``."""

import re
from functools import cache

import jinja2

from memaopt.kernels.text import assembly

_WIDE = re.compile(
    r"^(\s*)((?:mov|mvn|add|adds|sub|subs|rsb|cmp|cmn|lsl|lsr|asr|eor|and|ldr|ldrb|ldrh|ldrsb|str|strb|strh|ldmia|stmia)"
    r"(?:lt|gt)?|b(?:ne|eq|ge|lt|hs)?)(?= )",
    re.MULTILINE,
)


def wide_quote(text: str) -> str:
    """Assembly lines as C string literals, every instruction in its 32-bit form.

    So all of them lie at multiples of 4 (IT aside): a core whose fetch queue has 3 words falls behind in runs of
    32-bit instructions at addresses 2 mod 4.
    """
    return assembly.quote(_WIDE.sub(r"\1\2.w", text))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memaopt", ""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        extensions=["jinja2.ext.do"],
    )
    environment.filters.update(quote=assembly.quote, wide_quote=wide_quote)
    helpers = (assembly.load_imm, assembly.add_imm, assembly.vload, assembly.vstore)
    environment.globals.update({helper.__name__: helper for helper in helpers}, zip=zip)
    return environment


def render(template: str, /, **values: object) -> str:
    """The text of a template, named by its path in the package, with these values."""
    return _environment().get_template(template).render(values)


@cache
def source(template: str) -> str:
    """The text of a file of the package as it stands."""
    assert _environment().loader is not None
    return _environment().loader.get_source(_environment(), template)[0]  # type: ignore[union-attr]
