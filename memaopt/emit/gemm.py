"""A certified GEMM as a C project: kernels, block nest, test vector, build files. Pure: text in, text out."""

from math import prod
from typing import Any

import numpy as np

from memaopt.certificates import envelope
from memaopt.certificates.gemm import ALONE, Certificate
from memaopt.emit import firmware, folder
from memaopt.emit.nest_text import fetches, loops_of
from memaopt.errors import InputError
from memaopt.kernels import registry
from memaopt.kernels.emitted import Emitted
from memaopt.kernels.gemm import kernel as kernels
from memaopt.kernels.gemm.kernel import RegisterKernel, Stretch
from memaopt.kernels.registry import source_file
from memaopt.kernels.schedule import LayerSchedule, Schedule
from memaopt.kernels.sections import in_sections
from memaopt.kernels.text import assembly
from memaopt.kernels.text.helpers import used, with_helpers
from memaopt.kernels.text.templates import render
from memaopt.models import layer_kernels
from memaopt.models.nest import Nest, nest_of
from memaopt.printable import in_comment
from memaopt.problems import reference
from memaopt.problems.gemm import OPERANDS, Gemm
from memaopt.version import __version__

_FAMILY_TEXT = {
    "C": "MR x NR sums stay in registers while A and B stream past.",
    "A": "MR x KR of A stays in registers while the columns of B and C stream past.",
    "B": "KR x NR of B stays in registers while the rows of A and C stream past.",
}
#: Elements of A, B and C together in a test vector, which is C text: about 6 bytes an element.
_MOST_ELEMENTS = 1 << 24
#: More than a nest of blocks takes of the stack.
_NEST_STACK = 512


def name_of(certificate: Certificate) -> str:
    """The emitted function's name, such as ``gemm_q15_64x576x64``."""
    problem = certificate.problem
    return f"gemm_{problem.dtype}_{problem.name}"


def _layout(problem: Gemm) -> dict[str, str]:
    """How each operand is stored, for the header: ``[M][K]``."""
    notes = {"A": ", the weights", "B": ", NHWC activations", "C": ", NHWC activations"}
    return {
        x.lower(): "".join(f"[{d.upper()}]" for d in problem.stored(x)) + notes[x] * problem.element.channels_minor
        for x in OPERANDS
    }


def refuse_unwritable(problem: Gemm) -> None:
    """InputError if the test vector would be too long to write."""
    elements = sum(map(problem.elements, OPERANDS))
    if elements > _MOST_ELEMENTS:
        raise InputError(
            f"gemm {problem.name}: its test vector would have {elements:,} elements, {_MOST_ELEMENTS:,} are the most: "
            "it can be solved, but not written or run"
        )


def files(certificate: Certificate) -> dict[str, str]:
    """Every file of the C project by name, deterministic; InputError if the test vector would be too long to write."""
    name, problem = name_of(certificate), certificate.problem
    refuse_unwritable(problem)
    context = {**_context(certificate), **_vector(certificate)}
    source = (
        _layer(certificate, context) if isinstance(certificate.schedule, LayerSchedule) else _nest(certificate, context)
    )
    described = _library(certificate)
    own = {
        folder.header(name): render("emit/templates/gemm.h.j2", **context),
        folder.source(name): source,
        folder.vector(name): render("emit/templates/gemm_test_vector.h.j2", **context),
        folder.checker(name): render("emit/templates/gemm_test.h.j2", **context),
        envelope.FILE: certificate.to_json(),
    }
    if has_firmware(certificate):
        measuring = render("emit/templates/firmware/gemm_measure.h.j2", **context, promised=described.promised)
        own |= {firmware.measuring(name): measuring}
        own |= firmware.image(name, certificate.machine, [name], stack_bytes=described.stack_bytes)
    return folder.files(described, own)


