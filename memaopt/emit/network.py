"""A compiled network as a C library: header, source and test vector, in the folder of every library, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from memaopt.choice.network_plan import LayerPlan, NetworkPlan
from memaopt.choice.stages import ALIGNMENT
from memaopt.emit import customs, firmware, folder, initialisation, outside, ram, states
from memaopt.emit.arena import Place, scratch_places, tensor_places
from memaopt.emit.ends import End, ends
from memaopt.errors import InputError
from memaopt.kernels.chains.chains import feed_name
from memaopt.kernels.registry import Format, source_file
from memaopt.kernels.text.c import Array
from memaopt.kernels.text.templates import render
from memaopt.networks import reference
from memaopt.networks.graph import C_TYPES, DType, Graph, Tensor
from memaopt.printable import counted, in_comment
from memaopt.problems.movement import Movement
from memaopt.writer import write_files

#: What C calls the input of a network that takes it by rows.
_GIVEN = "in"


@dataclass(frozen=True)
class LayerCall:
    """One layer's call in ``invoke``."""

    function: str
    arguments: tuple[str, ...]
    batch: int
    place: str
    bytes: int


def _promised(plan: NetworkPlan) -> dict[str, int]:
    """Predicted cycles of this library in each setting of its machine; nothing where they are not all predicted."""
    if not plan.promises_cycles:
        return {}
    return {setting.name: plan.cycles_in(plan.mcu.in_setting(setting.name)) for setting in plan.mcu.settings}


def _string(text: str) -> str:
    """A C string: octal escapes end after three digits, whatever follows."""
    plain = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{plain}"'


def files(
    plan: NetworkPlan, vector: Sequence[npt.NDArray[Any]] | None = None, labels: Sequence[str] = ()
) -> dict[str, str]:
    """The library's files, path to text. ``vector`` has the test vector's inputs, random ones by default; ``labels``
    are what the elements of the output stand for, InputError unless there is one for each.
    """
    values = template_values(plan, labels)
    about = initialisation.values_of(plan)
    included = "".join(f'#include "{name}"\n' for name in (f"{plan.name}.h", *customs.headers(plan)))
    head = f"{head_comment(plan)}\n{included}\n#include <string.h>\n{initialisation.sections(about)}"
    body = source_file([ram.sectioned(plan, layer) for layer in plan.layers], head, static=True).rstrip() + "\n"
    behind_data = initialisation.linker_part(about)
    linker = {folder.linker_part(plan.name): behind_data} if behind_data else {}
    own = {
        folder.header(plan.name): header_text(values, initialisation.declaration(about)),
        folder.source(plan.name): source_text(plan, values, body, about),
        **customs.files(plan),
        **vector_files(plan, values, vector),
        **linker,
        **firmware.measuring_files(plan, values),
        **firmware.files(
            [plan],
            behind_data,
            has_init=values["has_init"],
            custom_sources=values["custom_sources"],
            outside=initialisation.memories_outside(about),
        ),
    }
    return folder.files(library_of(plan), own)


def template_values(plan: NetworkPlan, labels: Sequence[str] = ()) -> dict[str, Any]:
    """What the templates of a network's library see; InputError unless there is a label for each element, or none."""
    inputs, outputs = ends(plan)
    if labels and (len(outputs) != 1 or outputs[0].elements != len(labels)):
        there = " and ".join(f"{end.elements:,}" for end in outputs)
        raise InputError(f"{plan.name}: {len(labels):,} labels for an output of {there} elements: give one for each")
    return {
        "custom_sources": customs.sources(plan),
        "external": outside.external(plan),
        "has_init": plan.has_init,
        "outer": outside.outer_arena(plan),
        "away": plan.ends_away,
        "labels": [_string(label) for label in labels],
        "promised": _promised(plan),
        "layout": plan.layout,
        "setting": plan.mcu.setting,
        "setting_title": in_comment(plan.mcu.setting.title),
        "machine": in_comment(plan.mcu.title),
        "turn_on": folder.turn_on,
        "p": plan,
        "verb": verb(plan),
        "states": states.kept_states(plan),
        "push": plan.push,
        "first": plan.push is not None and plan.push.fill == "first",
        "fed": inputs[0] if plan.graph.by_rows else None,
        "feed": feed_name(plan.layers[0].name) if plan.graph.by_rows else "",
        "reset": states.reset_words(plan),
        "name": plan.name,
        "upper": plan.name.upper(),
        "library": plan.library,
        "alone": plan.home is None,
        "title": _title(plan),
        "fidelity": _fidelity(plan),
        "alignment": ALIGNMENT,
        "inputs": inputs,
        "outputs": outputs,
        "ends": inputs + outputs,
        "parameters": (["state"] if plan.graph.states else []) + [end.parameter for end in inputs + outputs],
        "arguments": ([f"{plan.name}_state *state"] if plan.graph.states else [])
        + [f"const {e.type} *{e.parameter}" for e in inputs]
        + [f"{e.type} *{e.parameter}" for e in outputs],
        "test_arguments": (["&state"] if plan.graph.states else [])
        + [f"{plan.name}_test_{end.parameter}" for end in inputs]
        + [end.parameter for end in outputs],
    }


