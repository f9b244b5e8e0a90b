"""What a program prints that measures a library with ``NAME_measure.h``: a line for each layer, one for the call."""

from __future__ import annotations

import re

from pydantic import BaseModel

_LAYER = re.compile(r"layer (\d+): (?:promised (\d+), )?measured (\d+), sum ([0-9a-f]+)")
_CALL = r"(?<!\w){}: (?:promised (\d+), )?measured (\d+), status (\d+), wrong (\d+)$"


class LayerReadout(BaseModel, frozen=True):
    """A layer's cycles, those that the program promises of it, None where it promises none, and its output's CRC-32."""

    promised: int | None
    cycles: int
    crc: int


class Readout(BaseModel, frozen=True):
    """A call of a library: what it returned, negated, the wrong bytes of its outputs, its cycles by DWT's counter with
    the counter's own reading, and its layers where the program measured them.
    """

    layers: tuple[LayerReadout, ...]
    promised: int | None
    cycles: int
    status: int
    wrong: int


def read(text: str, name: str, layers: int) -> Readout | None:
    """The last whole readout of a library of so many layers in a text, whatever else is in it; None if there is none.

    ``layers`` may be 0: then only the call is looked for.
    """
    call = re.compile(_CALL.format(re.escape(name)))
    found, measured = None, list[LayerReadout]()
    for line in map(str.strip, text.splitlines()):
        if match := _LAYER.fullmatch(line):
            if int(match[1]) == 0:
                measured = []
            if int(match[1]) == len(measured):
                promised = None if match[2] is None else int(match[2])
                measured.append(LayerReadout(promised=promised, cycles=int(match[3]), crc=int(match[4], 16)))
        elif match := call.search(line):
            if len(measured) == layers or layers == 0:
                found = Readout(
                    layers=tuple(measured),
                    promised=None if match[1] is None else int(match[1]),
                    cycles=int(match[2]),
                    status=int(match[3]),
                    wrong=int(match[4]),
                )
            measured = []
    return found