def has_firmware(certificate: Certificate) -> bool:
    """Whether its firmware can be linked without a project's own script: all is in flash and SRAM, code in flash."""
    problem, machine = certificate.problem, certificate.machine
    homes = {problem.placement.of(x) for x in OPERANDS}
    return homes <= {"flash", machine.sram.name} and certificate.schedule.code == "flash"


def _library(certificate: Certificate) -> folder.Library:
    """What the folder says of the product."""
    problem, machine, schedule = certificate.problem, certificate.machine, certificate.schedule
    name, kind = name_of(certificate), problem.element.c
    lengths = {x: " * ".join(f"{name.upper()}_{d.upper()}" for d in problem.stored(x)) for x in OPERANDS}
    buffers = [folder.Parameter(kind, x.lower(), lengths[x]) for x in OPERANDS if x != "A" or not problem.weights]
    if problem.channel_bytes and not problem.weights:
        buffers.append(folder.Parameter(f"{name}_channel", "channels", f"{name.upper()}_M"))
    return folder.Library(
        name=name,
        function=name,
        sentence=f"The matrix product C[{problem.m}][{problem.n}] += A[{problem.m}][{problem.k}] "
        f"B[{problem.k}][{problem.n}] of {problem.dtype}",
        mcu=machine,
        buffers=tuple(buffers),
        fails=False,
        stack_bytes=layer_of(certificate).plan.stack_bytes if isinstance(schedule, LayerSchedule) else _NEST_STACK,
        promised=certificate.traffic.cycles if machine.core.is_timed else None,
    )


def layer_of(certificate: Certificate) -> Emitted:
    """The layer kernel of a certificate that names one, where its constants and its code belong."""
    problem, schedule = certificate.problem, certificate.schedule
    assert isinstance(schedule, LayerSchedule)
    layer, chosen, _ = layer_kernels.offer(certificate.space, schedule)
    home = problem.placement.a
    data = {"flash": "", certificate.machine.sram.name: ".data.constants"}.get(home, f".{home}")
    emitted = registry.emit(layer, chosen, f"{name_of(certificate)}_layer")
    return in_sections(emitted, code=".ramfunc" if schedule.code == "ram" else "", data=data)


def symbols_of(certificate: Certificate) -> dict[str, tuple[str, ...]]:
    """The symbols of the buffers whose accesses are promised, by what the promise calls them."""
    name = name_of(certificate)
    if isinstance(certificate.schedule, LayerSchedule):
        constants = layer_of(certificate).parameters
        return {"B": ("B",), "C": ("C",), "weights": constants, "scratch": (f"{name}_scratch",)}
    a, channels = ("A", "channels") if certificate.problem.weights is None else (f"{name}_a", f"{name}_channels")
    own = ("B", "C", "a_tile", "b_tile", "c_tile")
    return {**{x: (x,) for x in own}, "A": (a,), "channels": (channels,), "C_partial": ("c_partial",)}


def kernels_of(certificate: Certificate) -> frozenset[str]:
    """The functions whose accesses to the stack are promised."""
    if not isinstance(certificate.schedule, LayerSchedule):
        made = nest_of(certificate.space, certificate.schedule)
        return frozenset((*(kernel.name for kernel in made.kernels), *_copies(made)))
    return frozenset(kernel.name for kernel in layer_of(certificate).kernels)


def _layer(certificate: Certificate, context: dict[str, Any]) -> str:
    """The C file of a layer kernel."""
    emitted = layer_of(certificate)
    lines = [context["title"], "", *context["summary"], ""]
    lines.append(f"Generated by memaopt {__version__}. Certificate: {certificate.sha256}")
    comment = "/* " + "\n".join(f" * {line}".rstrip() for line in lines)[3:] + "\n */"
    text = source_file([emitted], f'{comment}\n#include "{context["name"]}.h"\n', static=True)
    values = {**context, "layer": text, "function": emitted.name, "scratch": emitted.plan.scratch_bytes}
    return render("emit/templates/gemm_layer.c.j2", **values)


