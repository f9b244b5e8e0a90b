"""QUANTIZE between integers of which one has more than 8 bits, element by element."""

from memaopt.access import loads, stores
from memaopt.kernels import around
from memaopt.kernels.around import Compiled
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plain import ARITHMETIC
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.sixteen import Rescaled

#: What GCC 12.2 makes of an element at -O3, where it is shifted right at last, and where it is shifted left at first.
_RIGHT, _LEFT = Compiled(90, 27), Compiled(50, 15)


class GenericRescaled:
    """Any types."""

    name = "generic 16x8"
    computes = Rescaled

    def plans(self, layer: Rescaled) -> tuple[Plan, ...]:
        n = layer.elements
        code = (around.each(n, _LEFT if layer.result.shift >= 0 else _RIGHT),)
        return (
            Plan(
                family=self.name,
                tile="",
                cycles=round(cycles_of(code)) + around.LEAF_CYCLES,
                promise=Promise((loads(n, layer.source),), stores(n, layer.target)),
                data_bytes=0,
                code_bytes=200,
                code=code,
                alignment=max(layer.source, layer.target),
                words=False,
                requantization=ARITHMETIC,
            ),
        )

    def emit(self, layer: Rescaled, plan: Plan, name: str) -> Emitted:
        source, target = 8 * layer.source, 8 * layer.target
        least, most = layer.bounds
        return emitted(
            f"void {name}(const int{source}_t *in, int{target}_t *out, void *scratch)",
            plan,
            f"QUANTIZE int{source} -> int{target}, {layer.elements} elements",
            "kernels/sixteen/rescaled.c.j2",
            layer=layer,
            load=f"load_s{source}",
            store=f"store_s{target}",
            least=least,
            most=most,
        )


FAMILIES = (GenericRescaled(),)
