"""Networks of one operator, many at a time: one program with the sanitizers, and one library on the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from network_helpers import MCU
from tflite_helpers import oracle_of

from memaopt.choice.bundle import left_together, together
from memaopt.choice.compile import compile_network
from memaopt.choice.network_plan import NetworkPlan
from memaopt.emit import bundle
from memaopt.networks import checks, reference
from memaopt.networks.graph import Graph
from memaopt.trials import library
from memaopt.trials import network as network_trial
from memaopt.writer import write_scratch
from tests.fuzz.host import Host

#: Inputs that the board, which is slow, is given.
_ON_BOARD = 2


class Alone(NamedTuple):
    """A network, and the inputs that it is tried on."""

    graph: Graph
    values: Sequence[Sequence[np.ndarray[Any, Any]]]


def faults(alone: Mapping[str, Alone], folder: Path, compiler: Sequence[str]) -> list[str]:
    """What is wrong with each of the networks, by what it is called here: outputs are those of TFLite's interpreter by
    the executor, by the plan executed in Python, by a program of all of them that ``compiler`` makes for this computer,
    layer by layer, and by a library of all of them on the board, where accesses are as promised besides.
    """
    found, plans = list[str](), dict[str, NetworkPlan]()
    for called, one in alone.items():
        try:
            plans[called] = _planned(f"n{len(plans)}", one)
        except Exception as error:  # whatever it is, the others are tried, and it is told
            found.append(f"{called}: {type(error).__name__}: {error}")
    if not plans:
        return found
    several = together(list(plans.values()), *reversed(left_together(MCU, [plan.source for plan in plans.values()])))
    try:
        host = Host(list(plans.values()), folder / "host", compiler)
        write_scratch(bundle.files(several), folder / "board")
        linked = network_trial.link(several.plans, folder / "board", folder)
    except Exception as error:
        error.add_note(f"n0, n1, ... are {', '.join(plans)}")
        raise
    for number, (called, plan) in enumerate(zip(plans, several.plans, strict=True)):
        values = alone[called].values
        try:
            host.check(number, values)
            trial = network_trial.tried(plan, linked, values[:_ON_BOARD])
            for layer in trial.layers:
                assert layer.wrong == 0, f"{layer.name} has {layer.wrong} wrong bytes on the board"
                assert layer.equal, f"{layer.name}: promised {layer.promised}, counted {layer.counted}"
            assert trial.passed, f"{trial.wrong} bytes of the outputs are wrong on the board"
        except AssertionError as error:
            found.append(f"{called}: {error}")
    return found


def _planned(name: str, one: Alone) -> NetworkPlan:
    """The network's plan; AssertionError where its outputs are not the interpreter's."""
    checks.check(one.graph)
    plan, oracle = compile_network(one.graph, MCU, name=name), oracle_of(one.graph)
    for values in one.values:
        wanted = oracle.run(values)
        for outputs in (reference.run(plan.source, values), library.execute(plan, values)):
            for output, expected in zip(outputs, wanted, strict=True):
                np.testing.assert_array_equal(output, expected)
    return plan