def header_text(values: Mapping[str, Any], init: str = "") -> str:
    """What callers of a network see; ``init`` is what they see of NAME_init(), if that is the network's."""
    return _text("network.h.j2", values, init=init)


def source_text(plan: NetworkPlan, values: Mapping[str, Any], body: str, about: Mapping[str, Any] | None = None) -> str:
    """The C of a network behind ``body``, which has its layers; ``about`` its library, if that is its own."""
    tensors, scratch = tensor_places(plan), scratch_places(plan)
    return _text(
        "network.c.j2",
        values,
        body=body,
        init="" if about is None else initialisation.definition(about),
        outer_arena="" if about is None else initialisation.outer_arena(about),
        calls=[_call(plan, number, tensors, scratch) for number in range(len(plan.layers))],
        constants=_constants(plan),
        places=[*tensors.values(), *scratch.values()],
    )


def vector_files(
    plan: NetworkPlan, values: Mapping[str, Any], vector: Sequence[npt.NDArray[Any]] | None = None
) -> dict[str, str]:
    """The test vector of a network and what runs it, by path."""
    arrays = _vector(plan, values["inputs"], values["outputs"], random_inputs(plan) if vector is None else vector)
    return {
        folder.vector(plan.name): _text("network_test_vector.h.j2", values, arrays=arrays),
        folder.checker(plan.name): _text("network_test.h.j2", values),
    }


def _text(template: str, values: Mapping[str, Any], **more: Any) -> str:
    return render(f"emit/templates/{template}", **values, **more)


def library_of(plan: NetworkPlan) -> folder.Library:
    """What the folder says of the network."""
    inputs, outputs = ends(plan)
    return folder.Library(
        name=plan.name,
        function=f"{plan.name}_{verb(plan)}",
        sentence=_sentence(plan),
        mcu=plan.mcu,
        buffers=tuple(folder.Parameter(e.type, e.parameter, f"{e.macro}_ELEMENTS") for e in (*inputs, *outputs)),
        keeps=bool(plan.graph.states),
        rows=inputs[0].rows if plan.graph.by_rows else 0,
        fails=True,
        stack_bytes=plan.stack_bytes,
        promised=plan.machine_cycles if plan.promises_cycles else None,
        without=plan.without,
        custom_sources=customs.sources(plan),
        custom_headers=customs.headers(plan),
        turn_on=plan.mcu.setting.turn_on,
        copies=plan.ram_bytes > 0,
        outside="" if plan.outside is None or not plan.image.places else plan.outside.name,
    )


def write(plan: NetworkPlan, where: str | Path) -> Path:
    """Write :func:`files` into a folder: all of them, or none."""
    return write_files(files(plan), where)


def random_inputs(plan: NetworkPlan, seed: int = 0) -> list[npt.NDArray[Any]]:
    """Inputs for a test: uniform bytes, or floats about as wide as the range of what QUANTIZE makes of them."""
    rng = np.random.default_rng(seed)
    return [_random_tensor(rng, plan.graph, index) for index in plan.graph.given]


