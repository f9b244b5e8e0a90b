"""What code executes: the bodies of calls, and the words and cycles of nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator

from memaopt.kernels.assembly_code import parse
from memaopt.kernels.code import REWIND, Assembly, Call, Loop, Node, Small, Staged, Straight, form_of


def body_of(call: Call) -> tuple[Node, ...]:
    """What a call executes."""
    if isinstance(call.routine, Small):
        return call.routine.body
    nodes = _parsed(call.routine.name, call.routine, call.slow)
    numbers = itertools.count()
    body = _with_trips(nodes, numbers, call)
    if next(numbers) != len(call.trips):
        raise ValueError(f"{call.routine.name}: {len(call.trips)} loops are named, its text has others")
    return body


def _with_trips(nodes: tuple[Node, ...], numbers: Iterator[int], call: Call) -> tuple[Node, ...]:
    made: list[Node] = []
    for node in nodes:
        if isinstance(node, Loop):
            number = next(numbers)
            body = _with_trips(node.body, numbers, call)
            made.append(Loop(body, call.trips[number], call.advances[number] if call.advances else 0.0, node.left))
        else:
            made.append(node)
    return tuple(made)


_TEXTS: dict[tuple[str, float], list[tuple[Assembly, tuple[Node, ...]]]] = {}
_FORMS: dict[tuple[type, Hashable, float], tuple[Node, ...]] = {}


def _parsed(name: str, kernel: Assembly, slow: float) -> tuple[Node, ...]:
    """The tree of a kernel's text, read once; of many thousand kernels two have one name at times."""
    named = _TEXTS.setdefault((name, slow), [])
    for known, nodes in named:
        if known is kernel or known == kernel:
            return nodes
    form = form_of(kernel)
    made = None if form is None else _FORMS.get((type(kernel), form, slow))
    if made is None:
        made = parse(kernel.text(), kernel.constants, slow=slow)
    if form is not None:
        _FORMS[type(kernel), form, slow] = made
    named.append((kernel, made))
    return made


def words_of(call: Call) -> int:
    """Words of a routine's code."""
    return -(-call.routine.size // 4) if isinstance(call.routine, Small) else words(body_of(call))


def words(nodes: tuple[Node, ...]) -> int:
    """Words of code."""
    return sum(
        len(node.cycles) if isinstance(node, Straight) else words(node.body) if isinstance(node, Loop) else 0
        for node in nodes
    )


def calls_of(nodes: Iterable[Node]) -> Iterator[Call]:
    """The calls of nodes, in their order."""
    for node in nodes:
        if isinstance(node, Call):
            yield node
            if isinstance(node.routine, Small):
                yield from calls_of(node.routine.body)
        elif isinstance(node, (Loop, Staged)):
            yield from calls_of(node.body)


def rewinds(nodes: Iterable[Node]) -> bool:
    """Whether constants are read from their start again in what nodes execute."""
    for node in nodes:
        if isinstance(node, Straight):
            if min(node.loads, default=0) <= REWIND:
                return True
        elif isinstance(node, (Call, Loop, Staged)) and rewinds(body_of(node) if isinstance(node, Call) else node.body):
            return True
    return False


def tile_and_call(call: Callable[[float], Call]) -> tuple[float, float]:
    """Cycles, at zero wait states, of a tile more, and of a call without one: entry and exit."""
    one, two = cycles_of((call(1),)), cycles_of((call(2),))
    return two - one, 2 * one - two


def cycles_of(nodes: tuple[Node, ...], kernels: bool = True) -> float:
    """Cycles of nodes at zero wait states, with or without the assembly that they call."""
    total = 0.0
    for node in nodes:
        match node:
            case Straight():
                total += sum(node.cycles)
            case Loop():
                total += node.trips * cycles_of(node.body, kernels) - min(node.trips, 1) * node.left
            case Staged():
                total += cycles_of(node.body, kernels)
            case Call() if kernels or isinstance(node.routine, Small):
                total += cycles_of(body_of(node), kernels)
    return total
