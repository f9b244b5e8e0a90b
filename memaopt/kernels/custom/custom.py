"""Operators that the user's C computes: a call of it. What that takes and accesses nobody knows or promises."""

from memaopt.access import Access
from memaopt.kernels import around
from memaopt.kernels.emitted import Emitted, emitted
from memaopt.kernels.executed import cycles_of
from memaopt.kernels.plan import Plan, Promise
from memaopt.problems.custom import CustomLayer

#: Bytes of the call and, for each tensor, of its description (ten words) and its argument.
_CALL, _TENSOR = 64, 56


class CustomCall:
    """A call of the function, which is told of its tensors."""

    name = "custom"
    computes = CustomLayer

    def plans(self, layer: CustomLayer) -> tuple[Plan, ...]:
        tensors = len(layer.inputs) + len(layer.outputs)
        code = around.entry()
        return (
            Plan(
                family=self.name,
                tile=layer.code.function,
                cycles=round(cycles_of(code)),
                promise=Promise((Access(),) * len(layer.inputs), Access()),
                data_bytes=0,
                code_bytes=_CALL + _TENSOR * tensors + len(layer.options),
                code=code,
                alignment=1,
                without=layer.code.name,
            ),
        )

    def emit(self, layer: CustomLayer, plan: Plan, name: str) -> Emitted:
        places = tuple(f"in{i}" for i in range(len(layer.inputs)))
        parameters = [f"const {_element(x.type)} *{at}" for x, at in zip(layer.inputs, places, strict=True)]
        output = "int8_t" if len(layer.outputs) > 1 else _element(layer.outputs[0].type)
        signature = f"void {name}({', '.join(parameters)}, {output} *out, void *scratch)"
        given = tuple(f"(const int8_t *){place}" for place in places)
        return emitted(
            signature,
            plan,
            f"the model's {layer.code.name}, by {layer.code.function}()",
            "kernels/custom/custom.c.j2",
            call=layer.call(given, "(int8_t *)out"),
            notes=["Its cycles, accesses, stack and code are its own: no figure here has them."],
        )


def _element(type_: str) -> str:
    """How a layer's function is given elements of a type: bytes are int8_t everywhere."""
    return "int8_t" if type_ == "uint8_t" else type_


FAMILIES = (CustomCall(),)