def _random_tensor(rng: np.random.Generator, graph: Graph, index: int) -> npt.NDArray[Any]:
    """One random input."""
    tensor = graph.tensors[index]
    if tensor.dtype.is_byte:
        return rng.integers(-128, 128, tensor.shape).astype(tensor.dtype.value)
    if tensor.dtype is DType.BOOL:
        return rng.integers(0, 2, tensor.shape).astype(np.bool_)
    if tensor.dtype is DType.INT16:
        return rng.integers(-(1 << 15), 1 << 15, tensor.shape).astype(np.int16)
    readers = [graph.operators[i] for i in graph.consumers.get(index, ())]
    rows = [graph.tensor_of(op, 1).shape[0] for op in readers if op.kind == "EMBEDDING_LOOKUP"]
    if tensor.dtype is DType.INT32:  # now and then an index beside the table
        return rng.integers(-1, min(rows, default=128) + 1, tensor.shape).astype(np.int32)
    read_as = [graph.output_of(op) for op in readers]
    widths = (float(t.scale) * 2.0 ** (8 * t.dtype.itemsize - 2) for t in read_as if len(t.scales) == 1)
    return rng.normal(0, next(widths, 1.0), tensor.shape).astype(np.float32)


def verb(plan: NetworkPlan) -> str:
    """What the library does when it is called: a network that keeps a state is pushed on."""
    return "push" if plan.graph.states else "invoke"


def _title(plan: NetworkPlan) -> str:
    sentence = _sentence(plan)
    source = f", model sha256 {plan.model.sha256[:16]}" if plan.model else ""
    return f"{sentence[0].lower()}{sentence[1:]}{source}"


def _sentence(plan: NetworkPlan) -> str:
    what = f"n int8 network of {counted(len(plan.layers), 'layer')}, {plan.macs:,} multiply-accumulates"
    if plan.push is None:
        return f"A{what}"
    push = plan.push
    return f"A push of {push.hop} of {push.window.frames} frames through a{what} of {push.window_macs:,}"


def head_comment(plan: NetworkPlan) -> str:
    width = max((len(layer.name) for layer in plan.layers), default=0)
    lines = [f"{plan.name}: {_title(plan)}", ""]
    setting = plan.mcu.setting
    lines.append(f"For {in_comment(plan.mcu.title)}, setting {setting.name} ({in_comment(setting.title)}):")
    if plan.graph.by_rows:
        lines.append("The input comes by rows, which nobody has to keep.")
    timed = plan.mcu.core.is_timed
    if timed:
        lines.append(
            f"{plan.machine_cycles:,} cycles predicted there{plan.with_dma}, "
            f"{plan.cycles:,} at zero wait states{plan.without}."
        )
    else:
        lines.append(f"No cycles are stated: {plan.mcu.core.untimed}.")
    if plan.ram_bytes:
        lines.append(f"In RAM: {plan.ram_bytes:,} bytes for kernels and constants, copied by {plan.library}_init().")
    if plan.outside is not None and plan.image.places:
        lines.append(
            f"In {plan.outside.name}: {plan.image.nbytes:,} bytes of constants, checked by {plan.library}_init()."
        )
    lines.append(f"Arena: {plan.arena_bytes:,} bytes; the largest live set is {plan.memory.lower_bound:,}.")
    lines += [f"Custom operators: {in_comment(text)}." for _, text in plan.custom_facts]
    lines.append("Every layer's comment states its kernel, the accesses it makes and why its rounding is exact.")
    if _fidelity(plan):
        lines.append(f"Of ONNX, {_fidelity(plan)}.")
    if plan.steps:
        lines += ["", "Simplified, bit for bit:", *(f"  {in_comment(step)}" for step in plan.steps)]
    what = "kernel, cycles predicted in that setting," if timed else "kernel,"
    lines += ["", f"Layers: {what} bytes of the output in the arena{', or the state' if plan.graph.states else ''}:"]
    for layer in plan.layers:
        kernel = f"{layer.plan.family} {layer.plan.tile}".strip()
        raw = ", raw" if layer.plan.output_format is Format.RAW else ""
        output = layer.op.output
        start, end = plan.place(output), plan.place(output) + plan.graph.tensors[output].nbytes
        cycles = f"{layer.machine_cycles:,} cycles, " if timed and not layer.plan.without else ""
        where = "state " if output in plan.graph.outside else "outer " if plan.is_away(output) else ""
        lines.append(f"  {layer.name:<{width}}  {kernel}, {cycles}{where}[{start}, {end}){raw}")
    if any(layer.plan.output_format is Format.RAW for layer in plan.layers):
        lines += ["", "raw: bytes of even channels are stored as value + 128, as the kernel that reads them wants."]
    return "/* " + "\n".join(f" * {line}".rstrip() for line in lines)[3:] + "\n */"


