"""Names for places in the arena."""

import re

from network_helpers import MCU

from memaopt.choice.compile import compile_network
from memaopt.emit import folder as library
from memaopt.emit import network as emit
from memaopt.emit.arena import scratch_places, tensor_places
from memaopt.networks.zoo import zoo


def test_every_place_has_a_name_of_its_own() -> None:
    """Catches two tensors of one name, a place that is not where the tensor lies, and a call with a bare number."""
    plan = compile_network(zoo.build("ds_cnn"), MCU)
    tensors, scratch = tensor_places(plan), scratch_places(plan)
    symbols = [place.symbol for place in (*tensors.values(), *scratch.values())]
    assert len(set(symbols)) == len(symbols)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", symbol) for symbol in symbols)
    assert all(place.offset == plan.place(tensor) for tensor, place in tensors.items())
    text = emit.files(plan)[library.source(plan.name)]
    assert not re.search(r"base \+ \d", text)
    assert all(f"base + {symbol}" in text for symbol in symbols)
