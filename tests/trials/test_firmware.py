"""Images of a user's own, held to a certificate: what is wrong with each is found, and nothing with the right one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_helpers import Cli

from memaopt.api import certify, emit
from memaopt.board.elf import read_elf
from memaopt.board.projects import build_project, usual_layout
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import folder as library
from memaopt.emit import network as emit_network
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.graph import Graph
from memaopt.networks.operators.attributes import Activation, Size2D
from memaopt.networks.zoo.builder import Builder
from memaopt.trials import firmware

MACHINE = mcu("stm32l4r5")


def network(seed: int = 0, channels: int = 8) -> Graph:
    b = Builder("small", (1, 12, 12, 4), seed)
    x = b.conv_2d(0, channels, Size2D(3, 3), Activation.RELU)
    return b.finish(b.conv_2d(x, 4, Size2D(1, 1)))


def planned(setting: str = "stock", graph: Graph | None = None) -> NetworkPlan:
    return compile_network(network() if graph is None else graph, MACHINE.in_setting(setting))


def image(plan: NetworkPlan, folder: Path, *, optimise: str = "-O3", define: str = "", turn_on: bool = True) -> Path:
    """A user's project with the library in it: his main sets what the library asks for, unless told otherwise."""
    emit_network.write(plan, folder / "library")
    source, name = folder / "library" / library.source(plan.name), plan.name
    own = folder / "own.c"
    own.write_text(f'{define}\n#include "{source}"\n' if define else f'#include "{source}"\n')
    steps = [library.turn_on(bits) for bits in plan.mcu.setting.turn_on if turn_on]
    steps += [f"if ({name}_init() != 0) {{ host_exit(9u); }}"] if plan.ram_bytes else []
    ends = ", ".join(["0"] * (len(plan.graph.inputs) + len(plan.graph.outputs)))
    (folder / "main.c").write_text(
        f'#include "host.h"\n#include "{name}.h"\nint main(void)\n{{\n    {" ".join(steps)}\n'
        f"    (void){name}_invoke({ends});\n    host_exit(0u);\n    return 0;\n}}\n"
    )
    built = build_project(
        usual_layout(plan.mcu),
        plan.mcu,
        [folder / "main.c", own],
        folder / "firmware.elf",
        stack_bytes=plan.stack_bytes + 512,
        behind_data="" if define else library.read_linker_part(folder / "library", name),
        include=library.include_folders(folder / "library"),
        optimise=optimise,
    )
    return built.elf


@pytest.mark.parametrize("setting", ["stock", "stock-prefetch", "ram"])
def test_the_right_image_has_no_findings(setting: str, tmp_path: Path) -> None:
    """Catches a finding about an image that is as it should be, and figures of something else than its call."""
    plan = planned(setting)
    found = firmware.check(plan, image(plan, tmp_path))
    assert found.findings == ()
    assert found.counted is not None
    assert abs(found.counted / plan.machine_cycles - 1) < 0.03
    assert found.stack_top == MACHINE.sram.end
    assert 0 < found.stack_bytes <= plan.stack_bytes + 512
    memories = {place.memory for place in found.places}
    assert memories == ({"flash", "sram"} if setting != "ram" else {"flash", "sram", "sram2"})


def _patched(path: Path, symbol: str) -> Path:
    """The image with one bit of an object changed."""
    program, data = read_elf(path), bytearray(path.read_bytes())
    start = program.symbols[symbol]
    (segment,) = [s for s in program.segments if s.address <= start < s.address + len(s.data)]
    held = bytes(segment.data)
    at = bytes(data).index(held) + start - segment.address
    data[at + 3] ^= 1
    path.write_bytes(data)
    return path


def test_each_fault_is_named(tmp_path: Path) -> None:
    """Catches a fault that is not found, or is called something else, for each way that a build usually goes wrong."""
    stock, prefetch, ram = planned(), planned("stock-prefetch"), planned("ram")
    assert any(layer.where.code for layer in ram.layers)
    constant = stock.layers[0].emitted.parameters[0]
    other = planned(graph=network(seed=5))
    cases = {
        "-O0": (stock, image(stock, _new(tmp_path, "o0"), optimise="-O0"), "src/small.c was built with -O0"),
        "prefetch": (prefetch, image(prefetch, _new(tmp_path, "off"), turn_on=False), "PRFTEN is off"),
        "linker": (ram, image(ram, _new(tmp_path, "ld"), define="#define SMALL_IN_FLASH"), "built without its linker"),
        "patched": (stock, _patched(image(stock, _new(tmp_path, "bit")), constant), f"a patched constant: {constant} "),
        "other": (other, image(stock, _new(tmp_path, "another")), "another certificate's library"),
    }
    for name, (plan, file, said) in cases.items():
        found = firmware.check(plan, file)
        assert not found.passed, name
        assert all(place.bytes for place in found.places), (name, found.places)
        assert said in found.findings[0], (name, found.findings)
        assert all("\n" not in line for line in found.findings)
        others = [case[2] for key, case in cases.items() if key != name]
        assert not [line for line in found.findings for text in others if text in line], name


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def test_a_library_of_other_layers(tmp_path: Path) -> None:
    """Catches a library whose layers are not the certificate's, when none of its constants has the same name."""
    b = Builder("small", (1, 6), 0)
    found = firmware.check(planned(graph=b.finish(b.fully_connected(0, 4))), image(planned(), tmp_path))
    assert found.findings[0].startswith("another certificate's library: it has small_0_conv_2d")


def test_an_image_without_the_library(tmp_path: Path) -> None:
    """Catches a traceback, and a finding where nothing can be found."""
    main = tmp_path / "main.c"
    main.write_text("int main(void)\n{\n    return 0;\n}\n")
    built = build_project("stm32cube", MACHINE, [main], tmp_path / "firmware.elf")
    with pytest.raises(InputError, match="has no small_invoke: the library is not in it, or its symbols were stripped"):
        firmware.check(planned(), built.elf)


def test_an_image_that_never_calls_it(tmp_path: Path) -> None:
    """Catches a check that says nothing of cycles that it could not count."""
    plan = planned()
    emit_network.write(plan, tmp_path)
    main = tmp_path / "main.c"
    main.write_text(
        '#include "host.h"\n#include "small.h"\nvolatile int on;\nint main(void)\n{\n'
        "    if (on) {\n        (void)small_invoke(0, 0);\n    }\n    host_exit(0u);\n    return 0;\n}\n"
    )
    sources = [main, tmp_path / library.source("small")]
    include = library.include_folders(tmp_path)
    built = build_project("stm32cube", MACHINE, sources, tmp_path / "firmware.elf", include=include)
    found = firmware.check(plan, built.elf)
    assert found.findings == ("the image ends (exit) before it calls small_invoke",)
    assert found.counted is None


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """Catches an exit code of 0 for an image with findings, and output that is no JSON."""
    certificate = certify(network(), MACHINE)
    emit(certificate, tmp_path / "out")
    right = image(certificate.plan, _new(tmp_path, "right"))
    shown = cli("check", right, "--certificate", tmp_path / "out" / "certificate.json")
    assert shown.code == 0
    assert "as the certificate assumes" in shown.out
    wrong = image(certificate.plan, _new(tmp_path, "wrong"), optimise="-O0")
    found = cli("check", wrong, "--certificate", tmp_path / "out" / "certificate.json", "--json")
    assert (found.code, found.json["passed"]) == (1, False)
    assert "-O0" in found.json["findings"][0]
