"""Emitted C compared with the reference before it is written, by what this computer has.

- A C compiler (cc, gcc or clang on PATH): the library's own C is built with its test vector and run.
- None: a network's plan is executed in Python, layer by layer on an arena of bytes, as the memory plan places them; of
  a GEMM it is said that nothing was compared.
- A compiler for the chip besides: the library is built once for it, so that what is written can be built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from memaopt import interrupts
from memaopt.certificates import envelope
from memaopt.certificates.bundle import BundleCertificate
from memaopt.certificates.gemm import Certificate
from memaopt.certificates.network import NetworkCertificate
from memaopt.choice.bundle import BundlePlan
from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.emit import bundle, gemm, outside
from memaopt.emit import folder as emitted
from memaopt.emit import network as emit
from memaopt.emit.states import initial_states
from memaopt.errors import BuildError, MissingToolError, WrongLibraryError
from memaopt.host_compiler import HOST_COMPILERS, host_compiler
from memaopt.kernels.movement import movement
from memaopt.kernels.registry import Format
from memaopt.machines.mcu import Mcu
from memaopt.networks import reference
from memaopt.problems.custom import CustomCode
from memaopt.problems.layers import Lookup
from memaopt.problems.movement import Movement
from memaopt.writer import write_scratch

_Array = npt.NDArray[Any]
_RUBBISH = 0xA5  # what memory holds that nothing has written
_EQUAL = "its outputs are the reference's, bit for bit"
_CLOSE = "its results are the reference's, within what other roundings of their sums leave"
_EXECUTED = "the plan was executed in Python on its memory plan, and gave the reference's bytes"
_UNCOMPARED = "its results were compared with nothing"


class LibraryCheck(BaseModel, frozen=True):
    """What was found right: the compiler for this computer (empty: there is none), the one for the chip, and what was
    compared with the reference, in words.
    """

    host: str
    target: str
    compared: str

    def describe(self) -> list[str]:
        """A line for each: what was compared, and what could not be."""
        here = (
            f"built here by {self.host}"
            if self.host
            else f"not compiled ({', '.join(HOST_COMPILERS)}: none is on PATH)"
        )
        there = f"built for the chip by {self.target}" if self.target else "not built for the chip: no compiler for it"
        return [f"{here}: {self.compared}", there]


def files_of(certificate: NetworkCertificate, labels: Sequence[str] = ()) -> dict[str, str | bytes]:
    """What a certified network's project holds: the library, the certificate, and the model that it speaks of."""
    files: dict[str, str | bytes] = {**emit.files(certificate.plan, labels=labels), **outside.images(certificate.plan)}
    return {**files, envelope.FILE: certificate.to_json(), certificate.model: certificate.model_file.data}


def files_of_bundle(certificate: BundleCertificate) -> dict[str, str | bytes]:
    """The same of several networks in one library: each one's model beside the certificate."""
    models = {each.model: each.model_file.data for each in certificate.networks}
    files: dict[str, str | bytes] = {**bundle.files(certificate.plan), **outside.images(certificate.plan)}
    return {**files, envelope.FILE: certificate.to_json(), **models}


def check(plan: NetworkPlan, files: Mapping[str, str | bytes]) -> LibraryCheck:
    """Compare what ``files`` of a network compute with the reference.

    Raises WrongLibraryError if an output differs, BuildError if a compiler that is here does not build them.
    """
    host = host_compiler()
    if host is None:
        _execute(plan)
    return _built(plan.name, files, plan.mcu, host, _EXECUTED if host is None else _EQUAL, plan.customs)


def check_bundle(plan: BundlePlan, files: Mapping[str, str | bytes]) -> LibraryCheck:
    """:func:`check` for each network of a library of several."""
    host = host_compiler()
    if host is None:
        for each in plan.plans:
            _execute(each)
    return _built(plan.name, files, plan.mcu, host, _EXECUTED if host is None else _EQUAL)


def check_gemm(certificate: Certificate, files: Mapping[str, str | bytes]) -> LibraryCheck:
    """Compare what ``files`` of a GEMM compute with the reference, where there is a compiler for this computer.

    Raises WrongLibraryError if an element of C is wrong, BuildError if a compiler that is here does not build them.
    """
    host = host_compiler()
    compared = _UNCOMPARED if host is None else _EQUAL if certificate.problem.element.exact else _CLOSE
    return _built(gemm.name_of(certificate), files, certificate.machine, host, compared)


def _built(
    name: str,
    files: Mapping[str, str | bytes],
    machine: Mcu,
    host: tuple[str, str] | None,
    compared: str,
    customs: Sequence[CustomCode] = (),
) -> LibraryCheck:
    """Build the files by whatever compilers there are, and run their test vector here."""
    with interrupts.scratch_folder() as folder:
        write_scratch(files, folder)
        if host is not None:
            _run_on_host(name, folder, host, customs)
        target = _built_for_the_chip(name, folder, machine, customs)
    return LibraryCheck(host="" if host is None else host[1], target=target, compared=compared)


def _run_on_host(name: str, folder: Path, compiler: tuple[str, str], customs: Sequence[CustomCode]) -> None:
    command, version = compiler
    sources = ["-I", str(folder / "include"), "-x", "c"]
    sources += [str(file) for file in (folder / emitted.program(name), *emitted.sources(folder, name, customs))]
    program = folder / "on_host"
    flags = ["-std=c11", "-O1", *(["-ffp-contract=off"] if customs else [])]
    libraries = ["-x", "none", "-lm"] if customs else []
    status, _, errors = interrupts.run([command, *flags, *sources, "-o", str(program), *libraries], folder)
    if status != 0:
        first = next((line for line in errors.splitlines() if "error" in line), f"{command} failed")
        raise BuildError(f"{first.replace(f'{folder}/', '')}: {version} does not build the library; nothing is written")
    status, _, _ = interrupts.run([str(program)], folder)
    if status != 0:
        what = "its outputs differ from the reference's" if status == 1 else f"its test ends with status {status}"
        raise WrongLibraryError(_wrong(name, f"built here by {version} {what}"))