def _context(certificate: Certificate) -> dict[str, Any]:
    """What all templates see."""
    problem, name, ctype = certificate.problem, name_of(certificate), certificate.problem.element.c
    sections = _sections(certificate)
    whole = isinstance(certificate.schedule, LayerSchedule)
    a = "" if problem.weights else f"const {ctype} *a, "
    channels = f", const {name}_channel *channels" if problem.channel_bytes and not problem.weights else ""
    return {
        "name": name,
        "macro": name.upper(),
        "upper": name.upper(),
        "call": f"{name}({'B, C' if problem.weights else 'A, B, C, channels' if problem.channel_bytes else 'A, B, C'})",
        "guard": f"{name.upper()}_H",
        "version": __version__,
        "digest": certificate.sha256,
        "p": problem,
        "dtype": problem.dtype,
        "core": certificate.machine.core,
        "ctype": ctype,
        "parameters": f"{a}const {ctype} *b, {ctype} *c{channels}",
        "alignment": layer_of(certificate).plan.alignment if whole else 1,
        "layout": _layout(problem),
        "arithmetic": problem.element.arithmetic,
        "title": f"C[{problem.m}][{problem.n}] = A[{problem.m}][{problem.k}] B[{problem.k}][{problem.n}], "
        f"{problem.dtype}, for {in_comment(certificate.machine.title)}",
        "summary": _summary(certificate),
        "sections": sections,
        "placing": "\n".join(helper.text for helper in used(sections.values())),
    }


def _nest(certificate: Certificate, common: dict[str, Any]) -> str:
    """The C file of a nest of blocks."""
    space, problem, schedule = certificate.space, certificate.problem, certificate.schedule
    assert isinstance(schedule, Schedule)
    made = nest_of(space, schedule)
    spills = made.spilling and "C" in space.staged
    context: dict[str, Any] = {
        **common,
        "s": schedule,
        "nest": made,
        "atype": problem.element.sums,
        "stationary": schedule.family.stationary,
        "family_text": _FAMILY_TEXT[schedule.family.stationary],
        "tiles": _tiles(made, spills),
        "partial_section": spills,
        "copies": [{"name": name, **_assembly(kernels.copy_text(name, problem.width))} for name in _copies(made)],
        "with_helpers": with_helpers,
    }
    context["kernels"] = [
        {
            "name": k.name,
            "mr": k.mr,
            "nr": k.nr,
            "steps": k.steps,
            "first": k.first,
            "last": k.last,
            **_assembly(kernels.text(problem, made.family, schedule.tile, k, made.strides, space.machine.core.has_fpu)),
        }
        for k in made.kernels
    ]
    context["kernel_name"] = _kernel_name
    context["blocks"] = [render("emit/templates/block.c.j2", **context, block=block).rstrip() for block in made.blocks]
    context["stages"] = fetches(made)
    context["loops"] = loops_of(made)
    return render("emit/templates/gemm.c.j2", **context)


def _kernel_name(mr: int, segment: Stretch, nr: int) -> str:
    return RegisterKernel(mr, segment.steps, nr, segment.first, segment.last).name


