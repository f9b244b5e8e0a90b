"""Every template of memaopt and the one environment that fills them: ``render("kernels/sums/sum.c.j2", name=...)``."""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import Context, Macro

from memaopt.kernels.text import assembly
from memaopt.kernels.text.bytecode import TemplateCache

_WIDTH = 120


def wrapped(line: str) -> str:
    """A line of C with a list in parentheses, too long for one line: broken at commas, the rest below its beginning."""
    lines, rest = [], line
    indent = " " * (line.index("(") + 1)
    while len(rest) > _WIDTH and (cut := rest.rfind(", ", len(indent), _WIDTH)) > 0:
        lines.append(rest[: cut + 1])
        rest = indent + rest[cut + 2 :]
    return "\n".join([*lines, rest])


class _Context(Context):
    """Calls macros at once: a kernel's text is some hundred calls of them, and most of what rendering takes."""

    def call(self, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        if type(called) is Macro:
            kwargs.pop("_block_vars", None)  # what jinja tells functions that want the context, which macros do not
            kwargs.pop("_loop_vars", None)
            return called(self.eval_ctx, *args, **kwargs)
        return super().call(called, *args, **kwargs)


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
        bytecode_cache=TemplateCache(Path(__file__).read_bytes()),
    )
    environment.context_class = _Context
    environment.filters.update(quote=assembly.quote, wide_quote=assembly.wide_quote, wrapped=wrapped)
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
