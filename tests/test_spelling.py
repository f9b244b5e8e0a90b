"""Messages ask for what the reader can give: an option on the command line, an argument in Python."""

import pickle
import re
from pathlib import Path

import pytest
from cli_helpers import Cli

import memaopt
from memaopt import spelling
from memaopt.errors import InputError
from memaopt.machines.mcu import mcu
from memaopt.networks.formats.tflite import writer
from memaopt.networks.operators import Size2D
from memaopt.networks.zoo.builder import Builder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network of one layer, and beside it a plan of buffers in QSPI."""
    builder, folder = Builder("one", (1, 4, 4, 4), 4), tmp_path_factory.mktemp("spelling")
    (folder / "plan.json").write_text('{"format": "x", "layers": [], "placement": {"weights": "qspi"}}')
    path = folder / "one.tflite"
    path.write_bytes(writer.write(builder.finish(builder.conv_2d(0, 4, Size2D(1, 1)))))
    return path


@pytest.mark.parametrize(
    ("verb", "arguments", "options", "command", "python"),
    [
        ("evaluate", {}, "", r"give --place weights=qspi$", r'give place="weights=qspi"$'),
        ("certify", {"hop": 2}, "--hop 2", r"^--hop has .* without --stream$", r"^hop has .* without stream$"),
        ("certify", {"stream": "up"}, "--stream up", r"^--stream 'up': there", r"^stream 'up': there"),
        ("certify", {"sram": 16}, "--sram 16", r"or --sram \d+, would do", r"or sram=\d+, would do"),
        (
            "certify",
            {"place": "output=flash"},
            "--place output=flash",
            r"^--place output=flash: ",
            r'^place="output=flash": ',
        ),
        ("certify", {"custom": ["No"]}, "--custom No", r"^--custom No: give", r'^custom=\["No"\]: give'),
        ("certify", {"subgraph": "x"}, "--subgraph x", r"^--subgraph x: ", r'^subgraph="x": '),
        ("certify", {"objective": "2*flash"}, "--objective 2*flash", r"^--objective 2", r'^objective="2\*flash": '),
    ],
)
def test_what_is_asked_for_can_be_given(
    verb: str, arguments: dict[str, object], options: str, command: str, python: str, model: Path, cli: Cli
) -> None:
    """Catches options in what a function says, and arguments of functions in what a command says."""
    given = (model, model.with_name("plan.json")) if verb == "evaluate" else (model,)
    assert re.search(command, cli.refused(verb.replace("certify", "solve"), *given, *options.split()))
    with pytest.raises(memaopt.MemaoptError, match=python) as refused:
        getattr(memaopt, verb)(model, mcu("stm32l4r5"), *given[1:], **arguments)
    assert "--" not in str(refused.value)


def _refuse() -> None:
    raise InputError(spelling.option("sram", 16))


def test_another_process_speaks_to_who_asked() -> None:
    """Catches a worker of a command that answers as a function would."""
    with spelling.in_a_command():
        sent = pickle.dumps(spelling.as_here(_refuse))
    with pytest.raises(InputError, match=r"^--sram 16$"):
        pickle.loads(sent)()
    with pytest.raises(InputError, match=r"^sram=16$"):
        _refuse()