def _assembly(text: str) -> dict[str, Any]:
    """A function in assembly: its register map, and its instructions as the string literals of its asm statement."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() and line.strip()[0] != "@")
    registers = [line.strip()[2:] for line in lines[:start] if line.strip()]
    return {"registers": registers, "assembly": assembly.quote("\n".join(lines[start:]))}


def _tiles(made: Nest, spills: bool) -> list[dict[str, Any]]:
    """The static buffers: tiles of the staged operands, wide sums, and where partial sums go outside."""
    problem, space = made.problem, made.space
    ctype, atype = problem.element.c, problem.element.sums
    found = []

    def add(name: str, kind: str, length: int, copies: int, attribute: str = "") -> None:
        found.append({"name": name, "ctype": kind, "length": length, "copies": copies, "attribute": attribute})

    length = {x: prod(made.extent[x].values()) for x in OPERANDS}
    for x in ("A", "B"):
        if x in made.tiled:
            add(f"{x.lower()}_tile", ctype, length[x], space.copies)
    if "C" in made.tiled:
        add("c_tile", atype if made.accumulating else ctype, length["C"], space.copies)
    elif made.separate_accumulators:
        add("c_tile", atype, length["C"], 1)
    if spills and problem.width < 4:
        section = f' IN_SECTION(".{problem.placement.c}")'
        add("c_partial", "int32_t", problem.m * problem.n, 1, section)
    return found


def _copies(made: Nest) -> list[str]:
    """The copy functions that the nest calls."""
    tiled = made.tiled
    rows = bool(tiled & {"A", "B"}) or ("C" in tiled and (made.spilling or not made.packed_results))
    return ["copy_rows"] * rows + ["narrow_rows"] * made.packed_results


def _sections(certificate: Certificate) -> dict[str, str]:
    """The section attribute of each operand in the test program, empty where the default placement is right."""
    sram = certificate.machine.sram.name
    homes = {x: certificate.problem.placement.of(x) for x in OPERANDS}
    return {x.lower(): "" if home in (sram, "flash") else f' IN_SECTION(".{home}")' for x, home in homes.items()}


def _summary(certificate: Certificate) -> list[str]:
    """The head comment: schedule, promise and proof."""
    schedule, traffic = certificate.schedule, certificate.traffic
    homes = ", ".join(f"{x} in {certificate.problem.placement.of(x)}" for x in OPERANDS)
    how = (
        f"Schedule:  {schedule}, with {layer_of(certificate).plan.stack_bytes:,} bytes of stack."
        if isinstance(schedule, LayerSchedule)
        else f"Schedule:  loops {' > '.join(schedule.order)}, SRAM block {schedule.mc} x {schedule.kc} x {schedule.nc} "
        f"({schedule.buffering} buffering){schedule.holding}, kernel {schedule.kernel} {schedule.tile}, "
        f"code in {schedule.code}"
        f"{', ' + ' and '.join(schedule.streamed) + ' streamed' if schedule.streamed else ''}."
    )
    lines = [
        f"Placement: {homes}. Objective: {certificate.machine.core.goal(certificate.objective)}.",
        how,
        f"Promised:  {traffic.external_bytes:,} bytes between external memory and SRAM, "
        f"{traffic.register_bytes:,} to and from registers, the kernels' stack among them.",
    ]
    for name, accesses in traffic.buffers.items():
        lines.append(
            f"  {name:<9} {accesses.loads:>12,} loads {accesses.load_bytes:>12,} bytes"
            f" {accesses.stores:>12,} stores {accesses.store_bytes:>12,} bytes"
        )
    said = "closed form = CP-SAT = exhaustive enumeration: no schedule of the space is better"
    if certificate.proof != "full":
        said = f"{certificate.proof}, {ALONE} whether a schedule of the space is better"
    lines.append(f"Proof:     {said}.")
    return lines


def _vector(certificate: Certificate) -> dict[str, Any]:
    """Seeded operands and the result that they give, as C initialisers."""
    problem = certificate.problem
    data = reference.random_data(problem)
    expected = reference.multiply(problem, data)
    vector: dict[str, Any] = {"a": _literals(data.a), "b": _literals(data.b), "expected": _literals(expected)}
    vector["channels"] = [] if data.channels is None else list(zip(*map(np.ndarray.tolist, data.channels), strict=True))
    return vector


def _literals(values: reference.Array) -> str:
    """The elements in storage order as lines of C literals."""
    flat = values.ravel()
    if flat.dtype.kind == "f":
        flat = flat.astype(np.float32)
        words = [f"{float(v).hex()}F" for v in flat]
    else:
        words = [str(v) for v in flat.tolist()]
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > 118:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line])
