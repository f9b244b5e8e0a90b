"""ADD and SUB of int16 activations."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

from memaopt.networks.graph import Graph
from memaopt.networks.operators.addition import Addition
from memaopt.networks.operators.form import POT_SCALE, Form
from memaopt.networks.operators.sixteen.pairwise import Pairwise16
from memaopt.networks.operators.source import Source
from memaopt.problems.binary import Binary
from memaopt.problems.sixteen import Binary16


class Addition16(Pairwise16, Addition):
    """``shifted``: what the option says; LiteRT then shifts where all scales are powers of two, TFLite Micro never."""

    left_shift: ClassVar[int] = 15

    shifted: bool = False

    @classmethod
    def read(cls, source: Source) -> Self:
        shifted = bool(source.options().get(POT_SCALE.name, POT_SCALE.default))
        return super().read(source).model_copy(update={"shifted": shifted})

    def write(self, graph: Graph) -> Form:
        form = super().write(graph)
        return form._replace(options={**form.options, POT_SCALE.name: int(self.shifted)})

    def check_arithmetic(self, graph: Graph) -> None:
        super().check_arithmetic(graph)
        scales = [float(graph.tensors[t].scale) for t in (*self.inputs, self.output)]
        if self.shifted and all(math.frexp(scale)[0] == 0.5 for scale in scales):
            raise self.refuse(
                graph,
                "three scales that are powers of two, and potScaleInt16, of which LiteRT and TFLite Micro make "
                "different sums; clear that option",
            )

    def layer16(self, graph: Graph) -> Binary16:
        r = self.rescale(graph)
        sums: dict[str, Any] = {"left_shift": r.left_shift, "first": r.first, "second": r.second, "result": r.output}
        return Binary16(Binary(**self.ends16(graph), **sums, kind=self.layer_kind))