def _fidelity(plan: NetworkPlan) -> str:
    """How near the outputs are to those of an ONNX model; empty for a network that is TFLite's."""
    return plan.model.fidelity if plan.model is not None else ""


def _constant_name(plan: NetworkPlan, tensor: int) -> str:
    return f"{plan.name}_constant_{tensor}"


def constant_operands(plan: NetworkPlan) -> dict[int, str]:
    """Constants that layers read as inputs, with their symbols. Those of one C type and equal bytes are one: a
    compiler may merge them, and then nobody could tell which of them was read.
    """
    tensors = sorted({i for layer in plan.layers for i in layer.lowered.inputs if plan.graph.tensors[i].is_constant})
    first: dict[tuple[str, bytes], str] = {}
    of = {t: plan.graph.tensors[t] for t in tensors}
    return {t: first.setdefault((_kept_as(c), c.values.tobytes()), _constant_name(plan, t)) for t, c in of.items()}


def _kept_as(constant: Tensor) -> str:
    """The C type of a constant's elements."""
    return "int8_t" if constant.dtype.itemsize == 1 else C_TYPES[constant.dtype]


def _constants(plan: NetworkPlan) -> list[str]:
    tensors = {symbol: plan.graph.tensors[tensor] for tensor, symbol in constant_operands(plan).items()}
    made = []
    for symbol, tensor in tensors.items():
        # Kernels may read it in words.
        made.append(Array(_kept_as(tensor), symbol, tensor.values, "a constant operand", alignment=4).definition())
    return made


def _call(plan: NetworkPlan, number: int, tensors: Mapping[int, Place], scratch: Mapping[int, Place]) -> LayerCall:
    graph, layer, constants = plan.graph, plan.layers[number], constant_operands(plan)
    arguments = []
    for tensor, access in zip(layer.lowered.inputs, layer.plan.promise.inputs, strict=True):
        t = graph.tensors[tensor]
        start = constants.get(tensor, _GIVEN if t.dtype is DType.INT8 else f"(const int8_t *){_GIVEN}")
        if tensor in tensors:
            start = f"{tensors[tensor].base} + {tensors[tensor].symbol}"
        arguments.append(_argument(start, t, layer, "" if access.stores else "const "))
    output = graph.tensors[layer.op.output]
    place = f"{tensors[layer.op.output].base} + {tensors[layer.op.output].symbol}"
    arguments.append(_argument(place, output, layer, ""))
    arguments.append(f"base + {scratch[number].symbol}" if number in scratch else "NULL")
    return LayerCall(layer.name, tuple(arguments), layer.batch, place, output.nbytes)


def _argument(start: str, tensor: Tensor, layer: LayerPlan, const: str) -> str:
    if layer.batch > 1:
        start += f" + n * {tensor.nbytes // layer.batch}"
    moved = isinstance(layer.lowered.layer, Movement)
    if moved and tensor.is_constant and tensor.dtype.itemsize > 1:
        return f"(const int8_t *)({start})"
    if tensor.dtype.itemsize > 1 and not moved:
        return f"({const}{C_TYPES[tensor.dtype]} *)({const}void *)({start})"
    return start


def _vector(
    plan: NetworkPlan, inputs: Sequence[End], outputs: Sequence[End], values: Sequence[npt.NDArray[Any]]
) -> list[Array]:
    kept = states.initial_states(plan, values)
    expected = reference.run(plan.source, [*values, *kept])[: len(outputs)]
    name = plan.name
    named = [(f"{name}_test_{e.parameter}", e, v, "an input") for e, v in zip(inputs, values, strict=True)]
    named += [(f"{name}_expected_{e.parameter}", e, v, "its output") for e, v in zip(outputs, expected, strict=True)]
    return [Array(e.type, symbol, v, what) for symbol, e, v, what in named]