def _wrong(name: str, what: str) -> str:
    return f"{name}: the library {what}: nothing is written; a fault of memaopt, so please report it with the problem"


def _built_for_the_chip(name: str, folder: Path, machine: Mcu, customs: Sequence[CustomCode]) -> str:
    """The version of the compiler that built and linked the library, empty where there is none."""
    from memaopt.board import build
    from memaopt.board.build import WARNINGS

    script = emitted.read_linker_part(folder, name)
    try:
        sources, warnings = emitted.sources(folder, name, customs), () if customs else WARNINGS
        elf = folder / "on_chip.elf"
        return build(sources, elf, machine, optimise="-O1", script=script, warnings=warnings).version
    except MissingToolError:
        return ""
    except BuildError as error:
        raise BuildError(f"{str(error).replace(f'{folder}/', '')}; nothing is written") from None


def _execute(plan: NetworkPlan) -> None:
    """Run the plan in Python and compare its outputs."""
    given = emit.random_inputs(plan)
    inputs = [*given, *initial_states(plan, given)]
    found = execute(plan, inputs)
    for number, (output, wanted) in enumerate(zip(found, reference.run(plan.source, inputs), strict=True)):
        if output.tobytes() != wanted.tobytes():
            what = f"as planned differs from the reference in output {number}"
            raise WrongLibraryError(_wrong(plan.name, what))


def execute(plan: NetworkPlan, inputs: Sequence[_Array]) -> list[_Array]:
    """The network's outputs, by layers that read and write one arena (and one state) as the plan says: places, formats,
    scratch, order. The state lies behind the arena here.

    Movements and tables of bytes are executed as they are emitted, every other operator by the reference.
    """
    image = sum(plan.graph.tensors[t].nbytes for t in plan.graph.nowhere)
    arena = np.full(plan.arena_bytes + plan.state_bytes + plan.outer_bytes + image, _RUBBISH, np.uint8)
    for tensor, value in zip(plan.graph.inputs, inputs, strict=True):
        _store(plan, arena, tensor, value, Format.S8)
    for layer in plan.layers:
        _spoil(plan, layer, arena)
        # A fused layer reads the input of its first operator, which is plain.
        layout = Format.RAW if layer.plan.input_format is Format.RAW else Format.S8
        output = _computed(plan, layer, [_load(plan, arena, tensor, layout) for tensor in layer.lowered.inputs])
        _store(plan, arena, layer.op.output, output, layer.plan.output_format)
        _spoil(plan, layer, arena)
    return [_load(plan, arena, tensor, Format.S8) for tensor in plan.graph.outputs]


def _spoil(plan: NetworkPlan, layer: LayerPlan, arena: _Array) -> None:
    """Scratch memory holds nothing before and after a layer; what lies there by mistake is lost."""
    scratch = plan.memory.scratch_offset(layer.position)
    if scratch is not None:
        arena[scratch : scratch + layer.plan.scratch_bytes] = _RUBBISH


def _computed(plan: NetworkPlan, layer: LayerPlan, inputs: list[_Array]) -> _Array:
    what, output = layer.lowered.layer, plan.graph.output_of(layer.op)
    shape = output.shape
    if isinstance(what, Movement):  # of bytes, whatever the elements are
        given = [np.ascontiguousarray(each).view(np.int8) for each in inputs]
        return movement.moved(what, layer.plan, given).view(output.dtype.numpy).reshape(shape)
    if isinstance(what, Lookup):
        return what.table[inputs[0].astype(np.int8).astype(np.int64) + 128].reshape(shape)
    operators = [*([] if layer.within is None else [plan.graph.operators[layer.within]]), layer.op]
    known = dict(zip(layer.lowered.inputs, inputs, strict=True))
    for op in operators:
        arguments = [known[i] if i in known else plan.graph.tensors[i].values for i in op.inputs]
        known[op.output] = reference.evaluate(plan.graph, op, arguments)
    return known[layer.op.output]


def _start(plan: NetworkPlan, tensor: int) -> int:
    """Where a tensor begins in arena, state and what is outside the chip together; an image that comes by rows lies
    behind them."""
    if tensor in plan.graph.nowhere:
        return plan.arena_bytes + plan.state_bytes + plan.outer_bytes
    if plan.is_away(tensor):
        return plan.place(tensor) + plan.arena_bytes + plan.state_bytes
    return plan.place(tensor) + (plan.arena_bytes if tensor in plan.graph.outside else 0)


def _load(plan: NetworkPlan, arena: _Array, tensor: int, layout: Format) -> _Array:
    t = plan.graph.tensors[tensor]
    if t.is_constant:
        return t.values
    start = _start(plan, tensor)
    values = arena[start : start + t.nbytes].view(t.dtype.numpy).reshape(t.shape)
    return _formatted(values, layout)


def _store(plan: NetworkPlan, arena: _Array, tensor: int, values: _Array, layout: Format) -> None:
    start, data = _start(plan, tensor), _formatted(values, layout)
    arena[start : start + data.nbytes] = np.frombuffer(data.tobytes(), np.uint8)


def _formatted(values: _Array, layout: Format) -> _Array:
    """Values as a format has them in memory, or the other way round: RAW flips the top bits of even channels."""
    made = values.copy()
    if layout is Format.RAW:
        made[..., ::2] ^= np.int8(-128)
    return made
