"""Each channel times its weight, element by element."""

from memaopt.networks.operators.scaled_channels import ScaledChannels

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled, piece
from memaopt.kernels.code import Loop
from memaopt.kernels.emitted import Emitted, emitted, unary
from memaopt.kernels.plain import plain
from memaopt.kernels.plan import Plan, Promise
from memaopt.kernels.text.c import Array

#: What GCC 12.2 makes of an element at -O3, and of a position besides.
_ELEMENT, _POSITION = Compiled(64, 23), Compiled(16, 9)
_MOST_CODE = 256  # bytes, as measured by tests/kernels/test_frames.py


class GenericScaledChannels:
    """Any sizes."""

    name = "generic"
    computes = ScaledChannels

    def plans(self, layer: ScaledChannels) -> tuple[Plan, ...]:
        n, channels = layer.elements, layer.weights.size
        code = (*around.entry(), Loop((piece(_POSITION), Loop((piece(_ELEMENT),), channels)), n // channels))
        promise = Promise((loads(n, 1),), stores(n, 1), loads(n, 1))
        return (plain(code, promise, _MOST_CODE, arrays=_arrays(layer, "")),)

    def emit(self, layer: ScaledChannels, plan: Plan, name: str) -> Emitted:
        title = f"{layer.elements} elements times the weights of {layer.weights.size} channels"
        template = "kernels/scaled_channels/scaled_channels.c.j2"
        return emitted(unary(name), plan, title, template, _arrays(layer, name), layer=layer)


def _arrays(layer: ScaledChannels, name: str) -> list[Array]:
    return [Array("int8_t", f"{name}_weights", layer.weights, "of each channel")]


FAMILIES = (GenericScaledChannels(),)
