"""The C text of a layer, in parts: what its comment says, its constants, its function, the kernels that it calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from memaopt.access import Access
from memaopt.kernels.code import Assembly
from memaopt.kernels.plan import Plan
from memaopt.kernels.staging import as_they_lie, copies, fetch
from memaopt.kernels.text.c import Array
from memaopt.kernels.text.templates import render


@dataclass(frozen=True)
class Kernel:
    """A function that several layers may share; a file defines it once. ``attribute``: C that says where it lies."""

    assembly: Assembly
    attribute: str = ""

    @property
    def name(self) -> str:
        return self.assembly.name

    @property
    def source(self) -> str:
        """The definition, with its comment."""
        return self.assembly.text(f"{self.attribute} " if self.attribute else "")


@dataclass(frozen=True)
class Emitted:
    """C text of one layer: ``signature`` is the prototype, ``body`` what stands between its braces. It calls the
    functions of ``inner`` layers, which nobody else sees.

    A file holds the kernels of all its layers, each once, the sources, and the helpers that these use.
    """

    name: str
    signature: str
    comment: str
    arrays: tuple[Array, ...]
    body: str
    plan: Plan
    kernels: tuple[Kernel, ...] = ()
    attribute: str = ""
    inner: tuple[Emitted, ...] = ()

    @property
    def constants(self) -> tuple[Array, ...]:
        """Its constants, those of inner layers too."""
        return self.arrays + tuple(array for layer in self.inner for array in layer.constants)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Their symbols."""
        return tuple(array.symbol for array in self.constants)

    @property
    def buffers(self) -> dict[str, str]:
        """What a promise calls them, by their symbols."""
        return {array.symbol: "channels" if array.stays else "parameters" for array in self.constants}

    @property
    def source(self) -> str:
        """Comment, constants and function, for callers in other files."""
        return self.text()

    def text(self, specifiers: str = "") -> str:
        """Comment, constants and function, ``specifiers`` such as ``static`` before its type."""
        constants = "".join(f"{array.definition()}\n" for array in self.arrays)
        function = " ".join(word for word in (self.attribute, specifiers, self.signature) if word)
        before = "".join(f"{layer.text('LAYER static')}\n" for layer in self.inner)
        return f"{before}{self.comment}\n{constants}{function}\n{{\n{self.body}}}\n"


def unary(name: str, bits: int = 8, output_bits: int | None = None) -> str:
    """The prototype of a layer with one input, of integers of so many bits, as its outputs are unless told."""
    return f"void {name}(const int{bits}_t *in, int{output_bits or bits}_t *out, void *scratch)"


def binary(name: str, bits: int = 8) -> str:
    """The prototype of a layer with two inputs, of integers of so many bits."""
    return f"void {name}(const int{bits}_t *first, const int{bits}_t *second, int{bits}_t *out, void *scratch)"


def emitted(
    signature: str,
    plan: Plan,
    title: str,
    template: str,
    arrays: Sequence[Array] = (),
    kernels: Sequence[Assembly] = (),
    notes: Sequence[str] = (),
    **values: object,
) -> Emitted:
    """A layer with this prototype, its body filled in from ``template``.

    The template sees ``at``: for each constant, named without the layer's name, what C calls it where it is read. That
    is the array itself or, if the plan is staged, its copy.
    """
    name = signature[signature.index(" ") + 1 : signature.index("(")]
    prologue, places = copies(plan, name, arrays)
    at = {symbol.removeprefix(f"{name}_"): place for symbol, place in places.items()}
    body = render(template, at=at, **values)
    comment = _comment([f"{name}: {title}", *notes, *_facts(plan)])
    constants = as_they_lie(plan, arrays)
    return Emitted(
        name, signature, comment, constants, fetch(plan) + prologue + body, plan, tuple(map(Kernel, kernels))
    )


def composed(
    name: str,
    plan: Plan,
    title: str,
    template: str,
    arrays: Sequence[Array],
    inner: Sequence[Emitted],
    notes: Sequence[str] = (),
    **values: Any,
) -> Emitted:
    """A layer of one input whose function calls those of ``inner`` layers."""
    made = emitted(unary(name), plan, title, template, arrays, notes=notes, **values)
    kernels = {kernel.name: kernel for layer in inner for kernel in layer.kernels}
    return replace(made, kernels=tuple(kernels.values()), inner=tuple(inner))


def function_of(
    signature: str,
    plan: Plan,
    title: str,
    template: str,
    arrays: Sequence[Array],
    inner: Sequence[Emitted],
    **values: Any,
) -> Emitted:
    """A function that a layer with this plan is made of, which calls those of ``inner`` layers."""
    made = emitted(signature, plan, title, template, arrays, **values)
    kernels = {kernel.name: kernel for layer in inner for kernel in layer.kernels}
    return replace(made, comment=_comment([title]), kernels=tuple(kernels.values()), inner=tuple(inner))


def _comment(lines: Sequence[str]) -> str:
    return "/* " + "\n * ".join(lines) + "\n */"


def _facts(plan: Plan) -> list[str]:
    """A line for each thing that a plan says of itself: kernel, rounding, accesses, memory, what may be shared."""
    lines = [f"Kernel: {plan.family}{' ' + plan.tile if plan.tile else ''}."]
    if plan.requantization:
        lines.append(f"Requantisation: {plan.requantization}.")
    lines.append("Accesses:")
    lines.extend(f"  {name:<10} {_access(access)}" for name, access in plan.promise.buffers.items())
    memory = f"Memory: {plan.data_bytes:,} bytes of constants, {plan.scratch_bytes:,} of scratch"
    lines.append(memory + (f", {plan.stack_bytes:,} of stack." if plan.stack_bytes else "."))
    if plan.lead is not None:
        lines.append(_sharing(plan.lead, plan.lead_step))
    return lines


def _sharing(lead: int, step: int) -> str:
    where = f"at least {lead:,} bytes before the input" if lead > 0 else "where the input starts, or before it"
    every = f", at a multiple of {step} bytes from it" if step > 1 else ""
    return f"The output may share memory with the input if it starts {where}{every}."


def _access(access: Access) -> str:
    parts = []
    if access.loads:
        parts.append(f"{access.loads:,} loads ({access.load_bytes:,} bytes)")
    if access.stores:
        parts.append(f"{access.stores:,} stores ({access.store_bytes:,} bytes)")
    return ", ".join(parts)
