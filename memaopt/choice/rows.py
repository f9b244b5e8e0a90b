"""A network whose input comes a row at a time: which there can be, and why there is none within a budget."""

from __future__ import annotations

from memaopt.choice.partition import Partitions
from memaopt.choice.problem import Problem
from memaopt.errors import InfeasibleError, InputError
from memaopt.networks.graph import Graph
from memaopt.spelling import either


def by_rows(graph: Graph) -> Graph:
    """The network with its input a row at a time; InputError unless it has one input, an int8 image of one batch."""
    tensor = graph.tensors[graph.inputs[0]]
    shape, would = tensor.shape, "an input int8[1, rows, columns, channels] would do"
    if graph.states:
        raise InputError(f"{graph.name} keeps a state from run to run, and takes its input whole; {_whole()} would do")
    if len(graph.inputs) != 1:
        raise InputError(f"{graph.name} has {len(graph.inputs)} inputs: rows are those of one; {would}")
    if not tensor.dtype.is_byte or len(shape) != 4 or shape[0] != 1 or shape[1] < 2:
        raise InputError(f"{graph.name}: the input {tensor.describe()} is no image that comes by rows; {would}")
    return graph.replace(by_rows=True)


def why_not(problem: Problem, name: str) -> InfeasibleError | InputError:
    """Why there is no plan: no layers that take rows as they come, or a budget that is too small for them."""
    found = Partitions(problem, "cycles")
    if not found.starts:
        op = problem.graph.operators[0]
        return InputError(
            f"{name}: a chain of two layers or more takes rows as they come, and none starts with "
            f"{problem.graph.place(op)}; convolutions, pools, tables and additions one behind the other, of images "
            f"that nobody else reads, would do, as would {_whole()}"
        )
    least = found.smallest()
    needs = "" if least is None else f": no plan takes less than {least.value:,} bytes of arena"
    return InfeasibleError(f"{name}: with its input by rows it does not fit the budgets{needs}")


def _whole() -> str:
    """The option that takes the input whole."""
    return either("--input whole", "by_rows=False")
